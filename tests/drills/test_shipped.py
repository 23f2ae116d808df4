"""Every shipped drill, against the shipped policies that have its targets."""

from __future__ import annotations

import pytest

from hybridinfer.drill.coverage import Edge
from hybridinfer.drill.report import line
from hybridinfer.drill.run import merged, run_drill
from hybridinfer.drill.scenario import load_scenario, shipped_drills
from hybridinfer.policy.load import shipped
from hybridinfer.receipt import Code

NAMES = list(shipped_drills())
QUICK = ["bad-key", "cut-streams"]
"""Those that take seconds over real HTTP."""


POLICIES = ["default", "staging"]


@pytest.fixture(scope="module")
def drills():
    """All of them, run once against each policy on the virtual clock."""
    return {(name, policy): run_drill(name, shipped(policy)) for policy in POLICIES for name in NAMES}


def blame(drill):
    """What failed, for the one who reads the test's output."""
    return [(v.key, v.wanted, v.measured, [line(one) for one in v.culprits]) for v in drill.verdicts if not v.passed]


def test_there_are_enough():
    """The outages that a staging environment has to see."""
    assert len(NAMES) >= 20


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("name", NAMES)
def test_the_shipped_policies_pass(name, policy, drills):
    """Every expectation is met on the virtual clock, with the budgets of either policy."""
    assert not blame(drills[name, policy])


@pytest.mark.parametrize("name", NAMES)
def test_every_drill_watches_privacy_and_is_described(name):
    """Each asks something private, says what it is about, and is called as its file."""
    scenario, _ = load_scenario(name)
    assert scenario.name == name
    assert scenario.description
    assert scenario.expect.privacy == "no_leak"


def test_opinions_that_differ_are_not_given_out():
    """A local model that guesses and clouds that disagree: the next rung answers, and no answer is `unsure`."""
    drill = run_drill("second-opinion")
    assert not blame(drill)
    assert {edge for edge in drill.coverage.walked if edge.code == Code.UNSURE} == {
        Edge("small", Code.UNSURE, "fast"), Edge("fast", Code.UNSURE, "strong"),
        Edge("fast", Code.UNSURE, "referee"), Edge("strong", Code.UNSURE, "referee"),
    }  # fmt: skip


@pytest.mark.parametrize("policy", POLICIES)
def test_together_they_walk_the_fallbacks(policy, drills):
    """Nine in ten of the ways in which the policy can fall from one rung to the next."""
    found = merged([drills[name, policy] for name in NAMES])
    assert found.share > 0.9, found.missed


def test_every_fault_is_in_a_shipped_drill_or_a_contract_test():
    """What is new in this release is drilled."""
    scenarios = [load_scenario(name)[0] for name in NAMES]
    words = {
        word for one in scenarios for phase in one.phases for block in phase.faults.values() for word in block.words
    }
    assert {"tls", "dns", "disk_full", "locked", "nan_logits", "slow_load", "model_missing", "broken"} <= words


@pytest.mark.parametrize("name", QUICK)
def test_the_same_over_real_http(name):
    """The real router, the vendors' SDKs, loopback: nobody loses an answer that the simulation keeps."""
    drill = run_drill(name, against="emulator", speed=5)
    verdicts = {verdict.key: verdict for verdict in drill.verdicts}
    assert verdicts["privacy"].passed, verdicts["privacy"].measured
    assert verdicts["answered_share"].passed, blame(drill)
    codes = {attempt.code for one in drill.course.served for attempt in one.receipt.attempts}
    assert codes >= {"bad-key": {"unauthorized"}, "cut-streams": {"interrupted"}}[name]
    assert drill.course.arrived["fast"] > 0
    assert drill.course.arrived["small"] > 0
