"""Recorded traffic through another policy: the real flow on the virtual clock, with the latencies that were measured.

A call plays what the same request met at that target; else what the target did to the recorded request nearest in
time; else, for a target without history, an answer after half of its timeout (or of the deadline, if that is less).
Not recorded, and so not replayed: what a request needs (tools, vision, ...), its own deadline, and whether it streamed.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from ..policy.decide import permit
from ..receipt import ANSWERED, Code
from ..signals.bands import bands, level_of
from ..signals.base import SignalResult
from ..signals.budget import BudgetSignal
from ..signals.registry import highest
from ..types import FinishReason, Message, Request, Text, Usage
from .judge import percentile
from .rehearsal import NOT_CALLED
from .simulator import Arrival, run, stage
from .world import Answers, Fails, Step, World

if TYPE_CHECKING:
    from ..commands import Call
    from ..observe.records import Recorded, RecordedAttempt
    from ..policy.model import Policy
    from ..types import Standing

UNTOLD = NOT_CALLED | {Code.CANCELLED, Code.FORBIDDEN}
"""Attempts that say nothing of how the target would have answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """Traffic in figures: shares 0..1 of all requests, USD, seconds."""

    requests: int
    answered_share: float
    cloud_share: float
    degraded_share: float
    cost_usd: Decimal
    p50_seconds: float
    p95_seconds: float
    violations: int
    """Calls that the boundaries of the new policy forbid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One request of it: seconds since the first, seconds it took, the zone that answered (None: nobody did), USD."""

    at: float
    seconds: float
    zone: str | None
    degraded: bool
    cost_usd: Decimal
    violations: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """What was, and what would have been."""

    before: Picture
    after: Picture
    moments_before: tuple[Moment, ...]
    moments_after: tuple[Moment, ...]
    """The same requests in the same order."""
    guessed: tuple[str, ...]
    """Targets that were called without history: their times are guesses."""
    unmeasured: tuple[str, ...]
    """Signals that some record lacks: there they count as their highest level."""


def replay(policy: Policy, records: Sequence[Recorded]) -> Replay:
    """All of `records` (at least one) through `policy`."""
    ordered = sorted(records, key=lambda record: record.at - record.seconds)
    start = ordered[0].at - ordered[0].seconds
    past = _Past(policy, ordered, start)
    runtime = replace(
        stage(policy, past),
        count_tokens=lambda _name, request: max(1, _tokens(past.of(request))),
        count_text=lambda _name, _text: 1,
    )
    arrivals = [
        Arrival(at=record.at - record.seconds - start, request=_request(number, record))
        for number, record in enumerate(ordered)
    ]
    stories = run(arrivals, runtime, past, score=past.score)
    receipts = [story.receipt for story in stories]
    after = tuple(
        Moment(
            at=record.at - record.seconds - start,
            seconds=receipt.seconds,
            zone=receipt.zone,
            degraded=receipt.degraded,
            cost_usd=receipt.cost_usd,
            violations=_violations(
                policy, past.levels_of[number], record.tags, _called((one.target, one.code) for one in receipt.attempts)
            ),
        )
        for number, (record, receipt) in enumerate(zip(ordered, receipts, strict=True))
    )
    before = tuple(
        Moment(
            at=record.at - record.seconds - start,
            seconds=record.seconds,
            zone=record.zone,
            degraded=record.degraded,
            cost_usd=record.cost_usd,
            violations=_violations(
                policy, past.levels_of[number], record.tags, _called((one.target, one.code) for one in record.attempts)
            ),
        )
        for number, record in enumerate(ordered)
    )
    return Replay(
        before=_picture(before),
        after=_picture(after),
        moments_before=before,
        moments_after=after,
        guessed=tuple(sorted(past.guessed)),
        unmeasured=tuple(sorted(past.unmeasured)),
    )


