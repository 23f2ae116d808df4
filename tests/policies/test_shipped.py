"""The shipped policies: sound, tested, readable."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hybridinfer.cli import main
from hybridinfer.policy.check import check
from hybridinfer.policy.load import load, shipped, shipped_names
from hybridinfer.policy.model import zone_of

NAMES = shipped_names()


def test_there_are_eight():
    """One for each common need."""
    assert set(NAMES) == {
        "cost-saver", "default", "minimal", "offline-field", "privacy-first", "regulated", "second-opinion", "staging"
    }  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_check_finds_nothing(name):
    """No error, no warning: a shipped policy raises no false alarm."""
    assert check(load(shipped(name))).findings == ()


@pytest.mark.parametrize("name", NAMES)
def test_every_model_has_a_price(name, capsys):
    """`policy check` with the price list finds nothing either."""
    assert main(["policy", "check", str(shipped(name)), "--no-environment", "--strict"]) == 0
    assert "no findings" in capsys.readouterr().err


@pytest.mark.parametrize("name", NAMES)
def test_its_own_tests_pass_on_the_real_signals(name, capsys):
    """`policy test` scores the prompts and walks the ladders."""
    assert main(["policy", "test", str(shipped(name)), "--output-format", "json"]) == 0
    (report,) = json.loads(capsys.readouterr().out)["files"]
    assert len(report["tests"]) >= 6


@pytest.mark.parametrize("name", NAMES)
def test_it_carries_positive_and_negative_tests(name):
    """Who answers, who must never, what a prompt scores, and what happens with everything down."""
    policy = load(shipped(name))
    expected = [case.expect for case in policy.tests]
    answers = {policy.targets[expect.answered_by].kind for expect in expected if expect.answered_by}
    assert {"onnx", "canned"} <= answers
    assert any(expect.forbidden for expect in expected)
    assert any(case.given.prompt for case in policy.tests)
    assert any(case.given.down for case in policy.tests)


@pytest.mark.parametrize("name", NAMES)
def test_every_rule_is_named_by_a_test(name):
    """A rule that no test depends on could be lost unseen."""
    policy = load(shipped(name))
    named = {case.expect.rule for case in policy.tests}
    assert {rule.name for rule in policy.rules} <= named | {None}


@pytest.mark.parametrize("name", NAMES)
def test_every_ladder_ends_here(name):
    """The last rung is a canned reply, and a local model stands before it."""
    policy = load(shipped(name))
    for rule in policy.rules:
        assert policy.targets[rule.use[-1]].kind == "canned"
        assert any(zone_of(policy.targets[target]) == "device" for target in rule.use[:-1])


@pytest.mark.parametrize("name", NAMES)
def test_it_limits_money(name):
    """Each policy with a cloud has a budget for one request."""
    assert any(budget.per == "request" for budget in load(shipped(name)).budgets)


@pytest.mark.parametrize("name", NAMES)
def test_its_name_is_its_files_and_editors_find_the_schema(name):
    """The first line tells the editor where the schema is; the name is the file's."""
    text = shipped(name).read_text(encoding="utf-8")
    modeline = text.splitlines()[0]
    assert modeline == "# yaml-language-server: $schema=../hybridinfer/policy/schema.json"
    assert (shipped(name).parent / modeline.rpartition("=")[2]).resolve().is_file()
    policy = load(shipped(name))
    assert policy.name == name
    assert policy.description


def test_secrets_never_leave_by_any_shipped_policy():
    """The promise of the product, in every policy that carries its name."""
    for name in NAMES:
        policy = load(shipped(name))
        seen = check(policy).reach["secret"]
        assert {seen[target] for target, block in policy.targets.items() if zone_of(block) == "cloud"} == {"never"}


def test_the_folder_holds_nothing_else():
    """Every file in policies/ is a policy that is tested here."""
    folder = Path(shipped("default")).parent
    assert sorted(file.name for file in folder.iterdir()) == [f"{name}.yaml" for name in NAMES]
