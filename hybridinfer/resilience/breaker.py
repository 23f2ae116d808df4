"""Circuit breaker: after repeated failures a target rests, then one probe decides. State of one target."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from threading import Lock

from ..policy.model import CircuitBreakerBlock
from ..receipt import ANSWERED, Code

logger = logging.getLogger("hybridinfer.breaker")

FAILURES: frozenset[Code] = frozenset(
    {Code.TIMEOUT, Code.STALLED, Code.RATE_LIMITED, Code.UNAVAILABLE, Code.INTERRUPTED, Code.INVALID_OUTPUT, Code.EMPTY}
)
"""Codes that speak against the target. A caller's mistake or our own full pool says nothing about it."""


class State(StrEnum):
    """Closed: calls pass. Open: none. Half-open: one probe."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """A breaker's state at one moment. `retry_in`: seconds until a probe may pass, 0 when calls may pass."""

    state: State
    recent_failures: int
    retry_in: float


class Breaker:
    """Ask `enter` before a call and tell `leave` how it ended; `leave` must follow every ticket."""

    def __init__(self, name: str, settings: CircuitBreakerBlock, clock: Callable[[], float]) -> None:
        self._name = name
        self._settings = settings
        self._clock = clock
        self._failures: deque[float] = deque()
        self._state = State.CLOSED
        self._closed_until = 0.0  # meaning: no call passes before this time while open
        self._era = 0  # tickets of an older era say nothing about the present one
        self._probing = False
        self._lock = Lock()

    def enter(self) -> int | None:
        """A ticket for one call, or None while the circuit is open."""
        with self._lock:
            if self._state is State.CLOSED:
                return self._era
            if self._probing or self._clock() < self._closed_until:
                return None
            self._probing = True
            self._to(State.HALF_OPEN)
            return self._era

    def leave(self, ticket: int, code: Code, *, retry_after: float | None = None) -> None:
        """Report how the call of `ticket` ended."""
        with self._lock:
            if ticket != self._era:
                return
            now = self._clock()
            if self._state is State.HALF_OPEN:
                self._probing = False
                if code in ANSWERED:
                    self._to(State.CLOSED)
                    self._failures.clear()
                else:
                    # Neither a failure nor a neutral end proves health: rest again, or probe again at once.
                    rest = max(self._settings.cool_down, retry_after or 0.0) if code in FAILURES else 0.0
                    self._closed_until = max(self._closed_until, now + rest)
                    self._to(State.OPEN)
                return
            if code in FAILURES:
                self._fail(now, retry_after)

    def health(self) -> Health:
        """The state now; for people and dashboards."""
        with self._lock:
            self._forget(self._clock())
            waiting = 0.0 if self._state is State.CLOSED else max(0.0, self._closed_until - self._clock())
            return Health(state=self._state, recent_failures=len(self._failures), retry_in=waiting)

    def _fail(self, now: float, retry_after: float | None) -> None:
        self._failures.append(now)
        self._forget(now)
        if len(self._failures) >= self._settings.failures:
            self._closed_until = now + max(self._settings.cool_down, retry_after or 0.0)
            self._to(State.OPEN)

    def _forget(self, now: float) -> None:
        while self._failures and now - self._failures[0] > self._settings.within:
            self._failures.popleft()

    def _to(self, state: State) -> None:
        if state is State.OPEN or state is State.HALF_OPEN:
            self._era += 1
        level = logging.WARNING if state is State.OPEN else logging.INFO
        logger.log(level, "target %s: circuit %s -> %s", self._name, self._state, state)
        self._state = state
