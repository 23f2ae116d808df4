"""Whatever the policy, the faults and the timing: attempts, deadlines, endings, boundaries and money hold.

The flow runs on the simulator's virtual clock, so minutes pass in microseconds.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from math import inf

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hybridinfer.budget.ledger import MemoryLedger
from hybridinfer.drill.simulator import Arrival, run, stage
from hybridinfer.drill.world import Answers, Downtime, Fails, Hangs, World
from hybridinfer.errors import StreamInterrupted
from hybridinfer.legs import ACTED
from hybridinfer.policy.load import load
from hybridinfer.receipt import ANSWERED, Code
from hybridinfer.types import Message, Request, Reset, Start, Text, TextDelta

LATE = 0.05
UNSENT = {Code.UNSAFE, Code.CIRCUIT_OPEN, Code.OVER_BUDGET, Code.OVER_DEADLINE}
NAMES = ("a", "b", "c", "d")
PRIVATE = {"name": "stay", "when": {"privacy": "secret"}, "cloud": "never"}

seconds = st.floats(0.001, 30.0).map(lambda value: round(value, 3))
codes = st.sampled_from([code for code in Code if code not in ANSWERED and code is not Code.CANCELLED])
listed = st.lists(st.sampled_from(list(Code)), unique=True, max_size=8).map(lambda some: [str(code) for code in some])
steps = st.one_of(
    st.builds(
        Answers,
        text=st.sampled_from(["", "ok", "a longer answer"]),
        first=seconds,
        seconds=seconds,
        pieces=st.integers(1, 5),
        finish=st.sampled_from(["stop", "stop", "length", "content_filter", None]),
        spread=st.sampled_from([0.0, 0.5]),
    ),
    st.builds(
        Fails,
        codes,
        seconds=seconds,
        said=st.sampled_from(["", "half"]),
        retry_after=st.none() | st.floats(0, 60),
        retry=st.sampled_from([None, True, False]),
    ),
    st.builds(Hangs, said=st.sampled_from(["", "half"]), first=seconds),
)

hedges = st.sampled_from(
    [{}, {}, {"hedge": {"after": "100ms"}}, {"hedge": {"after": "5s"}}, {"hedge": {"after": "p95"}}]
)


@st.composite
def policies(draw):
    """Any targets, limits, rules and resilience that the loader accepts."""
    targets = {}
    for name in NAMES:
        kind = draw(st.sampled_from(["openai", "onnx"])) if name != "d" else "canned"
        block = {"kind": kind, "text": "later"} if kind == "canned" else {"kind": kind, "model": "m"}
        if kind == "openai":
            block["price"] = {"input": 1000, "output": 1000}
        if kind != "canned":
            block |= {key: f"{draw(seconds):f}s" for key in ("timeout", "first_token", "stall")}
        targets[name] = block
    use = draw(st.lists(st.sampled_from(NAMES), unique=True, min_size=1))
    budgets = draw(
        st.sampled_from(
            [[], [{"name": "day", "usd": 2, "per": "day"}], [{"name": "one", "usd": 1.5, "per": "request"}]]
        )
    )
    resilience = {
        "deadline": f"{draw(seconds):f}s",
        "last_rung": f"{draw(seconds):f}s",
        "retry": {"attempts": draw(st.integers(1, 4)), "backoff": "100ms", "max_backoff": "2s"},
        "retry_on": draw(listed),
        "fallback_on": draw(listed),
        "on_interrupt": draw(st.sampled_from(["error", "restart", "buffer"])),
        "circuit_breaker": {"failures": draw(st.integers(1, 5)), "within": "30s", "cool_down": "5s"},
    }
    return load(
        {
            "version": 1,
            "targets": targets,
            "budgets": budgets,
            "boundaries": [PRIVATE] if draw(st.booleans()) else [],
            "rules": [{"name": "all", "use": use} | draw(hedges)],
            "resilience": resilience,
        }
    )


@dataclass
class Books(MemoryLedger):
    """The real ledger in memory; remembers what is open."""

    policy: object
    clock: object
    open: dict = field(default_factory=dict)
    spent: Decimal = Decimal(0)

    def __post_init__(self):
        super().__init__(self.policy, clock=self.clock)

    async def reserve(self, **what):
        reservation = await super().reserve(**what)
        self.open[reservation.id] = reservation
        return reservation

    async def settle(self, reservation, usd, *, estimated=False):
        await super().settle(reservation, usd, estimated=estimated)
        del self.open[reservation.id]
        self.spent += usd

    async def release(self, reservation):
        await super().release(reservation)
        del self.open[reservation.id]


requests = st.builds(
    Request,
    messages=st.just((Message(role="user", parts=(Text(text="hello"),)),)),
    timeout=st.none() | seconds,
    max_tokens=st.just(200),
    on_interrupt=st.sampled_from([None, None, "error", "restart", "buffer"]),
    safe_to_retry=st.sampled_from([True, True, False]),
)
arrivals = st.lists(
    st.builds(
        Arrival,
        at=st.floats(0, 60),
        request=requests,
        stream=st.booleans(),
        leaves_after=st.sampled_from([None, None, None]) | seconds,
    ),
    min_size=1,
    max_size=8,
)
outages = st.lists(
    st.builds(Downtime, target=st.sampled_from(NAMES[:3]), start=st.floats(0, 60), end=st.floats(0, 90), does=steps),
    max_size=3,
)
scripts = st.dictionaries(st.sampled_from(NAMES[:3]), st.lists(steps, min_size=1, max_size=4))


def check(*, policy, script, outage, asked, level, seed):
    world = World(scripts=script, outages=outage, levels={"privacy": level}, seed=seed)
    runtime = stage(policy, world)
    books = Books(policy, lambda: world.date().timestamp())
    stories = run(asked, runtime, world, ledger=books)
    assert len(stories) == len(asked)
    for arrival, story in zip(asked, stories, strict=True):
        check_story(policy, arrival, story)
    assert books.open == {}, "a reservation was neither settled nor released"
    if runtime.window_budgets:
        assert books.spent == sum(story.receipt.cost_usd for story in stories)
        assert books.spent <= 2, "the budget was overspent"
    check_calls(policy, world, stories, level)


def check_story(policy, arrival, story):
    ends = [end for end in (story.result, story.error, story.abandoned) if end is not None]
    assert len(ends) == 1
    deadline = policy.resilience.deadline if arrival.request.timeout is None else arrival.request.timeout
    leaves = inf if arrival.leaves_after is None else arrival.leaves_after
    assert story.ended - story.began <= min(deadline, leaves) + LATE
    receipt = story.receipt
    if receipt.decision is not None:
        assert {attempt.target for attempt in receipt.attempts} <= set(receipt.decision.plan)
    tries = Counter(attempt.target for attempt in receipt.attempts)
    assert all(count <= policy.resilience.retry.attempts for count in tries.values())
    if story.result is not None:
        answered = [attempt for attempt in receipt.attempts if attempt.target == receipt.target]
        assert answered[-1].code in ANSWERED
        assert receipt.degraded == (receipt.rung != 1 or receipt.target == "d")
    else:
        assert receipt.target is None
    if not arrival.request.safe_to_retry:
        check_sent_once(receipt)
    check_events(arrival, story)
    for budget in policy.budgets:
        if budget.per == "request":
            assert receipt.cost_usd <= budget.usd


def check_sent_once(receipt):
    """After a target may have acted, only a canned reply may follow."""
    acted = False
    for attempt in receipt.attempts:
        if attempt.code not in UNSENT and attempt.target != "d":
            assert not acted, "a request that acts was sent again"
            acted = attempt.code in ACTED


def check_events(arrival, story):
    """What was shown and not taken back is the answer, or the partial text of the error."""
    if not arrival.stream:
        assert story.events == ()
        return
    shown, reading = "", False
    for event in story.events:
        match event:
            case Start():
                assert not reading
                reading = True
            case Reset():
                assert reading
                shown, reading = "", False
            case TextDelta():
                assert reading
                shown += event.text
    if story.result is not None:
        assert reading
        assert shown == story.result.answer.text
    elif isinstance(story.error, StreamInterrupted):
        assert reading
        assert shown == story.error.partial
    elif story.error is not None:
        assert story.events == (), "an error that is not StreamInterrupted left pieces with the caller"


def check_calls(policy, world, stories, level):
    reached = Counter(target for _, target in world.calls)
    noted = Counter(attempt.target for story in stories for attempt in story.receipt.attempts)
    for target, count in reached.items():
        assert target in policy.rules[0].use
        assert count <= noted[target], "a call that is on no receipt"
        if policy.boundaries and level == "secret":
            assert policy.targets[target].kind != "openai", "a forbidden target was called"


cases = st.fixed_dictionaries(
    {
        "policy": policies(),
        "script": scripts,
        "outage": outages,
        "asked": arrivals,
        "level": st.sampled_from(["public", "secret"]),
        "seed": st.integers(0, 1000),
    }
)
calm = [HealthCheck.too_slow, HealthCheck.data_too_large]


@given(case=cases)
@settings(max_examples=300, deadline=None, suppress_health_check=calm)
def test_the_promises_hold(case):
    """Three hundred worlds."""
    check(**case)


@pytest.mark.slow
@given(case=cases)
@settings(max_examples=10_000, deadline=None, suppress_health_check=calm)
def test_the_promises_hold_in_many_more_worlds(case):
    """Ten thousand."""
    check(**case)
