"""An audit: a request that was answered here is asked of a cloud, too, to learn whether the answer here was as good.

`candidate` says whether and where; `run` is the path of the audit, a generator that does no I/O, like the flow's. The
audit comes after the answer, so nobody waits for it; it stands on a receipt of its own, so every cent is on one.
Whatever is not certain is no audit, and no label.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from .commands import Abandoned, Answer, Command, Outcome, Result, Score, Work
from .continuing import stricter
from .legs import Ask, Leg, Legs
from .planning import Planner
from .policy.decide import permit
from .policy.model import zone_of
from .receipt import Code, Receipt
from .sameness import judged, key, says_yes

if TYPE_CHECKING:
    from .commands import Runtime
    from .receipt import Decision
    from .signals.base import SignalResult
    from .types import Request


_NO = re.compile(r"\W*no\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Audited(Result):
    """What came of an audit. `label`: 1 where the cloud said the same, 0 where it did not; None: nobody can say."""

    label: float | None


def candidate(request: Request, result: Result, runtime: Runtime) -> str | None:
    """The cloud target that this request may be asked of as an audit; None: none.

    The next one of the plan behind the target that answered. Never where the request acts (tools, safe_to_retry=False),
    where the answer is cut short, where a cloud has seen the request already, or where a boundary forbids it.
    """
    policy, receipt, decision = runtime.policy, result.receipt, result.receipt.decision
    if decision is None or receipt.target is None or not request.safe_to_retry or "tools" in request.needs:
        return None
    if runtime.infos[receipt.target].kind == "canned" or result.answer.finish_reason != "stop":
        return None
    if any(_cloud(runtime, name) for name in (receipt.target, *(one.target for one in receipt.attempts))):
        return None
    behind = decision.plan[decision.plan.index(receipt.target) + 1 :]
    for name in behind:
        allowed = permit(policy, name, decision.levels, request.tags, request.needs)
        if _cloud(runtime, name) and allowed.verdict != "never":
            return name
    return None


def _cloud(runtime: Runtime, name: str) -> bool:
    return runtime.infos[name].zone == "cloud" or zone_of(runtime.policy.targets[name]) == "cloud"


def run(request: Request, result: Result, target: str, runtime: Runtime) -> Generator[Command, Any, Audited]:
    """Ask `target` what was asked before, and compare. Never raises on behalf of a target.

    The receipt has no attempt where the audit could not begin: no money, no time, a resting circuit.
    """
    one = _Audit(request, result, target, runtime)
    try:
        return (yield from one.steps())
    except Abandoned as gone:
        gone.receipt = one.receipt()
        raise


class _Audit:
    def __init__(self, request: Request, result: Result, target: str, runtime: Runtime) -> None:
        assert result.receipt.decision is not None, "`candidate` has seen it"
        self._runtime = runtime
        self._target = target
        self._said = result.answer
        self._audits = result.receipt
        self._decision: Decision = result.receipt.decision
        self._planner = Planner(request, runtime)
        self._id = runtime.new_id()
        self._started = runtime.clock()
        self._until = self._started + runtime.policy.resilience.deadline
        spent = result.receipt.cost_usd
        self._legs = Legs(
            request, runtime, receipt_id=self._id, deadline=self._until, hold=True, spent=spent
        )  # its own budgets hold for a request with its audit

    def steps(self) -> Generator[Command, Any, Audited]:
        """Ask, then compare."""
        if self._planner.long:
            yield Work(does=self._prepare)
        else:
            self._prepare()
        ask = Ask(planner=self._planner, levels=self._decision.levels, hold=True, purpose="audit")
        outcome = yield from self._called(1, ask)
        label: float | None = None
        if outcome is not None and outcome.code is Code.OK:
            label = yield from self._compared(outcome.answer)
        answer = outcome.answer if outcome is not None else Answer()
        return Audited(answer=answer, receipt=self.receipt(), label=label)

    def _prepare(self) -> None:
        """The request as the target gets it, and its tokens."""
        self._planner.trim(self._decision.rule)
        self._planner.tokens(self._target)

    def _compared(self, other: Answer) -> Generator[Command, Any, float | None]:
        """By their words; where these differ, the target that was asked says whether both mean the same.

        An answer may hold what no question held, so what the judge would see is measured like any request.
        """
        kind, words = key(other)
        if not words:
            return None
        if key(self._said) == (kind, words):
            return 1.0
        request = judged(self._planner.request, self._said, other)
        seconds = max(self._until - self._runtime.clock(), 0.001)
        scores: Mapping[str, SignalResult] = yield Score(request=request, seconds=seconds)
        found = {name: result.level for name, result in scores.items()}
        levels = stricter(self._runtime.policy, self._decision.levels, found)
        planner = Planner(request, self._runtime)
        allowed = permit(self._runtime.policy, self._target, levels, request.tags, request.needs)
        if allowed.verdict == "never" or planner.removal(self._target) is not None:
            return None
        outcome = yield from self._called(2, Ask(planner=planner, levels=levels, hold=True, purpose="audit judge"))
        if outcome is None or outcome.code is not Code.OK:
            return None
        if says_yes(outcome.answer):
            return 1.0
        return 0.0 if _NO.match(outcome.answer.text) else None

    def _called(self, number: int, ask: Ask) -> Generator[Command, Any, Outcome | None]:
        """One call, booked; None where it may not begin, of which nothing is left on the receipt."""
        leg = yield from self._legs.begin(self._target, number, ask, until=self._until)
        if not isinstance(leg, Leg):
            self._legs.attempts.pop()
            return None
        try:
            outcome: Outcome = yield leg.call
        except GeneratorExit:
            self._legs.drop(leg)
            raise
        except Abandoned as gone:
            yield from self._legs.end(leg, gone.of(self._target))
            raise
        return (yield from self._legs.end(leg, outcome))

    def receipt(self) -> Receipt:
        """Of the audit alone, as of now. Its levels are those of the request that it audits."""
        attempts = tuple(self._legs.attempts)
        answered = self._target if attempts and attempts[0].code is Code.OK else None
        return Receipt(
            id=self._id,
            kind="audit",
            audits=self._audits.id,
            policy=self._audits.policy,
            policy_digest=self._audits.policy_digest,
            policy_revision=self._audits.policy_revision,
            decision=replace(self._decision, plan=(self._target,)),
            attempts=attempts,
            target=answered,
            zone=self._runtime.infos[self._target].zone if answered else None,
            rung=self._decision.ladder.index(answered) + 1 if answered else None,
            seconds=self._runtime.clock() - self._started,
            tags=self._audits.tags,
        )
