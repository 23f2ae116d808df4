"""Counts over the last so many seconds, in constant memory: a ring of buckets."""

from __future__ import annotations

from collections.abc import Callable

BUCKETS = 10
"""The window slides in steps of a tenth of its length."""


class Window:
    """How many calls ended within the last `seconds`, how many of them badly, how many slowly."""

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._step = seconds / BUCKETS
        self._clock = clock
        self._buckets: dict[int, list[int]] = {}  # number of the step -> [calls, failures, slow]

    def add(self, *, failed: bool, slow: bool) -> None:
        """One call ended."""
        bucket = self._buckets.setdefault(self._now(), [0, 0, 0])
        bucket[0] += 1
        bucket[1] += failed
        bucket[2] += slow

    def counts(self) -> tuple[int, int, int]:
        """(calls, failures, slow calls)."""
        oldest = self._now() - BUCKETS
        for number in [number for number in self._buckets if number <= oldest]:
            del self._buckets[number]
        calls, failures, slow = (sum(bucket[i] for bucket in self._buckets.values()) for i in range(3))
        return calls, failures, slow

    def clear(self) -> None:
        """Forget everything."""
        self._buckets.clear()

    def _now(self) -> int:
        return int(self._clock() / self._step)
