"""`hybridinfer drill` runs scenarios, lists them, and says by its exit code how they ended."""

from __future__ import annotations

import json
from xml.etree import ElementTree as ET

import pytest

from hybridinfer.cli import main

SCENARIO = """
version: 1
name: mine
duration: 20s
load: {rate: 2, requests: [{name: a, levels: {complexity: high}}]}
phases: [{at: 5s, faults: {strong: down}}]
expect: {answered_share: 100%, rungs: [1, 2]}
"""


@pytest.fixture
def scenario(tmp_path):
    """A short drill that passes."""
    file = tmp_path / "mine.yaml"
    file.write_text(SCENARIO)
    return file


def test_it_passes(scenario, capsys):
    """Exit code 0, verdicts and coverage on stdout."""
    assert main(["drill", "run", str(scenario)]) == 0
    out = capsys.readouterr().out
    assert "PASS" in out
    assert "fallback coverage of policy 'default'" in out


def test_it_fails(scenario, capsys):
    """Exit code 1 where an expectation was not met."""
    scenario.write_text(SCENARIO.replace("[1, 2]", "[1]"))
    assert main(["drill", "run", str(scenario)]) == 1
    assert "FAIL" in capsys.readouterr().out


def test_coverage_can_be_demanded(scenario, capsys):
    """Exit code 1 below it."""
    assert main(["drill", "run", str(scenario), "--fail-under", "1"]) == 0
    assert main(["drill", "run", str(scenario), "--fail-under", "99"]) == 1
    assert "less than 99%" in capsys.readouterr().err


def test_every_report(scenario, tmp_path, capsys):
    """JSON on stdout, JUnit XML and a page in files."""
    html, junit = tmp_path / "drill.html", tmp_path / "drill.xml"
    assert main(["drill", "run", str(scenario), "--json", "--html", str(html), "--junit", str(junit)]) == 0
    tree = json.loads(capsys.readouterr().out)
    assert tree["passed"] is True
    assert tree["drills"][0]["scenario"] == "mine"
    assert tree["coverage"]["default"]["walked"] == 2
    assert ET.fromstring(junit.read_text()).get("failures") == "0"
    assert html.read_text().startswith("<!doctype html>")


def test_against_the_emulator(scenario, capsys):
    """Over real HTTP, much faster than its file says."""
    scenario.write_text(SCENARIO.replace(", rungs: [1, 2]", "").replace("at: 5s", "at: 10s"))
    assert main(["drill", "run", str(scenario), "--against", "emulator", "--speed", "10", "--json"]) == 0
    [drill] = json.loads(capsys.readouterr().out)["drills"]
    assert drill["against"] == "emulator"
    assert drill["arrived"]["strong"] > 0
    assert drill["arrived"]["fast"] > 0


def test_against_the_real_targets(tmp_path, capsys, monkeypatch):
    """What it can cost is told first; without a limit it does not start."""
    from hybridinfer.drill.emulator import Emulator

    monkeypatch.setenv("OPENAI_API_KEY", "sk-live")
    with Emulator() as emulator:
        target = {
            "kind": "openai",
            "model": "m",
            "price": {"input": 1, "output": 1},
            "base_url": emulator.base_url_openai,
        }
        policy = {
            "version": 1,
            "drills": "allowed",
            "targets": {"cloud": target},
            "rules": [{"name": "a", "use": ["cloud"]}],
        }
        load = {"rate": 20, "requests": [{"name": "a", "prompt": "hello"}]}
        drill = {"version": 1, "name": "d", "duration": "300ms", "load": load, "expect": {"answered_share": "100%"}}
        files = [tmp_path / "policy.yaml", tmp_path / "drill.yaml"]
        for file, tree in zip(files, (policy, drill), strict=True):
            file.write_text(json.dumps(tree))
        command = ["drill", "run", str(files[1]), "--policy", str(files[0]), "--against", "live"]
        with pytest.raises(SystemExit) as caught:
            main(command)
        assert caught.value.code == 2
        assert "at most, calling cloud" in (said := capsys.readouterr().err)
        assert "say --max-cost" in said
        assert main([*command, "--max-cost", "0.1"]) == 0
        assert emulator.requests


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], ""),
        (["no-such-drill"], "no such shipped drill"),
        (["provider-outage", "--speed", "0"], "--speed"),
        (["mine.yaml", "--policy", "minimal"], "no target 'strong'"),
        (["provider-outage", "--against", "live"], "does not allow drills against its real targets"),
        (["provider-outage", "--against", "lvie"], "lvie"),
    ],
)
def test_a_wrong_command_line_is_exit_code_2(arguments, message, scenario, monkeypatch, capsys):
    """With a line that says what is wrong."""
    monkeypatch.chdir(scenario.parent)
    with pytest.raises(SystemExit) as caught:
        main(["drill", "run", *arguments])
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_the_list(capsys):
    """Names and descriptions, or JSON."""
    assert main(["drill", "list"]) == 0
    assert "provider-outage" in capsys.readouterr().out
    assert main(["drill", "list", "--json"]) == 0
    assert {"name", "file", "description"} == set(json.loads(capsys.readouterr().out)[0])


