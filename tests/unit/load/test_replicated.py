"""Replicas behind one target: choice by load, rest after failures."""

from __future__ import annotations

import asyncio
import contextlib
import random
from dataclasses import replace
from typing import Any

import pytest

from hybridinfer.load.replicated import ReplicatedTarget
from hybridinfer.patience import OURS
from hybridinfer.policy.model import CircuitBreakerBlock, TargetBlock
from hybridinfer.receipt import Code
from hybridinfer.resilience.breaker import Breaker, State
from hybridinfer.targets.base import TargetFailed
from hybridinfer.testing import FakeClock, FakeTarget, Hang, Outage
from hybridinfer.types import Message, Request, Terms, Text

pytestmark = pytest.mark.anyio

REQUEST = Request(messages=(Message(role="user", parts=(Text(text="hello"),)),))


def replicated(*targets: FakeTarget, clock: FakeClock | None = None, failures: int = 2) -> ReplicatedTarget:
    settings = CircuitBreakerBlock(failures=failures, cool_down="15s")
    block = TargetBlock(kind="openai", model="m", first_token="2s", stall="1s")
    return ReplicatedTarget(targets, settings, block, clock=clock or FakeClock(), rng=random.Random(7))


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
    assert failed.value.code is Code.CIRCUIT_OPEN
    assert (failed.value.retry, failed.value.sent) == (False, False)
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


async def broken_off(
    target: Any, seconds: float, clock: FakeClock, *, read: int = 0, limit: float = 2.0, why: str | None = None
) -> None:
    """Read so many pieces, then wait for the next one, and give up after so many seconds."""
    request = replace(REQUEST, terms=Terms(first_token=limit))
    events = target.stream(request, stream=True)
    for _ in range(read):
        await anext(events)
    waiting = asyncio.ensure_future(anext(events))
    await asyncio.sleep(0)
    clock.advance(seconds)
    waiting.cancel(why)
    with contextlib.suppress(asyncio.CancelledError):
        await waiting


def states(target: ReplicatedTarget) -> list[State]:
    return [replica.breaker.health().state for replica in target._replicas]


@pytest.mark.parametrize(("after", "read", "seconds"), [((), 0, 2.0), (("x",), 1, 1.0)])
async def test_a_replica_that_is_silent_rests(after: tuple[str, ...], read: int, seconds: float) -> None:
    """Calls that are broken off at a limit, before the first piece or between two, are its failures."""
    clock = FakeClock()
    target = replicated(FakeTarget("t", script=[Hang(after=after)]), clock=clock)
    for _ in range(2):
        await broken_off(target, seconds, clock, read=read)
    assert states(target) == [State.OPEN]


@pytest.mark.parametrize(
    ("after", "read", "seconds", "limit"), [((), 0, 1.5, 2.0), ((), 0, 0.1, 0.1), (("x",), 1, 0.8, 2.0)]
)
async def test_a_caller_who_leaves_says_nothing(
    after: tuple[str, ...], read: int, seconds: float, limit: float
) -> None:
    """Before the limit, or after one that hardly any call could keep."""
    clock = FakeClock()
    target = replicated(FakeTarget("t", script=[Hang(after=after)]), clock=clock)
    for _ in range(4):
        await broken_off(target, seconds, clock, read=read, limit=limit)
    assert states(target) == [State.CLOSED]


async def test_silence_while_our_own_loop_was_held_up_says_nothing() -> None:
    """The replica may have answered long ago."""
    clock = FakeClock()
    target = replicated(FakeTarget("t", script=[Hang()]), clock=clock)
    for _ in range(4):
        await broken_off(target, 2.0, clock, read=0, why=OURS)
    assert states(target) == [State.CLOSED]


