"""Calls of targets that may be anybody's code: read in one task, broken off without waiting, tracked until they end."""

from __future__ import annotations

import asyncio

import pytest

from hybridinfer import apart
from hybridinfer.apart import Apart, drain
from hybridinfer.receipt import Code
from hybridinfer.targets.base import TargetFailed
from hybridinfer.types import TextDelta
from tests.virtual import virtual_time

A, B = TextDelta(text="a"), TextDelta(text="b")


@pytest.fixture
def play():
    """Runs a coroutine on a virtual clock, which makes sure that no task is left over."""
    with virtual_time() as loop:
        yield loop.run_until_complete


async def read(events):
    return [event async for event in events]


def test_events_pass(play):
    """In order, and the task ends with the last one."""

    async def call():
        yield A
        yield B

    async def go():
        behind = set()
        assert await read(Apart(call(), behind, target="t")) == [A, B]
        await asyncio.sleep(0)
        assert not behind

    play(go())


def test_the_end_is_the_end(play):
    """Whoever asks again, or closes then, is told so."""

    async def call():
        yield A

    async def go():
        events = Apart(call(), set(), target="t")
        assert await read(events) == [A]
        await asyncio.sleep(0)
        assert await read(events) == []
        await events.aclose()

    play(go())


def test_a_call_runs_in_one_task_from_its_beginning_to_its_end(play):
    """Timeouts and task groups may be held open over a piece, whoever reads the pieces."""
    tasks = []

    async def call():
        tasks.append(asyncio.current_task())
        try:
            async with asyncio.timeout(5):
                yield A
                tasks.append(asyncio.current_task())
                yield B
        finally:
            tasks.append(asyncio.current_task())

    async def go():
        events = Apart(call(), set(), target="t")
        assert await asyncio.create_task(anext(events)) is A
        assert await asyncio.create_task(anext(events)) is B
        await events.aclose()

    play(go())
    assert len(tasks) == 3
    assert len(set(tasks)) == 1


def test_nothing_is_read_ahead(play):
    """The next piece is asked for when somebody wants it."""
    steps = []

    async def call():
        for step in range(3):
            steps.append(step)
            yield A

    async def go():
        events = Apart(call(), set(), target="t")
        await anext(events)
        await asyncio.sleep(1)
        assert steps == [0]
        await events.aclose()

    play(go())
    assert steps == [0]


def test_a_failure_is_raised_where_the_events_are_read(play):
    """As it is."""
    failure = TargetFailed(Code.REFUSED)

    async def call():
        yield A
        raise failure

    async def go():
        events = Apart(call(), set(), target="t")
        await anext(events)
        with pytest.raises(TargetFailed) as caught:
            await anext(events)
        assert caught.value is failure

    play(go())


def test_a_target_that_cancels_itself_has_failed(play):
    """That is no wish of the caller's."""

    async def call():
        yield A
        raise asyncio.CancelledError

    async def go():
        events = Apart(call(), set(), target="t")
        await anext(events)
        with pytest.raises(TargetFailed, match="its work was cancelled") as caught:
            await anext(events)
        assert caught.value.code is Code.UNAVAILABLE

    play(go())


def test_a_well_behaved_call_has_ended_when_it_is_closed(play):
    """Before its first step, at work, and between two pieces."""
    ended = []

    async def call(name):
        try:
            await asyncio.sleep(0.1)
            yield A
            yield B
        finally:
            await asyncio.sleep(0)
            ended.append(name)

    async def go():
        await Apart(call("not begun"), set(), target="t").aclose()
        at_work = Apart(call("at work"), set(), target="t")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await anext(at_work)
        await at_work.aclose()
        between = Apart(call("between"), set(), target="t")
        await anext(between)
        await between.aclose()
        assert ended == ["at work", "between"]

    play(go())


async def tidies(seconds, done):
    """A call that takes its time to end."""
    try:
        yield A
        yield B
    finally:
        await asyncio.sleep(seconds)
        done.append(True)


def test_nobody_waits_for_a_slow_end(play, caplog):
    """It goes on, is known, and whoever closes everything waits for it."""

    async def go():
        clock, behind, done = asyncio.get_running_loop().time, set(), []
        events = Apart(tidies(3.0, done), behind, target="cloud")
        await anext(events)
        began = clock()
        await events.aclose()
        assert clock() - began <= apart.TIDYING
        assert len(behind) == 1
        await drain(behind)
        assert clock() - began == pytest.approx(3.0)
        assert done == [True]
        assert not behind

    play(go())
    assert "target cloud: a call that was broken off goes on" in caplog.text


def test_an_end_that_does_not_come_is_asked_for_again(play):
    """Every few seconds, so that a call that swallowed one cancellation ends with the next."""

    async def go():
        clock, behind, done = asyncio.get_running_loop().time, set(), []
        events = Apart(tidies(3600, done), behind, target="t")
        await anext(events)
        await events.aclose()
        [task] = behind
        await asyncio.wait([task])
        assert clock() == pytest.approx(apart.TIDYING + apart.LINGERING)
        assert done == []

    play(go())


def test_closing_everything_waits_only_so_long(play, caplog):
    """Who takes no notice of being cancelled is named in the log, and left to end."""

    async def stubborn():
        for _ in range(4):
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                continue
        yield A

    async def go():
        behind = set()
        events = Apart(stubborn(), behind, target="t")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await anext(events)
        await events.aclose()
        await drain(behind)
        assert len(behind) == 1
        await asyncio.wait(set(behind))

    play(go())
    assert "1 calls of targets go on" in caplog.text


def test_draining_nothing_takes_no_time():
    """The usual case: it does not even wait for the loop's next turn."""
    with pytest.raises(StopIteration):
        drain(set()).send(None)


def test_a_fault_at_the_very_end_is_logged_by_type(play, caplog):
    """It changes no outcome."""

    class Closing:
        def __aiter__(self):
            return self

        async def __anext__(self):
            raise StopAsyncIteration

        async def aclose(self):
            raise OSError("details")

    assert play(read(Apart(Closing(), set(), target="cloud"))) == []
    assert "target cloud: closing a call raised OSError" in caplog.text
    assert "details" not in caplog.text


def test_an_iterator_without_aclose_is_fine(play):
    """The protocol asks for an iterator, not for a generator."""

    class Plain:
        def __init__(self):
            self.steps = [A]

        def __aiter__(self):
            return self

        async def __anext__(self):
            if not self.steps:
                raise StopAsyncIteration
            return self.steps.pop()

    assert play(read(Apart(Plain(), set(), target="t"))) == [A]
