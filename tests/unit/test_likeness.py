"""Answers that may only look alike, judged on this machine: in doubt, no."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridinfer import Router
from hybridinfer.commands import Answer
from hybridinfer.edge import embedder
from hybridinfer.errors import ModelNotFound
from hybridinfer.likeness import alike, judge
from hybridinfer.testing import FakeTarget
from hybridinfer.types import ToolCall
from tests import tiny_embedder

ASKED = "What is the capital of Australia?"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tiny embedder, in which bigger and larger are near."""
    made = tiny_embedder.write(tmp_path / "cache")
    monkeypatch.setattr(embedder, "embedders", lambda: {embedder.NAME: made})
    monkeypatch.setenv("HYBRIDINFER_CACHE", str(tmp_path / "cache"))


def never() -> embedder.Embedder:
    raise AssertionError("words alone decide this")


def by_words(first: str, second: str, question: str = ASKED) -> bool:
    return alike(question, Answer(text=first), Answer(text=second), never)


@pytest.mark.parametrize(
    ("first", "second", "question"),
    [
        ("Canberra.", "The capital of Australia is Canberra.", ASKED),
        ("It is **Canberra**.", "The capital of Australia is Canberra.", ASKED),
        ("Restart it and wait two minutes.", "Restart it, then wait 2 minutes.", "What should I do?"),
        ("It ended in 1,945.", "The war ended in 1945.", "When was it that the war ended?"),
        ("Answer: Canberra", "The answer is Canberra.", ASKED),
    ],
)
def test_what_only_repeats_the_question_may_be_left_out(first: str, second: str, question: str) -> None:
    """And words that say nothing; numbers may be written out."""
    assert by_words(first, second, question)
    assert by_words(second, first, question)


@pytest.mark.parametrize(
    ("first", "second", "question"),
    [
        ("Canberra has 5 parks.", "Canberra has 6 parks.", ASKED),
        ("Canberra has 5% more.", "Canberra has 5 more.", ASKED),
        ("Canberra has -5 degrees.", "Canberra has 5 degrees.", ASKED),
        ("Canberra has 1,5 litres.", "Canberra has 15 litres.", ASKED),
        ("Canberra, 5 and 5", "Canberra, 5", ASKED),
        ("It is Canberra.", "It is not Canberra.", ASKED),
        ("You can return it.", "You can't return it.", "Can I return it?"),
        ("Yes, you can return it.", "No, you cannot return it.", "Can I return it?"),
        ("Yes.", "No.", "Is it the capital?"),
        ("Alice owes Bob.", "Bob owes Alice.", "Who owes whom?"),
        ("Hamburg", "Berlin is larger than Hamburg", "Which is larger: Berlin, Hamburg?"),
        ("Berlin", "Berlin, larger", "Is Berlin or Hamburg larger?"),
        ("Canberra", "Canberra since the parliament moved", ASKED),
        ("x = y + z", "x = y - z", "What is x?"),
        ("", "Canberra", ASKED),
        ("It is.", "They are.", ASKED),
        ("He", "It", "Which symbol?"),
        ("5", "five", "How many?"),
        ('{"city": "Canberra"}', "Canberra", ASKED),
        ("Zürich liegt hier", "Zürich hier liegt", "Wo?"),
    ],
)
def test_words_refuse_before_any_embedding_is_asked(first: str, second: str, question: str) -> None:
    """Numbers, negations, order, choices, notation, other forms and other languages."""
    assert not by_words(first, second, question)
    assert not by_words(second, first, question)


def test_calls_are_no_prose() -> None:
    """They are compared as such."""
    call = ToolCall(id="1", name="f", arguments="{}")
    assert not alike(ASKED, Answer(text="Canberra", tool_calls=(call,)), Answer(text="Canberra"), never)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(("word", "agrees"), [("larger", True), ("smaller", False), ("dogs", False)])
