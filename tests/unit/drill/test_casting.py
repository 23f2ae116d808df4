"""Shipped drills before somebody else's policy."""

from __future__ import annotations

import pytest

from hybridinfer.drill.casting import cast
from hybridinfer.drill.run import run_drill
from hybridinfer.drill.scenario import load_scenario, shipped_drills
from hybridinfer.errors import PolicyError
from hybridinfer.policy.load import load, shipped

OWN = {
    "version": 1,
    "name": "mine",
    "targets": {
        "edge": {"kind": "onnx", "model": "m"},
        "vendor": {"kind": "openai", "model": "gpt-6-luna"},
        "sorry": {"kind": "canned", "text": "later"},
    },
    "boundaries": [{"name": "b", "when": {"privacy": ["personal", "secret"]}, "cloud": "never"}],
    "rules": [
        {"name": "easy", "when": {"complexity": "low"}, "use": ["edge", "vendor", "sorry"]},
        {"name": "rest", "use": ["vendor", "edge", "sorry"]},
    ],
}


def played(name, **changes):
    """A shipped drill as a policy of other names plays it."""
    scenario, _ = load_scenario(name)
    return cast(scenario, load({**OWN, **changes}))


@pytest.mark.parametrize("name", list(shipped_drills()))
def test_every_shipped_drill_runs_on_other_names(name):
    """None stops at a name; with one cloud behind the local model and a canned reply, all expectations hold."""
    drill = run_drill(name, OWN)
    assert [verdict for verdict in drill.verdicts if not verdict.passed] == []


def test_the_parts():
    """One cloud plays both; where both fail in different ways, it fails as the strong one."""
    scenario, parts = played("last-cloud")
    assert parts == {"small": "edge", "strong": "vendor", "fast": "vendor"}
    theirs = [phase.faults["strong"] for phase in load_scenario("last-cloud")[0].phases if "strong" in phase.faults]
    assert [phase.faults["vendor"] for phase in scenario.phases if "vendor" in phase.faults] == theirs


def test_who_has_the_names_plays_itself():
    """The default policy changes nothing."""
    scenario, _ = load_scenario("bad-key")
    assert cast(scenario, load(shipped("default"))) == (scenario, {})


def test_a_part_that_nobody_can_play_is_cut():
    """Without a local model, nothing of the kind breaks."""
    targets = {name: block for name, block in OWN["targets"].items() if name != "edge"}
    rules = [{"name": "all", "use": ["vendor", "sorry"]}]
    scenario, parts = played("local-model-broken", targets=targets, rules=rules)
    assert parts == {"small": ""}
    assert all(not phase.faults for phase in scenario.phases)


def test_levels_by_their_place():
    """Other words for low, medium and high."""
    signals = {"complexity": {"levels": {"trivial": 0.0, "usual": 0.4, "hard": 0.8}}}
    rules = [{"name": "all", "use": ["vendor", "sorry"]}]
    scenario, _ = played("bad-key", signals={**signals, "privacy": {"levels": {"public": 0.0, "personal": 0.5, "secret": 0.9}}}, rules=rules)  # fmt: skip
    levels = {ask.name: ask.levels for ask in scenario.load.requests}
    assert levels["hard"] == {"complexity": "hard"}
    assert levels["other"] == {"complexity": "usual"}


def test_a_file_of_ones_own_says_what_it_means(tmp_path):
    """Only shipped drills are cast: in a file, a name that is not there is a mistake."""
    file = tmp_path / "mine.yaml"
    file.write_text(shipped_drills()["bad-key"].read_text(encoding="utf-8"), encoding="utf-8")
    with pytest.raises(PolicyError, match="has no target 'strong'"):
        run_drill(file, OWN)
