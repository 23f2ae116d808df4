"""Live drills: faults before the real targets, for the drill's own requests, and for nobody else."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybridinfer.async_router import AsyncRouter
from hybridinfer.budget.ledger import MemoryLedger
from hybridinfer.drill.emulator import Emulator
from hybridinfer.drill.failing import OF_STATE, FaultName
from hybridinfer.drill.live import HEADER, RUN, Live, LiveDrill, Switch, with_own_budget
from hybridinfer.drill.run import run_drill
from hybridinfer.drill.scenario import load_scenario
from hybridinfer.errors import ConfigurationError, PolicyError
from hybridinfer.policy.load import load
from hybridinfer.receipt import Code
from hybridinfer.targets.base import Finish, TargetFailed
from hybridinfer.testing import FakeTarget
from hybridinfer.types import Message, Request, Text

KEYS = {"OPENAI_API_KEY": "sk-live", "HYBRIDINFER_LEDGER": "memory:"}
FAULTS = [word for word in FaultName.__args__ if word not in OF_STATE and word not in {"hang", "stall"}]


def policy(emulator=None, **more):
    tree = {
        "version": 1,
        "drills": "allowed",
        "targets": {
            "cloud": {"kind": "openai", "model": "gpt-6-luna", "price": {"input": 1, "output": 1}},
            "sorry": {"kind": "canned", "text": "later"},
        },
        "rules": [{"name": "all", "use": ["cloud", "sorry"]}],
        "resilience": {"retry": {"attempts": 1}},
    } | more
    if emulator is not None:
        tree["targets"]["cloud"] = tree["targets"]["cloud"] | {"base_url": emulator.base_url_openai}
    return tree


def scenario(fault="down", **more):
    return {
        "version": 1,
        "name": "live",
        "duration": "1s",
        "load": {"rate": 12, "max_tokens": 50, "requests": [{"name": "hello", "prompt": "hello"}]},
        "phases": [{"at": "0s", "faults": {"cloud": fault}}],
        "expect": {"answered_share": "100%"},
    } | more


def request(tags=None, **more):
    return Request(messages=(Message(role="user", parts=(Text(text="hello"),)),), tags=tags or {}, **more)


class Clock:
    """Seconds that stand still until they are set."""

    now = 0.0

    def __call__(self):
        return self.now


def on(tree, clock=None):
    """A switch for a scenario, and its block."""
    switch = Switch(load(policy()), clock=clock or Clock())
    return switch, switch.on(load_scenario(tree)[0])


async def ends(target, one):
    """How a call ends: a code, or the text."""
    try:
        events = [event async for event in target.stream(one, stream=True)]
    except TargetFailed as failed:
        return failed.code
    assert isinstance(events[-1], Finish) or events
    return "".join(getattr(event, "text", "") for event in events)


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.sampled_from(["yes", "no", "YES", "", None]), st.sampled_from(["yes", "no", None])), min_size=1
    ),
    st.sampled_from(FAULTS),
    st.sampled_from([1.0, 0.5]),
)
def test_untagged_requests_see_the_untouched_target(marks, word, share):
    """Whatever is drilled: the real target's own iterator is handed on, and nothing of the request is kept."""

    class Real(FakeTarget):
        def stream(self, request, *, stream):
            self.own = super().stream(request, stream=stream)
            return self.own

    real = Real("cloud")
    switch, block = on(scenario({"fault": word, "share": share, "delay": "1ms"}))
    target = Live(real, switch)
    with block:
        for tag, header in marks:
            one = request(
                {} if tag is None else {"drill": tag}, extra_headers={} if header is None else {HEADER: header}
            )
            drilled = "yes" in (tag, header)
            real.own, before = None, len(target.arrived)
            given = target.stream(one, stream=True)
            if not drilled:
                assert given is real.own
                assert len(target.arrived) == before


@pytest.mark.anyio
@pytest.mark.parametrize("how", [{"tags": {"drill": "yes"}}, {"extra_headers": {"X-HybridInfer-Drill": "yes"}}])
async def test_tagged_requests_meet_the_fault(how):
    """By the tag or by the header; the real target is not called."""
    real = FakeTarget("cloud")
    switch, block = on(scenario())
    target = Live(real, switch)
    with block:
        assert await ends(target, request(**how)) is Code.UNAVAILABLE
    assert real.requests == []


@pytest.mark.anyio
async def test_the_switch_goes_off_by_the_clock():
    """After the scenario's duration nothing fails, even inside the block; and outside of it never."""
    clock, real = Clock(), FakeTarget("cloud")
    switch, block = on(scenario(), clock)
    target, one = Live(real, switch), request({"drill": "yes"})
    assert await ends(target, one) == "hello"
    with block:
        clock.now = 0.2
        assert await ends(target, one) is Code.UNAVAILABLE
        clock.now = 1.0
        assert await ends(target, one) == "hello"
        clock.now = 0.2
    assert await ends(target, one) == "hello"


@pytest.mark.anyio
@pytest.mark.parametrize("word", ["slow", "slow_first_token", "slow_load", "slow_tokens", "wrong_usage"])
async def test_what_is_only_slow_is_answered_by_the_real_target(word):
    """Late, or with the wrong figures, but the real answer."""
    real = FakeTarget("cloud")
    switch, block = on(scenario({"fault": word, "delay": "1ms"}))
    target = Live(real, switch)
    with block:
        events = [event async for event in target.stream(request({"drill": "yes"}), stream=True)]
    assert [event.text for event in events[:-1]] == ["hel", "lo"]
    assert (events[-1].usage is None) == (word == "wrong_usage")
    assert target.arrived == real.requests


