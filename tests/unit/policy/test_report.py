"""Findings as text, JSON, GitHub annotations and SARIF."""

from __future__ import annotations

import json

import pytest

from hybridinfer.drill.rehearsal import rehearsal
from hybridinfer.errors import PolicyError
from hybridinfer.policy import report
from hybridinfer.policy.cases import run_cases
from hybridinfer.policy.check import check
from hybridinfer.policy.load import load_with_source, loads
from hybridinfer.policy.report import FileReport, Line, render
from hybridinfer.policy.table import table

TEXT = """\
version: 1
targets:
  cloud: {kind: openai, model: m, price: {input: 1, output: 1}}
  sorry: {kind: canned, text: sorry}
rules:
  - {name: first, use: [cloud, sorry]}
  - name: second
    use: [sorry]
tests:
  - {name: wrong, expect: {answered_by: sorry}}
"""


@pytest.fixture
def checked(tmp_path, monkeypatch) -> FileReport:
    """The report on TEXT, in the file p.yaml."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.yaml").write_text(TEXT, encoding="utf-8")
    policy, source = load_with_source("p.yaml")
    found = check(policy)
    return FileReport(
        file="p.yaml",
        lines=report.of_check(found, source),
        combinations=found.combinations,
        reach=found.reach,
        rows=tuple(table(policy)),
    )


def test_text(checked):
    """A line for each finding, then what each target may see, then the table."""
    lines = render([checked], "text").splitlines()
    assert lines[1].startswith("p.yaml:6:3: warning: requests of privacy 'secret' may reach a cloud, and no boundary")
    assert lines[2] == (
        "p.yaml:7:5: error: rule 'second' can never decide: earlier rules take all its requests; "
        "move it up, or remove it [dead-rule]"
    )
    assert "p.yaml: what each target may see, over 1 combinations" in lines
    assert "  secret    open   open" in lines
    assert "  first  always  cloud > sorry" in lines


def test_json(checked):
    """Stable keys; `ok` is false where there is an error."""
    (tree,) = json.loads(render([checked], "json"))["files"]
    assert (tree["file"], tree["ok"], tree["combinations"]) == ("p.yaml", False, 1)
    assert {tuple(finding) for finding in tree["findings"]} == {("id", "severity", "line", "column", "what", "hint")}
    assert tree["reach"]["public"] == {"cloud": "open", "sorry": "open"}
    assert tree["table"][0]["plan"] == ["cloud", "sorry"]


def test_json_without_a_table():
    """The table is there only where it was asked for."""
    (tree,) = json.loads(render([FileReport(file="f")], "json"))["files"]
    assert tree == {"file": "f", "ok": True, "combinations": 0, "findings": [], "reach": {}}


def test_github_annotations_are_escaped():
    """Percent signs, newlines, colons and commas do not break the command."""
    line = Line(id="dead-rule", severity="warning", file="a:b,c.yaml", line=3, column=4, what="50%\nof", hint="x: y, z")
    assert render([FileReport(file="f", lines=(line,))], "github") == (
        "::warning file=a%3Ab%2Cc.yaml,line=3,col=4,title=dead-rule::50%25%0Aof; x: y, z"
    )


def test_github_notices():
    """What is only information becomes a notice."""
    line = Line(id="invalid", severity="info", file="f", line=1, column=1, what="x")
    assert render([FileReport(file="f", lines=(line,))], "github") == "::notice file=f,line=1,col=1,title=invalid::x"


def test_sarif(checked):
    """One run, the rules that were broken, a region for each result."""
    log = json.loads(render([checked], "sarif"))
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == ["dead-rule", "unguarded"]
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["level"] in {"error", "warning"}
    (dead,) = [result for result in run["results"] if result["ruleId"] == "dead-rule"]
    place = dead["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "p.yaml"
    assert place["region"] == {"startLine": 7, "startColumn": 5}


def test_nothing_found_renders_nothing():
    """No findings, no text."""
    assert render([FileReport(file="f")], "text") == ""
    assert json.loads(render([], "sarif"))["runs"][0]["results"] == []


def test_what_the_loader_refused():
    """Its problems keep their place and hint."""
    with pytest.raises(PolicyError) as caught:
        loads("version: 3\n", "f")
    lines = report.of_problems(caught.value.problems)
    assert str(lines[-1]) == ("f:1:10: error: unknown version of the policy format; write 'version: 1' [invalid]")


def test_a_failed_test_is_shown_at_its_expectation(tmp_path):
    """Where it was expected, not at the top of the test."""
    file = tmp_path / "p.yaml"
    file.write_text(TEXT, encoding="utf-8")
    policy, source = load_with_source(file)
    (line,) = report.of_cases(run_cases(policy, run=rehearsal(policy)), source)
    assert str(line) == (
        f"{file}:10:41: error: test 'wrong': 'cloud' answered, expected 'sorry' (rule 'first', tried cloud) [test-failed]"
    )
