"""A text as the detectors read it, with what several of them need computed once."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property

from ..finding import Finding


class View:
    """One reading of a text."""

    def __init__(self, text: str) -> None:
        self.text = text

    @cached_property
    def lower(self) -> str:
        """`text` in lower case, character by character, so that offsets stay."""
        lower = self.text.lower()
        return lower if len(lower) == len(self.text) else "".join(_lower(char) for char in self.text)

    @cached_property
    def has_digit(self) -> bool:
        """Whether there is any digit: most identifiers need one."""
        return _DIGIT.search(self.text) is not None

    def words(self, word: str) -> Iterator[int]:
        """Where `word` (lower case) begins a word, in any case."""
        at = self.lower.find(word)
        while at >= 0:
            if at == 0 or not self.lower[at - 1].isalnum():
                yield at
            at = self.lower.find(word, at + 1)


_DIGIT = re.compile(r"[0-9]")


def _lower(char: str) -> str:
    lower = char.lower()
    return lower if len(lower) == 1 else char


__all__ = ["Finding", "View"]