class _Past(World):
    """A world in which targets do again what they did."""

    def __init__(self, policy: Policy, records: Sequence[Recorded], start: float) -> None:
        super().__init__(epoch=datetime.fromtimestamp(start, UTC))
        self._policy = policy
        self._bands = {name: bands(block) for name, block in policy.signals.items()}
        self._records = records
        self._start = start
        self._call: Call | None = None
        self._history: dict[str, list[tuple[float, RecordedAttempt]]] = {}
        for record in sorted(records, key=lambda record: record.at):
            for attempt in record.attempts:
                if attempt.code not in UNTOLD:
                    self._history.setdefault(attempt.target, []).append((record.at - start, attempt))
        self.guessed: set[str] = set()
        self.unmeasured: set[str] = set()
        self.levels_of: dict[int, Mapping[str, str]] = {}

    def of(self, request: Request) -> Recorded:
        """What is known of a request."""
        return self._records[int(request.metadata["record"])]

    def score(self, request: Request, standing: Standing) -> dict[str, SignalResult]:
        """The recorded scores in the bands of the new policy; money by the books of this replay."""
        record, results = self.of(request), dict[str, SignalResult]()
        for name, block in self._policy.signals.items():
            if (block.kind or name) == "budget":
                results[name] = BudgetSignal(block).score(request, standing)
            elif name in record.scores:
                score = record.scores[name]
                results[name] = SignalResult(score=score, level=level_of(self._bands[name], score))
            else:
                self.unmeasured.add(name)
                results[name] = highest(block, "not recorded")
        self.levels_of[int(request.metadata["record"])] = {name: result.level for name, result in results.items()}
        return results

    def refuses(self, call: Call) -> Fails | None:
        """Never; it remembers who calls."""
        self._call = call
        return None

    def does(self, target: str, otherwise: Step) -> Step:  # noqa: ARG002 - the face of a world
        """What the target did."""
        assert self._call is not None
        record = self.of(self._call.request)
        own = [one for one in record.attempts if one.target == target and one.code not in UNTOLD]
        usage = Usage(input_tokens=_tokens(record), output_tokens=_said(record))
        if own:
            return _step(own[min(self._call.number, len(own)) - 1], usage)
        if history := self._history.get(target):
            after = min(bisect_left(history, self.now, key=lambda one: one[0]), len(history) - 1)
            nearest = min(history[max(after - 1, 0) : after + 1], key=lambda one: abs(one[0] - self.now))
            return _step(nearest[1], usage)
        self.guessed.add(target)
        half = min(self._policy.targets[target].timeout, self._policy.resilience.deadline) / 2
        return Answers(first=half, seconds=half, usage=usage)


def _step(attempt: RecordedAttempt, usage: Usage) -> Step:
    if attempt.code not in ANSWERED:
        return Fails(attempt.code, seconds=attempt.seconds)
    finish: FinishReason = "length" if attempt.code is Code.TRUNCATED else "stop"
    first = attempt.seconds if attempt.first is None else attempt.first
    return Answers(first=first, seconds=attempt.seconds, finish=finish, usage=usage)


def _request(number: int, record: Recorded) -> Request:
    message = Message(role="user", parts=(Text(text="recorded"),))
    return Request(messages=(message,), tags=record.tags, metadata={"record": str(number)})


def _tokens(record: Recorded) -> int:
    return max((attempt.input_tokens for attempt in record.attempts), default=0)


def _said(record: Recorded) -> int:
    return max((attempt.output_tokens for attempt in record.attempts), default=0)


def _called(attempts: Iterable[tuple[str, Code]]) -> list[str]:
    return [target for target, code in attempts if code not in UNTOLD]


def _violations(policy: Policy, levels: Mapping[str, str], tags: Mapping[str, str], called: Sequence[str]) -> int:
    known = [name for name in called if name in policy.targets]
    needs = frozenset[str]()  # not recorded; the replay asks without any, and is judged like that
    return sum(permit(policy, name, levels, tags, needs).verdict == "never" for name in known)


def _picture(moments: Sequence[Moment]) -> Picture:
    seconds, count = [one.seconds for one in moments], len(moments)
    return Picture(
        requests=count,
        answered_share=sum(one.zone is not None for one in moments) / count,
        cloud_share=sum(one.zone == "cloud" for one in moments) / count,
        degraded_share=sum(one.degraded for one in moments) / count,
        cost_usd=sum((one.cost_usd for one in moments), Decimal(0)),
        p50_seconds=percentile(seconds, 0.5),
        p95_seconds=percentile(seconds, 0.95),
        violations=sum(one.violations for one in moments),
    )