def test_coverage_is_merged_over_runs(scenario, tmp_path, capsys):
    """Two runs that walk different edges walk both together; the merged JSON is such a file again."""
    a, b, both = (tmp_path / name for name in ("a.json", "b.json", "both.json"))
    assert main(["drill", "run", str(scenario), "--coverage", str(a)]) == 0
    scenario.write_text(SCENARIO.replace("strong: down", "strong: status_429"))
    assert main(["drill", "run", str(scenario), "--coverage", str(b)]) == 0
    assert f"written: {b}" in capsys.readouterr().err
    assert main(["drill", "coverage", str(a), str(b), "--json"]) == 0
    out = capsys.readouterr().out
    both.write_text(out)
    (one,) = json.loads(out)["policies"]
    codes = {code for target, code, _ in one["walked"] if target == "strong"}
    assert {"unavailable", "rate_limited"} <= codes
    assert main(["drill", "coverage", str(both), "--fail-under", "80"]) == 1
    out, err = capsys.readouterr()
    assert "never ended with" in out
    assert "less than 80%" in err


def test_coverage_needs_its_files(tmp_path, capsys):
    """None named is exit code 2; one that is something else, 1."""
    with pytest.raises(SystemExit) as stopped:
        main(["drill", "coverage"])
    assert stopped.value.code == 2
    other = tmp_path / "other.json"
    other.write_text("{}")
    assert main(["drill", "coverage", str(other)]) == 1
    assert "is no coverage file" in capsys.readouterr().err


def test_one_drill_is_told_in_full_and_many_in_a_line_each(scenario, capsys):
    """A passed one of many has no verdicts; the missed fallbacks are for runs that want to walk them all."""
    assert main(["drill", "run", str(scenario)]) == 0
    alone = capsys.readouterr().out
    assert main(["drill", "run", *[str(scenario)] * 4]) == 0
    many = capsys.readouterr().out
    assert "answered_share" in alone
    assert "never ended with" not in alone
    assert "answered_share" not in many
    assert many.count("PASS") == 4
    assert "never ended with" in many


def test_a_shipped_drill_says_who_plays_its_parts(tmp_path, capsys):
    """Before a policy with other names, in the text and in the JSON."""
    policy = tmp_path / "policy.yaml"
    policy.write_text(
        "version: 1\ntargets: {cloud: {kind: openai, model: gpt-6-luna}, sorry: {kind: canned, text: later}}\n"
        "rules: [{name: all, use: [cloud, sorry]}]\n"
        "boundaries: [{name: b, when: {privacy: [personal, secret]}, cloud: never}]\n"
    )
    main(["drill", "run", "bad-key", "--policy", str(policy)])
    assert "'strong' of the drill is 'cloud' here" in capsys.readouterr().out
    main(["drill", "run", "local-model-broken", "--policy", str(policy), "--json"])
    assert json.loads(capsys.readouterr().out)["drills"][0]["parts"] == {"small": ""}
    main(["drill", "run", *["bad-key"] * 4, "--policy", str(policy)])
    assert capsys.readouterr().out.count("'strong' of the drill is 'cloud' here") == 1