def test_one_word_for_another_is_the_embeddings_to_tell(word: str, agrees: bool) -> None:
    """All but the same word, or no."""
    texts = Answer(text="Cats are bigger"), Answer(text=f"Cats are {word}")
    assert alike("How are cats?", *texts, embedder.load) is agrees


@pytest.mark.usefixtures("here")
def test_an_answer_beyond_the_window_is_not_judged_by_its_beginning() -> None:
    """Nobody knows what stands behind it."""
    long = " ".join(["cats"] * 300)
    assert not alike("How?", Answer(text=f"bigger {long}"), Answer(text=f"larger {long}"), embedder.load)


@given(st.text(max_size=60), st.text(max_size=60), st.text(max_size=60))
def test_the_judge_is_symmetric_and_never_raises(question: str, first: str, second: str) -> None:
    """Whatever it is given; without a model what only that could tell is a no."""

    def says(one: str, other: str) -> bool:
        return judge({"HYBRIDINFER_CACHE": "/nowhere"})(question, Answer(text=one), Answer(text=other))

    assert says(first, second) is says(second, first)


POLICY = {
    "version": 1,
    "targets": {
        "one": {"kind": "onnx", "model": "m"},
        "two": {"kind": "onnx", "model": "m"},
        "cloud": {"kind": "openai", "model": "m", "price": {"input": 1, "output": 2}},
    },
    "boundaries": [{"name": "stay", "when": {"privacy": ["personal", "secret"]}, "cloud": "never"}],
    "rules": [{"name": "all", "use": [{"agree": ["one", "two"], "judge": "embedding", "else": "cloud"}]}],
}


def asked(second: str, use: list[object] | None = None) -> list[tuple[str, str]]:
    """The lines of the receipt, where the first target says that it is Canberra."""
    targets = {
        "one": FakeTarget("one", zone="device", kind="onnx", script=["The capital of Australia is Canberra."]),
        "two": FakeTarget("two", zone="device", kind="onnx", script=[second]),
        "cloud": FakeTarget("cloud", script=["Canberra"]),
    }
    policy = POLICY if use is None else POLICY | {"rules": [{"name": "all", "use": use}]}
    with Router(policy, targets=targets) as router:
        receipt = router.complete(ASKED).receipt
    return [(line.target, str(line.code)) for line in receipt.attempts]


ACCEPT: list[object] = [{"target": "one", "accept": {"agree_with": "two", "judge": "embedding"}}, "cloud"]


@pytest.mark.usefixtures("here")
def test_other_words_agree_and_nobody_else_is_asked() -> None:
    """The judge runs here: no third line on the receipt."""
    assert asked("It is Canberra.") == [("one", "ok"), ("two", "ok")]
    assert asked("It is Canberra.", ACCEPT) == [("one", "ok"), ("two", "ok")]


@pytest.mark.usefixtures("here")
def test_another_answer_escalates() -> None:
    """As with any judge."""
    assert asked("It is Sydney.") == [("one", "unsure"), ("two", "unsure"), ("cloud", "ok")]
    assert asked("It is Sydney.", ACCEPT) == [("one", "unsure"), ("two", "ok"), ("cloud", "ok")]


def test_a_missing_model_is_told_when_the_router_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And not at the first request that needs it."""
    monkeypatch.setenv("HYBRIDINFER_CACHE", str(tmp_path))
    with pytest.raises(ModelNotFound, match="run: hybridinfer models pull"):
        asked("It is Canberra.")


@pytest.mark.usefixtures("here")
def test_a_judge_that_fails_says_no(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """The request goes on; the log names the error and nothing of the answers."""

    def broken(environ: object) -> None:
        raise RuntimeError("Canberra")

    monkeypatch.setattr(embedder, "load", broken)
    assert asked("It is Sydney.")[-1] == ("cloud", "ok")
    assert "RuntimeError" in caplog.text
    assert "Canberra" not in caplog.text
