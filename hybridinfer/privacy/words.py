"""Many literal values, found in one walk over a text: linear in its length, whatever the number of values."""

from __future__ import annotations

import re
from collections.abc import Iterator

_STARTS = re.compile(r"(?<![^\W_])[^\W_]|[^\w\s]|_")
"""Where a value may begin: at a word's first letter or digit, and at any sign."""


class Words:
    """A growing set of values. Matches are whole words, the longest first, and never overlap."""

    def __init__(self, *, head: int) -> None:
        """`head`: how many first characters choose the candidates; shorter values cannot be added."""
        self._head = head
        self._values: set[str] = set()
        self._lengths: dict[str, list[int]] = {}

    def __len__(self) -> int:
        return len(self._values)

    def add(self, value: str) -> None:
        """Look for `value` from now on."""
        if value in self._values:
            return
        if len(value) < self._head:
            raise ValueError(f"shorter than {self._head} characters")
        self._values.add(value)
        lengths = self._lengths.setdefault(value[: self._head], [])
        if len(value) not in lengths:
            lengths.append(len(value))
            lengths.sort(reverse=True)

    def find(self, text: str) -> Iterator[tuple[int, int]]:
        """The spans of all values in `text`."""
        if not self._values:
            return
        at = 0
        for match in _STARTS.finditer(text):
            start = match.start()
            if start < at:
                continue
            for length in self._lengths.get(text[start : start + self._head], ()):
                end = start + length
                value = text[start:end]
                if value in self._values and not (value[-1].isalnum() and text[end : end + 1].isalnum()):
                    at = end
                    yield start, end
                    break
