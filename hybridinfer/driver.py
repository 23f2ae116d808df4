"""Carries out what the flow asks for: scores, calls, waits and books. It decides nothing."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, assert_never

from .apart import Apart, Behind
from .budget.ledger import OverBudget
from .commands import (
    Abandoned,
    Answer,
    Call,
    Command,
    Deliver,
    Denied,
    Outcome,
    Pending,
    Race,
    Relay,
    Release,
    Reserve,
    Restart,
    Result,
    Runtime,
    Score,
    Settle,
    Sleep,
    Together,
    Work,
)
from .errors import RequestError
from .flow import run
from .observe.hooks import Hook, tell
from .opened import CLOSING, Opened
from .planning import INLINE_CHARACTERS, Planner, characters
from .privacy.egress import Clearance, Guarded
from .quick import replace
from .receipt import ANSWERED, Code, Receipt
from .signals.base import Signal, SignalResult, Standing
from .signals.registry import highest, score_all
from .types import Reset, Start, Terms, TextDelta, ToolCallDelta

if TYPE_CHECKING:
    from collections.abc import Awaitable, Generator

    from .budget.ledger import Ledger, Reservation
    from .budget.requests import RequestLog
    from .learning.memory import Memory
    from .learning.notes import Note
    from .receipt import Decision
    from .types import Request

logger = logging.getLogger("hybridinfer")

FASTER = "another target was faster"

Delta = Start | TextDelta | ToolCallDelta | Reset


@dataclass(frozen=True, slots=True, kw_only=True)
class Equipment:
    """What drives share: the locked targets, the signals, the ledger, the hooks."""

    runtime: Runtime
    targets: Mapping[str, Guarded]
    signals: Mapping[str, Signal]
    asks_standing: bool
    """A rule or boundary may depend on what the ledger says before the request."""
    quick_signals: bool
    """Every signal is this package's own, and so takes bounded time: a short request needs no thread."""
    ledger: Ledger
    sleep: Callable[[float], Awaitable[None]]
    memory: Memory | None = None
    """What is learned from the traffic; None: nothing."""
    hooks: Sequence[Hook] = ()
    books_behind: bool = False
    """The ledger's `settle` and `release` never wait (see `budget.book.books_behind`)."""
    log: RequestLog | None = None
    """The one of the hooks that records requests for `hybridinfer usage`; whoever closes the equipment closes it."""
    prompt: frozenset[str] = frozenset()
    """The targets whose calls end as soon as they are broken off: this package's own. Others are kept apart."""
    bookings: set[asyncio.Future[None]] = field(default_factory=set[asyncio.Future[None]])
    """Entries in the ledger that no request waits for any more."""
    behind: Behind = field(default_factory=set[asyncio.Task[None]])
    """Calls of other targets; who waits for the last of them waits for what requests have left behind."""


