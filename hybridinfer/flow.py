"""The path of one request, top to bottom: score -> decide -> reserve -> attempt (retry, fall back) -> relay -> receipt.

`run` is a generator that does no I/O: it yields commands (`commands.py`), a driver carries each one out and sends
the answer back. So every rule about retries, fallbacks, deadlines and money stands here once, for sync and async,
streaming or not, real or simulated.

Rules of the path
- Every fallback starts from the original request.
- One deadline over everything; the last rung on this device keeps a slice of it that nothing else may use.
- A call is never made without its money reserved; what may have been processed is paid for, known or estimated.
- Unknown means deny in privacy and money.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from .commands import (
    Abandoned,
    Call,
    Command,
    Deliver,
    Denied,
    Limits,
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
from .errors import StreamInterrupted
from .failure import failure
from .planning import Planner
from .receipt import ANSWERED, Attempt, Code, Decision, Receipt
from .resilience.retry import Retries
from .types import Request, Usage

if TYPE_CHECKING:
    from .budget.ledger import Reservation
    from .signals.base import SignalResult

Flow = Generator[Command, Any, Result]
Steps = Generator[Command, Any, Outcome]

ALWAYS_FALL_THROUGH = frozenset(
    {
        Code.CIRCUIT_OPEN,
        Code.FORBIDDEN,
        Code.OVER_BUDGET,
        Code.OVER_DEADLINE,
        Code.SATURATED,
        Code.UNSAFE,
        Code.UNSUPPORTED,
    }
)
"""Nothing was sent: the next rung may try, whatever the policy lists."""

MAYBE_PROCESSED = frozenset(
    {
        Code.OK,
        Code.TRUNCATED,
        Code.TIMEOUT,
        Code.STALLED,
        Code.INTERRUPTED,
        Code.EMPTY,
        Code.REFUSED,
        Code.INVALID_OUTPUT,
        Code.CANCELLED,
    }
)
"""The target may have worked, so it may send a bill: settled with its usage, or with counted tokens."""

ACTED = MAYBE_PROCESSED | {Code.UNAVAILABLE}
"""After these a target may have acted on the request, unless it is certain that the request never left."""

UNHEARD = frozenset({Code.TIMEOUT, Code.STALLED, Code.INTERRUPTED, Code.CANCELLED})
"""Where nothing came back nobody knows how far the target went: settled with the worst case."""

FAIR = 0.1
"""An attempt that ran out of less than this share of its usual time says nothing about the target's health."""

BOOKING = 1.0
"""Seconds that an answer waits for its booking, at most; see `Settle`."""


def run(request: Request, runtime: Runtime, *, hold: bool) -> Flow:
    """Carry `request` through. `hold=True` reads each answer whole before it counts (`complete`).

    Returns the answer with its receipt; raises a `RequestError` that carries the receipt.
    """
    one = _Run(request, runtime, hold=hold)
    try:
        return (yield from one.steps())
    except Abandoned as gone:
        gone.receipt = one.receipt()
        raise


