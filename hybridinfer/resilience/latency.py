"""How long a target usually takes to its first sign of an answer."""

from __future__ import annotations

from collections import deque

KEPT = 200
"""Latest calls that count."""

ENOUGH = 20
"""Calls before a quantile says anything."""


class Latency:
    """The latest answered calls of one target, in seconds."""

    def __init__(self) -> None:
        self._seconds: deque[float] = deque(maxlen=KEPT)

    def add(self, seconds: float) -> None:
        """One more answered call."""
        self._seconds.append(seconds)

    def quantile(self, share: float) -> float | None:
        """So many seconds were enough for `share` (0..1) of the calls (nearest rank); None: too few calls yet."""
        if len(self._seconds) < ENOUGH:
            return None
        ordered = sorted(self._seconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
