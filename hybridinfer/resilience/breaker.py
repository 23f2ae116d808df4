"""Circuit breaker: a target that keeps failing (or crawling) rests; then one probe, then a ramp, decide.

State of one target of one router, never of a host: two targets may share a host.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from threading import Lock
from typing import TYPE_CHECKING

from ..receipt import ANSWERED, Code
from .window import Window

if TYPE_CHECKING:
    from ..policy.model import CircuitBreakerBlock

logger = logging.getLogger("hybridinfer.breaker")

FAILURES: frozenset[Code] = frozenset(
    {Code.TIMEOUT, Code.STALLED, Code.RATE_LIMITED, Code.UNAVAILABLE, Code.INTERRUPTED, Code.INVALID_OUTPUT, Code.EMPTY}
)
"""Codes that speak against the target. A caller's mistake or our own full pool says nothing about it."""

FAIR = 0.1
"""An attempt that ran out of less than this share of its usual time says nothing about the target's health."""

RAMP = 8
"""Calls at a time that a half-open circuit lets through at most, doubling from 1; the next success closes it."""


class State(StrEnum):
    """Closed: calls pass. Open: none. Half-open: one probe, then twice as many after each success."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """A breaker's state at one moment. `retry_in`: seconds until a probe may pass, 0 when calls may pass."""

    state: State
    recent_calls: int
    recent_failures: int
    recent_slow: int
    retry_in: float


class Breaker:
    """Ask `enter` before a call and tell `leave` how it ended; `leave` must follow every ticket."""

    def __init__(self, name: str, settings: CircuitBreakerBlock, clock: Callable[[], float]) -> None:
        self._name = name
        self._settings = settings
        self._clock = clock
        self._window = Window(settings.within, clock)
        self._state = State.CLOSED
        self._rests_until = 0.0
        self._era = 0  # tickets of an older era say nothing about the present one
        self._permits = 1
        self._passing = 0
        self._lock = Lock()

    def enter(self) -> int | None:
        """A ticket for one call, or None while the circuit is open."""
        with self._lock:
            if self._state is State.OPEN and self._clock() >= self._rests_until:
                self._permits, self._passing = 1, 0
                self._to(State.HALF_OPEN)
            if self._state is State.CLOSED:
                return self._era
            if self._state is State.OPEN or self._passing >= self._permits:
                return None
            self._passing += 1
            return self._era

    def leave(self, ticket: int, code: Code, *, retry_after: float | None = None, first: float | None = None) -> None:
        """Report how the call of `ticket` ended; `first`: seconds to its first piece."""
        with self._lock:
            if ticket != self._era:
                return
            failed = code in FAILURES
            slow = self._settings.slow is not None and first is not None and first > self._settings.slow
            if self._state is State.HALF_OPEN:
                self._probed(code, failed=failed or slow, retry_after=retry_after)
            elif failed or code in ANSWERED:
                self._window.add(failed=failed, slow=slow)
                if (failed or slow) and self._too_bad():
                    self._rest(retry_after)

    def adjust(self, settings: CircuitBreakerBlock) -> None:
        """Judge by other settings from now on. The state stays; counts over another length of time begin anew."""
        with self._lock:
            if settings.within != self._settings.within:
                self._window = Window(settings.within, self._clock)
            self._settings = settings

    def health(self) -> Health:
        """The state now; for people and dashboards."""
        with self._lock:
            calls, failures, slow = self._window.counts()
            waiting = max(0.0, self._rests_until - self._clock()) if self._state is State.OPEN else 0.0
            return Health(
                state=self._state, recent_calls=calls, recent_failures=failures, recent_slow=slow, retry_in=waiting
            )

    def _too_bad(self) -> bool:
        calls, failures, slow = self._window.counts()
        least, share = self._settings.failures, self._settings.share
        return (failures >= least and failures >= share * calls) or (slow >= least and slow >= share * calls)

    def _probed(self, code: Code, *, failed: bool, retry_after: float | None) -> None:
        self._passing -= 1
        if failed:
            self._rest(retry_after)
        elif code in ANSWERED:
            self._permits *= 2
            if self._permits > RAMP:
                self._window.clear()
                self._to(State.CLOSED)
        # Neither proves health nor illness: the next call may probe.

    def _rest(self, retry_after: float | None) -> None:
        rest = max(self._settings.cool_down, retry_after or 0.0)
        self._rests_until = max(self._rests_until, self._clock() + rest)
        self._to(State.OPEN)

    def _to(self, state: State) -> None:
        self._era += 1
        level = logging.WARNING if state is State.OPEN else logging.INFO
        logger.log(level, "target %s: circuit %s -> %s", self._name, self._state, state)
        self._state = state
