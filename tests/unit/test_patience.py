"""Limits of silence: what has come in is read first, and what our own loop missed is given back."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridinfer.patience import OURS, TURNS, UNFAIR, Patience, missed
from tests.virtual import virtual_time


@pytest.fixture
def loop():
    """A virtual clock, which can be moved on as if somebody held the loop up."""
    with virtual_time() as virtual:
        yield virtual


def hold_up(loop, seconds):
    """What a long computation on the loop's thread does."""
    loop.now += seconds


async def silence():
    """For ever."""
    await asyncio.Event().wait()


@given(st.floats(0, 100), st.floats(0.01, 100))
def test_little_lateness_does_not_count(late, limit):
    """All of it does, or none."""
    assert missed(late, limit=limit) == (late if late >= max(0.05, UNFAIR * limit) else 0.0)


def test_the_time_is_up(loop):
    """Exactly then, as TimeoutError."""

    async def go():
        with pytest.raises(TimeoutError), Patience(3.0, left=10.0) as patience:
            await silence()
        assert (patience.expired, patience.late, loop.time()) == (True, 0.0, 3.0)

    loop.run_until_complete(go())


def test_in_time(loop):
    """Nothing happens, and no timer is left."""

    async def go():
        with Patience(3.0, left=10.0) as patience:
            await asyncio.sleep(2.0)
        await asyncio.sleep(5.0)
        assert not patience.expired

    loop.run_until_complete(go())


def test_a_sign_begins_the_wait_anew(loop):
    """From that moment on."""

    async def go():
        async def waits():
            await asyncio.sleep(2.0)
            patience.again(3.0)
            await silence()

        with pytest.raises(TimeoutError), Patience(3.0, left=10.0) as patience:
            await waits()
        assert loop.time() == 5.0
        patience.again(1.0)

    loop.run_until_complete(go())


def test_somebody_elses_cancellation_passes(loop):
    """Also while the last turns are waited for, and together with ours."""

    async def wait():
        with Patience(3.0, left=10.0):
            await silence()

    async def go():
        for turns in range(TURNS):
            task = asyncio.create_task(wait())
            await asyncio.sleep(3.0)
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    loop.run_until_complete(go())


def test_an_error_of_the_body_passes(loop):
    """Also where it turns our cancellation into its own."""

    async def go():
        async def changes():
            try:
                await silence()
            except asyncio.CancelledError:
                raise KeyError from None

        with pytest.raises(KeyError), Patience(3.0, left=10.0) as patience:
            await changes()
        assert patience.expired
        assert asyncio.current_task().cancelling() == 0

    loop.run_until_complete(go())


def test_what_has_come_in_is_read_first(loop):
    """It needs some turns of the loop to arrive; none of them is held against whoever sent it in time."""

    async def go():
        arrived = asyncio.Event()

        async def pass_on():
            await asyncio.sleep(3.0)
            for _ in range(TURNS - 4):
                await asyncio.sleep(0)
            arrived.set()

        passing = asyncio.create_task(pass_on())
        with Patience(3.0, left=3.0) as patience:
            await arrived.wait()
        assert not patience.expired
        await passing

    loop.run_until_complete(go())


def test_what_the_loop_missed_is_given_back(loop):
    """An answer that could not even be asked for while the loop was held up has its time afterwards."""

    async def go():
        began = asyncio.create_task(asyncio.sleep(2.0))
        loop.call_later(1.0, hold_up, loop, 4.0)
        with Patience(3.0, left=60.0) as patience:
            await began
            await asyncio.sleep(1.5)  # a round trip that only now begins
        assert not patience.expired
        assert patience.late == 2.0

    loop.run_until_complete(go())


@pytest.mark.parametrize(("left", "until"), [(60.0, 7.0), (5.5, 5.5), (4.0, 5.0)])
def test_never_longer_than_was_missed_nor_past_the_deadline(loop, left, until):
    """Silence stays silence; it says whose fault it may be."""

    async def go():
        loop.call_later(1.0, hold_up, loop, 4.0)
        with pytest.raises(TimeoutError) as up, Patience(3.0, left=left) as patience:
            await silence()
        assert (loop.time(), patience.late, up.value.__cause__.args) == (until, 2.0, (OURS,))

    loop.run_until_complete(go())
