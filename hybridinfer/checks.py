"""Does an answer count? What the policy's `accept` and `agree` ask of it, as steps of the flow without I/O.

Every further call is a leg like any other: reserved, billed, on the receipt, inside the deadline, behind the lock.
Whatever cannot be checked has not passed.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from .commands import Abandoned, Answer, Command, Outcome, Score, Together, Work
from .continuing import stricter
from .legs import Ask, Leg
from .planning import Planner
from .policy.decide import permit
from .quick import replace
from .receipt import ANSWERED, Code
from .sameness import judged, last_question, majority, same, says_yes

if TYPE_CHECKING:
    from .commands import Runtime
    from .legs import Legs
    from .policy.rung import AcceptBlock, Agreement
    from .receipt import Decision
    from .signals.base import SignalResult
    from .types import Request

UNCHECKED = "not checked to the end"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether an answer counts, why not, and how sure it is, where anybody can say."""

    accepted: bool
    answer: Answer
    because: str = ""


class Checks:
    """The checks of one request."""

    def __init__(self, runtime: Runtime, legs: Legs, request: Request, decision: Decision) -> None:
        self._runtime = runtime
        self._legs = legs
        self._request = request
        self._decision = decision
        self._judged = 0

    def accept(
        self, accept: AcceptBlock, target: str, outcome: Outcome, *, until: float
    ) -> Generator[Command, Any, Outcome]:
        """`outcome` as it was where its answer passes, with the confidence; else `unsure`, on its line, too.

        The answer may be another sample of the same target than the first.
        """
        line = len(self._legs.attempts) - 1
        self._legs.amend(line, Code.UNSURE, because=UNCHECKED)  # should the caller leave meanwhile
        verdict = Verdict(accepted=True, answer=outcome.answer)
        if accept.samples is not None:
            verdict = yield from self._sampled(accept, accept.samples, target, outcome.answer, until=until)
        elif accept.confidence is not None:
            verdict = _confident(accept.confidence, outcome.answer)
        if verdict.accepted and accept.agree_with is not None:
            verdict = yield from self._seconded(accept, accept.agree_with, verdict.answer, until=until)
        code, because = outcome.code, outcome.because
        if not verdict.accepted:
            code, because = Code.UNSURE, verdict.because
        self._legs.amend(line, code, because=because, confidence=verdict.answer.confidence)
        return replace(outcome, code=code, because=because, answer=verdict.answer)

    def agree(
        self, agreement: Agreement, *, until: float
    ) -> Generator[Command, Any, tuple[Mapping[str, Outcome], str | None]]:
        """Ask all of them side by side. How each ended, and whose answer counts, if all were given and say the same.

        A single answer whose partners failed keeps its code: it is neither confirmed nor contradicted.
        """
        ask = Ask(planner=Planner(self._request, self._runtime), levels=self._decision.levels, hold=True)
        ends, lines = dict[str, Outcome](), dict[str, int]()
        legs = list[Leg]()
        try:
            for target in agreement.targets:
                leg = yield from self._legs.begin(target, 1, ask, until=until)
                if isinstance(leg, Outcome):
                    ends[target] = leg
                else:
                    legs.append(leg)
            called: Mapping[str, Outcome] = {}
            if legs:
                called = yield Together(calls=tuple(leg.call for leg in legs))
        except GeneratorExit:
            for one in legs:
                self._legs.drop(one)
            raise
        except Abandoned as gone:
            yield from self._legs.end_all(legs, {one.call.target: gone.of(one.call.target) for one in legs})
            raise
        first = len(self._legs.attempts)
        lines = {leg.call.target: first + at for at, leg in enumerate(legs)}
        ends |= yield from self._legs.end_all(legs, called)
        answered = [target for target in agreement.targets if ends[target].code in ANSWERED]
        whole = len(answered) == len(agreement.targets)
        agreed = len(answered) > 1
        for other in answered[1:]:
            agreed = agreed and (
                yield from self._alike(agreement, ends[answered[0]].answer, ends[other].answer, until=until)
            )
        if len(answered) > 1 and not agreed:
            because = f"{' and '.join(answered)} do not agree"
            for target in answered:
                self._legs.amend(lines[target], Code.UNSURE, because=because)
                ends[target] = replace(ends[target], code=Code.UNSURE, because=because)
        elif answered and not whole:
            for target in answered:
                self._legs.amend(lines[target], ends[target].code, because="nobody could confirm it")
        return ends, answered[0] if whole and agreed else None

    def _sampled(
        self, accept: AcceptBlock, wanted: int, target: str, first: Answer, *, until: float
    ) -> Generator[Command, Any, Verdict]:
        """Further answers of the same target, until more of them could change nothing."""
        said, open_ = [first], wanted - 1
        while True:
            best, votes = majority(said)
            if _enough(accept, votes, wanted) or not _enough(accept, votes + open_, wanted):
                break
            number = wanted - open_ + 1
            request = replace(self._request, temperature=accept.temperature)
            if request.seed is not None:
                request = replace(request, seed=request.seed + number)
            ask = self._ask(request, purpose=f"sample {number}")
            outcome = yield from self._called(target, ask, until=until)
            open_ -= 1
            if outcome.code in ANSWERED:
                said.append(outcome.answer)
        answer = replace(best, confidence=votes / wanted)
        because = f"{votes} of {wanted} samples say the same"
        return Verdict(accepted=_enough(accept, votes, wanted), answer=answer, because=because)

    def _seconded(
        self, accept: AcceptBlock, other: str, answer: Answer, *, until: float
    ) -> Generator[Command, Any, Verdict]:
        """A second target's own answer to the same request."""
        ask = self._ask(self._request, purpose="second")
        outcome = yield from self._called(other, ask, until=until)
        if outcome.code not in ANSWERED:
            return Verdict(accepted=False, answer=answer, because=f"no second answer: {other} {outcome.code}")
        alike = yield from self._alike(accept, answer, outcome.answer, until=until)
        return Verdict(accepted=alike, answer=answer, because=f"{other} says something else")

    def _alike(
        self, judge: AcceptBlock | Agreement, first: Answer, second: Answer, *, until: float
    ) -> Generator[Command, Any, bool]:
        """Whether both say the same, by the judge, who is asked only where the words differ."""
        if same((first, second)):
            return True
        if judge.judge == "embedding" and self._runtime.alike is not None:
            seconds = max(until - self._runtime.clock(), 0.001)
            does = partial(self._runtime.alike, last_question(self._request), first, second)
            return bool((yield Work(does=does, seconds=seconds)))
        if judge.by is None:
            return False
        request = judged(self._request, first, second)
        # An answer may hold what no question held: what leaves for the judge is measured like any request.
        seconds = max(until - self._runtime.clock(), 0.001)
        scores: Mapping[str, SignalResult] = yield Score(request=request, seconds=seconds)
        found = {name: result.level for name, result in scores.items()}
        levels = stricter(self._runtime.policy, self._decision.levels, found)
        self._judged += 1  # each question has a key of its own, or the first one's answer might come again
        ask = replace(self._ask(request, purpose=f"judge {self._judged}"), levels=levels)
        outcome = yield from self._called(judge.by, ask, until=until)
        return outcome.code in ANSWERED and says_yes(outcome.answer)

    def _ask(self, request: Request, *, purpose: str) -> Ask:
        planner = Planner(request, self._runtime)
        return Ask(planner=planner, levels=self._decision.levels, hold=True, purpose=purpose)

    def _called(self, target: str, ask: Ask, *, until: float) -> Generator[Command, Any, Outcome]:
        """One call whose answer is not for the caller."""
        number = 1 + max((line.number for line in self._legs.attempts if line.target == target), default=0)
        request = ask.planner.request
        allowed = permit(self._runtime.policy, target, ask.levels, request.tags, request.needs)
        unfit = ask.planner.removal(target)
        if allowed.verdict == "never":
            refusal = Outcome(code=Code.FORBIDDEN, because=f"boundary {allowed.boundary!r}", sent=False)
            return self._legs.note(target, number, refusal)
        if unfit is not None:
            return self._legs.note(target, number, Outcome(code=Code.UNSUPPORTED, because=unfit.because, sent=False))
        leg = yield from self._legs.begin(target, number, ask, until=until)
        if isinstance(leg, Outcome):
            return leg
        try:
            outcome: Outcome = yield leg.call
        except GeneratorExit:
            self._legs.drop(leg)
            raise
        except Abandoned as gone:
            yield from self._legs.end(leg, gone.of(target))
            raise
        return (yield from self._legs.end(leg, outcome))


def _confident(least: float, answer: Answer) -> Verdict:
    if answer.confidence is None:
        return Verdict(accepted=False, answer=answer, because="nobody can say how sure it is: no calibrated confidence")
    sure = answer.confidence >= least
    return Verdict(accepted=sure, answer=answer, because=f"confidence {answer.confidence:.2f} is below {least:g}")


def _enough(accept: AcceptBlock, votes: int, wanted: int) -> bool:
    """Whether so many votes accept the answer: by `confidence`, or more than a half."""
    if votes < 2:  # an answer does not vouch for itself
        return False
    return 2 * votes > wanted if accept.confidence is None else votes / wanted >= accept.confidence


def agreeing(agreement: Agreement | None, plan: Sequence[str]) -> Agreement | None:
    """Who of `agreement` is on the plan; None where there is no second one to compare with."""
    if agreement is None:
        return None
    here = tuple(name for name in agreement.targets if name in plan)
    return agreement.model_copy(update={"targets": here}) if len(here) > 1 else None
