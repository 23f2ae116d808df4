"""Bytes of tokens to text that may be shown: whole characters only, and never the beginning of a stop string."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class TextStream:
    """Releases text as soon as it cannot become a stop string any more.

    `stopped` turns true when a stop string was met; the text ends before it.
    """

    def __init__(self, stops: Sequence[str] = ()) -> None:
        self._stops = tuple(stop for stop in stops if stop)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        self.decoded = 0
        """Characters decoded so far, held ones included."""
        self.released = 0
        """Characters given out so far."""
        self.stopped = False

    def push(self, piece: bytes) -> str:
        """Take more bytes; returns the text that is now certain."""
        return self._take(self._decoder.decode(piece))

    def finish(self) -> str:
        """No more bytes come: returns what was held back. A broken last character becomes U+FFFD."""
        text = self._take(self._decoder.decode(b"", final=True))
        rest, self._held = self._held, ""
        self.released += len(rest)
        return text + rest

    def _take(self, text: str) -> str:
        if self.stopped:
            return ""
        self.decoded += len(text)
        self._held += text
        hits = [at for at in (self._held.find(stop) for stop in self._stops) if at >= 0]
        if hits:
            self.stopped = True
            certain, self._held = self._held[: min(hits)], ""
        else:
            kept = possible_start(self._held, self._stops)
            certain, self._held = self._held[: len(self._held) - kept], self._held[len(self._held) - kept :]
        self.released += len(certain)
        return certain


def possible_start(text: str, marks: Sequence[str]) -> int:
    """The length of the longest end of `text` that begins one of `marks` without completing it."""
    longest = max((len(mark) for mark in marks), default=1) - 1
    for size in range(min(longest, len(text)), 0, -1):
        if any(mark.startswith(text[-size:]) for mark in marks):
            return size
    return 0
