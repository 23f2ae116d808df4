"""Carries out what the flow asks for: scores, calls, waits and books. It decides nothing."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, assert_never

from .answer import Assembly, code_of
from .budget.ledger import LedgerDown, OverBudget
from .commands import (
    Abandoned,
    Call,
    Command,
    Denied,
    Outcome,
    Relay,
    Release,
    Reserve,
    Restart,
    Result,
    Runtime,
    Score,
    Settle,
    Sleep,
)
from .flow import run
from .planning import Planner
from .privacy.egress import Clearance, Guarded
from .receipt import Code
from .signals.base import Signal, SignalResult, Standing
from .signals.registry import highest, score_all
from .targets.base import Finish, TargetEvent, TargetFailed
from .types import Reset, Start, TextDelta, ToolCallDelta

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from .budget.ledger import Ledger, Reservation
    from .receipt import Decision
    from .types import Request

logger = logging.getLogger("hybridinfer")

INLINE_CHARACTERS = 20_000
"""Longer requests are scored in a thread: that many characters take a few milliseconds."""

Delta = Start | TextDelta | ToolCallDelta | Reset


@dataclass(frozen=True, slots=True, kw_only=True)
class Equipment:
    """What drives share: the locked targets, the signals and the ledger."""

    runtime: Runtime
    targets: Mapping[str, Guarded]
    signals: Mapping[str, Signal]
    ledger: Ledger
    sleep: Callable[[float], Awaitable[None]]


class Drive:
    """One request under way. Use `complete` or iterate `events`, once."""

    def __init__(self, equipment: Equipment, request: Request, *, hold: bool) -> None:
        self._with = equipment
        self._request = request
        self._flow = run(request, equipment.runtime, hold=hold)
        self._opened: _Opened | None = None
        self._reserving: asyncio.Future[Reservation] | None = None
        self.result: Result | None = None

    async def complete(self) -> Result:
        """The whole answer. Cancelling books what is owed, then passes on."""
        async for _event in self.events():
            pass
        assert self.result is not None
        return self.result

    async def decide(self) -> Decision:
        """What the flow would do, without doing it."""
        command = next(self._flow)
        assert isinstance(command, Score)
        scores = await self._score(command)
        self._flow.close()
        return Planner(self._request, self._with.runtime).plan(scores)

    async def events(self) -> AsyncGenerator[Delta, None]:
        """The answer piece by piece; `result` is set at the end."""
        answer: Any = None
        try:
            while True:
                try:
                    command = self._flow.send(answer)
                except StopIteration as done:
                    self.result = done.value
                    return
                if isinstance(command, Relay):
                    yield Start(target=command.target)
                    async for piece in command.opened.pieces():
                        yield piece
                    answer = command.opened.outcome
                elif isinstance(command, Restart):
                    answer = yield Reset(because=command.because)
                else:
                    answer = await self._carry_out(command)
        except (asyncio.CancelledError, GeneratorExit):
            await self._abandon()
            raise

    async def _carry_out(self, command: Command) -> Any:
        match command:
            case Score():
                return await self._score(command)
            case Call():
                return await self._call(command)
            case Reserve():
                return await self._reserve(command)
            case Settle(reservation=reservation, usd=usd, estimated=estimated):
                return await self._booked(self._with.ledger.settle(reservation, usd, estimated=estimated))
            case Release(reservation=reservation):
                return await self._booked(self._with.ledger.release(reservation))
            case Sleep(seconds=seconds):
                return await self._with.sleep(seconds)
            case Relay() | Restart():  # pragma: no cover - `events` carries these out itself
                raise AssertionError(command)
            case _:  # pragma: no cover
                assert_never(command)

    async def _score(self, command: Score) -> Mapping[str, SignalResult]:
        policy, signals = self._with.runtime.policy, self._with.signals
        try:
            async with asyncio.timeout(command.seconds):
                standing = Standing()
                if self._with.runtime.window_budgets:
                    try:
                        standing = await self._with.ledger.standing(command.request.tags)
                    except LedgerDown:
                        standing = Standing(used=1.0, known=False)
                if _characters(command.request) <= INLINE_CHARACTERS:
                    return score_all(policy, signals, command.request, standing)
                return await asyncio.to_thread(score_all, policy, signals, command.request, standing)
        except TimeoutError:
            return {name: highest(block, "not measured in time") for name, block in policy.signals.items()}

    async def _reserve(self, command: Reserve) -> Reservation | Denied:
        reserving = self._with.ledger.reserve(
            receipt_id=command.receipt_id, target=command.target, usd=command.usd, tags=command.tags
        )
        self._reserving = asyncio.ensure_future(reserving)
        try:
            return await asyncio.shield(self._reserving)
        except OverBudget as over:
            return Denied(because=str(over))
        except LedgerDown:
            return Denied(because="the ledger cannot be reached, so money is unknown")

    async def _booked(self, booking: Awaitable[None]) -> None:
        try:
            await asyncio.shield(asyncio.ensure_future(booking))
        except LedgerDown as down:
            # The answer is not lost for it: an open reservation turns into spent money by itself.
            logger.error("a booking failed and will expire as spent: %s", down)  # noqa: TRY400 - no traceback needed

    async def _call(self, call: Call) -> Outcome:
        clearance = Clearance(request=call.request, levels=call.levels, tags=call.request.tags)
        events = self._with.targets[call.target].stream(call.request, stream=not call.hold, clearance=clearance)
        judged = self._with.runtime.infos[call.target].kind != "canned"
        self._opened = _Opened(call, events, judged=judged)
        return await (self._opened.whole() if call.hold else self._opened.first())

    async def _abandon(self) -> None:
        """The caller went away: stop the call, then let the flow book what is owed."""
        opened, outcome = self._opened, Outcome(code=Code.CANCELLED)
        if opened is not None:
            with suppress(asyncio.CancelledError):
                await opened.close()
            outcome = opened.so_far(Code.CANCELLED)
        try:
            command = self._flow.throw(Abandoned(outcome))
            while True:
                command = self._flow.send(await self._carry_out(command))
        except (Abandoned, StopIteration):
            pass
        if self._reserving is not None and opened is None:
            with suppress(OverBudget, LedgerDown):
                await self._with.ledger.release(await self._reserving)


class _Opened:
    """One call of one target, from its first byte to its outcome."""

    def __init__(self, call: Call, events: AsyncIterator[TargetEvent], *, judged: bool) -> None:
        self._call = call
        self._judged = judged  # a canned reply counts as it is
        self._events = events
        self._started = time.perf_counter()
        self._until = self._started + call.limits.total
        self._assembly = Assembly()
        self._first_at: float | None = None
        self._pending: list[TextDelta | ToolCallDelta] = []
        self.outcome = Outcome(code=Code.INTERRUPTED)

    async def whole(self) -> Outcome:
        """Read to the end."""
        try:
            async with asyncio.timeout(self._call.limits.total):
                async for event in self._events:
                    self._take(event)
        except BaseException as error:  # noqa: BLE001 - every way a target can end becomes a code; the rest is re-raised
            return await self._failed(error, Code.TIMEOUT)
        return self._ended()

    async def first(self) -> Outcome:
        """Read up to the first piece. A short answer may end right there."""
        try:
            async with asyncio.timeout(self._call.limits.first_token):
                async for event in self._events:
                    if self._take(event):
                        assert not isinstance(event, Finish)
                        self._pending.append(event)
                        return replace(self.so_far(Code.OK), opened=self)
        except BaseException as error:  # noqa: BLE001 - as above
            slow = Code.STALLED if self._call.limits.first_token < self._call.limits.total else Code.TIMEOUT
            return await self._failed(error, slow)
        return self._ended()

    async def pieces(self) -> AsyncGenerator[TextDelta | ToolCallDelta, None]:
        """The first piece and all that follow; afterwards `outcome` says how it ended."""
        for piece in self._pending:
            yield piece
        while True:
            left = self._until - time.perf_counter()
            stall = self._call.limits.stall
            try:
                async with asyncio.timeout(min(stall, max(left, 0.0))):
                    event = await anext(self._events)
            except StopAsyncIteration:
                self.outcome = self._ended()
                return
            except BaseException as error:  # noqa: BLE001 - as above
                self.outcome = await self._failed(error, Code.STALLED if stall < left else Code.TIMEOUT)
                return
            if self._take(event):
                assert not isinstance(event, Finish)
                yield event

    def so_far(self, code: Code, because: str = "") -> Outcome:
        """The outcome with what came until now."""
        first = None if self._first_at is None else self._first_at - self._started
        return Outcome(
            code=code,
            answer=self._assembly.answer(),
            because=because,
            seconds=time.perf_counter() - self._started,
            first_token_seconds=first,
        )

    async def close(self) -> None:
        """Stop the work and free what it holds."""
        closing = getattr(self._events, "aclose", None)
        if closing is not None:
            await closing()

    def _take(self, event: TargetEvent) -> bool:
        """Keep the event; True for a piece that the caller should see."""
        seen = self._assembly.add(event)
        if seen and self._first_at is None:
            self._first_at = time.perf_counter()
        return seen

    def _ended(self) -> Outcome:
        code, because = code_of(self._assembly, self._call.request) if self._judged else (Code.OK, "")
        return self.so_far(code, because)

    async def _failed(self, error: BaseException, slow: Code) -> Outcome:
        """Turn how a target ended into an outcome; what is not the target's passes through."""
        if not isinstance(error, Exception):
            raise error
        await self.close()
        if isinstance(error, TargetFailed):
            outcome = self.so_far(error.code, error.because)
            usage = error.usage or outcome.answer.usage
            return replace(
                outcome,
                answer=replace(outcome.answer, usage=usage),
                status=error.status,
                retry_after=error.retry_after,
                retry=error.retry,
                error=error.__cause__ or error,
            )
        if isinstance(error, TimeoutError):
            what = "the first token" if slow is Code.STALLED and self._first_at is None else "the next piece"
            because = f"no sign of {what} in time" if slow is Code.STALLED else "not done in time"
            return replace(self.so_far(slow, because), error=error)
        # A target that breaks its contract is a target that is broken; the type is enough, the text may hold content.
        logger.error("target %s raised %s", self._call.target, type(error).__name__)
        return replace(self.so_far(Code.UNAVAILABLE, f"raised {type(error).__name__}"), error=error, retry=False)


def _characters(request: Request) -> int:
    return sum(len(message.text) for message in request.messages)
