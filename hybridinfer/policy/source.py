"""YAML text -> plain values, and where each of them stands.

The scalars are those of YAML 1.2's core schema without its octal, hexadecimal and non-finite numbers: `on`,
`no`, `22:30`, `010`, `1_000` and `2026-01-31` stay text. Built on the parser's events, so that depth, size and
aliases are bounded here, and nothing is ever constructed from a tag.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from math import isfinite
from typing import TYPE_CHECKING, Any

from ..errors import PolicyError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_BYTES = 1_000_000
MAX_VALUES = 50_000
MAX_DEPTH = 24

Path = tuple[str | int, ...]
"""The way from the top of the file to a value: `("rules", 0, "use", 1)`."""

_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})")
_FLOAT = re.compile(r"[-+]?(?:0|[1-9][0-9]*)?(?:\.[0-9]+|(?<=[0-9])\.)?(?:(?<=[0-9.])[eE][-+]?[0-9]{1,3})?")
_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


@dataclass(slots=True, kw_only=True)
class Source:
    """A policy's text, read: its values, and line and column (from 1) of each value and key."""

    file: str
    tree: Any = None
    values: dict[Path, tuple[int, int]] = field(default_factory=dict[Path, tuple[int, int]])
    keys: dict[Path, tuple[int, int]] = field(default_factory=dict[Path, tuple[int, int]])
    problems: list[Problem] = field(default_factory=list[Problem])

    def problem(self, path: Path, what: str, hint: str = "", *, key: bool = False, severity: str = "error") -> Problem:
        """A problem at `path`, or at the nearest block around it that stands in the file."""
        line, column = self.position(path, key=key)
        return Problem(file=self.file, line=line, column=column, what=what, hint=hint, severity=severity)

    def position(self, path: Path, *, key: bool = False) -> tuple[int, int]:
        """Line and column of the value at `path`, or of its key."""
        if key and path in self.keys:
            return self.keys[path]
        if path in self.values:
            return self.values[path]
        while path:
            *rest, last = path
            path = tuple(rest)
            if path in self.keys and isinstance(last, str):  # a block's name says more than its first line
                return self.keys[path]
            if path in self.values:
                return self.values[path]
        return 1, 1


def read(text: str, file: str) -> Source:
    """Parse `text`. Syntax errors raise; duplicate keys and the like are collected in `problems`."""
    import yaml

    source = Source(file=file)
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        _Reader(source, yaml.parse(text, Loader=loader)).document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        what = f"not YAML: {error.problem or error.context}"
        hint = _syntax_hint(_line(text, line))
        raise PolicyError([Problem(file=file, line=line, column=column, what=what, hint=hint)]) from None
    except yaml.YAMLError as error:  # characters that YAML forbids
        position = getattr(error, "position", 0) or 0
        before = text.encode()[:position].decode(errors="ignore")
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        what = "a character that YAML does not allow"
        raise PolicyError([Problem(file=file, line=line, column=column, what=what, hint="delete it")]) from None
    return source


def _syntax_hint(line: str) -> str:
    if "${" in line:
        return 'put it into quotes, as "${env:NAME}"'
    return "indent with spaces, never with tabs" if "\t" in line else "check quotes, brackets and indentation"


def _line(text: str, number: int) -> str:
    lines = text.splitlines()
    return lines[number - 1] if number <= len(lines) else ""


class _Reader:
    """Walks the events of one document. A value that an alias repeats counts again, but is never copied."""

    def __init__(self, source: Source, events: Iterator[Any]) -> None:
        self.source = source
        self.events = events
        self.anchors: dict[str, tuple[Any, int]] = {}
        self.count = 0

    def document(self) -> None:
        next(self.events)  # the stream begins
        if type(event := next(self.events)).__name__ == "StreamEndEvent":
            return
        self.source.tree = self.value(next(self.events), (), 0)
        next(self.events)  # the document ends
        if type(event := next(self.events)).__name__ != "StreamEndEvent":
            raise self.error(event, "a second document", "keep one policy per file, without a second '---'")

    def value(self, event: Any, path: Path, depth: int) -> Any:
        kind = type(event).__name__
        self.source.values[path] = event.start_mark.line + 1, event.start_mark.column + 1
        if kind == "AliasEvent":
            return self.alias(event)
        self.grow(event, 1)
        if depth > MAX_DEPTH:
            raise self.error(event, f"nested more than {MAX_DEPTH} deep", "a policy is flat")
        before = self.count
        if event.tag is not None and not (kind == "ScalarEvent" and event.tag == "!"):
            raise self.error(event, "a tag (!)", "write plain values; put text that begins with ! into quotes")
        if kind == "ScalarEvent":
            result: Any = event.value if event.style or not event.implicit[0] else _plain(event.value)
        elif kind == "SequenceStartEvent":
            result = self.sequence(path, depth)
        else:
            result = self.mapping(path, depth)
        if event.anchor is not None:
            self.anchors[event.anchor] = result, self.count - before + 1
        return result

    def sequence(self, path: Path, depth: int) -> list[Any]:
        items: list[Any] = []
        while type(event := next(self.events)).__name__ != "SequenceEndEvent":
            items.append(self.value(event, (*path, len(items)), depth + 1))
        return items

    def mapping(self, path: Path, depth: int) -> dict[str, Any]:
        block: dict[str, Any] = {}
        keys = self.source.keys
        while type(event := next(self.events)).__name__ != "MappingEndEvent":
            if type(event).__name__ != "ScalarEvent" or event.tag is not None:
                raise self.error(event, "a key that is not plain text", "write 'name: value'")
            self.grow(event, 1)
            key: str = event.value
            here = (*path, key)
            if key in block:
                first = keys[here][0]
                self.source.problems.append(
                    self.problem(event, f"key {key!r} appears twice in one block, first on line {first}", "keep one")
                )
                self.value(next(self.events), (*path, f"{key} again"), depth + 1)
                continue
            keys[here] = event.start_mark.line + 1, event.start_mark.column + 1
            if event.anchor is not None:
                self.anchors[event.anchor] = key, 1
            block[key] = self.value(next(self.events), here, depth + 1)
        return block

    def alias(self, event: Any) -> Any:
        if event.anchor not in self.anchors:
            raise self.error(event, f"alias *{event.anchor} before its anchor ended", f"put &{event.anchor} above it")
        result, size = self.anchors[event.anchor]
        self.grow(event, size)
        return result

    def grow(self, event: Any, size: int) -> None:
        self.count += size
        if self.count > MAX_VALUES:
            raise self.error(event, f"more than {MAX_VALUES} values, aliases counted", "split the policy")

    def problem(self, event: Any, what: str, hint: str) -> Problem:
        mark = event.start_mark
        return Problem(file=self.source.file, line=mark.line + 1, column=mark.column + 1, what=what, hint=hint)

    def error(self, event: Any, what: str, hint: str) -> PolicyError:
        return PolicyError([*self.source.problems, self.problem(event, what, hint)])


def _plain(text: str) -> Any:
    """A scalar without quotes, by the core schema."""
    if text in _WORDS:
        return _WORDS[text]
    first = text[0]
    if first.isdigit() or first in "-+.":
        if _INT.fullmatch(text):
            return int(text)
        if (
            any(letter in ".eE" for letter in text)
            and any(letter.isdigit() for letter in text)
            and _FLOAT.fullmatch(text)
        ):
            number = float(text)
            return number if isfinite(number) else text
    return text
