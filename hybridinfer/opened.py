"""One call of one target, from its first byte to its outcome: every way it can end becomes a code here."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import TYPE_CHECKING

from .answer import Assembly, code_of
from .commands import Outcome
from .receipt import ANSWERED, Code
from .targets.base import Finish, TargetEvent, TargetFailed

if TYPE_CHECKING:
    from .commands import Call
    from .types import TextDelta, ToolCallDelta

logger = logging.getLogger("hybridinfer")

ENDING = 0.25
"""Seconds that a target has for coming to its end after its last event: the answer is whole and waits no longer."""

CLOSING = 1.0
"""Seconds that a target has for closing a call that is broken off."""


class Opened:
    """Read it with `whole`, or with `first` and then `next` until it gives None and `outcome` says how it ended."""

    def __init__(self, call: Call, events: AsyncIterator[TargetEvent], *, judged: bool) -> None:
        self._call = call
        self._judged = judged  # a canned reply counts as it is
        self._events = events
        self._started = time.perf_counter()
        self._until = self._started + call.limits.total
        self._assembly = Assembly()
        self._first_at: float | None = None
        self._pending: TextDelta | ToolCallDelta | None = None
        self._over = False
        self.outcome = Outcome(code=Code.INTERRUPTED)

    async def whole(self) -> Outcome:
        """Read to the end."""
        timer = asyncio.timeout(self._call.limits.total)
        try:
            async with timer:
                async for event in self._events:
                    if self._take(event) is None:
                        _hurry(timer)
        except BaseException as error:  # noqa: BLE001 - every way a target can end becomes a code; the rest is re-raised
            return await self._failed(error, Code.TIMEOUT if timer.expired() else None)
        return self._ended()

    async def first(self) -> Outcome:
        """Read up to the first piece. A short answer may end right there."""
        limits = self._call.limits
        timer = asyncio.timeout(limits.first_token)
        try:
            async with timer:
                async for event in self._events:
                    seen = self._take(event)
                    if seen is None:
                        _hurry(timer)
                    elif seen:
                        assert not isinstance(event, Finish)
                        self._pending = event
                        return self.so_far(Code.OK, opened=self)
        except BaseException as error:  # noqa: BLE001 - as above
            slow = Code.STALLED if limits.first_token < limits.total else Code.TIMEOUT
            return await self._failed(error, slow if timer.expired() else None)
        return self._ended()

    async def next(self) -> TextDelta | ToolCallDelta | None:
        """The next piece, the first one included; None at the end."""
        if self._pending is not None:
            piece, self._pending = self._pending, None
            return piece
        while not self._over:
            left = max(self._until - time.perf_counter(), 0.0)
            stall = self._call.limits.stall if self._assembly.finish is None else ENDING
            timer = asyncio.timeout(min(stall, left))
            try:
                async with timer:
                    event = await anext(self._events)
            except StopAsyncIteration:
                self._over = True
                self.outcome = self._ended()
            except BaseException as error:  # noqa: BLE001 - as above
                slow = Code.STALLED if stall < left else Code.TIMEOUT
                self.outcome = await self._failed(error, slow if timer.expired() else None)
            else:
                if self._take(event):
                    assert not isinstance(event, Finish)
                    return event
        return None

    def so_far(self, code: Code, because: str = "", *, opened: Opened | None = None) -> Outcome:
        """The outcome with what came until now; `opened`: more will come."""
        first = None if self._first_at is None else self._first_at - self._started
        return Outcome(
            code=code,
            answer=self._assembly.answer(),
            because=because,
            seconds=time.perf_counter() - self._started,
            first_token_seconds=first,
            opened=opened,
        )

    async def close(self) -> None:
        """Stop the work and free what it holds. What goes wrong meanwhile is logged: it changes no outcome."""
        self._over = True
        closing = getattr(self._events, "aclose", None)
        if closing is None:
            return
        try:
            async with asyncio.timeout(CLOSING):
                await closing()
        except Exception as error:  # noqa: BLE001 - a target may be anybody's code
            logger.warning("target %s: closing a call raised %s", self._call.target, type(error).__name__)

    def _take(self, event: TargetEvent) -> bool | None:
        """Keep the event. True: a piece that the caller should see; None: the answer's end, behind which nothing counts."""
        if self._assembly.finish is not None:
            return False
        seen = self._assembly.add(event)
        if self._assembly.finish is not None:
            return None
        if seen and self._first_at is None:
            self._first_at = time.perf_counter()
        return seen

    def _ended(self) -> Outcome:
        code, because = code_of(self._assembly, self._call.request) if self._judged else (Code.OK, "")
        return self.so_far(code, because)

    async def _failed(self, error: BaseException, slow: Code | None) -> Outcome:
        """Turn how a target ended into an outcome; what is not the target's passes through. `slow`: time was up."""
        if not isinstance(error, Exception):
            raise error
        await self.close()
        if self._assembly.finish is not None:
            logger.warning("target %s: %s after the end of its answer", self._call.target, type(error).__name__)
            return self._ended()
        if slow is not None:
            what = "the first piece" if self._first_at is None else "the next piece"
            because = f"no sign of {what} in time" if slow is Code.STALLED else "not done in time"
            return replace(self.so_far(slow, because), error=error)
        code = error.code if isinstance(error, TargetFailed) else None
        if isinstance(error, TargetFailed) and code not in ANSWERED:
            outcome = self.so_far(error.code, error.because)
            usage = error.usage or outcome.answer.usage
            return replace(
                outcome,
                answer=replace(outcome.answer, usage=usage),
                status=error.status,
                retry_after=error.retry_after,
                retry=error.retry,
                sent=error.sent,
                error=error.__cause__ or error,
            )
        # A target that breaks its contract is a target that is broken; the type is enough, the text may hold content.
        logger.error("target %s raised %s", self._call.target, type(error).__name__)
        return replace(self.so_far(Code.UNAVAILABLE, f"raised {type(error).__name__}"), error=error, retry=False)


def _hurry(timer: asyncio.Timeout) -> None:
    """The answer is whole."""
    soon = asyncio.get_running_loop().time() + ENDING
    timer.reschedule(min(soon, timer.when() or soon))
