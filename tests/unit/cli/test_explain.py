"""`hybridinfer explain`: the decision, and nothing but the decision."""

from __future__ import annotations

import json
from decimal import Decimal

from hybridinfer.cli import main
from hybridinfer.cli.explain import lines, picture
from hybridinfer.receipt import Decision, Reason, Removal
from hybridinfer.testing import forbid_network

DECISION = Decision(
    rule="hard",
    levels={"privacy": "personal", "complexity": "high"},
    scores={"privacy": 0.61234, "complexity": 0.8},
    because={"privacy": ("e-mail: 1",), "complexity": ()},
    ladder=("strong", "fast", "sorry"),
    plan=("fast", "sorry"),
    removed=(Removal(target="strong", reason=Reason.BOUNDARY, because="stays: privacy is personal"),),
    masked=frozenset({"fast"}),
    estimates={"fast": Decimal("0.001234"), "sorry": Decimal(0)},
)


def test_json_has_the_documented_fields(policy, capsys):
    """The keys of `explain --json` are a promise."""
    assert main(["explain", "Hello", "--json", "--policy", str(policy)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert list(told) == ["levels", "scores", "because", "rule", "plan", "removed", "estimated_cost_usd"]
    assert told["rule"] == "all"


def test_a_forbidden_target_is_removed_with_its_boundary(policy, capsys, stdin):
    """The reason names the boundary."""
    stdin("my card is 4111 1111 1111 1111")
    assert main(["explain", "-", "--json", "--policy", str(policy)]) == 0
    (removal,) = json.loads(capsys.readouterr().out)["removed"]
    assert removal["target"] == "cloud"
    assert "stays" in removal["because"]


def test_nothing_is_called(falling_policy, capsys, monkeypatch):
    """A decision opens no connection."""
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    with forbid_network() as tried:
        assert main(["explain", "Hello", "--policy", str(falling_policy)]) == 0
    assert tried == []
    assert "plan" in capsys.readouterr().out


def test_the_estimate_is_the_first_targets():
    """`estimated_cost_usd` is the worst case of the target that is tried first."""
    assert picture(DECISION)["estimated_cost_usd"] == Decimal("0.001234")


def test_an_empty_plan_has_no_estimate():
    """Nothing is left, so nothing can be estimated."""
    empty = Decision(rule="hard", levels={}, ladder=(), plan=())
    assert picture(empty)["estimated_cost_usd"] is None
    assert lines(empty) == ["rule        hard", "plan        nothing is left", "costs       nothing"]


def test_people_see_scores_reasons_masks_and_removals():
    """The text holds what the JSON holds."""
    assert lines(DECISION) == [
        "privacy     personal 0.61  e-mail: 1",
        "complexity  high 0.80",
        "rule        hard",
        "plan        fast (masked) -> sorry",
        "removed     strong         stays: privacy is personal",
        "costs       at most $0.001234",
    ]
