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
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, NamedTuple

from .checks import Checks, agreeing
from .commands import (
    Abandoned,
    Command,
    Deliver,
    Outcome,
    Pending,
    Race,
    Result,
    Runtime,
    Score,
    Sleep,
    Work,
)
from .continuing import NO_PREFIX
from .failure import failure
from .legs import Ask, Leg, Legs
from .planning import Planner
from .quick import builder, replace
from .receipt import ANSWERED, Code, Decision, Receipt
from .resilience.retry import Retries
from .rest import Rest
from .shown import Shown
from .types import Request

if TYPE_CHECKING:
    from .policy.model import RuleBlock
    from .policy.rung import AcceptBlock, Agreement
    from .receipt import OnInterrupt
    from .signals.base import SignalResult

Flow = Generator[Command, Any, Result]
Steps = Generator[Command, Any, Outcome]

new_ask, new_receipt, new_result = builder(Ask), builder(Receipt), builder(Result)

ALWAYS_FALL_THROUGH = frozenset(
    {
        Code.CIRCUIT_OPEN,
        Code.FORBIDDEN,
        Code.OVER_BUDGET,
        Code.OVER_DEADLINE,
        Code.SATURATED,
        Code.UNSAFE,
        Code.UNSUPPORTED,
        Code.UNSURE,
    }
)
"""Nothing was sent, or what came back does not count: the next rung may try, whatever the policy lists."""


TWICE = Outcome(
    code=Code.UNSAFE, because="its answer might not count, and the request must not be sent twice", sent=False
)


