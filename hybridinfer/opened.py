"""One call of one target, from its first byte to its outcome: every way it can end becomes a code here."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from .answer import Assembly, code_of
from .commands import Outcome
from .continuing import TORN, Seam
from .patience import Patience
from .quick import builder, replace
from .receipt import ANSWERED, Code
from .targets.base import TargetEvent, TargetFailed
from .types import TextDelta, ToolCallDelta

if TYPE_CHECKING:
    from .commands import Call

logger = logging.getLogger("hybridinfer")

new_outcome = builder(Outcome)

UNREAD = Outcome(code=Code.INTERRUPTED)
"""Before anything came."""

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
        self._until = self._started + call.limits.deadline
        self._left = call.limits.total  # seconds; what the caller or our own loop holds up is not the target's
        self._assembly = Assembly()
        self._first_at: float | None = None
        self._seam = None if call.join is None else Seam(call.join)
        self._ready: deque[TextDelta | ToolCallDelta] = deque()
        self._over = False
        self.outcome = UNREAD

    async def whole(self) -> Outcome:
        """Read to the end."""
        timer = Patience(self._call.limits.total, left=self._call.limits.deadline)
        try:
            with timer:
                async for event in self._events:
                    if self._take(event) is None:
                        timer.again(min(ENDING, max(self._until - time.perf_counter(), 0.0)))
        except BaseException as error:  # noqa: BLE001 - every way a target can end becomes a code; the rest is re-raised
            return await self._failed(error, Code.TIMEOUT, timer)
        return self._ended()

    async def first(self) -> Outcome:
        """Read up to the first piece. A short answer may end right there."""
        silence, clock = self._call.limits.first_token, asyncio.get_running_loop().time
        last = clock() + self._left
        slow = Code.STALLED if silence < self._left else Code.TIMEOUT
        timer = Patience(min(silence, self._left), left=self._call.limits.deadline)
        try:
            with timer:
                async for event in self._events:
                    seen, left = self._take(event), last - clock() + timer.late
                    if seen:
                        self._left = left
                        return self.so_far(Code.OK, opened=self)
                    # Else it thinks, which is no silence, or its answer is whole.
                    timer.again(min(ENDING if seen is None else silence, left))
                    slow = Code.STALLED if silence < left else Code.TIMEOUT
        except BaseException as error:  # noqa: BLE001 - as above
            return await self._failed(error, slow, timer)
        return self._ended()

    async def next(self) -> TextDelta | ToolCallDelta | None:
        """The next piece, the first one included; None at the end."""
        while not self._ready and not self._over:
            await self._more()
        return self._ready.popleft() if self._ready else None

    async def _more(self) -> None:
        """Read one event, or see how it ends."""
        if self._seam is not None and self._seam.torn:
            self.outcome = self.so_far(Code.CANCELLED, TORN)
            await self.close()
            return
        began = time.perf_counter()
        left = max(min(self._left, self._until - began), 0.0)
        stall = self._call.limits.stall if self._assembly.finish is None else ENDING
        timer = Patience(min(stall, left), left=self._until - began)
        try:
            with timer:
                self._take(await anext(self._events))
        except StopAsyncIteration:
            self._over = True
            self.outcome = self._ended()
            self._sew()
        except BaseException as error:  # noqa: BLE001 - as above
            slow = Code.STALLED if stall < left else Code.TIMEOUT
            self.outcome = await self._failed(error, slow, timer)
            self._sew()
        else:
            self._left -= time.perf_counter() - began - timer.late

    def _sew(self) -> None:
        """At the end: what was held back is shown; an answer that is shorter than what was delivered is another one."""
        if self._seam is None or self._seam.torn:
            return
        self._ready.extend(self._seam.end())
        if self._seam.torn and self.outcome.code in ANSWERED:
            self.outcome = replace(self.outcome, code=Code.CANCELLED, because=TORN)

    def so_far(self, code: Code, because: str = "", *, opened: Opened | None = None) -> Outcome:
        """The outcome with what came until now; `opened`: more will come."""
        first = None if self._first_at is None else self._first_at - self._started
        return new_outcome(
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
        if seen:
            assert isinstance(event, (TextDelta, ToolCallDelta))
            if self._first_at is None:
                self._first_at = time.perf_counter()
            self._ready.extend((event,) if self._seam is None else self._seam.take(event))
        return seen

    def _ended(self) -> Outcome:
        if not self._judged:
            return self.so_far(Code.OK)
        join = self._call.join
        return self.so_far(*code_of(self._assembly, self._call.request, begun=join is not None and not join.anew))

    async def _failed(self, error: BaseException, slow: Code, timer: Patience) -> Outcome:
        """Turn how a target ended into an outcome; what is not the target's passes through. `slow`: if time was up."""
        if not isinstance(error, Exception):
            raise error
        await self.close()
        if self._assembly.finish is not None:
            logger.warning("target %s: %s after the end of its answer", self._call.target, type(error).__name__)
            return self._ended()
        if timer.expired:
            what = "the first piece" if self._first_at is None else "the next piece"
            because = f"no sign of {what} in time" if slow is Code.STALLED else "not done in time"
            if timer.late:
                because += f"; this program held its own event loop up for {timer.late:.1f} s"
            return replace(self.so_far(slow, because), error=error, late=timer.late)
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
