"""Replicas behind one target: choice by load, rest after failures."""

from __future__ import annotations

import contextlib
import random
from typing import Any

import pytest

from hybridinfer.load.replicated import ReplicatedTarget
from hybridinfer.policy.model import CircuitBreakerBlock
from hybridinfer.receipt import Code
from hybridinfer.targets.base import TargetFailed
from hybridinfer.testing import FakeClock, FakeTarget, Hang, Outage
from hybridinfer.types import Message, Request, Text

pytestmark = pytest.mark.anyio

REQUEST = Request(messages=(Message(role="user", parts=(Text(text="hello"),)),))


def replicated(*targets: FakeTarget, clock: FakeClock | None = None, failures: int = 2) -> ReplicatedTarget:
    settings = CircuitBreakerBlock(failures=failures, cool_down="15s")
    return ReplicatedTarget(targets, settings, clock=clock or FakeClock(), rng=random.Random(7))


async def call(target: Any) -> str:
    return "".join([getattr(event, "text", "") async for event in target.stream(REQUEST, stream=True)])


async def test_both_replicas_get_work() -> None:
    """Calls are spread over equal replicas."""
    one, two = FakeTarget("t", script=["1"]), FakeTarget("t", script=["2"])
    target = replicated(one, two)
    answers = {await call(target) for _ in range(30)}
    assert answers == {"1", "2"}


async def test_the_busy_one_is_spared() -> None:
    """While one replica holds a call, new calls go to the other."""
    one, two = FakeTarget("t", script=[Hang(after=("x",))]), FakeTarget("t", script=["2"])
    target = replicated(one, two)
    target._replicas[1].busy = 5
    held = target.stream(REQUEST, stream=True)
    await anext(held)
    target._replicas[1].busy = 0
    assert len(one.requests) == 1
    assert {await call(target) for _ in range(10)} == {"2"}
    await held.aclose()
    assert one.open == 0


async def test_a_failing_replica_rests_and_a_retry_meets_the_other() -> None:
    """After its failures a replica is left alone until its rest is over."""
    clock = FakeClock()
    bad, good = FakeTarget("t", script=[Outage(Code.UNAVAILABLE)]), FakeTarget("t", script=["ok"])
    target = replicated(bad, good, clock=clock)
    for _ in range(20):
        clock.advance(0.7)  # 14 seconds in all, less than its rest
        with contextlib.suppress(TargetFailed):
            await call(target)
    assert len(bad.requests) == 2
    assert [await call(target) for _ in range(20)] == ["ok"] * 20
    assert len(bad.requests) == 2
    clock.advance(40)
    bad.script = ["well again"]
    assert "well again" in [await call(target) for _ in range(20)]


async def test_when_all_rest_the_call_fails_without_a_retry() -> None:
    """Nothing is sent while every replica rests."""
    bad = FakeTarget("t", script=[Outage(Code.UNAVAILABLE)])
    target = replicated(bad, failures=1)
    for _ in range(2):
        with pytest.raises(TargetFailed) as failed:
            await call(target)
    assert failed.value.code is Code.UNAVAILABLE
    assert failed.value.retry is False
    assert len(bad.requests) == 1


async def test_the_faster_one_gets_more() -> None:
    """Latency counts: a replica that answers ten times slower gets the smaller part."""
    clock = FakeClock()

    class Timed(FakeTarget):
        def __init__(self, seconds: float) -> None:
            super().__init__("t", script=["x"])
            self.seconds = seconds

        async def stream(self, request: Request, *, stream: bool) -> Any:
            clock.advance(self.seconds)
            async for event in super().stream(request, stream=stream):
                yield event

    slow, fast = Timed(1.0), Timed(0.1)
    target = replicated(slow, fast, clock=clock)
    for _ in range(40):
        await call(target)
    assert len(fast.requests) > 3 * len(slow.requests)


async def test_the_rest_of_the_face_covers_every_replica() -> None:
    """Warming up and closing reach all of them."""
    one, two = FakeTarget("t"), FakeTarget("t")
    target = replicated(one, two)
    await target.warmup()
    await target.aclose()
    assert (one.closed, two.closed) == (True, True)
    assert target.count_tokens(REQUEST) == 1