class _Run:
    """One request under way: what has been tried, what was paid, what time is left."""

    def __init__(self, request: Request, runtime: Runtime, *, hold: bool) -> None:
        self.request = request
        self.runtime = runtime
        self.policy = runtime.policy
        settings = runtime.policy.resilience
        self.on_interrupt = request.on_interrupt or settings.on_interrupt
        self.streaming = not hold
        self.hold = hold or self.on_interrupt == "buffer"
        self.planner = Planner(request, runtime)
        self.id = runtime.new_id()
        self.started = runtime.clock()
        self.seconds = settings.deadline if request.timeout is None else request.timeout
        self.deadline = self.started + self.seconds
        self.last_rung = min(settings.last_rung, self.seconds / 2)
        self.attempts: list[Attempt] = []
        self.decision: Decision | None = None
        self.last: Outcome | None = None
        self.acted = False  # a target may have acted on the request
        self.allowed = 0.0  # seconds that the latest call was given
        self.shown: tuple[str, Outcome] | None = None  # whose pieces the caller holds, and how that ended

    def steps(self) -> Flow:
        """The whole path."""
        scores: Mapping[str, SignalResult] = yield Score(request=self.request, seconds=self.seconds - self.last_rung)
        self.decision = decision = self.planner.plan(scores)
        kept: tuple[str, Outcome] | None = None
        for position, target in enumerate(decision.plan):
            outcome = yield from self._target(target, until=self._until(position))
            if outcome.code is not Code.UNSAFE:
                self.last = outcome
            goes_on = self._fall_through(outcome.code, position)
            if outcome.code in ANSWERED:
                if not goes_on:
                    return (yield from self._answered(target, outcome))
                kept = target, outcome  # truncated, and the policy hopes for better: still better than nothing
            elif not goes_on:
                break
        if kept is not None:
            return (yield from self._answered(*kept))
        if self.shown is not None:
            raise self._interrupted(*self.shown)
        raise failure(self.receipt(), self.last)

    def _answered(self, target: str, outcome: Outcome) -> Flow:
        if self.streaming and (self.shown is None or self.shown[0] != target):
            yield from self._take_back()
            yield Deliver(target=target, answer=outcome.answer)
        return Result(answer=outcome.answer, receipt=self.receipt(target))

    def _take_back(self) -> Generator[Command, Any, None]:
        """Before anything new is shown. Not earlier: if nobody else answers, the caller keeps what came."""
        if self.shown is not None:
            target, outcome = self.shown
            self.shown = None
            yield Restart(because=f"{target}: {outcome.code}")

    def _interrupted(self, target: str, outcome: Outcome) -> StreamInterrupted:
        partial = outcome.answer.text
        because = f"{outcome.code}: {outcome.because}" if outcome.because else str(outcome.code)
        message = f"the stream of target {target!r} failed after {len(partial)} characters ({because})"
        error = StreamInterrupted(message, self.receipt(), partial=partial)
        error.__cause__ = outcome.error
        return error

    def _fall_through(self, code: Code, position: int) -> bool:
        assert self.decision is not None
        if position + 1 == len(self.decision.plan):
            return False
        if self.shown is not None and self.on_interrupt != "restart":
            return False  # what was shown stays
        return code in ALWAYS_FALL_THROUGH or code in self.policy.resilience.fallback_on

    def _until(self, position: int) -> float:
        """When target number `position` has to be done: the deadline, less what a later rung here needs."""
        assert self.decision is not None
        later = [self.runtime.infos[name] for name in self.decision.plan[position + 1 :]]
        if any(info.zone == "device" and info.kind != "canned" for info in later):
            return self.deadline - self.last_rung
        if any(info.kind == "canned" for info in later):
            return self.deadline - min(0.05, self.seconds / 20)
        return self.deadline

    def _target(self, target: str, *, until: float) -> Steps:
        """All attempts on one target."""
        runtime = self.runtime
        retries: Retries | None = None
        number = 1
        while True:
            outcome = yield from self._attempt(target, number, until=until)
            if outcome.code in ANSWERED or (self.shown is not None and self.shown[0] == target):
                return outcome
            if outcome.code not in self.policy.resilience.retry_on or self._must_not_repeat():
                return outcome
            if retries is None:
                retries = Retries(
                    self.policy.resilience,
                    seconds_left=lambda: until - runtime.clock(),
                    random=runtime.random,
                    budget=runtime.retry_budget,
                )
            wait = retries.wait_after(outcome)
            if wait is None:
                return outcome
            yield Sleep(seconds=wait)
            number += 1

    def _attempt(self, target: str, number: int, *, until: float) -> Steps:
        """One attempt: breaker, time, money, call, bill, line on the receipt."""
        runtime = self.runtime
        canned = runtime.infos[target].kind == "canned"
        if until <= runtime.clock() and not canned:
            return self._note(target, number, Outcome(code=Code.OVER_DEADLINE, because="no time left"))
        if self._must_not_repeat() and not canned:
            return self._note(target, number, Outcome(code=Code.UNSAFE, because="an earlier target may have acted"))
        because = self.planner.over_budget(target, spent=self._spent())
        if because:
            return self._note(target, number, Outcome(code=Code.OVER_BUDGET, because=because))
        breaker = runtime.breakers.get(target)
        ticket = breaker.enter() if breaker is not None else None
        if breaker is not None and ticket is None:
            return self._note(target, number, Outcome(code=Code.CIRCUIT_OPEN, because="resting after failures"))
        outcome = Outcome(code=Code.CANCELLED)
        try:
            outcome = yield from self._paid(target, number, until=until)
        finally:
            if breaker is not None and ticket is not None:
                hurried = outcome.code is Code.TIMEOUT and self.allowed < self._usual(target) * FAIR
                breaker.leave(
                    ticket,
                    Code.OVER_DEADLINE if hurried else outcome.code,
                    retry_after=outcome.retry_after,
                    first=outcome.first_token_seconds,
                )
        return outcome

    def _paid(self, target: str, number: int, *, until: float) -> Steps:
        """The call between its reservation and its bill."""
        runtime = self.runtime
        worst = self.planner.worst_case(target) or Decimal(0)
        reservation: Reservation | None = None
        if worst > 0 and runtime.window_budgets:
            reserved: Reservation | Denied = yield Reserve(
                target=target,
                usd=worst,
                receipt_id=self.id,
                tags=self.request.tags,
                seconds=max(until - runtime.clock(), 0.001),
            )
            if isinstance(reserved, Denied):
                return self._note(target, number, Outcome(code=Code.OVER_BUDGET, because=reserved.because))
            reservation = reserved
        if number == 1:
            runtime.retry_budget.deposit()
        try:
            outcome: Outcome = yield self._call(target, number, until=until)
            if outcome.code in ANSWERED and outcome.opened is not None:
                yield from self._take_back()
                outcome = yield Relay(target=target, opened=outcome.opened)
                self.shown = target, outcome
        except Abandoned as gone:
            yield from self._book(target, number, gone.outcome, reservation, worst)
            raise
        return (yield from self._book(target, number, outcome, reservation, worst))

    def _must_not_repeat(self) -> bool:
        return self.acted and not self.request.safe_to_retry

    def _usual(self, target: str) -> float:
        """Seconds that an attempt has when nobody hurries."""
        return min(self.policy.targets[target].timeout, self.policy.resilience.deadline)

    def _call(self, target: str, number: int, *, until: float) -> Call:
        block = self.policy.targets[target]
        total = block.timeout
        if self.runtime.infos[target].kind != "canned":
            total = min(total, max(until - self.runtime.clock(), 0.001))
        self.allowed = total
        limits = Limits(total=total, first_token=min(block.first_token, total), stall=block.stall)
        assert self.decision is not None
        return Call(
            target=target,
            number=number,
            request=self.planner.resolved(target),
            levels=self.decision.levels,
            limits=limits,
            hold=self.hold,
        )

    def _book(
        self,
        target: str,
        number: int,
        outcome: Outcome,
        reservation: Reservation | None,
        worst: Decimal,
    ) -> Steps:
        """Settle or release, and write the attempt down."""
        usage = outcome.answer.usage
        heard = bool(outcome.answer.text or outcome.answer.tool_calls)
        processed = heard or outcome.code in MAYBE_PROCESSED
        if usage is None and processed and self.runtime.infos[target].kind != "canned":
            usage = self._estimate(target, outcome)
        if usage is not None:
            cost = self.runtime.prices.cost(target, usage, at=self.runtime.now(), seconds=outcome.seconds)
            if usage.estimated and not heard and outcome.code in UNHEARD:
                cost = max(cost, worst)
            usage = replace(usage, cost_usd=cost)
            outcome = replace(outcome, answer=replace(outcome.answer, usage=usage))
        self.acted = self.acted or (outcome.sent and outcome.code in ACTED)
        self._note(target, number, outcome)  # first: a caller who leaves during the booking has it on the receipt
        if reservation is not None and usage is None:
            yield Release(reservation=reservation, seconds=self._patience())
        elif reservation is not None and usage is not None:
            yield Settle(
                reservation=reservation, usd=usage.cost_usd, estimated=usage.estimated, seconds=self._patience()
            )
        return outcome

    def _patience(self) -> float:
        return max(min(BOOKING, self.deadline - self.runtime.clock()), 0.02)

    def _estimate(self, target: str, outcome: Outcome) -> Usage:
        """Counted tokens where the target did not tell."""
        said = outcome.answer.text + "".join(call.arguments for call in outcome.answer.tool_calls)
        return Usage(
            input_tokens=self.planner.tokens(target),
            output_tokens=self.runtime.count_text(target, said) if said else 0,
            estimated=True,
        )

    def _note(self, target: str, number: int, outcome: Outcome) -> Outcome:
        usage = outcome.answer.usage or Usage()
        attempt = Attempt(
            target=target,
            number=number,
            code=outcome.code,
            because=outcome.because,
            seconds=outcome.seconds,
            first_token_seconds=outcome.first_token_seconds,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cost_usd=usage.cost_usd,
            estimated=usage.estimated,
            status=outcome.status,
        )
        self.attempts.append(attempt)
        return outcome

    def _spent(self) -> Decimal:
        return sum((attempt.cost_usd for attempt in self.attempts), Decimal(0))

    def receipt(self, answered_by: str | None = None) -> Receipt:
        """The receipt as of now."""
        runtime, decision = self.runtime, self.decision
        info = runtime.infos[answered_by] if answered_by else None
        rung = decision.ladder.index(answered_by) + 1 if answered_by and decision else None
        return Receipt(
            id=self.id,
            policy=self.policy.name,
            policy_digest=runtime.digest,
            decision=decision,
            attempts=tuple(self.attempts),
            target=answered_by,
            zone=info.zone if info else None,
            rung=rung,
            degraded=bool(info and (rung != 1 or info.kind == "canned")),
            seconds=runtime.clock() - self.started,
            tags=self.request.tags,
        )