async def test_a_pause_of_the_reader_is_no_silence() -> None:
    """Whoever reads slowly and then leaves is not taken for a stall."""
    clock = FakeClock()
    target = replicated(FakeTarget("t", script=[Hang(after=("x",))]), clock=clock)
    for _ in range(4):
        events = target.stream(REQUEST, stream=True)
        await anext(events)
        clock.advance(30)
        await events.aclose()
    for _ in range(4):
        events = target.stream(REQUEST, stream=True)
        await anext(events)
        clock.advance(30)
        waiting = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0)
        waiting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await waiting
    assert states(target) == [State.CLOSED]


async def test_silence_does_not_look_fast() -> None:
    """A replica that swallows its calls gets the smaller part, long before it rests."""
    clock = FakeClock()

    class Swallows(FakeTarget):
        async def stream(self, request: Request, *, stream: bool) -> Any:
            self.requests.append(request)
            clock.advance(1.5)
            raise asyncio.CancelledError  # the caller's patience was shorter than the limit
            yield

    class Timed(FakeTarget):
        async def stream(self, request: Request, *, stream: bool) -> Any:
            clock.advance(0.3)
            async for event in super().stream(request, stream=stream):
                yield event

    silent, sound = Swallows("t"), Timed("t", script=["x"])
    target = replicated(silent, sound, clock=clock)
    for _ in range(40):
        with contextlib.suppress(asyncio.CancelledError):
            await call(target)
    assert len(sound.requests) > 3 * len(silent.requests)


async def test_a_replica_rests_as_long_as_it_asks() -> None:
    """Its Retry-After counts, as it does for a target without replicas."""
    clock = FakeClock()
    busy = FakeTarget("t", script=[Outage(Code.RATE_LIMITED, retry_after=60.0), "ok"])
    target = replicated(busy, clock=clock, failures=1)
    with pytest.raises(TargetFailed):
        await call(target)
    clock.advance(59)
    with pytest.raises(TargetFailed, match="resting"):
        await call(target)
    clock.advance(1)
    assert await call(target) == "ok"


async def test_replicas_that_come_back_do_not_open_the_circuit_of_their_target_again() -> None:
    """Many callers, an outage that ends: while its replicas let few calls through, the target stays closed."""
    clock = FakeClock()

    class Waits(FakeTarget):
        async def stream(self, request: Request, *, stream: bool) -> Any:
            for _ in range(3):  # so that the callers' calls overlap
                await asyncio.sleep(0)
            async for event in super().stream(request, stream=stream):
                yield event

    targets = [Waits("t", script=[Outage(Code.UNAVAILABLE)]) for _ in range(2)]
    settings = CircuitBreakerBlock(failures=5, within="5s", cool_down="15s")
    block = TargetBlock(kind="openai", model="m")
    target = ReplicatedTarget(targets, settings, block, clock=clock, rng=random.Random(7))
    breaker = Breaker("t", settings, clock)
    opened = answered = 0

    async def ask() -> None:
        nonlocal opened, answered
        if (ticket := breaker.enter()) is None:
            return
        code = Code.OK
        try:
            await call(target)
            answered += 1
        except TargetFailed as failed:
            code = failed.code
        was = breaker.health().state
        breaker.leave(ticket, code)
        opened += was is not State.OPEN and breaker.health().state is State.OPEN

    for _ in range(3):
        await asyncio.gather(*(ask() for _ in range(64)))
    assert breaker.health().state is State.OPEN
    for one in targets:
        one.script = ["well again"]
    opened = answered = 0
    for _ in range(40):
        clock.advance(1)
        await asyncio.gather(*(ask() for _ in range(64)))
    assert breaker.health().state is State.CLOSED
    assert states(target) == [State.CLOSED, State.CLOSED]
    assert opened == 0
    assert answered > 1000


async def test_the_rest_of_the_face_covers_every_replica() -> None:
    """Warming up and closing reach all of them."""
    one, two = FakeTarget("t"), FakeTarget("t")
    target = replicated(one, two)
    await target.warmup()
    await target.aclose()
    assert (one.closed, two.closed) == (True, True)
    assert target.count_tokens(REQUEST) == 1
