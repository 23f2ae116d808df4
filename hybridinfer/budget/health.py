"""How targets did, from recorded requests: attempts, successes, latest codes, times."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..receipt import ANSWERED, Code

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .requests import Record

NOT_CALLED = frozenset(
    {Code.CIRCUIT_OPEN, Code.FORBIDDEN, Code.OVER_BUDGET, Code.OVER_DEADLINE, Code.SATURATED, Code.UNSAFE}
)
"""Codes of rungs that were passed over: nothing was sent."""

FAILED = frozenset(
    {
        Code.EMPTY,
        Code.INTERRUPTED,
        Code.INVALID_OUTPUT,
        Code.RATE_LIMITED,
        Code.STALLED,
        Code.TIMEOUT,
        Code.UNAUTHORIZED,
        Code.UNAVAILABLE,
    }
)
"""Codes that speak against a target; a caller's mistake and a caller who left do not."""

LATEST = 5
"""Codes that are shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Doing:
    """How one target did."""

    target: str
    attempts: int
    """Calls that were made."""
    passed_over: int
    """Rungs that were left out: a resting circuit, a spent budget, a full queue, a boundary, no time."""
    answered: int
    failed: int
    latest: tuple[str, ...]
    """The latest codes, newest first."""
    p50_seconds: float | None
    """Of the answered calls; None: there are none."""
    p95_seconds: float | None
    last_failure: float | None
    """When the latest request with a failed attempt here ended, in seconds since the epoch."""

    @property
    def share(self) -> float | None:
        """Answered calls among those that say something about the target, 0..1; None: there are none."""
        judged = self.answered + self.failed
        return self.answered / judged if judged else None


def doings(records: Iterable[Record]) -> dict[str, Doing]:
    """By target; `records` stand in the order of time."""
    codes: defaultdict[str, list[str]] = defaultdict(list)
    times: defaultdict[str, list[float]] = defaultdict(list)
    failures: dict[str, float] = {}
    for record in records:
        for one in record.attempts:
            codes[one.target].append(one.code)
            if one.code in ANSWERED:
                times[one.target].append(one.seconds)
            elif one.code in FAILED:
                failures[one.target] = record.at
    return {name: _doing(name, codes[name], sorted(times[name]), failures.get(name)) for name in codes}


def _doing(name: str, codes: list[str], rising: list[float], last_failure: float | None) -> Doing:
    passed_over = sum(code in NOT_CALLED for code in codes)
    return Doing(
        target=name,
        attempts=len(codes) - passed_over,
        passed_over=passed_over,
        answered=len(rising),
        failed=sum(code in FAILED for code in codes),
        latest=tuple(codes[: -LATEST - 1 : -1]),
        p50_seconds=_quantile(rising, 0.50),
        p95_seconds=_quantile(rising, 0.95),
        last_failure=last_failure,
    )


def _quantile(rising: list[float], share: float) -> float | None:
    return rising[max(0, math.ceil(share * len(rising)) - 1)] if rising else None
