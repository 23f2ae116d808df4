"""Whatever the policy, the faults and the timing: attempts, deadlines, endings, boundaries and money hold.

The flow runs on the simulator's virtual clock, so minutes pass in microseconds. `test_driver_properties.py` asks the
same of the real driver.
"""

from __future__ import annotations

import json
from dataclasses import replace
from math import inf

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hybridinfer.drill.simulator import Arrival, run, stage
from hybridinfer.drill.world import Answers, Downtime, Fails, Hangs, World
from hybridinfer.errors import StreamInterrupted
from hybridinfer.legs import ACTED
from hybridinfer.policy.load import load
from hybridinfer.privacy.egress import Clearance, Guarded
from hybridinfer.receipt import ANSWERED
from hybridinfer.signals.base import SignalResult
from hybridinfer.targets.base import TargetFailed
from hybridinfer.testing import FakeTarget
from hybridinfer.types import TextDelta
from tests.property.worlds import (
    CALLED,
    CANNED,
    LATE,
    MARKS,
    SAID,
    Books,
    check_attempts,
    check_content_free,
    check_hidden,
    check_sent,
    check_sent_once,
    codes,
    numbered,
    privacy,
    requests,
    seconds,
    shown_of,
    trees,
    zone_of,
)

said = st.sampled_from(SAID)
quick = st.sampled_from([0.01, 0.1, 0.3]) | seconds
answers = st.builds(
    Answers,
    text=said,
    first=quick,
    seconds=quick,
    pieces=st.integers(1, 5),
    finish=st.sampled_from(["stop", "stop", "stop", "length", "content_filter", None]),
    spread=st.sampled_from([0.0, 0.5]),
    confidence=st.sampled_from([None, 0.1, 0.5, 0.9]),
)
steps = st.one_of(
    answers,
    answers,
    st.builds(
        Fails,
        codes,
        seconds=quick,
        said=said,
        retry_after=st.none() | st.floats(0, 60),
        retry=st.sampled_from([None, True, False]),
    ),
    st.builds(Hangs, said=said, first=quick),
)
arrivals = st.lists(
    st.builds(
        Arrival,
        at=st.floats(0, 60),
        request=requests(),
        stream=st.sampled_from([True, True, False]),
        leaves_after=st.sampled_from([None, None, None]) | seconds,
    ),
    min_size=1,
    max_size=6,
)
outages = st.lists(
    st.builds(Downtime, target=st.sampled_from(CALLED), start=st.floats(0, 60), end=st.floats(0, 90), does=steps),
    max_size=3,
)
scripts = st.dictionaries(st.sampled_from(CALLED), st.lists(steps, min_size=1, max_size=4), min_size=2)


def marked(step, name):
    """The step in the words of `name`."""
    if isinstance(step, Answers):
        return replace(step, text=f"{MARKS[name]}{step.text}" if step.text else "")
    return replace(step, said=f"{MARKS[name]}{step.said}" if step.said else "")


class Guard(World):
    """A world behind the real lock; looks at whatever passes it."""

    def __init__(self, tree, policy, asked, **options):
        super().__init__(**options)
        self._tree = tree
        self._locks = {
            name: Guarded(FakeTarget(name, zone=zone_of(block)), policy) for name, block in tree["targets"].items()
        }
        self._asked = [arrival.request for arrival in asked]
        self.books = None
        self.keys = {}

    def refuses(self, call):
        """The lock's no; else what leaves is looked at, and so is its money."""
        try:
            clearance = Clearance(request=call.request, levels=call.levels, tags=call.request.tags)
            sent = self._locks[call.target].cleared(call.request, clearance)
        except TargetFailed as failed:
            return Fails(failed.code, seconds=0.0, retry=failed.retry)
        if call.target != CANNED:
            check_sent(self._tree, call.target, sent, self._asked[int(sent.tags["nr"])])
            if "price" in self._tree["targets"][call.target] and any(
                budget["per"] != "request" for budget in self._tree["budgets"]
            ):
                assert self.books.reserved_for(call.target), "a call without its money"
        key = call.request.idempotency_key
        if key is not None:
            body = replace(call.request, terms=None)
            assert self.keys.setdefault((call.target, key), body) == body, "one key for two requests"
        return None


