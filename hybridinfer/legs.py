"""One call of one target within a request: what must be in order before it, what it owes after it.

Before: the breaker lets it pass, there is time, the money is reserved. After: the breaker is told, the bill is booked,
the line stands on the receipt. Like the flow, it yields commands and does no I/O.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from .commands import Abandoned, Call, Command, Denied, Limits, Outcome, Release, Reserve, Settle
from .quick import builder, quick, replace
from .receipt import ANSWERED, Attempt, Code
from .resilience.breaker import FAIR
from .types import Usage

if TYPE_CHECKING:
    from .budget.ledger import Reservation
    from .commands import Runtime
    from .continuing import Join
    from .planning import Planner
    from .types import Request

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
        Code.UNSURE,
        Code.CANCELLED,
    }
)
"""The target may have worked, so it may send a bill: settled with its usage, or with counted tokens."""

ACTED = MAYBE_PROCESSED | {Code.UNAVAILABLE}
"""After these a target may have acted on the request, unless it is certain that the request never left."""

UNHEARD = frozenset({Code.TIMEOUT, Code.STALLED, Code.INTERRUPTED, Code.CANCELLED})
"""Where nothing came back nobody knows how far the target went: settled with the worst case."""

RESTING = Outcome(code=Code.CIRCUIT_OPEN, because="resting after failures")
"""Of a call that is not made."""

UNUSED = Usage()
"""Of a call that told nothing."""

BOOKING = 1.0
"""Seconds that an answer waits for its booking, at most; see `Settle`."""


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What targets are asked: the request as it came, or the beginning of an answer that they shall go on with."""

    planner: Planner
    levels: Mapping[str, str]
    join: Join | None = None
    hold: bool = False
    """Nothing of the answer may be shown before it is whole and has passed its check."""
    purpose: str = ""
    """Why the same target is asked again for the same request; empty: to answer it."""

    @property
    def continues(self) -> bool:
        """The beginning of the answer stands in the request."""
        return self.join is not None and not self.join.anew


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """A call that may begin: `call` is to be yielded, `Legs.end` must follow."""

    call: Call
    ask: Ask
    worst: Decimal
    reservation: Reservation | None
    ticket: int | None


new_attempt, new_call, new_leg, new_limits = builder(Attempt), builder(Call), builder(Leg), builder(Limits)