class Drive:
    """One request under way. Use `complete` or iterate `events`, once."""

    def __init__(
        self, equipment: Equipment, request: Request, *, hold: bool, path: Generator[Command, Any, Result] | None = None
    ) -> None:
        """`path`: what is carried out; None: the flow of `request`."""
        self._with = equipment
        self._request = request
        self._flow = run(request, equipment.runtime, hold=hold) if path is None else path
        self._calls: dict[str, Opened] = {}  # by target; those that are booked already are over and harmless
        self._silent: set[asyncio.Task[Outcome]] = set()  # calls that run while the flow does something else
        self._note: Note | None = None
        self.result: Result | None = None
        self.receipt: Receipt | None = None
        """There once the request has ended: answered, failed or abandoned."""

    @property
    def equipment(self) -> Equipment:
        """What it began with, whatever policy is in force now."""
        return self._with

    @property
    def request(self) -> Request:
        """As it came."""
        return self._request

    @property
    def noted(self) -> bool:
        """Whether features are kept of this request, so that a label would mean something."""
        return self._note is not None

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
        try:
            scores = await self._score(command, explain=True)
        finally:
            self._flow.close()
        planner = Planner(self._request, self._with.runtime)
        return await asyncio.to_thread(planner.plan, scores) if planner.long else planner.plan(scores)

    async def events(self) -> AsyncGenerator[Delta, None]:
        """The answer piece by piece; `result` is set at the end."""
        answer: Any = None
        try:
            while True:
                try:
                    command = self._flow.send(answer)
                except StopIteration as done:
                    self.result = done.value
                    self._tell(done.value.receipt)
                    return
                answer = None
                match command:
                    case Relay(target=target, opened=opened, joins=joins):
                        if not joins:
                            yield Start(target=target)
                        while (piece := await opened.next()) is not None:
                            yield piece
                        answer = opened.outcome
                    case Deliver(target=target, answer=whole):
                        yield Start(target=target)
                        for piece in _pieces(whole):
                            yield piece
                    case Restart(because=because):
                        yield Reset(because=because)
                    case _:
                        answer = await self._carry_out(command)
        except RequestError as error:
            self._tell(error.receipt)
            raise
        except BaseException:  # cancelled, closed, interrupted, or a fault of ours: what is owed is owed
            await self._abandon()
            raise

    def _tell(self, receipt: Receipt) -> None:
        self.receipt = receipt
        if receipt.kind == "audit" and not receipt.attempts:
            return  # it could not begin: nothing happened
        tell(receipt, self._with.hooks if self._note is None else (*self._with.hooks, self._note))

    async def _carry_out(self, command: Command) -> Any:
        match command:
            case Score():
                return await self._score(command)
            case Work(does=does, seconds=seconds):
                try:
                    async with asyncio.timeout(min(seconds, threading.TIMEOUT_MAX)):
                        return await asyncio.to_thread(does)
                except TimeoutError:
                    return None
            case Call():
                return await self._call(command)
            case Race():
                return await self._race(command)
            case Together(calls=calls):
                return await self._together(calls)
            case Reserve():
                return await self._reserve(command)
            case Settle(reservation=reservation, usd=usd, estimated=estimated):
                booking = self._with.ledger.settle(reservation, usd, estimated=estimated)
                return await self._booked(booking, command.seconds)
            case Release(reservation=reservation):
                return await self._booked(self._with.ledger.release(reservation), command.seconds)
            case Sleep(seconds=seconds):
                return await self._with.sleep(seconds)
            case Relay() | Restart() | Deliver():  # pragma: no cover - `events` carries these out itself
                raise AssertionError(command)
            case _:  # pragma: no cover
                assert_never(command)

    async def _score(self, command: Score, *, explain: bool = False) -> Mapping[str, SignalResult]:
        results, memory = await self._measure(command, explain=explain), self._with.memory
        if memory is None:
            return results
        own = command.request is self._request  # a judge's question and half an answer are nobody's traffic
        results = memory.place(results, count=own and not explain)
        if own and not explain:
            self._note = memory.note(command.request, results, self._with.runtime.infos)
        return results

    async def _measure(self, command: Score, *, explain: bool) -> Mapping[str, SignalResult]:
        policy, signals = self._with.runtime.policy, self._with.signals
        standing = Standing(asked=not self._with.runtime.window_budgets)
        if self._with.runtime.window_budgets and (explain or self._with.asks_standing):
            standing = await self._standing(command)
        if self._with.quick_signals and characters(command.request) <= INLINE_CHARACTERS:
            # A turn for everybody else: a request that no target is asked for waits for nothing else, and a caller who
            # asks again and again would keep the loop from the very probe that closes the circuits.
            await asyncio.sleep(0)
            return score_all(policy, signals, command.request, standing)
        try:
            async with asyncio.timeout(command.seconds / 2):
                return await asyncio.to_thread(score_all, policy, signals, command.request, standing)
        except TimeoutError:
            return {name: highest(block, "not measured in time") for name, block in policy.signals.items()}

    async def _standing(self, command: Score) -> Standing:
        """What the ledger says; half of the time for scoring is its, so that it cannot blind the other signals."""
        try:
            async with asyncio.timeout(command.seconds / 2):
                return await self._with.ledger.standing(command.request.tags)
        except Exception as error:  # noqa: BLE001 - a ledger may be anybody's code; money unknown is money denied
            logger.warning("the ledger did not tell its standing (%s)", type(error).__name__)
            return Standing(used=1.0, known=False)

    async def _reserve(self, command: Reserve) -> Reservation | Denied:
        # A ledger takes a cancelled reservation back by itself: that is in its contract.
        try:
            async with asyncio.timeout(command.seconds):
                return await self._with.ledger.reserve(
                    receipt_id=command.receipt_id, target=command.target, usd=command.usd, tags=command.tags
                )
        except OverBudget as over:
            return Denied(because=str(over))
        except Exception as error:  # noqa: BLE001 - as above
            logger.warning("the ledger did not reserve (%s)", type(error).__name__)
            return Denied(because="the ledger cannot be reached, so money is unknown")

    async def _booked(self, booking: Awaitable[None], seconds: float) -> None:
        """Wait for it, but not for long: whoever goes away or has waited enough leaves it to finish behind them."""
        if self._with.books_behind:  # it only queues, so there is nothing to wait for, and no task to pay for
            try:
                await booking
            except Exception as error:  # noqa: BLE001 - as below: the answer is not lost for it
                logger.error("a booking failed and will expire as spent (%s)", type(error).__name__)  # noqa: TRY400
            return
        entry = asyncio.ensure_future(booking)
        self._with.bookings.add(entry)
        entry.add_done_callback(self._entered)
        await asyncio.wait([entry], timeout=seconds)

    def _entered(self, entry: asyncio.Future[None]) -> None:
        self._with.bookings.discard(entry)
        if entry.cancelled() or entry.exception() is not None:
            # The answer is not lost for it: an open reservation turns into spent money by itself.
            error = "cancelled" if entry.cancelled() else type(entry.exception()).__name__
            logger.error("a booking failed and will expire as spent (%s)", error)

    async def _call(self, call: Call) -> Outcome | Pending:
        if call.patience is None:
            return await self._open(call)
        task = self._beside(call)
        await asyncio.wait([task], timeout=call.patience)
        return task.result() if task.done() else Pending(target=call.target, handle=task)

    async def _race(self, race: Race) -> Mapping[str, Outcome]:
        tasks: dict[str, asyncio.Task[Outcome]] = {race.pending.target: race.pending.handle}
        ends: dict[str, Outcome] = {}
        if race.call is not None and _answered(race.pending.handle):  # while money was reserved for the other one
            ends[race.call.target] = Outcome(code=Code.CANCELLED, because=FASTER, sent=False)
        elif race.call is not None:
            tasks[race.call.target] = self._beside(race.call)
        running: set[asyncio.Task[Outcome]] = set(tasks.values())
        while running and not any(_answered(task) for task in tasks.values()):
            _, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        won = False
        for name, task in tasks.items():
            if task.done() and not (won and task.result().code in ANSWERED):
                ends[name] = task.result()
                won = won or ends[name].code in ANSWERED
            else:
                await self._stop(task)
                await self._calls[name].close()
                ends[name] = self._calls[name].so_far(Code.CANCELLED, FASTER)
        return ends

    async def _together(self, calls: Sequence[Call]) -> Mapping[str, Outcome]:
        tasks = {call.target: self._beside(call) for call in calls}
        await asyncio.wait(tasks.values())
        return {target: task.result() for target, task in tasks.items()}

    def _beside(self, call: Call) -> asyncio.Task[Outcome]:
        task = asyncio.create_task(self._open(call))
        self._silent.add(task)
        task.add_done_callback(self._silent.discard)
        return task

    async def _stop(self, task: asyncio.Task[Outcome]) -> None:
        task.cancel()
        await asyncio.wait([task], timeout=CLOSING)

    async def _open(self, call: Call) -> Outcome:
        request = replace(call.request, terms=self._terms(call))
        clearance = Clearance(request=request, levels=call.levels, tags=request.tags)
        events = self._with.targets[call.target].stream(request, stream=not call.hold, clearance=clearance)
        if call.target not in self._with.prompt:
            events = Apart(events, self._with.behind, target=call.target)
        judged = self._with.runtime.infos[call.target].kind != "canned"
        opened = self._calls[call.target] = Opened(call, events, judged=judged)
        return await (opened.whole() if call.hold else opened.first())

    def _terms(self, call: Call) -> Terms:
        signals = self._with.runtime.policy.signals
        names = [name for name, block in signals.items() if (block.kind or name) == "privacy"]
        known = all(name in call.levels for name in names)
        return Terms(
            first_token=call.limits.total if call.hold else call.limits.first_token,
            privacy=tuple(f"{name}={call.levels[name]}" for name in names) if known else None,
        )

    async def _abandon(self) -> None:
        """The caller went away: stop the call, then let the flow book what is owed."""
        for task in list(self._silent):
            with suppress(asyncio.CancelledError):
                await self._stop(task)
        for opened in self._calls.values():
            with suppress(asyncio.CancelledError):
                await opened.close()
        outcomes = {target: opened.so_far(Code.CANCELLED) for target, opened in self._calls.items()}
        try:
            command = self._flow.throw(Abandoned(outcomes))
            while True:
                command = self._flow.send(await self._carry_out(command))
        except Abandoned as gone:
            if gone.receipt is not None:
                self._tell(gone.receipt)


def _answered(task: asyncio.Task[Outcome]) -> bool:
    return task.done() and task.result().code in ANSWERED


def _pieces(answer: Answer) -> Iterator[TextDelta | ToolCallDelta]:
    """A whole answer as a stream would have brought it."""
    if answer.text:
        yield TextDelta(text=answer.text, logprobs=answer.logprobs or ())
    for index, call in enumerate(answer.tool_calls):
        yield ToolCallDelta(index=index, id=call.id, name=call.name, arguments=call.arguments)
