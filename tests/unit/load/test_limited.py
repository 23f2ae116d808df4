"""Limits in front of a target: places, a queue, allowances per minute."""

from __future__ import annotations

import asyncio

import pytest

from hybridinfer.load.limited import Allowance, LimitedTarget, Seats
from hybridinfer.policy.model import TargetBlock
from hybridinfer.receipt import Code
from hybridinfer.targets.base import Finish, TargetEvent, TargetFailed
from hybridinfer.testing import FakeClock, FakeTarget, Hang, Outage, Reply
from hybridinfer.types import Message, Request, Text, Usage

pytestmark = pytest.mark.anyio

REQUEST = Request(messages=(Message(role="user", parts=(Text(text="one two three"),)),), max_tokens=7)


def block(**limits: int) -> TargetBlock:
    return TargetBlock(kind="openai", model="m", **limits)


async def drain(target: LimitedTarget) -> list[TargetEvent]:
    return [event async for event in target.stream(REQUEST, stream=True)]


async def test_a_full_house_refuses_at_once() -> None:
    """Without a queue the second call fails fast with `saturated`."""
    inner = FakeTarget("t", script=[Hang()])
    target = LimitedTarget(inner, block(max_concurrency=1))
    first = asyncio.create_task(drain(target))
    await inner.called.wait()
    with pytest.raises(TargetFailed) as refused:
        await drain(target)
    assert refused.value.code is Code.SATURATED
    assert refused.value.retry is False
    first.cancel()
    await asyncio.wait([first])
    assert inner.open == 0


async def test_a_place_that_becomes_free_goes_to_the_first_in_the_queue() -> None:
    """Those who wait are served in order."""
    seats = Seats(1, 2)
    await seats.take()
    order: list[int] = []

    async def sit(number: int) -> None:
        await seats.take()
        order.append(number)
        seats.leave()

    waiting = [asyncio.create_task(sit(number)) for number in range(2)]
    await asyncio.sleep(0)
    seats.leave()
    await asyncio.gather(*waiting)
    assert order == [0, 1]


async def test_leaving_the_queue_takes_nobody_s_place() -> None:
    """A cancelled wait is forgotten, and the place goes to the next."""
    seats = Seats(1, 2)
    await seats.take()
    quitter, patient = (asyncio.create_task(seats.take()) for _ in range(2))
    await asyncio.sleep(0)
    quitter.cancel()
    await asyncio.wait([quitter])
    seats.leave()
    await patient
    seats.leave()
    assert seats._free == 1


async def test_a_place_that_becomes_free_while_somebody_leaves_the_queue_is_free() -> None:
    """Whoever left is thrown out of the queue first and wakes later: still cancelled, and nothing is lost."""
    seats = Seats(1, 1)
    await seats.take()
    waiting = asyncio.create_task(seats.take())
    await asyncio.sleep(0)
    waiting.cancel()
    seats.leave()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await seats.take()


async def test_a_place_given_at_the_moment_of_leaving_is_passed_on() -> None:
    """Cancelled after its turn came but before it ran: the place is not lost."""
    seats = Seats(1, 1)
    await seats.take()
    waiting = asyncio.create_task(seats.take())
    await asyncio.sleep(0)
    seats.leave()
    waiting.cancel()
    await asyncio.wait([waiting])
    assert seats._free == 1


async def test_a_failure_frees_the_place() -> None:
    """A place is free again after the target failed."""
    target = LimitedTarget(FakeTarget("t", script=[Outage(Code.UNAVAILABLE), "ok"]), block(max_concurrency=1))
    with pytest.raises(TargetFailed):
        await drain(target)
    assert await drain(target)


async def test_requests_per_minute_flow_back_evenly() -> None:
    """Two a minute: the third waits half a minute for its turn."""
    clock = FakeClock()
    target = LimitedTarget(FakeTarget("t", script=["ok"]), block(requests_per_minute=2), clock=clock)
    await drain(target)
    await drain(target)
    with pytest.raises(TargetFailed) as refused:
        await drain(target)
    assert refused.value.code is Code.SATURATED
    clock.advance(30)
    assert await drain(target)


async def test_tokens_that_were_not_used_are_given_back() -> None:
    """The worst case (3 + 7) is taken, the real use (2) is kept: five calls fit into ten tokens."""
    usage = Usage(input_tokens=1, output_tokens=1)
    inner = FakeTarget("t", script=[Reply(usage=usage)])
    target = LimitedTarget(inner, block(tokens_per_minute=18), clock=FakeClock())
    for _ in range(5):
        await drain(target)
    with pytest.raises(TargetFailed) as refused:
        await drain(target)
    assert refused.value.code is Code.SATURATED
    assert len(inner.requests) == 5


async def test_a_refusal_for_tokens_uses_up_no_request() -> None:
    """What was refused for its tokens does not count as a request."""
    clock = FakeClock()
    target = LimitedTarget(
        FakeTarget("t", script=["ok"]), block(tokens_per_minute=12, requests_per_minute=60), clock=clock
    )
    await drain(target)
    with pytest.raises(TargetFailed, match="tokens"):
        await drain(target)
    assert target._requests._level == 59


async def test_tokens_come_back_when_the_queue_is_full() -> None:
    """A call that found no place gives its tokens back."""
    inner = FakeTarget("t", script=[Hang()])
    target = LimitedTarget(inner, block(max_concurrency=1, tokens_per_minute=20), clock=FakeClock())
    first = asyncio.create_task(drain(target))
    await inner.called.wait()
    with pytest.raises(TargetFailed, match="places"):
        await drain(target)
    assert target._tokens._level == 10
    first.cancel()
    await asyncio.wait([first])


async def test_without_usage_the_worst_case_stays_taken() -> None:
    """Unknown means deny: a call that told no usage counts in full."""
    target = LimitedTarget(FakeTarget("t", script=[Reply(usage=None)]), block(tokens_per_minute=100), clock=FakeClock())
    await drain(target)
    assert target._tokens._level == 90


def test_more_than_a_minute_s_worth_needs_a_full_bucket() -> None:
    """A request larger than the whole allowance passes alone, and is paid off afterwards."""
    clock = FakeClock()
    allowance = Allowance(60, clock)
    assert allowance.take(90)
    clock.advance(60)
    assert not allowance.take(90)
    clock.advance(30)
    assert allowance.take(90)


async def test_the_rest_of_a_target_s_face_is_the_target_s_own() -> None:
    """Counting, warming up and closing pass through."""
    inner = FakeTarget("t", script=["ok"])
    target = LimitedTarget(inner, block())
    await target.warmup()
    await target.aclose()
    assert target.count_tokens(REQUEST) == 3
    assert inner.closed
    assert isinstance((await drain(target))[-1], Finish)
