"""`hybridinfer models forget`: what `prefix_disk` kept of prompts goes."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from .terminal import UsageError, print_json, talk


def forget(*, json: Annotated[bool, Parameter(negative="")] = False) -> int:
    """Delete the sealed beginnings of prompts that `options: {prefix_disk: ...}` keeps on the disk, of all models.

    A router that is running keeps what it has in memory, and may write new ones.

    Args:
        json: Print {folder, freed_bytes}.
    """
    from ..edge.prefix_disk import FOLDER, wipe
    from ..edge.store import Store

    root = Store.default().root
    try:
        freed = wipe(root)
    except OSError as error:
        raise UsageError(f"{root / FOLDER}: cannot be emptied ({error.strerror})") from error
    if json:
        print_json({"folder": str(root / FOLDER), "freed_bytes": freed})
    else:
        talk(f"freed {freed / 1e6:,.0f} MB" if freed else "nothing was kept on the disk")
    return 0
