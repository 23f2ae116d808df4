"""The public test doubles do what they say."""

from __future__ import annotations

import asyncio
import errno
import socket

import pytest

from hybridinfer.receipt import Code
from hybridinfer.targets.base import Finish, TargetFailed
from hybridinfer.testing import FakeClock, FakeTarget, Hang, Outage, Reply, forbid_network
from hybridinfer.types import Message, Request, Text, TextDelta, ToolCall, ToolCallDelta, Usage

pytestmark = pytest.mark.anyio
REQUEST = Request(messages=(Message(role="user", parts=(Text(text="one two three"),)),))


async def play(target):
    return [event async for event in target.stream(REQUEST, stream=True)]


async def test_a_script_is_followed_and_its_last_step_stays():
    """And every request is remembered."""
    target = FakeTarget("cloud", script=("a", "b"))
    texts = [(await play(target))[0].text for _ in range(3)]
    assert texts == ["a", "b", "b"]
    assert target.requests == [REQUEST] * 3
    assert target.open == 0


async def test_a_reply_has_chunks_calls_and_an_end():
    """Or no end."""
    call = ToolCall(id="1", name="f", arguments="{}")
    full = Reply(chunks=("a",), tool_calls=(call,), finish="tool_calls", usage=Usage(), model="m")
    assert await play(FakeTarget("cloud", script=(full,))) == [
        TextDelta(text="a"),
        ToolCallDelta(index=0, id="1", name="f", arguments="{}"),
        Finish(finish_reason="tool_calls", usage=Usage(), model="m"),
    ]
    assert await play(FakeTarget("cloud", script=(Reply(chunks=("a",), finish=None),))) == [TextDelta(text="a")]


async def test_an_outage_fails_as_told():
    """After the chunks that it names."""
    outage = Outage(Code.RATE_LIMITED, after=("a",), retry_after=1.0, retry=True, status=429, usage=Usage())
    events = FakeTarget("cloud", script=(outage,)).stream(REQUEST, stream=True)
    assert await anext(events) == TextDelta(text="a")
    with pytest.raises(TargetFailed) as caught:
        await anext(events)
    failure = caught.value
    assert (failure.code, failure.retry_after, failure.retry, failure.status, failure.usage) == (
        Code.RATE_LIMITED,
        1.0,
        True,
        429,
        Usage(),
    )


async def test_an_exception_is_raised():
    """To break the contract."""
    with pytest.raises(ZeroDivisionError):
        await play(FakeTarget("cloud", script=(ZeroDivisionError(),)))


async def test_a_hang_waits_until_it_is_cancelled():
    """`called` tells that it has begun, `open` that it has not ended."""
    target = FakeTarget("cloud", script=(Hang(after=("a",)),))
    task = asyncio.create_task(play(target))
    await target.called.wait()
    assert target.open == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert target.open == 0


async def test_the_rest_of_a_target():
    """Counting words, warming up, closing."""
    target = FakeTarget("local", zone="device", kind="own", context_window=9, region="eu", supports=frozenset())
    assert target.count_tokens(REQUEST) == 3
    assert target.count_tokens(Request(messages=())) == 1
    await target.warmup()
    assert not target.closed
    await target.aclose()
    assert target.closed
    info = target.info
    assert (info.name, info.zone, info.kind, info.context_window, info.region) == ("local", "device", "own", 9, "eu")


async def test_the_clock_moves_when_told():
    """Or when something sleeps on it."""
    clock = FakeClock(5.0)
    clock.advance(1.5)
    await clock.sleep(2.0)
    assert (clock(), clock.slept) == (8.5, [2.0])


class TestForbidNetwork:
    def test_connections_and_names_are_refused_and_noted(self):
        """TCP, by address and by name."""
        with forbid_network() as tried:
            with socket.socket() as one, pytest.raises(ConnectionRefusedError, match="forbidden"):
                one.connect(("127.0.0.1", 9))
            with socket.socket() as one:
                assert one.connect_ex(("127.0.0.2", 9)) == errno.ECONNREFUSED
            with pytest.raises(socket.gaierror, match="forbidden"):
                socket.create_connection(("example.com", 443))
        assert tried == ["('127.0.0.1', 9)", "('127.0.0.2', 9)", "example.com"]

    def test_event_loops_still_work(self):
        """Their socket pairs are no network."""
        with forbid_network() as tried:
            assert asyncio.run(asyncio.sleep(0, "fine")) == "fine"
        assert tried == []

    def test_unix_sockets_stay_allowed(self, tmp_path):
        """A server on this machine, reached through a file."""
        path = str(tmp_path / "s")
        with forbid_network() as tried, socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as one:
            server.bind(path)
            server.listen()
            one.connect(path)
            with socket.socket(socket.AF_UNIX) as another:
                assert another.connect_ex(path) == 0
        assert tried == []

    def test_afterwards_the_network_is_back(self):
        """Nothing stays patched."""
        before = socket.socket.connect
        with forbid_network():
            pass
        assert socket.socket.connect is before