class Tried(NamedTuple):
    """Who ended an attempt how, and where the plan goes on if it has to."""

    target: str
    outcome: Outcome
    next: int


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

    rule: RuleBlock
    """The one that matched; there wherever the plan is not empty."""
    accept: Mapping[str, AcceptBlock]
    """Its checks, by target."""

    def __init__(self, request: Request, runtime: Runtime, *, hold: bool) -> None:
        self.request = request
        self.runtime = runtime
        self.policy = runtime.policy
        settings = runtime.policy.resilience
        self.on_interrupt: OnInterrupt = request.on_interrupt or settings.on_interrupt
        self.streaming = not hold
        self.hold = hold or self.on_interrupt == "buffer"
        self.planner = Planner(request, runtime)
        self.id = runtime.new_id()
        self.started = runtime.clock()
        self.seconds = settings.deadline if request.timeout is None else request.timeout
        self.deadline = self.started + self.seconds
        self.last_rung = min(settings.last_rung, self.seconds / 2)
        self.legs = Legs(request, runtime, receipt_id=self.id, deadline=self.deadline, hold=self.hold)
        self.decision: Decision | None = None
        self.last: Outcome | None = None
        self.shown = Shown(request, self.on_interrupt)
        self.overflowed = 0  # the largest window that turned out to be too small, in tokens

    @cached_property
    def checks(self) -> Checks:
        """Whether answers count; there once the request is planned."""
        assert self.decision is not None
        return Checks(self.runtime, self.legs, self.planner.request, self.decision)

    @cached_property
    def rest(self) -> Rest:
        """What goes on with an answer that broke off; there once the request is planned."""
        assert self.decision is not None
        return Rest(self.runtime, self.planner, self.decision)

    def steps(self) -> Flow:
        """The whole path."""
        scores: Mapping[str, SignalResult] = yield Score(request=self.request, seconds=self.seconds - self.last_rung)
        decision = (yield from self._planned_apart(scores)) if self.planner.long else self.planner.plan(scores)
        self.decision = decision
        kept: tuple[str, Outcome] | None = None
        lone: tuple[str, Outcome] | None = None
        position = 0
        if decision.plan:
            self.rule = next(rule for rule in self.policy.rules if rule.name == decision.rule)
            self.accept = self.rule.accept
        agreement = agreeing(self.rule.agree, decision.plan) if decision.plan else None
        if agreement is not None:
            chosen, lone, position = yield from self._agreed(agreement)
            if chosen is not None:
                return (yield from self._answered(*chosen))
        while position < len(decision.plan):
            if lone is not None and self.runtime.infos[decision.plan[position]].kind == "canned":
                break  # an answer that nobody could confirm is better than none
            target, outcome, position = yield from self._target(position)
            if target in self.accept:
                outcome = yield from self._checked(self.accept[target], target, outcome, position - 1)
            if outcome.code is not Code.UNSAFE:
                self.last = outcome
            if outcome.code is Code.CONTEXT_TOO_LONG:
                self.overflowed = max(self.overflowed, self.runtime.infos[target].context_window or 0)
            goes_on = self._fall_through(outcome.code, position)
            if outcome.code in ANSWERED:
                if not goes_on:
                    return (yield from self._answered(target, outcome))
                kept = target, outcome  # truncated, and the policy hopes for better: still better than nothing
            elif not goes_on:
                break
        if (last_resort := kept or lone) is not None:
            return (yield from self._answered(*last_resort))
        if self.shown.last is not None:
            raise self.shown.error(self.receipt())
        raise failure(self.receipt(), self.last)

    def _agreed(
        self, agreement: Agreement
    ) -> Generator[Command, Any, tuple[tuple[str, Outcome] | None, tuple[str, Outcome] | None, int]]:
        """(whose answer counts, the only answer if there was but one, where the plan goes on)."""
        assert self.decision is not None
        names, following = agreement.targets, len(agreement.targets)
        if not self.request.safe_to_retry:
            for name in names:
                self.legs.note(name, 1, TWICE)
            return None, None, following
        ends, chosen = yield from self.checks.agree(agreement, until=self._until(following - 1))
        if chosen is not None:
            return (chosen, ends[chosen]), None, following
        failed = [end for end in ends.values() if end.code not in ANSWERED]
        self.last = failed[-1]
        if not all(self._fall_through(end.code, following) for end in failed):
            following = len(self.decision.plan)
        return None, next(((name, ends[name]) for name in names if ends[name].code in ANSWERED), None), following

    def _checked(self, accept: AcceptBlock, target: str, outcome: Outcome, position: int) -> Steps:
        """An answer that does not pass its check is `unsure`; what was shown of it is taken back at once."""
        if outcome.code not in ANSWERED or self.runtime.infos[target].kind == "canned":
            return outcome
        checked = yield from self.checks.accept(accept, target, outcome, until=self._until(position))
        said, now = outcome.answer, checked.answer
        other = (said.text, said.tool_calls) != (now.text, now.tool_calls)
        if self.shown.by(target) and (other or checked.code is Code.UNSURE):
            yield from self.shown.reject(checked)
        return checked

    def _answered(self, target: str, outcome: Outcome) -> Flow:
        if self.streaming and not self.shown.by(target):
            yield from self.shown.take_back()
            yield Deliver(target=target, answer=outcome.answer)
        return new_result(answer=outcome.answer, receipt=self.receipt(target))

    def _fall_through(self, code: Code, following: int) -> bool:
        assert self.decision is not None
        if following == len(self.decision.plan) or self.shown.stays:
            return False
        return code in ALWAYS_FALL_THROUGH or code in self.policy.resilience.fallback_on

    def _until(self, position: int) -> float:
        """When target number `position` has to be done: the deadline, less what a later rung here needs."""
        assert self.decision is not None
        until = self.deadline
        for name in self.decision.plan[position + 1 :]:
            info = self.runtime.infos[name]
            if info.kind == "canned":
                until = self.deadline - min(0.05, self.seconds / 20)
            elif info.zone == "device":
                return self.deadline - self.last_rung
        return until

    def _target(self, position: int) -> Generator[Command, Any, Tried]:
        """All attempts on one target; a hedged first attempt may take in the next target, too."""
        assert self.decision is not None
        runtime, target, until = self.runtime, self.decision.plan[position], self._until(position)
        accept = self.accept.get(target)
        held = accept is not None and accept.deliver == "held"
        ask = new_ask(planner=self.planner, levels=self.decision.levels, hold=held)
        unfit = self._no_larger(target) or (self._no_draft() if accept is not None else None)
        if unfit is None and self.shown.goes_on and self.shown.last is not None:
            ask = yield from self.rest.ask(*self.shown.last, until=until)
            unfit = yield from self.rest.unfit(target, ask)
        if unfit is not None:
            return Tried(target, self.legs.note(target, 1, unfit), position + 1)
        retries: Retries | None = None
        number = 1
        while True:
            after = self._hedge_after(position) if number == 1 and ask.join is None else None
            if after is None:
                tried = Tried(target, (yield from self._attempt(target, number, ask, until=until)), position + 1)
            else:
                tried = yield from self._hedged(position, after=after)
            code = tried.outcome.code
            if ask.continues and code in NO_PREFIX and number < self.policy.resilience.retry.attempts:
                ask = self.rest.anew(ask)
                number += 1
                continue
            settled = code in ANSWERED or tried.next > position + 1 or self.shown.by(target)
            if settled or code not in self.policy.resilience.retry_on or self.legs.must_not_repeat:
                return tried
            if retries is None:
                retries = Retries(
                    self.policy.resilience,
                    seconds_left=lambda: until - runtime.clock(),
                    random=runtime.random,
                    budget=runtime.retry_budget,
                )
            wait = retries.wait_after(tried.outcome)
            if wait is None:
                return tried
            yield Sleep(seconds=wait)
            number += 1

    def _no_draft(self) -> Outcome | None:
        """Why an answer that may be rejected should not even be asked for."""
        if not self.request.safe_to_retry:
            return TWICE
        if self.shown.goes_on:
            return Outcome(code=Code.UNSUPPORTED, because="the rest of an answer cannot be checked", sent=False)
        return None

    def _hedge_after(self, position: int) -> float | None:
        """Seconds of silence after which the next target is asked, too; None: no hedging here."""
        assert self.decision is not None
        plan = self.decision.plan
        rule = self.rule
        hedge = rule.hedge
        if hedge is None or not self.request.safe_to_retry or position + 1 == len(plan):
            return None
        if rule.agree is not None or not self.accept.keys().isdisjoint(plan[position : position + 2]):
            return None
        if "canned" in (self.runtime.infos[plan[position]].kind, self.runtime.infos[plan[position + 1]].kind):
            return None
        if hedge.after == "p95":
            return self.runtime.latencies[plan[position]].quantile(0.95)
        return hedge.after

    def _no_larger(self, target: str) -> Outcome | None:
        """The outcome of a target whose window is no larger than one that was too small; it is not called."""
        window = self.runtime.infos[target].context_window
        if window is None or window > self.overflowed:
            return None
        because = f"its window of {window} is no larger than one that was too small"
        return Outcome(code=Code.CONTEXT_TOO_LONG, because=because, sent=False)

    def _attempt(self, target: str, number: int, ask: Ask, *, until: float) -> Steps:
        """One attempt, from its reservation to its bill."""
        leg = yield from self.legs.begin(target, number, ask, until=until)
        if isinstance(leg, Outcome):
            return leg
        before = self.shown.last[1].answer if self.shown.last is not None else None
        try:
            outcome: Outcome = yield leg.call
            outcome = yield from self.shown.relay(target, outcome, ask.join)
        except GeneratorExit:
            self.legs.drop(leg)
            raise
        except Abandoned as gone:
            yield from self.legs.end(leg, gone.of(target))
            raise
        outcome = yield from self.legs.end(leg, outcome)
        if ask.join is not None and before is not None and outcome.code in ANSWERED:
            return replace(outcome, answer=ask.join.whole(before, outcome.answer))
        return outcome

    def _hedged(self, position: int, *, after: float) -> Generator[Command, Any, Tried]:
        """One attempt; when it has given no sign after so many seconds, one on the next target beside it.

        The first answer counts; the other call is stopped. Both are billed, and both stand on the receipt.
        """
        assert self.decision is not None
        first, second = self.decision.plan[position : position + 2]
        ask = Ask(planner=self.planner, levels=self.decision.levels)
        leg = yield from self.legs.begin(first, 1, ask, until=self._until(position))
        if isinstance(leg, Outcome):
            return Tried(first, leg, position + 1)
        legs = [leg]
        try:
            reply: Outcome | Pending = yield replace(leg.call, patience=after)
            if isinstance(reply, Pending):
                other = yield from self.legs.begin(second, 1, ask, until=self._until(position + 1))
                legs += [other] if isinstance(other, Leg) else []
                ends: dict[str, Outcome] = yield Race(pending=reply, call=legs[1].call if legs[1:] else None)
            else:
                ends = {first: reply}
            winner = next((name for name, end in ends.items() if end.code in ANSWERED), None)
            if winner is not None:
                ends[winner] = yield from self.shown.relay(winner, ends[winner])
        except GeneratorExit:
            for one in legs:
                self.legs.drop(one)
            raise
        except Abandoned as gone:
            yield from self.legs.end_all(legs, {one.call.target: gone.of(one.call.target) for one in legs})
            raise
        ends = yield from self.legs.end_all(legs, ends)
        named = winner or first  # whoever is asked beside it for speed alone does not decide where the plan goes
        return Tried(named, ends[named], position + (1 if isinstance(reply, Outcome) else 2))

    def _planned_apart(self, scores: Mapping[str, SignalResult]) -> Generator[Command, Any, Decision]:
        """The decision, made in a thread; where that takes too long, without anybody who must count."""
        left = self.deadline - self.last_rung - self.runtime.clock()
        decision: Decision | None = yield Work(does=partial(self.planner.plan, scores), seconds=max(left, 0.02))
        return decision or Planner(self.request, self.runtime).uncounted(scores)

    def receipt(self, answered_by: str | None = None) -> Receipt:
        """The receipt as of now."""
        runtime, decision = self.runtime, self.decision
        info = runtime.infos[answered_by] if answered_by else None
        rung = decision.ladder.index(answered_by) + 1 if answered_by and decision else None
        return new_receipt(
            id=self.id,
            policy=self.policy.name,
            policy_digest=runtime.digest,
            policy_revision=self.policy.revision,
            decision=decision,
            attempts=tuple(self.legs.attempts),
            target=answered_by,
            zone=info.zone if info else None,
            rung=rung,
            degraded=bool(info and (rung != 1 or info.kind == "canned")),
            seconds=runtime.clock() - self.started,
            tags=self.request.tags,
        )
