"""The soak finds what is left behind, and nothing is."""

from __future__ import annotations

import asyncio
import threading

import pytest

from benchmarks import soak

pytestmark = pytest.mark.skipif(not soak.Path("/proc/self/fd").exists(), reason="needs /proc, as Linux has it")


@pytest.mark.slow
def test_a_short_soak_leaves_nothing_behind():
    """A few seconds of every fault: no task, socket, descriptor or thread. Memory needs the long one."""
    done, left = soak.soak(4.0, 32)
    assert not any(left.values())
    assert done.ends["ended"] > 0
    assert done.resident


def test_what_is_held_is_seen():
    """A leak of each kind shows."""
    before = soak.held()
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    loop = asyncio.new_event_loop()  # two sockets, and a selector
    now = soak.held()
    loop.close()
    over.set()
    thread.join()
    assert now["threads"] == before["threads"] + 1
    assert now["sockets"] == before["sockets"] + 2
    assert now["descriptors"] > before["descriptors"] + 2
    assert soak.held() == before


def test_circuits_that_stay_open_show():
    """Calls that fail, or callers who only meet canned replies; callers who left and rests that end say nothing."""
    well = {"ok": 60, "unavailable": 20, "cancelled": 300, "circuit_open": 50}
    assert soak.Soak(ends=soak.Counter(ended=100), codes=soak.Counter(well), canned=30).healthy()
    assert not soak.Soak(ends=soak.Counter(ended=100), codes=soak.Counter(well | {"stalled": 90}), canned=30).healthy()
    assert not soak.Soak(ends=soak.Counter(ended=100), codes=soak.Counter(well), canned=70).healthy()


def test_thirds_are_means():
    """In MB; the rest of an uneven division belongs to the last."""
    assert soak.Soak(resident=[1e6, 3e6, 4e6, 4e6, 6e6, 8e6, 7e6]).thirds() == (2.0, 4.0, 7.0)
