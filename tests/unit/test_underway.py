"""Closing a router waits for what is under way, and for nothing else."""

from __future__ import annotations

import asyncio

import pytest

from hybridinfer import ConfigurationError
from hybridinfer.underway import UnderWay

pytestmark = pytest.mark.anyio


class One:
    def __init__(self, *, until=60.0, idle_since=None, busy=False):
        now = asyncio.get_running_loop().time()
        self.until = now + until
        self.idle_since = None if idle_since is None else now + idle_since
        self.busy, self.stopped = busy, False

    async def aclose(self):
        self.stopped = True
        if self.busy:
            raise RuntimeError("asynchronous generator is already running")


async def test_nothing_under_way_closes_at_once():
    """And nothing gets in afterwards."""
    under_way = UnderWay()
    await under_way.drain()
    with pytest.raises(ConfigurationError, match="closed"):
        under_way.enter(One())


async def test_a_request_is_waited_for():
    """Draining ends when it ends."""
    under_way, one = UnderWay(), One()
    under_way.enter(one)
    draining = asyncio.create_task(under_way.drain())
    await asyncio.sleep(0)
    assert not draining.done()
    under_way.leave(one)
    await draining
    assert not one.stopped


async def test_a_request_past_its_deadline_is_not_waited_for():
    """It is stopped, or left to whoever holds it."""
    under_way, late, busy = UnderWay(), One(until=-1.0), One(until=-1.0, busy=True)
    under_way.enter(late)
    under_way.enter(busy)
    await under_way.drain()
    assert late.stopped
    assert busy.stopped


async def test_a_stream_that_nobody_reads_is_stopped():
    """A second of silence from its reader is enough."""
    under_way, left, fresh = UnderWay(), One(idle_since=-5.0), One(idle_since=0.0)
    under_way.enter(left)
    under_way.enter(fresh)
    draining = asyncio.create_task(under_way.drain())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert left.stopped
    assert not fresh.stopped
    under_way.leave(fresh)
    await draining


async def test_leaving_twice_is_fine():
    """Streams are closed more than once."""
    under_way, one = UnderWay(), One()
    under_way.enter(one)
    under_way.leave(one)
    under_way.leave(one)
    await under_way.drain()
    assert not one.stopped
