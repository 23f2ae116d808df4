"""Several keys or URLs behind one target name: the less busy and faster of two random ones takes the call.

Power of two choices (Mitzenmacher, 2001) over outstanding calls times a latency that jumps up and fades with time (as
Finagle's peak EWMA). A replica that fails rests by itself, so a retry of the flow meets another one.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from ..receipt import Code
from ..resilience.breaker import FAILURES, Breaker
from ..targets.base import Progress, Target, TargetEvent, TargetFailed

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from ..policy.model import CircuitBreakerBlock
    from ..types import Request

FADE = 10.0
"""Seconds in which a remembered latency loses 63% of its weight, so that a slow replica is tried again."""


@dataclass(slots=True)
class _Replica:
    target: Target
    breaker: Breaker
    busy: int = 0
    latency: float = 1e-3  # seconds to the first event; little until known, so that a new one is tried
    at: float = 0.0

    def load(self, now: float) -> float:
        return (self.busy + 1) * max(1e-3, self.latency * math.exp((self.at - now) / FADE))

    def learn(self, latency: float, now: float) -> None:
        faded = self.latency * math.exp((self.at - now) / FADE)
        self.latency, self.at = max(latency, faded), now


class ReplicatedTarget:
    """A target whose calls are spread over `targets`, which differ only in key or URL."""

    def __init__(
        self,
        targets: Sequence[Target],
        settings: CircuitBreakerBlock,
        *,
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        self.info = targets[0].info
        self._clock = clock
        self._rng = rng or random.Random()  # noqa: S311 - spreads load, guards nothing
        name = self.info.name
        self._replicas = [
            _Replica(target, Breaker(f"{name}[{number}]", settings, clock)) for number, target in enumerate(targets)
        ]

    async def stream(self, request: Request, *, stream: bool) -> AsyncIterator[TargetEvent]:
        """The chosen replica's answer. Raises TargetFailed(UNAVAILABLE) while every replica rests."""
        replica, ticket = self._choose()
        started = self._clock()
        first: float | None = None
        code = Code.CANCELLED
        replica.busy += 1
        try:
            events = cast("AsyncGenerator[TargetEvent, None]", replica.target.stream(request, stream=stream))
            async with aclosing(events):
                async for event in events:
                    if first is None and not isinstance(event, Progress):
                        first = self._clock() - started
                    yield event
            code = Code.OK
        except TargetFailed as failed:
            code = failed.code
            raise
        finally:
            replica.busy -= 1
            replica.breaker.leave(ticket, code, first=first)
            if first is not None:
                replica.learn(first, self._clock())
            elif code in FAILURES:
                replica.learn(2 * replica.latency, self._clock())  # failing fast must not look fast

    def count_tokens(self, request: Request) -> int:
        """The same for every replica."""
        return self._replicas[0].target.count_tokens(request)

    async def warmup(self) -> None:
        """Warm every replica up."""
        for replica in self._replicas:
            await replica.target.warmup()

    async def aclose(self) -> None:
        """Close every replica."""
        for replica in self._replicas:
            await replica.target.aclose()

    def _choose(self) -> tuple[_Replica, int]:
        now = self._clock()
        candidates = self._rng.sample(self._replicas, len(self._replicas))
        candidates[:2] = sorted(candidates[:2], key=lambda replica: replica.load(now))
        for replica in candidates:
            ticket = replica.breaker.enter()
            if ticket is not None:
                return replica, ticket
        raise TargetFailed(Code.UNAVAILABLE, "every replica is resting after failures", retry=False)
