"""Scenario files: what they may say, and what their errors say."""

from __future__ import annotations

from pathlib import Path

import pytest

from hybridinfer.drill.failing import FaultBlock, hit
from hybridinfer.drill.scenario import fits, load_scenario, locate, shipped_drills
from hybridinfer.errors import PolicyError
from hybridinfer.policy.load import load

GOOD = """\
version: 1
name: one
duration: 2m
load:
  rate: 1
  requests:
    - {name: card, prompt: "card 4111 1111 1111 1111", private: "4111 1111 1111 1111"}
    - {name: hard, levels: {complexity: high}}
phases:
  - {at: 0s, name: healthy}
  - {at: 30s, faults: {cloud: {fault: status_429, share: 50%, retry_after: 2s}}}
expect: {answered_share: 99.5%, privacy: no_leak}
"""
POLICY = load(
    {
        "version": 1,
        "targets": {
            "a": {"kind": "openai", "model": "gpt-6-luna"},
            "b": {"kind": "onnx", "model": "m"},
            "c": {"kind": "canned", "text": "sorry"},
        },
        "rules": [{"name": "all", "use": ["a", "b", "c"]}],
    }
)


def write(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "s.yaml"
    file.write_text(text)
    return file


def test_a_scenario_is_read(tmp_path):
    """Durations are seconds, shares are parts of one, a bare text is a list of one."""
    scenario, source = load_scenario(write(tmp_path, GOOD))
    assert (scenario.duration, scenario.expect.answered_share) == (120.0, 0.995)
    assert [phase.at for phase in scenario.phases] == [0.0, 30.0]
    assert scenario.phases[1].faults["cloud"].share == 0.5
    assert scenario.load.requests[0].private == ("4111 1111 1111 1111",)
    assert source.position(("phases", 1, "at"))[0] == 11
    fits(scenario, source, POLICY)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("name: one", "nmae: one", "2:1: unknown key 'nmae'; did you mean 'name'?"),
        ("version: 1", "version: 2", "1:10: unknown version of the scenario format"),
        ("share: 50%", "share: half", "not a share; write it as 50%"),
        ("status_429", "status_492", "unknown value 'status_492'; did you mean 'status_429'?"),
        ("at: 30s", "at: 30", "not a duration"),
        ("at: 30s", "at: 3m", "phases: phases rise, and begin before the drill ends"),
        ("share: 50%", "requests: hrad", "phase 2, cloud: no request 'hrad'; did you mean 'hard'?"),
        ("fault: status_429, ", "", "either a fault or a script"),
        ("name: hard", "name: card", "two requests have one name"),
        ("levels: {complexity: high}", "weight: 2", "a request without a prompt or levels"),
        ('private: "4111', 'private: "5111', "not a piece of the prompt"),
        ('private: "4111 1111 1111 1111"', 'private: "411"', "too short to be recognised"),
        (', private: "4111 1111 1111 1111"', "", "nothing private is asked"),
        ("{answered_share: 99.5%, privacy: no_leak}", "{}", "12:9: expect: nothing is expected"),
    ],
)
def test_an_error_says_where_and_what_to_do(tmp_path, old, new, message):
    """File, line and column, as in a policy."""
    file = write(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(PolicyError) as caught:
        load_scenario(file)
    assert f"{file}:" in str(caught.value)
    assert message in str(caught.value)


@pytest.mark.parametrize(("text", "what"), [("", "the scenario is empty"), ("- 1", "not a block")])
def test_no_scenario_at_all(tmp_path, text, what):
    """Something else is told to be something else."""
    with pytest.raises(PolicyError, match=what):
        load_scenario(write(tmp_path, text))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("{cloud: {fault", "{clod: {fault", "11:24: policy 'policy' has no target 'clod'; did you mean 'cloud'?"),
        ("{cloud: {fault", "{c: {fault", "'c' is a canned reply, which cannot fail"),
        ("{cloud: {fault", "{b: {fault", "status_429 cannot happen to 'b'"),
        (
            "{cloud: {fault",
            "{ledger: {fault",
            "status_429 cannot happen to the ledger; write one of disk_full, down, locked, redis_gone",
        ),
        ("{cloud: {fault", "{policy: {fault", "status_429 cannot happen to the policy; write one of broken"),
        ("{cloud: {fault: status_429, ", "{ledger: {fault: locked, ", "the ledger fails for everybody"),
        ("status_429", "nan_logits", "nan_logits cannot happen to 'a': it has no model on this machine"),
        ("status_429", "disk_full", "disk_full happens to no target"),
        ("complexity: high", "complexity: hihg", "complexity has no level 'hihg'; did you mean 'high'?"),
        ("complexity: high", "mood: high", "unknown signal 'mood'"),
        ("privacy: no_leak", "answered_by: d", "unknown target 'd'"),
    ],
)
def test_a_scenario_has_to_fit_its_policy(tmp_path, old, new, message):
    """Names that the policy does not have are errors before anything runs."""
    scenario, source = load_scenario(write(tmp_path, GOOD.replace(old, new, 1)))
    with pytest.raises(PolicyError) as caught:
        fits(scenario, source, POLICY)
    assert message in str(caught.value)


def test_a_target_called_like_its_zone_is_offered_once(tmp_path):
    """Who reads what there is need not wonder about a word that comes twice."""
    policy = load(
        {
            "version": 1,
            "targets": {"cloud": {"kind": "openai", "model": "m"}},
            "rules": [{"name": "all", "use": ["cloud"]}],
        }
    )
    scenario, source = load_scenario(write(tmp_path, GOOD.replace("{cloud: {fault", "{strong: {fault", 1)))
    with pytest.raises(PolicyError, match=r"there are cloud, device, network, ledger, policy, \*"):
        fits(scenario, source, policy)


def test_the_narrowest_fault_counts():
    """A target's own before its zone's before everybody's; a canned reply has none."""
    faults = {name: FaultBlock(fault=fault) for name, fault in (("a", "hang"), ("cloud", "cut"), ("*", "down"))}
    found = {name: hit(faults, name, block) for name, block in POLICY.targets.items()}
    assert found["a"] is faults["a"]
    assert found["b"] is faults["*"]
    assert found["c"] is None
    assert hit({"cloud": faults["cloud"]}, "a", POLICY.targets["a"]) is faults["cloud"]


def test_shipped_drills_are_found_by_name():
    """A bare word is a shipped drill, a path is a path, and a typing mistake is told."""
    assert locate("provider-outage") == shipped_drills()["provider-outage"]
    assert locate("x/y.yaml") == Path("x/y.yaml")
    with pytest.raises(PolicyError, match="did you mean 'provider-outage'"):
        locate("provider-outrage")


def test_drills_travel_in_the_wheel():
    """As the policies do (docs/decisions/0003)."""
    import tomllib

    tree = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())
    assert tree["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]["drills"] == "hybridinfer/drills"
