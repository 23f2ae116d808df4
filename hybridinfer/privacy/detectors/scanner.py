"""Runs every family over every reading of a text, and fails closed."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ..finding import Finding, merge
from ..normalise import Reading, readings
from .catalogue import TYPES
from .families import FAMILIES, HINTED, NUMERIC
from .own import Own
from .view import View

Detector = Callable[[View], Iterable[Finding]]


@dataclass(slots=True)
class Clock:
    """Time that scanning may still take; `deadline` in seconds of `now`."""

    now: Callable[[], float]
    deadline: float

    def is_over(self) -> bool:
        """Whether the time is up."""
        return self.now() > self.deadline


class Scanner:
    """All families and one's own lists, within a time limit. Holds no state of any request."""

    def __init__(
        self,
        *,
        own: Own | None = None,
        seconds: float = 2.0,
        now: Callable[[], float] = time.monotonic,
        families: Iterable[tuple[str, Detector]] | None = None,
        more: Iterable[tuple[str, Detector]] = (),
    ) -> None:
        """`seconds`: for one text, or for all texts that share a `clock`. `families` replaces the built-in ones, `more` comes after them."""
        self._families = (*(FAMILIES.items() if families is None else families), *more)
        if own is not None and own:
            self._families += (("own", own.detect),)
        self._seconds = seconds
        self._now = now

    def clock(self) -> Clock:
        """A clock for the texts of one request."""
        return Clock(now=self._now, deadline=self._now() + self._seconds)

    def scan(self, text: str, *, as_json: bool = False, clock: Clock | None = None) -> tuple[Finding, ...]:
        """What `text` holds, in its order, without overlaps. `as_json`: strings are read unescaped.

        A detector that raises, and time that runs out, are findings over the whole text: type `unscanned`.
        """
        clock = clock or self.clock()
        findings: list[Finding] = []
        for reading in readings(text, as_json=as_json):
            findings += self._read(reading, clock)
            if findings and findings[-1].type == UNSCANNED:
                return (_unscanned(findings[-1].detector, len(text), findings[-1].validator),)
        return merge(findings)

    def _read(self, reading: Reading, clock: Clock) -> list[Finding]:
        text = _PLACEHOLDER.sub(_blank, reading.text) if "]" in reading.text else reading.text
        view = View(text, reading.words if text is reading.text else None)
        findings: list[Finding] = []
        for name, detect in self._families:
            if (
                (name == COMPANIONS and not findings)
                or (name in NUMERIC and not view.has_digit)
                or (name in HINTED and not view.hints)
            ):
                continue
            try:
                found = list(detect(view))
            except Exception:  # noqa: BLE001 - whatever a detector trips over, its silence must not read as "clean"
                return [_unscanned(name, len(reading.text), "detector failed")]
            if clock.is_over():
                return [_unscanned(name, len(reading.text), "out of time")]
            if found:
                findings += map(reading.original, found)
        return findings


_PLACEHOLDER = re.compile(rf"\[(?:{'|'.join(map(str.upper, TYPES))})_[0-9]{{1,6}}[a-z]{{0,3}}_[a-z]{{4}}\]")
"""What `redact` leaves: nothing is found in it, nor across it."""


def _blank(match: re.Match[str]) -> str:
    return "¤" * len(match[0])


UNSCANNED = "unscanned"
COMPANIONS = "names"
"""The family that matters only beside findings of others."""


def scan(text: str, *, as_json: bool = False) -> tuple[Finding, ...]:
    """What `text` holds by the built-in families."""
    return Scanner().scan(text, as_json=as_json)


def _unscanned(family: str, length: int, why: str) -> Finding:
    return Finding(type=UNSCANNED, start=0, end=length, detector=family, validator=why, confidence=1.0)
