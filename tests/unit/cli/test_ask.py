"""`hybridinfer ask`: stdout, stderr, exit codes and the JSON shape."""

from __future__ import annotations

import json

import pytest

from hybridinfer.cli import main


def test_the_answer_goes_to_stdout_and_the_story_to_stderr(policy, capsys):
    """A program that reads stdout sees the answer and nothing else."""
    assert main(["ask", "Hello", "--policy", str(policy)]) == 0
    out, err = capsys.readouterr()
    assert out == "A fixed reply.\n"
    assert err.startswith("answered by sorry (device) · rung 1")


def test_a_stream_prints_the_same_answer(policy, capsys):
    """--stream changes when the text comes, not what comes."""
    assert main(["ask", "Hello", "--stream", "--policy", str(policy)]) == 0
    assert capsys.readouterr().out == "A fixed reply.\n"


def test_json_has_the_documented_fields(policy, capsys):
    """The keys of `ask --json` are a promise."""
    assert main(["ask", "Hello", "--json", "--policy", str(policy)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert list(told) == [
        "text", "target", "zone", "rung", "degraded", "levels", "rule", "removed", "attempts", "cost_usd", "seconds",
    ]  # fmt: skip
    assert list(told["attempts"][0]) == [
        "target", "number", "code", "because", "seconds", "input_tokens", "output_tokens", "cost_usd",
    ]  # fmt: skip
    assert told["text"] == "A fixed reply."
    assert told["rule"] == "all"
    assert told["cost_usd"] == 0


def test_the_prompt_may_come_from_stdin(policy, capsys, stdin):
    """`ask -` reads the prompt from a pipe."""
    stdin("my card is 4111 1111 1111 1111, is it valid?")
    assert main(["ask", "-", "--json", "--policy", str(policy)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["levels"]["privacy"] == "personal"
    assert [removal["target"] for removal in told["removed"]] == ["cloud"]


def test_the_prompt_may_come_from_a_file(policy, capsys, tmp_path):
    """--file takes a prompt that is too long for a command line."""
    file = tmp_path / "prompt.txt"
    file.write_text("Hello")
    assert main(["ask", "--file", str(file), "--policy", str(policy)]) == 0
    assert capsys.readouterr().out == "A fixed reply.\n"


def test_nobody_answers(dead_policy, capsys):
    """When no target answers, stdout stays empty, stderr says why in one line, and the exit code is 1."""
    assert main(["ask", "Hello", "--policy", str(dead_policy)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("hybridinfer: ")
    assert "Traceback" not in err


def test_nobody_answers_in_json(dead_policy, capsys):
    """A failure has the same JSON shape, with null for the text, and every attempt."""
    assert main(["ask", "Hello", "--json", "--policy", str(dead_policy)]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["text"] is None
    assert told["target"] is None
    assert {attempt["target"] for attempt in told["attempts"]} == {"cloud"}


def test_a_failed_rung_is_named_in_the_story(falling_policy, capsys):
    """The line on stderr says which rung failed before the one that answered."""
    assert main(["ask", "Hello", "--policy", str(falling_policy)]) == 0
    err = capsys.readouterr().err
    assert "rung 2, degraded" in err
    assert "after cloud unauthorized" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ask", " "], "there is no prompt"),
        (["ask", "a", "--file", "b"], "not both"),
        (["ask", "--file", "/nonexistent/prompt"], "cannot read /nonexistent/prompt"),
        (["ask", "a", "--tag", "team"], "write it as name=value"),
        (["ask", "a", "--max-tokens", "many"], "max-tokens"),
        (["ask", "a", "--nonsense"], "--nonsense"),
    ],
)
def test_a_wrong_command_line_is_exit_code_2(arguments, message, capsys):
    """What the caller must change is on stderr, and the code is 2."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err


def test_tags_reach_the_policy(policy, capsys):
    """--tag team=a takes the rule for that team."""
    assert main(["ask", "Hello", "--tag", "team=a", "--json", "--policy", str(policy)]) == 0
    assert json.loads(capsys.readouterr().out)["rule"] == "team a"


def test_a_label_raises_the_privacy_level(policy, capsys):
    """--privacy secret keeps a harmless text from the cloud."""
    assert main(["ask", "Hello", "--privacy", "secret", "--json", "--policy", str(policy)]) == 0
    assert json.loads(capsys.readouterr().out)["levels"]["privacy"] == "secret"
