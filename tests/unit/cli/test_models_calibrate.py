"""`hybridinfer models calibrate`: questions in, a map and its worth out."""

from __future__ import annotations

import json
import random

import pytest

from hybridinfer import questioning
from hybridinfer.cli import main
from hybridinfer.edge.calibrate import Labelled
from hybridinfer.edge.certainty import Certainty
from hybridinfer.edge.confidence import features, find_map
from hybridinfer.receipt import Code
from hybridinfer.targets.base import TargetFailed
from tests import tiny


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A tiny model, a folder for what is kept, and two hundred questions."""
    monkeypatch.setenv("HYBRIDINFER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HYBRIDINFER_STATE", str(tmp_path / "state"))
    file = tmp_path / "q.yaml"
    file.write_text("questions:\n" + "  - {ask: hello, answers: [world]}\n  - {ask: help, answers: [no]}\n" * 100)
    tiny.write(tmp_path / "tiny.gguf")
    return tmp_path


def label(right, sure):
    """An answer of five tokens that the model was so sure of."""
    token = Certainty(
        tokens=5,
        mean_logprob=-sure,
        min_logprob=-2 * sure,
        mean_entropy=sure,
        max_entropy=2 * sure,
        first_entropy=sure,
    )
    return Labelled(features=features(token, "so it is"), right=right)


@pytest.fixture
def answered(monkeypatch):
    """400 answers of a model that is mostly wrong where it is unsure."""

    async def ask_all(_target, _questions, *, told):
        told(1)
        draw = random.Random(1)
        doubts = [draw.random() for _ in range(400)]
        return [(label(draw.random() > doubt**2, doubt), "") for doubt in doubts]

    monkeypatch.setattr(questioning, "ask_all", ask_all)


def test_a_map_is_written_and_its_worth_told(place, answered, capsys):
    """It is the map that the model's targets then use."""
    model = str(place / "tiny.gguf")
    assert main(["models", "calibrate", model, "--questions", str(place / "q.yaml"), "--risk", "0.4"]) == 0
    said = capsys.readouterr()
    assert "AUROC 0." in said.out
    assert "accept: {confidence: 0." in said.out
    assert "written to" in said.err
    assert find_map(model).provenance["from"] == "q.yaml"


def test_a_promise_that_cannot_be_made(place, answered, capsys):
    """Says so, and how many right answers it would take."""
    arguments = ["models", "calibrate", str(place / "tiny.gguf"), "--questions", str(place / "q.yaml"), "--dry-run"]
    assert main([*arguments, "--risk", "0.001"]) == 0
    said = capsys.readouterr()
    assert "not enough data" in said.out
    assert "nothing was written" in said.err
    assert main([*arguments, "--risk", "0.4", "--json"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert row["file"] is None
    assert 0.5 <= row["threshold"] < 1
    assert find_map(str(place / "tiny.gguf")) is None


def test_answers_that_are_all_wrong_make_no_map(place, capsys, monkeypatch):
    """The tiny model is really asked, and knows nothing."""
    monkeypatch.setattr(questioning, "MAX_TOKENS", 1)
    assert main(["models", "calibrate", str(place / "tiny.gguf"), "--questions", str(place / "q.yaml")]) == 1
    assert "a map needs 200 answers" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "more", "says"),
    [
        ("questions: [{}]", [], "question 1 needs"),
        ("questions: [{ask: a, answers: [b]}]", [], "1 questions, and a map needs at least 200"),
        ("questions: [", [], "cannot be read"),
        ("questions: []", ["--risk", "2"], "between 0 and 1"),
    ],
)
def test_wrong_input_says_what_to_do(place, capsys, content, more, says):
    """Before the model is loaded."""
    (place / "q.yaml").write_text(content)
    with pytest.raises(SystemExit) as ended:
        main(["models", "calibrate", "--questions", str(place / "q.yaml"), *more])
    assert ended.value.code == 2
    assert says in capsys.readouterr().err


def test_a_model_that_does_not_answer(place, monkeypatch, capsys):
    """Ends the command; half a map would be worth nothing."""

    async def ask_all(*_arguments, **_options):
        raise TargetFailed(Code.UNAVAILABLE, "broken")

    monkeypatch.setattr(questioning, "ask_all", ask_all)
    assert main(["models", "calibrate", str(place / "tiny.gguf"), "--questions", str(place / "q.yaml")]) == 1
    assert "did not answer: broken" in capsys.readouterr().err
