"""`hybridinfer explain`: the decision, and nothing but the decision."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from hybridinfer.budget.requests import RequestLog
from hybridinfer.cli import main
from hybridinfer.cli.explain import lines, picture
from hybridinfer.receipt import Attempt, Code, Decision, Reason, Receipt, Removal
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
    assert list(told) == ["levels", "scores", "because", "rule", "plan", "removed", "estimated_cost_usd", "expected"]
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


RETRIED = """
version: 1
targets:
  cloud: {kind: openai, model: m, price: {input: 1, output: 2}, max_tokens: 1000}
  sorry: {kind: canned, text: "A fixed reply."}
rules:
  - {name: all, use: [cloud, sorry]}
resilience: {retry: {attempts: 3}}
"""


def test_without_records_the_policy_says_what_to_expect(write, capsys, monkeypatch, tmp_path):
    """One call if the first target answers, and how many at most; labelled as such."""
    monkeypatch.setenv("HYBRIDINFER_LEDGER", str(tmp_path / "none.sqlite3"))
    file = str(write(RETRIED))
    assert main(["explain", "Hello", "--json", "--policy", file]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["expected"] == {
        "attempts": 1.0,
        "most_attempts": 4,
        "cost_usd": told["estimated_cost_usd"],
        "by": "policy",
        "calls": 0,
    }
    main(["explain", "Hello", "--policy", file])
    out = capsys.readouterr().out
    assert "1 if the first target answers, at most 4; too few calls on record for an average" in out


def test_records_say_what_to_expect(write, capsys, monkeypatch, tmp_path):
    """Half of the recent calls failed, so 1 + 1/2 + 1/4 calls and a canned reply in one of eight cases."""
    book = tmp_path / "ledger.sqlite3"
    monkeypatch.setenv("HYBRIDINFER_LEDGER", str(book))
    log = RequestLog(book)
    for number in range(20):
        tried = [Attempt(target="cloud", number=1, code=Code.TIMEOUT)]
        tried.append(Attempt(target="cloud", number=2, code=Code.OK, input_tokens=10, output_tokens=100))
        log.on_receipt(Receipt(id=f"r{number}", policy="p", attempts=tuple(tried), target="cloud", zone="cloud"))
    log.close()
    file = str(write(RETRIED))
    assert main(["explain", "Hello", "--json", "--policy", file]) == 0
    expected = json.loads(capsys.readouterr().out)["expected"]
    assert (expected["by"], expected["calls"]) == ("records", 40)
    assert expected["attempts"] == 1.875
    assert float(expected["cost_usd"]) == pytest.approx(0.875 * 0.000201, abs=2e-6)
    main(["explain", "Hello", "--policy", file])
    assert "calls       1.88 by 40 recorded calls, at most 4 by the policy" in capsys.readouterr().out


def test_a_broken_ledger_explains_less(write, capsys, monkeypatch, tmp_path):
    """It is told beside the decision."""
    (tmp_path / "broken").write_text("this is no database, and long enough to be seen as none" * 20)
    monkeypatch.setenv("HYBRIDINFER_LEDGER", str(tmp_path / "broken"))
    assert main(["explain", "Hello", "--policy", str(write(RETRIED))]) == 0
    streams = capsys.readouterr()
    assert "cannot be read" in streams.err
    assert "too few calls on record" in streams.out
