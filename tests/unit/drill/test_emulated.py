"""Drills over real HTTP: what arrived is searched, faults reach every kind of target, time runs faster."""

from __future__ import annotations

import asyncio

import pytest

from hybridinfer.drill.actor import Actor
from hybridinfer.drill.emulated import hurried
from hybridinfer.drill.plugin import Staging
from hybridinfer.drill.run import run_drill
from hybridinfer.drill.world import Answers, Fails, Hangs
from hybridinfer.policy.load import load
from hybridinfer.receipt import Code
from hybridinfer.targets.base import Finish, TargetFailed, TargetInfo
from hybridinfer.types import Message, Request, Text, TextDelta

CARD = "4111 1111 1111 1111"
REQUEST = Request(messages=(Message(role="user", parts=(Text(text="hello"),)),))
PATIENT = {"timeout": "10m", "first_token": "10m", "stall": "10m"}
"""Divided by the speed of the drills here it is still half a minute: nobody is silent, but the machine may be busy."""
INFO = TargetInfo(name="local", kind="onnx", zone="device")


def policy(**more):
    return {
        "version": 1,
        "targets": {
            "cloud": {"kind": "openai", "model": "m", "price": {"input": 100, "output": 100}, **PATIENT},
            "local": {"kind": "onnx", "model": "m", **PATIENT},
            "sorry": {"kind": "canned", "text": "later"},
        },
        "rules": [
            {"name": "spent", "when": {"budget": "spent"}, "use": ["local", "sorry"]},
            {"name": "all", "use": ["cloud", "local", "sorry"]},
        ],
        "resilience": {"deadline": "20m"},
    } | more


def scenario(phases=(), **expect):
    return {
        "version": 1,
        "name": "one",
        "duration": "20s",
        "load": {"rate": 2, "stream": "50%", "requests": [{"name": "card", "prompt": CARD, "private": [CARD]}]},
        "phases": list(phases),
        "expect": expect or {"privacy": "no_leak"},
    }


def over_http(phases=(), **more):
    return run_drill(scenario(phases), policy(**more), against="emulator", speed=20)


def test_a_leak_is_found():
    """In what the emulator really received."""
    drill = over_http()
    assert [verdict.measured for verdict in drill.verdicts] == ["leaked: card in cloud"]


def test_masking_is_no_leak():
    """The cloud was asked, and saw a placeholder."""
    bounds = [{"name": "mask", "when": {"privacy": ["personal", "secret"]}, "cloud": "masked"}]
    drill = over_http(boundaries=bounds)
    assert drill.passed
    assert drill.course.arrived["cloud"] > 0


def test_a_local_model_breaks_and_the_money_goes():
    """Both without HTTP: the played target follows the timeline, and somebody else spends."""
    phases = [{"at": "0s", "faults": {"local": {"fault": "down", "share": "50%"}}, "spend_usd": 5}]
    drill = over_http(phases, budgets=[{"name": "day", "usd": 5, "per": "day"}])
    answered = {one.receipt.target for one in drill.course.served}
    assert answered == {"local", "sorry"}


def test_a_request_that_nobody_answers():
    """Is counted, with its error."""
    rules = [{"name": "all", "use": ["cloud"]}]
    drill = over_http([{"at": "0s", "faults": {"cloud": "status_401"}}], rules=rules)
    assert "AuthenticationError" in {one.error for one in drill.course.served}


def test_time_runs_faster():
    """Every duration of the policy is divided; windows of budgets and hedges by percentile stay."""
    settings = {"circuit_breaker": {"slow": "10s"}, "deadline": "20s"}
    rules = [
        {"name": "a", "when": {"complexity": "low"}, "use": ["cloud", "local"], "hedge": {"after": "5s"}},
        {"name": "b", "use": ["cloud", "local"], "hedge": {"after": "p95"}},
    ]
    quick = hurried(load(policy(resilience=settings, rules=rules)), 10)
    assert quick.resilience.deadline == 2.0
    assert quick.resilience.circuit_breaker.slow == 1.0
    assert quick.resilience.retry.backoff == pytest.approx(0.02)
    assert quick.targets["cloud"].timeout == 60.0
    assert [rule.hedge.after for rule in quick.rules] == [0.5, "p95"]


async def perform(step):
    return [event async for event in Actor(INFO, lambda _: step, speed=1000).stream(REQUEST, stream=True)]


@pytest.mark.anyio
class TestActor:
    async def test_answers(self):
        """In pieces, with the terminal event, or without it where the script says so."""
        assert [e.text for e in (await perform(Answers("abcd", pieces=2)))[:-1]] == ["ab", "cd"]
        assert isinstance((await perform(Answers("abcd")))[-1], Finish)
        assert isinstance((await perform(Answers("abcd", finish=None)))[-1], TextDelta)

    async def test_fails(self):
        """With the code and the patience of the script, after what was said."""
        with pytest.raises(TargetFailed) as caught:
            await perform(Fails(Code.RATE_LIMITED, said="half", retry_after=3.0))
        assert (caught.value.code, caught.value.retry_after) == (Code.RATE_LIMITED, 3.0)

    async def test_hangs(self):
        """Says what it says, then nothing for ever."""
        events = Actor(INFO, lambda _: Hangs("half"), speed=1000).stream(REQUEST, stream=True)
        assert (await anext(events)).text == "half"
        following = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0)
        assert not following.done()
        following.cancel()
        with pytest.raises(asyncio.CancelledError):
            await following


class TestStaging:
    def test_a_router_whose_clouds_are_emulators(self):
        """Outages by status, word or fault; own doubles come first; everything ends with `close`."""
        staging = Staging()
        router = staging.router(policy())
        assert router.complete("hello", max_tokens=9).target == "cloud"
        end = staging.outage("cloud", 503)
        assert router.complete("hello", max_tokens=9).target == "local"
        end.end()
        staging.outage("*", "down", times=1)
        assert router.complete("hello", max_tokens=9).receipt.attempts[0].code is Code.UNAVAILABLE
        assert len(staging.emulators["cloud"].requests) > 1
        own = Actor(TargetInfo(name="local", kind="own", zone="device"), lambda _: Answers("mine"), speed=1000)
        staging.outage("cloud", "status_529")
        assert staging.router(policy(), targets={"local": own}).complete("hello", max_tokens=9).text == "mine"
        staging.close()

    def test_a_target_that_is_not_there(self):
        """Is told with those that are."""
        staging = Staging()
        with pytest.raises(LookupError, match="make the router first"):
            staging.outage("*", 503)
