"""Limits of our own in front of a target: calls at a time, requests and tokens per minute.

Full means fail fast with `saturated`, so that the plan goes on to the next rung; that says nothing about the target's
health. A short queue evens out bursts.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, cast

from ..receipt import Code
from ..targets.base import Finish, Target, TargetEvent, TargetFailed

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from ..policy.model import TargetBlock
    from ..types import Request


class LimitedTarget:
    """A target that takes no more than its block allows."""

    def __init__(self, target: Target, block: TargetBlock, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.info = target.info
        self._target = target
        self._seats = Seats(block.max_concurrency, block.queue) if block.max_concurrency is not None else None
        self._requests = Allowance(block.requests_per_minute, clock)
        self._tokens = Allowance(block.tokens_per_minute, clock)
        self._max_tokens = block.max_tokens

    async def stream(self, request: Request, *, stream: bool) -> AsyncIterator[TargetEvent]:
        """The target's answer. Raises TargetFailed(SATURATED) when a limit is reached and the queue is full."""
        reserved = self._allow(request)
        if self._seats is not None:
            try:
                await self._seats.take()
            except BaseException:  # refused, cancelled, interrupted: whatever it is, nothing was used
                self._tokens.give_back(reserved)
                raise
        used = reserved
        try:
            events = cast("AsyncGenerator[TargetEvent, None]", self._target.stream(request, stream=stream))
            async with aclosing(events):
                async for event in events:
                    if isinstance(event, Finish) and event.usage is not None:
                        used = event.usage.input_tokens + event.usage.output_tokens
                    yield event
        finally:
            self._tokens.give_back(reserved - used)
            if self._seats is not None:
                self._seats.leave()

    def count_tokens(self, request: Request) -> int:
        """The target's own."""
        return self._target.count_tokens(request)

    async def warmup(self) -> None:
        """The target's own."""
        await self._target.warmup()

    async def aclose(self) -> None:
        """The target's own."""
        await self._target.aclose()

    def _allow(self, request: Request) -> int:
        """Take one request and its worst case of tokens from the allowances; the tokens that were taken."""
        worst = 0
        if self._tokens.limited:
            worst = self._target.count_tokens(request) + (request.max_tokens or self._max_tokens)
        if not self._requests.take(1):
            raise TargetFailed(Code.SATURATED, "its requests per minute are used up", retry=False)
        if not self._tokens.take(worst):
            self._requests.give_back(1)
            raise TargetFailed(Code.SATURATED, "its tokens per minute are used up", retry=False)
        return worst


class Seats:
    """So many at a time, so many waiting in order, the rest refused."""

    def __init__(self, seats: int, queue: int) -> None:
        self._free = seats
        self._queue = queue
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def take(self) -> None:
        """Sit down, perhaps after waiting. Raises TargetFailed(SATURATED) when the queue is full."""
        if self._free > 0:
            self._free -= 1
            return
        if len(self._waiting) >= self._queue:
            raise TargetFailed(Code.SATURATED, "all of its places and its queue are taken", retry=False)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.leave()  # the seat was handed over at the very moment of leaving
            elif turn in self._waiting:  # `leave` may have thrown it away already
                self._waiting.remove(turn)
            raise

    def leave(self) -> None:
        """Stand up; the first in the queue takes the seat."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1


class Allowance:
    """A token bucket: `per_minute` flow in evenly, a minute's worth is kept at most. None: no limit."""

    def __init__(self, per_minute: int | None, clock: Callable[[], float]) -> None:
        self.limited = per_minute is not None
        self._rate = (per_minute or 0) / 60.0
        self._most = float(per_minute or 0)
        self._level = self._most
        self._clock = clock
        self._at = clock()

    def take(self, amount: int) -> bool:
        """Take `amount` at once, or nothing. More than a whole minute's worth is taken from a full bucket."""
        if not self.limited:
            return True
        now = self._clock()
        self._level = min(self._most, self._level + (now - self._at) * self._rate)
        self._at = now
        if self._level < min(amount, self._most):
            return False
        self._level -= amount
        return True

    def give_back(self, amount: int) -> None:
        """Return what was not used; negative when more was used than taken."""
        if self.limited:
            self._level = min(self._most, self._level + amount)
