"""`hybridinfer usage` shows what was spent."""

from __future__ import annotations

import csv
import io
import json
import time
from decimal import Decimal
from pathlib import Path

import pytest

from hybridinfer.budget.requests import RequestLog
from hybridinfer.cli import main
from hybridinfer.receipt import Attempt, Code, Decision, Receipt

POLICY = """
version: 1
targets:
  cloud: {kind: openai, model: x, price: {input: 10, output: 10}}
  local: {kind: canned, text: "-"}
rules: [{name: all, use: [cloud, local]}]
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A ledger with four requests: one by the cloud now, three local ones of which one is ten days old."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "policy.yaml").write_text(POLICY)
    ledger = tmp_path / "ledger.sqlite3"
    now = time.time()
    for age, target in ((10, "local"), (1, "local"), (1, "local"), (0, "cloud")):
        log = RequestLog(ledger, clock=lambda age=age: now - age * 86_400)
        usd = Decimal("0.005") if target == "cloud" else Decimal(0)
        attempt = Attempt(
            target=target, number=1, code=Code.OK, cost_usd=usd, estimated=True, input_tokens=900, output_tokens=100
        )
        log.on_receipt(
            Receipt(
                id="r",
                policy="p",
                decision=Decision(rule="<all>", levels={}, ladder=(), plan=()),
                attempts=(attempt,),
                target=target,
                zone="cloud" if target == "cloud" else "device",
                seconds=1.0,
                tags={"team": "a"},
            )
        )
        log.close()
    return ledger


def run(place: Path, *options: str) -> int:
    return main(["usage", "--ledger", str(place), "--policy", "policy.yaml", *options])


def test_a_table_for_people(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line a target, a sum, what was only counted, and what dumb routings would have cost."""
    assert run(place) == 0
    text = capsys.readouterr().out
    rows = [line.split() for line in text.splitlines()]
    assert rows[1][:7] == ["cloud", "1", "900", "100", "$0.005", "100%", "0%"]
    assert rows[2][:5] == ["local", "3", "2,700", "300", "$0"]
    assert rows[3][:5] == ["all", "4", "3,600", "400", "$0.005"]
    assert "$0.005 are from counted tokens" in text
    assert "saved $0.035" in text
    assert "always cloud: $0.04" in text
    assert "cloud share: $0.01" in text


def test_json_for_programs(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same as JSON, with money as numbers."""
    assert run(place, "--json", "--by", "tag:team") == 0
    data = json.loads(capsys.readouterr().out)
    assert data["by"] == "tag:team"
    assert [(line["key"], line["requests"]) for line in data["lines"]] == [("a", 4)]
    assert data["total"]["cost_usd"] == 0.005
    assert data["baseline"]["saved_usd"] == 0.035


def test_csv_for_spreadsheets(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The lines as CSV with a head."""
    assert run(place, "--csv", "--by", "rule") == 0
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert (row["key"], row["requests"], row["cloud_share"]) == ("<all>", "4", "0.25")


def test_a_page_with_a_plot(place: Path, tmp_path: Path) -> None:
    """A page of its own, with a picture inside and names that cannot break it."""
    page = tmp_path / "usage.html"
    assert run(place, "--html", str(page), "--by", "rule") == 0
    text = page.read_text()
    assert '<i style="width:100.0%">' in text
    assert "prefers-color-scheme:dark" in text
    assert "&lt;all&gt;" in text
    assert "<all>" not in text
    assert "saved $0.035" in text


@pytest.mark.parametrize(("since", "requests"), [("9d", 3), ("12h", 1), ("2000-01-01", 4), ("52w", 4), ("1m", 1)])
def test_looking_back_a_while(place: Path, capsys: pytest.CaptureFixture[str], since: str, requests: int) -> None:
    """`--since` takes a duration or a date."""
    assert run(place, "--json", "--since", since) == 0
    assert json.loads(capsys.readouterr().out)["total"]["requests"] == requests


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--since", "soon"], "write it as 90m, 12h, 7d, 4w"),
        (["--by", "month"], "target, rule, day or tag:NAME"),
        (["--baseline", "nobody"], "it has cloud, local"),
    ],
)
def test_a_wrong_option_says_what_there_is(
    place: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    """Exit code 2 and one line on stderr."""
    with pytest.raises(SystemExit) as stopped:
        run(place, *options)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_nothing_recorded_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An empty answer explains itself."""
    assert main(["usage", "--ledger", str(tmp_path / "none")]) == 0
    assert "no requests are recorded" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (POLICY.replace(", price: {input: 10, output: 10}", ""), "nobody knows the price"),
        (POLICY.replace("kind: openai, model: x, price: {input: 10, output: 10}", 'kind: canned, text: "-"'), ""),
    ],
)
def test_without_a_priced_cloud_there_is_nothing_to_compare(
    place: Path, capsys: pytest.CaptureFixture[str], policy: str, message: str
) -> None:
    """The table stands alone, and the reason is told."""
    Path("policy.yaml").write_text(policy)
    assert run(place) == 0
    told = capsys.readouterr()
    assert "saved" not in told.out
    assert message in told.err


def test_a_broken_policy_is_an_error_only_where_it_was_named(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A policy that was merely found and is broken costs the comparison, not the report."""
    Path("policy.yaml").write_text("version: 2")
    assert run(place) == 1
    Path("hybridinfer.yaml").write_text("version: 2")
    assert main(["usage", "--ledger", str(place)]) == 0
    told = capsys.readouterr()
    assert "nothing to compare with" in told.err
    assert "local" in told.out


def test_spending_more_than_all_cloud_is_told(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The report does not flatter."""
    Path("policy.yaml").write_text(POLICY.replace("10, output: 10", "0.1, output: 0.1"))
    assert run(place) == 0
    assert "spent $0.0046 more" in capsys.readouterr().out
