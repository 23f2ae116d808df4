"""What a scenario expected against what happened: one verdict per expectation, failed ones with their receipts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import ceil

from .course import Course, Served
from .scenario import ExpectBlock
from .traffic import Timeline

SHOWN = 5
"""Receipts that a failed expectation shows at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One expectation: its key in the scenario, what was wanted, what was measured, and who is to blame."""

    key: str
    wanted: str
    measured: str
    passed: bool
    culprits: tuple[Served, ...] = ()
    """At most `SHOWN` requests that speak against it."""


def judge(course: Course) -> tuple[Verdict, ...]:
    """A verdict for each expectation that the scenario names, in the order of its keys."""
    expect = course.scenario.expect
    return tuple(_JUDGES[key](course, expect) for key in ExpectBlock.model_fields if getattr(expect, key) is not None)


def percentile(values: Iterable[float], share: float) -> float:
    """The smallest value that `share` of all do not pass (nearest rank); 0 for none."""
    ordered = sorted(values)
    return ordered[max(ceil(share * len(ordered)) - 1, 0)] if ordered else 0.0


def _answered(course: Course, expect: ExpectBlock) -> Verdict:
    assert expect.answered_share is not None
    lost = [one for one in course.served if not one.answered]
    share = 1 - _part(lost, course)
    return _verdict(
        "answered_share", f"at least {expect.answered_share:.1%}", f"{share:.1%}", share >= expect.answered_share, lost
    )


def _degraded(course: Course, expect: ExpectBlock) -> Verdict:
    assert expect.degraded_share is not None
    worse = [one for one in course.served if one.answered and not one.first_choice]
    share = _part(worse, course)
    return _verdict(
        "degraded_share", f"at most {expect.degraded_share:.1%}", f"{share:.1%}", share <= expect.degraded_share, worse
    )


def _p95(course: Course, expect: ExpectBlock) -> Verdict:
    assert expect.p95 is not None
    measured = percentile((one.seconds for one in course.served), 0.95)
    slow = sorted((one for one in course.served if one.seconds > expect.p95), key=lambda one: -one.seconds)
    return _verdict("p95", f"at most {expect.p95:g} s", f"{measured:.2f} s", measured <= expect.p95, slow)


def _rungs(course: Course, expect: ExpectBlock) -> Verdict:
    assert expect.rungs is not None
    wanted = set(expect.rungs)
    seen = {one.receipt.rung for one in course.served if one.receipt.rung is not None}
    others = [one for one in course.served if one.receipt.rung is not None and one.receipt.rung not in wanted]
    return _verdict("rungs", _list(sorted(wanted)), _list(sorted(seen)), seen == wanted, others)


def _answered_by(course: Course, expect: ExpectBlock) -> Verdict:
    assert expect.answered_by is not None
    wanted = set(expect.answered_by)
    seen = {one.receipt.target for one in course.served if one.receipt.target is not None}
    others = [one for one in course.served if one.receipt.target is not None and one.receipt.target not in wanted]
    return _verdict("answered_by", _list(sorted(wanted)), _list(sorted(seen)), seen == wanted, others)


def _attempts(course: Course, expect: ExpectBlock) -> Verdict:
    assert expect.max_attempts is not None
    most = max((len(one.receipt.attempts) for one in course.served), default=0)
    over = [one for one in course.served if len(one.receipt.attempts) > (expect.max_attempts or 0)]
    return _verdict("max_attempts", f"at most {expect.max_attempts}", str(most), most <= expect.max_attempts, over)


def _cost(course: Course, expect: ExpectBlock) -> Verdict:
    assert expect.cost_usd is not None
    spent = cost(course)
    dearest = sorted(course.served, key=lambda one: -one.receipt.cost_usd) if spent > expect.cost_usd else []
    return _verdict("cost_usd", f"at most ${expect.cost_usd:f}", f"${spent:.6f}", spent <= expect.cost_usd, dearest)


def _privacy(course: Course, expect: ExpectBlock) -> Verdict:
    del expect  # there is one thing to expect
    kinds = {ask.name for ask in course.scenario.load.requests if ask.private}
    private = sum(one.ask in kinds for one in course.served)
    arrived = sum(course.arrived.values())
    if not private:
        return _verdict("privacy", "no leak", "no private request came in: nothing was tested", passed=False)
    if not course.leaks:
        measured = f"no leak: {private} private requests, {arrived} arrivals searched"
        return _verdict("privacy", "no leak", measured, passed=True)
    leaked = {leak.ask for leak in course.leaks}
    places = _list(sorted(f"{leak.ask} in {leak.target}" for leak in course.leaks))
    culprits = [one for one in course.served if one.ask in leaked]
    return _verdict("privacy", "no leak", f"leaked: {places}", False, culprits)


def _recovery(course: Course, expect: ExpectBlock) -> Verdict:
    assert expect.recovery is not None
    timeline = Timeline(course.scenario, course.policy)
    worst, late = 0.0, list[Served]()
    healed = True
    for start, end in timeline.recoveries(course.scenario.duration):
        within = [one for one in course.served if start <= one.at < end]
        bad = [one for one in within if not one.first_choice]
        if bad:
            worst = max(worst, bad[-1].at - start)
            late += [one for one in bad if one.at - start > expect.recovery]
            healed = healed and bad[-1] is not within[-1]
    measured = f"{worst:.1f} s" if healed else "never"
    return _verdict(
        "recovery", f"at most {expect.recovery:g} s", measured, healed and worst <= expect.recovery, late[::-1]
    )


def cost(course: Course) -> Decimal:
    """What all requests together cost."""
    return sum((one.receipt.cost_usd for one in course.served), Decimal(0))


def _part(some: Sequence[Served], course: Course) -> float:
    return len(some) / len(course.served) if course.served else 0.0


def _list(items: Iterable[object]) -> str:
    return ", ".join(map(str, items)) or "none"


def _verdict(key: str, wanted: str, measured: str, passed: bool, against: Sequence[Served] = ()) -> Verdict:  # noqa: FBT001 - read in one line
    culprits = () if passed else tuple(against[:SHOWN])
    return Verdict(key=key, wanted=wanted, measured=measured, passed=passed, culprits=culprits)


_JUDGES: dict[str, Callable[[Course, ExpectBlock], Verdict]] = {
    "answered_share": _answered,
    "degraded_share": _degraded,
    "p95": _p95,
    "rungs": _rungs,
    "answered_by": _answered_by,
    "max_attempts": _attempts,
    "cost_usd": _cost,
    "privacy": _privacy,
    "recovery": _recovery,
}
