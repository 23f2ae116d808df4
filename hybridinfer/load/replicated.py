"""Several keys or URLs behind one target name: the less busy and faster of two random ones takes the call.

Power of two choices (Mitzenmacher, 2001) over outstanding calls times a latency that jumps up and fades with time (as
Finagle's peak EWMA). A replica that fails rests by itself, so a retry of the flow meets another one. Silence is a
failure, too: it arrives here as a call that is broken off, and a replica that swallows its calls must not look idle.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from ..patience import OURS
from ..receipt import Code
from ..resilience.breaker import FAILURES, FAIR, Breaker
from ..targets.base import Progress, Target, TargetEvent, TargetFailed

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from ..policy.model import CircuitBreakerBlock, TargetBlock
    from ..types import Request

NEARLY = 0.9
"""A limit's clock starts a little before this one."""

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
        block: TargetBlock,
        *,
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        self.info = targets[0].info
        self._block = block
        self._clock = clock
        self._rng = rng or random.Random()  # noqa: S311 - spreads load, guards nothing
        name = self.info.name
        self._replicas = [
            _Replica(target, Breaker(f"{name}[{number}]", settings, clock)) for number, target in enumerate(targets)
        ]

    async def stream(self, request: Request, *, stream: bool) -> AsyncIterator[TargetEvent]:
        """The chosen replica's answer. Raises TargetFailed(CIRCUIT_OPEN) while every replica rests."""
        replica, ticket = self._choose()
        started = heard = self._clock()
        first: float | None = None
        code, retry_after = Code.CANCELLED, None
        replica.busy += 1
        try:
            events = cast("AsyncGenerator[TargetEvent, None]", replica.target.stream(request, stream=stream))
            async with aclosing(events):
                async for event in events:
                    if first is None and not isinstance(event, Progress):
                        first = self._clock() - started
                    yield event
                    heard = self._clock()  # pauses of whoever reads are not the replica's
            code = Code.OK
        except asyncio.CancelledError as gone:  # while the replica was waited for; who leaves between two pieces closes
            if OURS not in gone.args:
                code = self._silence(request, quiet=self._clock() - heard, begun=first is not None)
            raise
        except TargetFailed as failed:
            code, retry_after = failed.code, failed.retry_after
            raise
        finally:
            now = self._clock()
            replica.busy -= 1
            replica.breaker.leave(ticket, code, retry_after=retry_after, first=first)
            if first is not None:
                replica.learn(first, now)
            else:  # it takes that long at least, and failing fast must not look fast
                replica.learn(max(now - started, 2 * replica.latency if code in FAILURES else 0.0), now)

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
        # Not `unavailable`: that would count against the target as a whole, whose own circuit would open again each time
        # its replicas come back one by one.
        raise TargetFailed(Code.CIRCUIT_OPEN, "every replica is resting after failures", retry=False, sent=False)

    def _silence(self, request: Request, *, quiet: float, begun: bool) -> Code:
        """Why a call was broken off after `quiet` seconds without a sign: the caller left, or the replica was silent."""
        if begun:
            return Code.STALLED if quiet >= NEARLY * self._block.stall else Code.CANCELLED
        usual = min(self._block.first_token, self._block.timeout)
        limit = None if request.terms is None else request.terms.first_token
        if limit is None or limit < FAIR * usual:
            return Code.CANCELLED
        return Code.TIMEOUT if quiet >= NEARLY * limit else Code.CANCELLED