class Legs:
    """All calls of one request, and their lines on the receipt."""

    def __init__(
        self,
        request: Request,
        runtime: Runtime,
        *,
        receipt_id: str,
        deadline: float,
        hold: bool,
        spent: Decimal = Decimal(0),
    ) -> None:
        """`spent`: what the request has cost already, on another receipt."""
        self.attempts: list[Attempt] = []
        self.acted = False
        """A target may have acted on the request."""
        self._request = request
        self._runtime = runtime
        self._receipt_id = receipt_id
        self._deadline = deadline
        self._hold = hold
        self._paid = spent
        self._open = Decimal(0)  # worst cases of the calls that are not booked yet

    @property
    def must_not_repeat(self) -> bool:
        """The request acts, and a target may have acted on it."""
        return self.acted and not self._request.safe_to_retry

    def begin(self, target: str, number: int, ask: Ask, *, until: float) -> Generator[Command, Any, Leg | Outcome]:
        """A leg, or the outcome (noted already) where it may not begin."""
        runtime, planner = self._runtime, ask.planner
        canned = runtime.infos[target].kind == "canned"
        if until <= runtime.clock() and not canned:
            return self.note(target, number, Outcome(code=Code.OVER_DEADLINE, because="no time left"))
        if self.must_not_repeat and not canned:
            return self.note(target, number, Outcome(code=Code.UNSAFE, because="an earlier target may have acted"))
        because = planner.over_budget(target, spent=self._paid + self._open)  # calls side by side share it
        if because:
            return self.note(target, number, Outcome(code=Code.OVER_BUDGET, because=because))
        breaker = runtime.breakers.get(target)
        ticket = breaker.enter() if breaker is not None else None
        if breaker is not None and ticket is None:
            return self.note(target, number, RESTING)
        worst = planner.worst_case(target) or Decimal(0)
        reserved: Reservation | Denied | None = None
        begun = False
        try:
            if worst > 0 and runtime.window_budgets:
                seconds = max(until - runtime.clock(), 0.001)
                reserved = yield Reserve(
                    target=target, usd=worst, receipt_id=self._receipt_id, tags=self._request.tags, seconds=seconds
                )
            begun = not isinstance(reserved, Denied)
        finally:
            if not begun and breaker is not None and ticket is not None:
                breaker.leave(ticket, Code.CANCELLED)
        if isinstance(reserved, Denied):
            return self.note(target, number, Outcome(code=Code.OVER_BUDGET, because=reserved.because))
        if number == 1:
            runtime.retry_budget.deposit()
        self._open += worst
        call = self._call(target, number, ask, until=until)
        return new_leg(call=call, ask=ask, worst=worst, reservation=reserved, ticket=ticket)

    def end(self, leg: Leg, outcome: Outcome) -> Generator[Command, Any, Outcome]:
        """Tell the breaker, write the line, book the bill. Gives the outcome with its cost."""
        runtime, target = self._runtime, leg.call.target
        self._judge(leg, outcome)
        self._open -= leg.worst
        usage = outcome.answer.usage
        heard = bool(outcome.answer.text or outcome.answer.tool_calls)
        processed = heard or (outcome.sent and outcome.code in MAYBE_PROCESSED)
        if usage is None and processed and runtime.infos[target].kind != "canned":
            usage = self._estimate(leg, outcome)
        if usage is not None:
            cost = runtime.prices.cost(target, usage, at=runtime.now(), seconds=outcome.seconds)
            if usage.estimated and not heard and outcome.code in UNHEARD:
                cost = max(cost, leg.worst)
            if cost != usage.cost_usd or usage is not outcome.answer.usage:
                usage = replace(usage, cost_usd=cost)
                outcome = replace(outcome, answer=replace(outcome.answer, usage=usage))
        self.acted = self.acted or heard or (outcome.sent and outcome.code in ACTED)
        self.note(target, leg.call.number, outcome)  # first: a caller who leaves during the booking has it there
        patience = max(min(BOOKING, self._deadline - runtime.clock()), 0.02)
        if leg.reservation is not None and usage is None:
            yield Release(reservation=leg.reservation, seconds=patience)
        elif leg.reservation is not None and usage is not None:
            yield Settle(reservation=leg.reservation, usd=usage.cost_usd, estimated=usage.estimated, seconds=patience)
        return outcome

    def end_all(
        self, legs: Sequence[Leg], outcomes: Mapping[str, Outcome]
    ) -> Generator[Command, Any, dict[str, Outcome]]:
        """`end` for each of them, by target. A caller who leaves during one booking does not undo the others."""
        ends: dict[str, Outcome] = {}
        left: Abandoned | None = None
        for position, leg in enumerate(legs):
            target = leg.call.target
            try:
                ends[target] = yield from self.end(leg, outcomes[target])
            except Abandoned as gone:
                left = gone
            except GeneratorExit:
                for rest in legs[position + 1 :]:
                    self.drop(rest)
                raise
        if left is not None:
            raise left
        return ends

    def drop(self, leg: Leg) -> None:
        """The flow was closed, which no driver does midway: at least the breaker waits for nobody."""
        self._judge(leg, Outcome(code=Code.CANCELLED))

    def _judge(self, leg: Leg, outcome: Outcome) -> None:
        """Tell the breaker, and remember the time of an answer."""
        runtime, target, first = self._runtime, leg.call.target, outcome.first_token_seconds
        if first is not None and outcome.code in ANSWERED:
            runtime.latencies[target].add(first)
        breaker = runtime.breakers.get(target)
        if breaker is None or leg.ticket is None:
            return
        code = outcome.code
        if outcome.late or (code is Code.TIMEOUT and self._hurried(leg.call)):
            code = Code.OVER_DEADLINE
        breaker.leave(leg.ticket, code, retry_after=outcome.retry_after, first=first)

    def _hurried(self, call: Call) -> bool:
        """Whether the target had much less time than usual, so that being too slow says nothing about it."""
        policy = self._runtime.policy
        usual = min(policy.targets[call.target].timeout, policy.resilience.deadline)
        return call.limits.total < usual * FAIR

    def note(self, target: str, number: int, outcome: Outcome) -> Outcome:
        """Write one line on the receipt."""
        usage = outcome.answer.usage or UNUSED
        attempt = new_attempt(
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
            confidence=outcome.answer.confidence,
            ran_on=outcome.answer.ran_on,
        )
        self.attempts.append(attempt)
        self._paid += usage.cost_usd
        return outcome

    def amend(self, line: int, code: Code, *, because: str, confidence: float | None = None) -> None:
        """Write down what a check of the answer behind a line said; the bill stays."""
        self.attempts[line] = replace(self.attempts[line], code=code, because=because, confidence=confidence)

    def _call(self, target: str, number: int, ask: Ask, *, until: float) -> Call:
        block, info = self._runtime.policy.targets[target], self._runtime.infos[target]
        total = left = block.timeout
        if info.kind != "canned":
            left = max(until - self._runtime.clock(), 0.001)
            total = min(total, left)
        request = ask.planner.resolved(target, key=self._key(target, ask) if info.idempotent else None)
        return new_call(
            target=target,
            number=number,
            request=request,
            levels=ask.levels,
            limits=new_limits(total=total, first_token=min(block.first_token, total), stall=block.stall, deadline=left),
            hold=self._hold or ask.hold,
            join=ask.join,
        )

    def _key(self, target: str, ask: Ask) -> str:
        """The same for every try of the same request on this target. A digest: names of targets are nobody's business."""
        held = ask.join.held if ask.join is not None and ask.continues else ""
        parts = f"{self._receipt_id}\0{target}\0{held}\0{ask.purpose}"
        return sha256(parts.encode("utf-8", "replace")).hexdigest()[:32]

    def _estimate(self, leg: Leg, outcome: Outcome) -> Usage:
        """Counted tokens where the target did not tell."""
        target = leg.call.target
        said = outcome.answer.text + "".join(call.arguments for call in outcome.answer.tool_calls)
        return Usage(
            input_tokens=leg.ask.planner.tokens(target),
            output_tokens=self._runtime.count_text(target, said) if said else 0,
            estimated=True,
        )
