"""A drill in real time says when this machine was too busy for it."""

from __future__ import annotations

import io
import time
from dataclasses import replace

import pytest
from rich.console import Console

from hybridinfer.drill.emulated import hurried
from hybridinfer.drill.lag import BEAT, Lag, lag, measured, shortest, warning
from hybridinfer.drill.report import picture, print_drill
from hybridinfer.drill.run import run_drill
from hybridinfer.policy.load import load
from tests.virtual import virtual_time

POLICY = {
    "version": 1,
    "targets": {
        "cloud": {"kind": "openai", "model": "m", "timeout": "8s", "first_token": "4s", "stall": "6s"},
        "sorry": {"kind": "canned", "text": "later"},
    },
    "rules": [{"name": "all", "use": ["cloud", "sorry"]}],
    "resilience": {"deadline": "20s"},
}
SCENARIO = {
    "version": 1,
    "name": "one",
    "duration": "1s",
    "load": {"rate": 2, "requests": [{"name": "a", "prompt": "hello"}]},
    "expect": {"answered_share": "100%"},
}
BUSY = Lag(worst=0.31, p99=0.12, patience=0.5)


def test_lateness_is_measured():
    """Beat by beat; somebody who holds the loop up makes one of them late."""
    with virtual_time() as loop:

        async def go():
            import asyncio

            with measured() as late:
                await asyncio.sleep(5.5 * BEAT)
                loop.now += 1.0  # a long computation
                await asyncio.sleep(2 * BEAT)
            await asyncio.sleep(10 * BEAT)
            return late

        late = loop.run_until_complete(go())
    assert late[:5] == pytest.approx([0.0] * 5)
    assert late[5] == pytest.approx(1.0 - BEAT / 2)
    assert len(late) in {7, 8}


def test_the_shortest_patience_counts():
    """Of all targets that can be late, and of the request; divided where time runs faster."""
    policy = load(POLICY)
    assert shortest(policy) == 4.0
    assert shortest(load(POLICY | {"resilience": {"deadline": "3s"}})) == 3.0
    assert lag([0.0] * 99 + [0.2], hurried(policy, 10)) == Lag(worst=0.2, p99=0.0, patience=0.4)
    assert lag([], policy) == Lag(worst=0.0, p99=0.0, patience=4.0)


@pytest.mark.parametrize(
    ("worst", "p99", "busy"), [(0.0, 0.0, False), (0.4, 0.09, False), (0.5, 0.0, True), (0.2, 0.1, True)]
)
def test_one_great_lateness_or_many_small_ones(worst, p99, busy):
    """Half of the patience once, or a tenth of it often."""
    assert Lag(worst=worst, p99=p99, patience=1.0).busy is busy


def test_the_remedy_is_said():
    """A live drill has no speed."""
    assert warning(BUSY, hurried=True) == (
        "this machine was busy: the drill's event loop ran up to 0.31 s late (p99 0.12 s), where the policy's shortest "
        "patience is 0.50 s; run again, or lower --speed"
    )
    assert "speed" not in warning(BUSY, hurried=False)


def shown(drill):
    page = io.StringIO()
    print_drill(drill, Console(file=page, width=300))
    return page.getvalue()


def test_the_reports_say_so():
    """On the terminal only where it matters; in JSON always. A simulation is never late."""
    drill = run_drill(SCENARIO, POLICY)
    assert picture(drill)["lag"] is None
    assert "busy" not in shown(drill)
    quiet = replace(drill, course=replace(drill.course, against="emulator", lag=replace(BUSY, patience=100.0)))
    assert "busy" not in shown(quiet)
    busy = replace(drill, course=replace(drill.course, against="emulator", lag=BUSY))
    assert warning(BUSY, hurried=True) in shown(busy)
    assert picture(busy)["lag"] == {
        "worst_seconds": 0.31,
        "p99_seconds": 0.12,
        "shortest_patience_seconds": 0.5,
        "busy": True,
    }


def test_a_drill_over_http_measures_it(monkeypatch):
    """The event loop is held up by one request for longer than anybody waits."""
    from hybridinfer.drill import emulated

    usual = emulated.healthy

    def slow(request):
        time.sleep(0.5)
        return usual(request)

    monkeypatch.setattr(emulated, "healthy", slow)
    here = POLICY | {"targets": POLICY["targets"] | {"cloud": {"kind": "onnx", "model": "m", "first_token": "2s"}}}
    found = run_drill(SCENARIO, here, against="emulator", speed=4).course.lag
    assert found.patience == 0.5
    assert found.worst >= 0.25
    assert found.busy