def test_the_policy_has_to_allow_it():
    """The error says what to write, and what else to do."""
    with pytest.raises(ConfigurationError, match="say 'drills: allowed' in it, or drill '--against emulator'"):
        run_drill(scenario(), policy(drills="never"), against="live", environ=KEYS)
    with pytest.raises(ConfigurationError, match="does not allow"):
        Switch(load(policy(drills="never")))
    with pytest.raises(PolicyError, match="drills"):
        load(policy(drills="yes"))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"duration": "2h"}, "lasts at most 3600 s"),
        ({"phases": [{"at": "0s", "spend_usd": 1}]}, "may not spend others' budgets"),
        ({"phases": [{"at": "0s", "faults": {"policy": "broken"}}]}, "against the emulator"),
    ],
)
def test_what_cannot_be_live(more, message):
    """Whatever would reach beyond the drill's own requests."""
    with pytest.raises(ConfigurationError, match=message):
        run_drill(scenario(**more), policy(), against="live", environ=KEYS)


def test_it_says_what_it_can_cost_and_does_not_start_for_less():
    """Nobody is called for the figure; without a limit, or above it, nothing starts."""
    bills = []
    with Emulator() as emulator:
        for max_cost in (None, Decimal("0.0001")):
            with pytest.raises(ConfigurationError, match=r"say --max-cost 0\.00"):
                run_drill(
                    scenario(), policy(emulator), against="live", environ=KEYS, max_cost=max_cost, told=bills.append
                )
        assert emulator.requests == []
    [bill] = {(bill.requests, bill.usd, bill.calls["cloud"]) for bill in bills}
    assert bill[0] == bill[2] > 3
    assert bill[1] > Decimal("0.00005") * bill[0]
    assert "sorry" not in bills[0].calls


def test_a_live_drill_calls_the_real_targets_but_for_the_fault():
    """Every second call fails before the cloud; the others arrive there. The course says so, and the budget holds."""
    with Emulator() as emulator:
        phases = [{"at": "0s", "faults": {"cloud": {"fault": "status_503", "share": "50%"}, "ledger": "ok"}}]
        drill = run_drill(
            scenario(phases=phases), policy(emulator), against="live", environ=KEYS, max_cost=Decimal("0.5")
        )
        arrived = len(emulator.requests)
    course = drill.course
    codes = [attempt.code for one in course.served for attempt in one.receipt.attempts]
    assert course.against == "live"
    assert {Code.UNAVAILABLE, Code.OK} <= set(codes)
    assert 0 < arrived == course.arrived["cloud"] < len(course.served)
    assert drill.passed
    assert all(one.receipt.tags["drill"] == "yes" for one in course.served)


def test_it_never_spends_more_than_it_may():
    """The run's own budget refuses the call, and the plan goes on."""
    with Emulator() as emulator:
        loaded = load(policy(emulator))
        few = Decimal("0.0002")

        async def go():
            async with LiveDrill(load_scenario(scenario("ok"))[0], loaded, max_cost=few, environ=KEYS) as drill:
                return await drill.play()

        course = asyncio.run(go())
    assert Code.OVER_BUDGET in {attempt.code for one in course.served for attempt in one.receipt.attempts}
    assert sum(one.receipt.cost_usd for one in course.served) <= few


def test_a_ledger_can_fail_for_the_drill_alone():
    """Its requests cannot buy anything; the ledger itself is untouched."""
    with Emulator() as emulator:
        drill = run_drill(
            scenario(phases=[{"at": "0s", "faults": {"ledger": "disk_full"}}]),
            policy(emulator, budgets=[{"name": "day", "usd": 5, "per": "day"}]),
            against="live",
            environ=KEYS,
            max_cost=Decimal("0.5"),
        )
        assert emulator.requests == []
    assert {attempt.code for one in drill.course.served for attempt in one.receipt.attempts[:1]} == {Code.OVER_BUDGET}


@pytest.mark.anyio
@pytest.mark.parametrize("word", ["down", "status_429", "slow_tokens"])
async def test_normal_traffic_in_the_same_process_notices_nothing(word):
    """The app's router beside a live drill of the same policy: first try, closed breakers, the whole time."""
    async with Emulator() as emulator:
        loaded = load(policy(emulator, resilience={"retry": {"attempts": 2}, "circuit_breaker": {"failures": 1}}))
        tree = scenario({"fault": word, "delay": "20ms"})
        async with (
            AsyncRouter(loaded, environ=KEYS, ledger=MemoryLedger(loaded)) as app,
            LiveDrill(load_scenario(tree)[0], loaded, max_cost=Decimal(1), environ=KEYS) as drill,
        ):
            playing = asyncio.create_task(drill.play())
            receipts = []
            while not playing.done():
                receipts.append((await app.complete("hello", max_tokens=9)).receipt)
            course = await playing
            assert app.health()["cloud"].state == "closed"
    assert len(receipts) > 1
    assert {tuple(attempt.code for attempt in receipt.attempts) for receipt in receipts} <= {("ok",), ("truncated",)}
    assert any(one.receipt.target == "sorry" for one in course.served) == (word != "slow_tokens")


def test_the_runs_own_budget_counts_by_its_tag():
    """Beside the policy's budgets, which stay."""
    ruled = with_own_budget(load(policy(budgets=[{"name": "day", "usd": 5, "per": "day"}])), Decimal("0.1"))
    assert [(budget.name, budget.by) for budget in ruled.budgets] == [("day", None), ("this-drill", RUN)]