def scored(policy):
    """Signals that say what was planted, and what the caller says."""

    def score(request, _standing):
        found = {}
        for name, block in policy.signals.items():
            level = privacy(request) if name == "privacy" else next(iter(block.levels))
            found[name] = SignalResult(score=block.levels[level], level=level, because=("given",))
        return found

    return score


def check(*, tree, script, outage, asked, seed):
    policy = load(tree)
    own = numbered([arrival.request for arrival in asked])
    asked = [replace(arrival, request=request) for arrival, request in zip(asked, own, strict=True)]
    script = {name: [marked(step, name) for step in some] for name, some in script.items()}
    outage = [replace(one, does=marked(one.does, one.target)) for one in outage]
    world = Guard(tree, policy, asked, scripts=script, outages=outage, seed=seed)
    staged = stage(policy, world)
    infos = {name: replace(info, idempotent=True) for name, info in staged.infos.items()}
    runtime = replace(staged, infos=infos)
    world.books = Books(policy, lambda: world.date().timestamp())
    stories = run(asked, runtime, world, ledger=world.books, score=scored(policy))
    assert len(stories) == len(asked)
    for arrival, story in zip(asked, stories, strict=True):
        check_story(tree, arrival, story)
    world.books.check(tree, [story.receipt for story in stories])


def check_story(tree, arrival, story):
    ends = [end for end in (story.result, story.error, story.abandoned) if end is not None]
    assert len(ends) == 1
    deadline = (
        float(tree["resilience"]["deadline"][:-1]) if arrival.request.timeout is None else arrival.request.timeout
    )
    leaves = inf if arrival.leaves_after is None else arrival.leaves_after
    assert story.ended - story.began <= min(deadline, leaves) + LATE
    receipt = story.receipt
    check_attempts(tree, receipt)
    if story.result is not None:
        answered = [attempt for attempt in receipt.attempts if attempt.target == receipt.target]
        assert any(attempt.code in ANSWERED for attempt in answered)
        assert receipt.degraded == (receipt.rung != 1 or receipt.target == CANNED)
    else:
        assert receipt.target is None
    if not arrival.request.safe_to_retry:
        check_sent_once(receipt, ACTED)
    check_events(arrival, story)
    if arrival.request.budget_usd is not None:
        assert receipt.cost_usd <= arrival.request.budget_usd
    final = story.result.answer.text if story.result is not None else ""
    check_hidden(tree, receipt, "".join(one.text for one in story.events if isinstance(one, TextDelta)), final)
    check_content_free(json.dumps(replace(receipt, tags={}).to_dict()), str(story.error or ""))


def check_events(arrival, story):
    """What was shown and not taken back is the answer, or the partial text of the error."""
    if not arrival.stream:
        assert story.events == ()
        return
    shown, reading = shown_of(story.events)
    if story.result is not None:
        assert reading
        assert shown == story.result.answer.text
    elif isinstance(story.error, StreamInterrupted):
        assert reading
        assert shown == story.error.partial
    elif story.error is not None:
        assert not reading, "an error that is not StreamInterrupted left pieces with the caller"


cases = st.fixed_dictionaries(
    {"tree": trees(), "script": scripts, "outage": outages, "asked": arrivals, "seed": st.integers(0, 1000)}
)
calm = [HealthCheck.too_slow, HealthCheck.data_too_large]


@given(case=cases)
@settings(max_examples=200, deadline=None, suppress_health_check=calm)
def test_the_promises_hold(case):
    """Two hundred worlds."""
    check(**case)


@pytest.mark.slow
@given(case=cases)
@settings(max_examples=7_000, deadline=None, suppress_health_check=calm)
def test_the_promises_hold_in_many_more_worlds(case):
    """Seven thousand."""
    check(**case)
