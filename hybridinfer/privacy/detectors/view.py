"""A text as the detectors read it, with what several of them need computed once."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate

from ..normalise import long_words
from .hints import HINTS, LABELS
from .once import once


class View:
    """One reading of a text."""

    def __init__(self, text: str, words: Sequence[str] | None = None) -> None:
        """`words`: the long ones of `text`, see `normalise.long_words`."""
        self.text = text
        self._words = long_words(text) if words is None else words

    @once
    def lower(self) -> str:
        """`text` in lower case, character by character, so that offsets stay."""
        lower = self.text.lower()
        return lower if len(lower) == len(self.text) else "".join(map(_lower, self.text))

    @once
    def hints(self) -> frozenset[str]:
        """Which of the detectors' hints are in `lower`."""
        return HINTS.present(self.lower)

    def hinted(self, words: frozenset[str]) -> bool:
        """Whether any of `words` is in `lower`; all of them must be registered with `hints`."""
        return not self.hints.isdisjoint(words)

    @once
    def flat(self) -> str:
        """`lower` with `_` and `-` as spaces: `patient_id`, `patient-id` and `Patient ID` read the same."""
        return self.lower.replace("_", " ").replace("-", " ")

    @once
    def has_digit(self) -> bool:
        """Whether there is any digit: most identifiers need one."""
        return _DIGIT.search(self.text) is not None

    @once
    def token_spans(self) -> tuple[tuple[int, int], ...]:
        """Where the long words are that may hold a key: 14 characters with a digit among them, or 30 in a row."""
        spans: list[tuple[int, int]] = []
        at = 0
        for word in self._words:
            if _is_keylike(word):
                start = self.text.find(word, at)
                at = start + len(word)
                spans.append((start, at))
        return tuple(spans)

    @once
    def token_windows(self) -> tuple[tuple[int, int], ...]:
        """The spans of `tokens`."""
        before = (0, *(end for _, end in self.token_spans))
        return tuple((max(at, start - _NEAR), end) for at, (start, end) in zip(before, self.token_spans, strict=False))

    @once
    def tokens(self) -> str:
        """Those words in lower case, each with what stands before it: keys are nowhere else."""
        return "\n".join([self.lower[start:end] for start, end in self.token_windows]) if self.token_spans else ""

    @once
    def near_windows(self) -> tuple[tuple[int, int], ...]:
        """The spans of `near`."""
        before = (0, *(start for start, _ in self._spans))
        return tuple((max(at, start - _NEAR), start) for at, (start, _) in zip(before, self._spans, strict=False))

    @once
    def near(self) -> str:
        """What stands before every number of five digits and more, `flat`: labels of identifiers are nowhere else.

        Empty: there is no such number.
        """
        return "".join([self.flat[start:end] + "\n" for start, end in self.near_windows]) if self._spans else ""

    @once
    def labels(self) -> frozenset[str]:
        """Which of the detectors' labels are in `near`."""
        return LABELS.present(self.near) if self.near else frozenset()

    @once
    def _spans(self) -> tuple[tuple[int, int], ...]:
        return tuple([match.span() for match in _LONG_NUMBER.finditer(self.text)]) if self.has_digit else ()

    @once
    def numbers(self) -> tuple[re.Match[str], ...]:
        """Every run of 7 to 21 digits, however grouped, that is no part of a word, an amount or a decimal."""
        return tuple(_NUMBER.finditer(self.text)) if self._spans else ()

    @once
    def codes(self) -> tuple[int, ...]:
        """Where a word with digits begins that may be an identifier: `123-45`, `AB12`; no amounts, no decimals."""
        found = [match.start() for span in self._spans for match in _CODE.finditer(self.text, *span)]
        starts: dict[int, None] = {}
        for digit in found:
            start = digit
            while start > 0 and digit - start < _HEAD and self.text[start - 1].isalpha():
                start -= 1
            if start == 0 or not (self.text[start - 1].isalnum() or self.text[start - 1] in "_.$€£/"):
                starts[start] = None
        return tuple(starts)

    def nearby(self, words: frozenset[str], start: int, end: int) -> bool:
        """Whether one of `words` (lower case) may stand between `start` and `end`, a little more being looked at."""
        for number in range(start // _CHUNK, end // _CHUNK + 1):
            chunk = self._chunks.get(number)
            if chunk is None:
                at = number * _CHUNK
                chunk = self._chunks[number] = frozenset(
                    _WORD.findall(self.lower, max(0, at - _LONGEST), at + _CHUNK + _LONGEST)
                )
            if not chunk.isdisjoint(words):
                return True
        return False

    @once
    def _chunks(self) -> dict[int, frozenset[str]]:
        """The words of every `_CHUNK` characters that anybody asked for."""
        return {}

    def before(self, start: int, cue: re.Pattern[str], *, width: int = 45) -> bool:
        """Whether `cue` stands on the same line within `width` characters before `start`."""
        at = max(0, start - width, self.lower.rfind("\n", max(0, start - width), start) + 1)
        return cue.search(self.lower, at, start) is not None

    def near_words(self, word: str) -> Iterator[int]:
        """Where in `text` the word begins that `near` holds."""
        at = self.near.find(word)
        while at >= 0:
            if at == 0 or not self.near[at - 1].isalnum() or word[0] >= "\u2e80":
                window = bisect_right(self._near_starts, at) - 1
                yield self.near_windows[window][0] + at - self._near_starts[window]
            at = self.near.find(word, at + 1)

    @once
    def _near_starts(self) -> list[int]:
        """Where each of `near_windows` begins in `near`."""
        return list(accumulate((end - start + 1 for start, end in self.near_windows), initial=0))

    def words(self, word: str, start: int = 0, end: int | None = None) -> Iterator[int]:
        """Where `word` (lower case, `flat`) begins a word, between `start` and `end`."""
        end = len(self.flat) if end is None else end
        at = self.flat.find(word, start, end)
        while at >= 0:
            if at == 0 or not self.flat[at - 1].isalnum():
                yield at
            at = self.flat.find(word, at + 1, end)


_DIGIT = re.compile(r"[0-9]")
_LONG_NUMBER = re.compile(
    r"[0-9](?<![0-9].)(?:(?:[A-Za-z*•]{0,3}[ ./()-]{0,3}[A-Za-z]{0,3}[0-9]){4,24}|[0-9]{3}[A-Z](?![A-Za-z0-9]))"
)
_NEAR = 80
_WORD = re.compile(r"[^\W\d_]+")
_CHUNK, _LONGEST = 64, 16
"""Characters whose words are looked up together, and those of a word across their borders."""
_RUN = re.compile(r"[A-Za-z0-9_+/=~-]{14,}")
_CODE = re.compile(r"[0-9](?<![0-9].)(?<![0-9][.,-].)(?! [0-9](?![0-9]))")
_HEAD = 6
"""Letters before the first digit of an identifier; codice fiscale has the most."""
_NUMBER = re.compile(
    r"[+(0-9](?<![\w.,$€£][+(0-9])(?<![0-9]-.)(?:(?<=[+(])\(?[0-9]|)(?:[ .\-()/]{0,3}[0-9]){6,20}(?:\s?(?:x|ext\.?\s?)[0-9]{1,6})?(?!\w|[.,][0-9])",
    re.ASCII,
)


def _is_keylike(word: str) -> bool:
    return any(len(run) >= 30 or _DIGIT.search(run) for run in _RUN.findall(word))


def _lower(char: str) -> str:
    lower = char.lower()
    return lower if len(lower) == 1 else char


def holds(text: str, hints: Iterable[str]) -> bool:
    """Whether any of `hints` is in `text`; a plain loop is much faster here than an expression or a generator."""
    for hint in hints:  # noqa: SIM110 - see above
        if hint in text:
            return True
    return False


def around(text: str, hints: Iterable[str], *, before: int, after: int) -> Iterator[tuple[int, int]]:
    """The parts of `text` that lie so near to any of `hints`; overlapping ones are one, so nothing is read twice."""
    places: list[int] = []
    for hint in hints:
        at = text.find(hint)
        while at >= 0:
            places.append(at)
            at = text.find(hint, at + len(hint))
    start = end = 0
    for place in sorted(places):
        if place - before > end:
            if end > 0:
                yield start, end
            start = place - before
        end = min(len(text), place + after)
    if end > 0:
        yield start, end


def digits(text: str) -> str:
    """Only the ASCII digits of `text`."""
    return "".join(filter(str.isdecimal, text))
