"""Hashes that were computed before, so that an unchanged file is not read again at every start.

One JSON file in the user's state directory. An entry counts while the file's stamp (size, inode, device, times of
change, the last of which no program can set) is the same and it is younger than a week; a file changed within the
last seconds gets none, since a stamp could miss the next change. The hash itself is compared with the pin as ever.
Why this is safe enough: docs/decisions/0014.
"""

from __future__ import annotations

import json
import os
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

KEPT_SECONDS = 7 * 24 * 3600.0
"""A disk may rot without a trace in the stamp."""
SETTLED_SECONDS = 2.0
"""Stamps have the grain of a kernel's tick or of a network drive's second."""
_MOST = 256
_lock = threading.Lock()


def recall(path: str, stamp: tuple[int, ...], piece: int) -> tuple[str, ...] | None:
    """The hashes of the file at `path` in pieces of `piece` bytes, where they are known and may be trusted."""
    if _always():
        return None
    entry: Any = _read().get(_name(path, piece))
    try:
        if entry["stamp"] == list(stamp) and 0 <= time.time() - entry["at"] < KEPT_SECONDS:
            return tuple(map(str, entry["hashes"]))
    except (KeyError, TypeError):  # unknown, or not ours
        pass
    return None


def remember(path: str, stamp: tuple[int, ...], piece: int, hashes: tuple[str, ...], *, changed: float) -> None:
    """Note the hashes of a file that was last changed at `changed` (epoch seconds). A full disk is no error."""
    now = time.time()
    if now - changed < SETTLED_SECONDS or _always():
        return
    entry = {"stamp": list(stamp), "hashes": list(hashes), "at": now}
    _update(lambda known: known | {_name(path, piece): entry})


def forget(path: str) -> None:
    """Nothing is known of the file at `path` any more."""
    _update(lambda known: {name: entry for name, entry in known.items() if name.partition(":")[2] != path})


def _update(change: Any) -> None:
    place = _place()
    with _lock:
        before = _read()
        known = dict(list(change(before).items())[-_MOST:])
        if known == before:
            return
        draft = place.with_name(f".{place.name}.{os.getpid()}")
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            draft.write_text(json.dumps(known), "utf-8")
            draft.chmod(0o600)
            draft.replace(place)  # among processes the last one wins: at worst a file is hashed once more
        except OSError:  # read-only or full: then it is hashed at each start
            with suppress(OSError):
                draft.unlink()


def _read() -> dict[str, Any]:
    try:
        known = json.loads(_place().read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _place() -> Path:
    import platformdirs

    return platformdirs.user_state_path("hybridinfer") / "verified.json"


def _name(path: str, piece: int) -> str:
    return f"{piece}:{path}"


def _always() -> bool:
    return os.environ.get("HYBRIDINFER_VERIFY", "") == "always"
