"""`hybridinfer calibrate`: recorded traffic in, levels out."""

from __future__ import annotations

import json

import pytest

from hybridinfer.cli import main
from hybridinfer.cli.calibrate import last_that
from hybridinfer.learning.journal import Journal
from hybridinfer.policy.load import load
from hybridinfer.signals.features import features

POLICY = """
version: 1
targets:
  small: {kind: onnx, model: m}
  cloud: {kind: openai, model: m, price: {input: 10, output: 10}}
signals:
  complexity: {levels: {low: 0.0, high: 0.5}}   # by feeling
rules:
  - {name: easy, when: {complexity: low}, use: [small, cloud]}
  - {name: hard, use: [cloud, small]}
"""


def line(number: int) -> str:
    score = round(number / 200, 4)
    target = "small" if score < 0.5 else "cloud"
    attempt = {"target": target, "code": "ok", "seconds": 1.0, "first": 0.5, "input_tokens": 100, "output_tokens": 100}
    record = {
        "version": 1,
        "at": 1000.0 + number * 10,
        "seconds": 1.0,
        "levels": {},
        "scores": {"privacy": 0.0, "complexity": score, "size": 0.1, "budget": 0.0},
        "target": target,
        "zone": "device" if target == "small" else "cloud",
        "degraded": False,
        "cost_usd": "0" if target == "small" else "0.002",
        "tags": {},
        "attempts": [attempt],
    }
    return json.dumps(record) + "\n"


@pytest.fixture
def files(tmp_path):
    policy, traffic = tmp_path / "p.yaml", tmp_path / "decisions.jsonl"
    policy.write_text(POLICY)
    traffic.write_text("".join(line(number) for number in range(200)))
    return ["calibrate", "--policy", str(policy), "--traffic", str(traffic)], policy, traffic


def test_a_share_is_met_and_shown(files, capsys):
    """Before and after stand side by side; the file stays as it is."""
    arguments, policy, _ = files
    assert main([*arguments, "--cloud-share", "30%"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("complexity: {levels: {low: 0.0, high: 0.69")
    assert "50.0%       30.0%" in out
    assert policy.read_text() == POLICY


def test_writing_changes_the_levels_only(files, capsys):
    """Comments stay, and the new file is a policy."""
    arguments, policy, _ = files
    assert main([*arguments, "--cloud-share", "0.3", "--write"]) == 0
    assert "# by feeling" in policy.read_text()
    assert load(policy).signals["complexity"].levels["high"] == pytest.approx(0.7, abs=0.01)
    assert "written" in capsys.readouterr().err


def test_a_cost_is_kept(files, capsys, monkeypatch):
    """As much cloud as the money allows, to a step."""
    arguments, *_ = files
    monkeypatch.setattr("hybridinfer.cli.calibrate.STEPS", 16)
    assert main([*arguments, "--max-cost", "0.1", "--json"]) == 0
    picture = json.loads(capsys.readouterr().out)
    assert 0.07 < picture["after"]["cost_usd"] <= 0.1
    assert picture["quality"] is None


def test_a_cost_below_everything_is_refused(files, capsys):
    """With what the least is."""
    arguments, *_ = files
    assert main([*arguments, "--max-cost", "-1"]) == 1
    assert "the records cost more than" in capsys.readouterr().err


def test_shares_get_shares(files, capsys):
    """Levels that were shares stay shares."""
    arguments, policy, _ = files
    policy.write_text(POLICY.replace("{low: 0.0, high: 0.5}", "{low: 50%, high: 50%}"))
    assert main([*arguments, "--cloud-share", "20%"]) == 0
    out = capsys.readouterr().out
    assert "{low: 80%, high: 20%}" in out
    assert "20.0%" in out


def test_a_quality_needs_labels(files, capsys, monkeypatch, tmp_path):
    """Without them it is refused; with them an interval stands beside it."""
    arguments, *_ = files
    monkeypatch.setenv("HYBRIDINFER_STATE", str(tmp_path))
    assert main([*arguments, "--min-quality", "0.7"]) == 1
    assert "0 local answers are labelled" in capsys.readouterr().err
    journal = Journal(tmp_path / "learning.sqlite3", keep=1e9)
    for number in range(240):
        journal.remember(f"r{number}", features("word " * (1 + number % 60)), side="local")
        journal.label(f"r{number}", float(number % 60 < 40))
    journal.close()
    assert main([*arguments, "--min-quality", "0.7"]) == 0
    assert "(95%: " in capsys.readouterr().out


def test_a_score_with_an_embedding_is_promised_no_quality(files, capsys, monkeypatch, tmp_path):
    """What is kept of a request holds the sixty features alone."""
    arguments, policy, *_ = files
    monkeypatch.setenv("HYBRIDINFER_STATE", str(tmp_path))
    policy.write_text(POLICY.replace("complexity: {", "complexity: {model: embedding, "))
    assert main([*arguments, "--min-quality", "0.7"]) == 1
    assert "labels hold no embeddings" in capsys.readouterr().err


@pytest.mark.parametrize(
    "wish",
    [
        [],
        ["--cloud-share", "30%", "--max-cost", "1"],
        ["--cloud-share", "much"],
        ["--cloud-share", "130%"],
        ["--cloud-share", "30%", "--signal", "wit"],
    ],
)
def test_a_wrong_command_line_is_told(files, wish):
    """Exit code 2, before anything is read."""
    with pytest.raises(SystemExit) as end:
        main([*files[0], *wish])
    assert end.value.code == 2


def test_a_missing_file_is_told(files, capsys):
    """By its name."""
    with pytest.raises(SystemExit):
        main(["calibrate", "--policy", files[0][2], "--traffic", "none.jsonl", "--cloud-share", "30%"])
    assert "cannot read none.jsonl" in capsys.readouterr().err


def test_lines_that_are_no_records_are_counted(files, capsys):
    """And the rest is used."""
    arguments, _, traffic = files
    traffic.write_text(traffic.read_text() + "garbage\n")
    assert main([*arguments, "--cloud-share", "30%"]) == 0
    assert "1 of 201 lines are no records" in capsys.readouterr().err


def test_too_little_data_is_refused(files, capsys):
    """Exit code 1 and no levels."""
    arguments, _, traffic = files
    traffic.write_text("".join(line(number) for number in range(100)))
    assert main([*arguments, "--cloud-share", "30%"]) == 1
    streams = capsys.readouterr()
    assert "at least 200 are needed" in streams.err
    assert not streams.out


@pytest.mark.parametrize("length", [1, 2, 7, 64])
def test_the_last_that_holds_is_found(length):
    """For every place where the condition may end."""
    for last in range(length):
        assert last_that(lambda at, last=last: at <= last, length) == last
    assert last_that(lambda _at: False, length) is None
