"""Recorded traffic as commands take it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .terminal import UsageError, talk

if TYPE_CHECKING:
    from ..observe.records import Recorded


def recorded(path: Path) -> list[Recorded]:
    """The records of the file, perhaps none; says how many lines are no records. Raises `UsageError`."""
    from ..observe.records import read

    try:
        lines = list(read(path))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    records = [line for line in lines if line is not None]
    if len(records) < len(lines):
        talk(f"{len(lines) - len(records)} of {len(lines)} lines are no records and were left out")
    return records
