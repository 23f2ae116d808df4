"""Every shipped drill, against the shipped default policy."""

from __future__ import annotations

import pytest

from hybridinfer.drill.report import line
from hybridinfer.drill.run import merged, run_drill
from hybridinfer.drill.scenario import load_scenario, shipped_drills

NAMES = list(shipped_drills())
QUICK = ["bad-key", "cut-streams"]
"""Those that take seconds over real HTTP."""


@pytest.fixture(scope="module")
def drills():
    """All of them, run once on the virtual clock."""
    return {name: run_drill(name) for name in NAMES}


def blame(drill):
    """What failed, for the one who reads the test's output."""
    return [(v.key, v.wanted, v.measured, [line(one) for one in v.culprits]) for v in drill.verdicts if not v.passed]


def test_there_are_enough():
    """The outages that a staging environment has to see."""
    assert len(NAMES) >= 12


@pytest.mark.parametrize("name", NAMES)
def test_the_default_policy_passes(name, drills):
    """Every expectation is met on the virtual clock."""
    assert not blame(drills[name])


@pytest.mark.parametrize("name", NAMES)
def test_every_drill_watches_privacy_and_is_described(name):
    """Each asks something private, says what it is about, and is called as its file."""
    scenario, _ = load_scenario(name)
    assert scenario.name == name
    assert scenario.description
    assert scenario.expect.privacy == "no_leak"


def test_together_they_walk_the_fallbacks(drills):
    """Not only the usual edge: most codes of both clouds."""
    walked = {edge.code for edge in merged(list(drills.values())).walked}
    assert {"unavailable", "rate_limited", "stalled", "unauthorized", "interrupted", "circuit_open"} <= walked


@pytest.mark.parametrize("name", QUICK)
def test_the_same_over_real_http(name):
    """The real router, the vendors' SDKs, loopback: nobody loses an answer that the simulation keeps."""
    drill = run_drill(name, against="emulator", speed=12)
    verdicts = {verdict.key: verdict for verdict in drill.verdicts}
    assert verdicts["privacy"].passed, verdicts["privacy"].measured
    assert verdicts["answered_share"].passed, blame(drill)
    codes = {attempt.code for one in drill.course.served for attempt in one.receipt.attempts}
    assert codes >= {"bad-key": {"unauthorized"}, "cut-streams": {"interrupted"}}[name]
    assert drill.course.arrived["fast"] > 0
    assert drill.course.arrived["small"] > 0
