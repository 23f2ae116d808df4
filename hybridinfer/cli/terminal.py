"""What the commands share: prompts in, data on stdout, talk on stderr."""

from __future__ import annotations

import json
import re
import shutil
import sys
import textwrap
from decimal import Decimal
from pathlib import Path
from typing import Any

_OPTION = re.compile(r"--?[A-Za-z][\w-]*(=.*)?")


class UsageError(SystemExit):
    """The command line asks for something that cannot be: one line on stderr, exit code 2."""

    def __init__(self, message: str) -> None:
        super().__init__(2)
        talk(f"hybridinfer: {message}")


def read_prompt(prompt: str | None, file: Path | None = None) -> str:
    """The prompt's text: as given, from `file`, or from stdin where it is `-` or stdin is a pipe.

    Raises:
        UsageError: both or neither were given, the file cannot be read, or the text is empty.
    """
    if prompt is not None and _OPTION.fullmatch(prompt):
        raise UsageError(f"unknown option {prompt}; hybridinfer COMMAND --help lists them")
    if prompt is not None and file is not None:
        raise UsageError("give a prompt or --file, not both")
    if file is not None:
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(
                f"cannot read {file}: {getattr(error, 'strerror', None) or 'it is not UTF-8 text'}"
            ) from error
    elif prompt == "-" or (prompt is None and not sys.stdin.isatty()):
        text = sys.stdin.read()
    else:
        text = prompt or ""
    if not text.strip():
        raise UsageError('there is no prompt; write it in quotes, or "-" to read it from stdin')
    return text


def read_tags(pairs: tuple[str, ...]) -> dict[str, str]:
    """`("team=a",)` as a mapping.

    Raises:
        UsageError: a pair has no `=`.
    """
    for pair in pairs:
        if not pair.partition("=")[1]:
            raise UsageError(f"--tag {pair}: write it as name=value")
    return {name: value for name, _, value in (pair.partition("=") for pair in pairs)}


def talk(line: str = "") -> None:
    """Say something to the person at the terminal."""
    print(line, file=sys.stderr, flush=True)


def hanging(label: str, text: str) -> str:
    """`label` and `text` in lines as wide as the terminal, the later ones below the text; in a pipe, in one line."""
    if not sys.stdout.isatty():
        return label + text
    wide = max(shutil.get_terminal_size().columns, len(label) + 20)
    return textwrap.fill(label + text, wide, subsequent_indent=" " * len(label), break_on_hyphens=False)


def print_json(value: Any) -> None:
    """Print `value` as JSON with two spaces of indent; money becomes a number of USD."""
    print(json.dumps(value, indent=2, ensure_ascii=False, default=_number))


def usd(amount: Decimal | None) -> str:
    """Money for people: six decimals at most, `?` where nobody knows."""
    if amount is None:
        return "?"
    return "$0" if not amount else f"${amount:.6f}".rstrip("0")


def _number(value: object) -> float:
    if isinstance(value, Decimal):
        return float(value)
    raise TypeError(f"{type(value).__name__} has no JSON form here")
