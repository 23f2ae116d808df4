"""`policy check` without the command-line library, whose import alone takes longer than checking a large policy.

Only what is certain is read here: whatever is not an option of `check` written out in full, or a file, goes to the
real command line with its help and its errors. A test holds the two side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

COMMAND = ("policy", "check")
_SWITCHES: dict[str, tuple[str, bool]] = {
    "--table": ("table", True),
    "--strict": ("strict", True),
    "--environment": ("environment", True),
    "--no-environment": ("environment", False),
    "--prices": ("prices", True),
    "--no-prices": ("prices", False),
}
_FORMAT = "--output-format"


def options(arguments: Sequence[str]) -> tuple[list[Path], dict[str, Any]] | None:
    """The files and options of `check`; None where the real command line has to look at them."""
    from .checking import OutputFormat

    files, found = list[Path](), dict[str, Any]()
    rest = iter(arguments)
    for word in rest:
        name, equals, value = word.partition("=")
        if word in _SWITCHES and _SWITCHES[word][0] not in found:
            key, found[key] = _SWITCHES[word]
        elif name == _FORMAT and "output_format" not in found:
            value = value if equals else next(rest, "")
            if value not in get_args(OutputFormat):
                return None
            found["output_format"] = value
        elif word.startswith("-") or not word:
            return None
        else:
            files.append(Path(word))
    return (files, found) if files else None


def run(arguments: Sequence[str]) -> int | None:
    """The exit code of `policy check`; None where this is another command, or not certain."""
    if tuple(arguments[:2]) != COMMAND or (given := options(arguments[2:])) is None:
        return None
    import gc

    from .checking import check_files

    collects = gc.isenabled()
    gc.disable()  # imports make many objects that all stay: looking through them again and again takes a seventh
    try:
        return check_files(given[0], **given[1])
    finally:
        if collects:
            gc.enable()
