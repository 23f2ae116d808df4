"""The caller's own words and patterns, from the policy's `terms` and `patterns`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from ..finding import Finding
from ..words import Words
from .linear import check_linear
from .view import View

_WINDOW, _STEP = 4096, 3072
"""Patterns see the text in overlapping windows, so that no pattern costs more than its window squared."""


class Own:
    """Lists of one's own. False when both are empty."""

    def __init__(self, *, terms: Iterable[str] = (), patterns: Iterable[str] = ()) -> None:
        """Raises ValueError for a term under two characters and for a pattern that is no linear-time one."""
        self._terms = Words(head=2)
        for term in terms:
            self._terms.add(View(term.strip()).lower)
        self._patterns = tuple(_compile(pattern) for pattern in patterns)

    def __bool__(self) -> bool:
        return bool(self._terms or self._patterns)

    def detect(self, view: View) -> Iterator[Finding]:
        """All own terms and patterns in `view`."""
        for start, end in self._terms.find(view.lower):
            yield _finding("own_term", start, end, "term")
        for number, pattern in enumerate(self._patterns, 1):
            for at in range(0, max(1, len(view.text) - (_WINDOW - _STEP)), _STEP):
                for match in pattern.finditer(view.text, at, at + _WINDOW):
                    if match.end() > match.start():
                        yield _finding("own_pattern", match.start(), match.end(), f"pattern {number}")


def _compile(pattern: str) -> re.Pattern[str]:
    check_linear(pattern)
    return re.compile(pattern)


def _finding(kind: str, start: int, end: int, validator: str) -> Finding:
    return Finding(type=kind, start=start, end=end, detector="own", validator=validator, confidence=1.0)
