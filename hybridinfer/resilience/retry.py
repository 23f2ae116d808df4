"""Whether and when to call the same target again. tenacity decides; nothing here sleeps or calls."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING

from tenacity import DoSleep, RetryCallState, Retrying, wait_exponential

from ..receipt import Code

if TYPE_CHECKING:
    from ..commands import Outcome
    from ..policy.model import ResilienceBlock


NEVER: frozenset[Code] = frozenset(
    {
        Code.CANCELLED,
        Code.CIRCUIT_OPEN,
        Code.CONTEXT_TOO_LONG,
        Code.FORBIDDEN,
        Code.INVALID,
        Code.OVER_BUDGET,
        Code.OVER_DEADLINE,
        Code.UNAUTHORIZED,
        Code.UNSUPPORTED,
    }
)
"""Asking again cannot change these, whatever a policy lists under `retry_on`."""


class Retries:
    """The retries of one target within one request.

    Waits grow exponentially with full jitter (AWS Architecture Blog, "Exponential Backoff And Jitter"), are never
    shorter than the Retry-After of the latest response, and are not begun when they would not fit.
    """

    def __init__(
        self,
        settings: ResilienceBlock,
        *,
        seconds_left: Callable[[], float],
        random: Callable[[], float],
        budget: RetryBudget,
    ) -> None:
        self._settings = settings
        self._seconds_left = seconds_left
        self._random = random
        self._budget = budget
        self._ceiling = wait_exponential(multiplier=settings.retry.backoff, max=settings.retry.max_backoff)
        # A fresh object for each series: tenacity keeps its statistics on it.
        self._tenacity = Retrying(
            retry=self._worth_it, wait=self._wait, stop=self._stop, retry_error_callback=lambda _state: None
        )
        self._tenacity.begin()
        self._state = RetryCallState(self._tenacity, fn=None, args=(), kwargs={})

    def wait_after(self, outcome: Outcome) -> float | None:
        """Seconds to wait before the next attempt on this target; None: go on to the next rung."""
        self._state.set_result(outcome)
        step = self._tenacity.iter(self._state)
        if not isinstance(step, DoSleep):
            return None
        self._state.prepare_for_next_attempt()
        return float(step)

    def _outcome(self, state: RetryCallState) -> Outcome:
        assert state.outcome is not None
        outcome: Outcome = state.outcome.result()
        return outcome

    def _worth_it(self, state: RetryCallState) -> bool:
        outcome = self._outcome(state)
        if outcome.retry is False:
            return False
        # "Retry" from the target cannot make a retry of what the policy does not retry.
        return outcome.code in self._settings.retry_on and outcome.code not in NEVER

    def _wait(self, state: RetryCallState) -> float:
        jittered = self._random() * self._ceiling(state)
        return max(jittered, self._outcome(state).retry_after or 0.0)

    def _stop(self, state: RetryCallState) -> bool:
        return (
            state.attempt_number >= self._settings.retry.attempts
            or state.upcoming_sleep >= self._seconds_left()
            or not self._budget.spend()
        )


class RetryBudget:
    """Stops retry storms: retries may be at most a share of recent first attempts, plus a small reserve.

    A token bucket as in Finagle's RetryBudget: each first attempt deposits `share`, each retry takes one. `trickle`
    tokens a second fill the reserve up again, so that a quiet process has retries, too.
    """

    def __init__(
        self,
        *,
        share: float = 0.2,
        reserve: float = 10.0,
        ceiling: float = 100.0,
        trickle: float = 0.1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._share = share
        self._tokens = self._reserve = reserve
        self._ceiling = ceiling
        self._trickle = trickle
        self._clock = clock
        self._at = clock()
        self._lock = Lock()

    def deposit(self) -> None:
        """A first attempt was made."""
        with self._lock:
            self._tokens = min(self._ceiling, self._tokens + self._share)

    def spend(self) -> bool:
        """Take one retry; False when there is none left."""
        with self._lock:
            now = self._clock()
            if self._tokens < self._reserve:
                self._tokens = min(self._reserve, self._tokens + (now - self._at) * self._trickle)
            self._at = now
            if self._tokens < 1:
                return False
            self._tokens -= 1
            return True


PROCESS = RetryBudget()
"""The budget of every router of this process that was given none of its own: a storm knows no routers."""
