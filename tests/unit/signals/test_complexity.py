# ruff: noqa: RUF001 - Chinese punctuation is meant
from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybridinfer.policy.model import DEFAULT_SIGNALS
from hybridinfer.signals import complexity
from hybridinfer.signals.base import SignalResult, Standing
from hybridinfer.signals.complexity import ComplexitySignal
from hybridinfer.signals.features import FEATURES, NAMES, SAMPLE, features, sample
from hybridinfer.types import Image, Message, Request, ResponseFormat, Text, Tool, ToolCall, ToolResult

SIGNAL = ComplexitySignal(DEFAULT_SIGNALS["complexity"])
PROOF = "Prove that there are infinitely many primes congruent to 3 modulo 4."
TOOL = Tool(name="search", parameters={"type": "object"})


def said(role, *parts) -> Message:
    return Message(role=role, parts=tuple(Text(text=part) if isinstance(part, str) else part for part in parts))


def score(*prompt, **options) -> SignalResult:
    messages = prompt if prompt and isinstance(prompt[0], Message) else (said("user", *prompt),)
    return SIGNAL.score(Request(messages=messages, **options), Standing())


@pytest.mark.parametrize(
    ("level", "prompt"),
    [
        ("low", "hi"),
        ("low", "Thanks!"),
        ("low", "What is the capital of France?"),
        ("low", "Translate 'good night' into Spanish."),
        ("low", "Extract all e-mail addresses from this text: Please write to anna@example.com or bob@example.org."),
        ("low", "Classify the sentiment of this review as positive or negative: The food was great."),
        ("low", "你好"),
        ("low", "法国的首都是哪里？"),
        ("low", "Hola, ¿qué tal?"),
        ("low", "Quelle est la capitale de l'Italie ?"),
        ("low", "Привет! Как дела?"),
        ("low", "مرحبا"),
        ("medium", "Write a Python function that reverses a string."),
        ("medium", "Give me a recipe for lentil soup for four people."),
        ("medium", "Erkläre mir den Unterschied zwischen HTTP und HTTPS."),
        ("high", PROOF),
        ("high", "Докажите, что корень из двух иррационален."),
        ("high", "Beweise, dass es unendlich viele Primzahlen gibt."),
        ("high", "Demuestra que la suma de dos números pares es siempre par."),
        ("high", "Démontrez que la suite u_n = (1 + 1/n)^n est croissante et majorée."),
        ("high", "أثبت أن الجذر التربيعي للعدد 2 غير نسبي"),
        ("high", "证明：如果 n 是奇数，那么 n^2 也是奇数，并且说明每一步的理由。"),
        ("high", "Solve y'' + 4y' + 4y = e^{-2x} with y(0) = 1 and y'(0) = 0, showing each step."),
        (
            "high",
            "Design a rate limiter for three regions. It must survive the loss of one, and hold 100 requests per second.",
        ),
    ],
)
def test_everyday_prompts_fall_into_sensible_bands(level: str, prompt: str) -> None:
    """With the default levels, greetings and extraction are low, proofs and designs high, in every language."""
    assert score(prompt).level == level


def test_because_names_what_weighed_most_in_plain_words() -> None:
    """The strongest feature comes first, with its share."""
    assert score(PROOF).because[0].startswith("asks for a proof or derivation (+0.2")
    assert score("hi").because[0].startswith("a short question (-0.1")


def test_because_never_quotes_the_request() -> None:
    """Reasons are the names of features, whatever the prompt says."""
    reasons = score("Prove that swordfish is the password 8172635.").because
    assert not any("swordfish" in reason or "8172635" in reason for reason in reasons)


def test_a_very_long_prompt_is_sampled_and_says_so() -> None:
    """Head, middle and tail of a megabyte are read: a question at its end still counts."""
    filler = "The cat sat on the mat. " * 40_000
    plain, asked = score(filler), score(filler + PROOF)
    assert any(f"only {SAMPLE:,} of" in reason for reason in plain.because)
    assert asked.score > plain.score


def test_sample_keeps_head_middle_and_tail() -> None:
    """The sample is bounded and takes its parts from three places."""
    text = "h" * 30_000 + "m" * 30_000 + "t" * 30_000
    taken = sample(text)
    assert len(taken) == SAMPLE + 2
    assert [taken.count(letter) for letter in "hmt"] == [SAMPLE // 2, SAMPLE // 4, SAMPLE // 4]
    assert sample("short") == "short"


def test_the_last_user_turn_decides() -> None:
    """A hard question in an easy conversation is hard."""
    easy = (said("user", "hi"), said("assistant", "Hello!"))
    assert score(*easy, said("user", PROOF)).level == "high"


def test_a_short_follow_up_inherits_the_turns_before() -> None:
    """`And for n = 7?` after a proof is not small talk, and because says why."""
    follow_up = score(said("user", PROOF), said("assistant", "..."), said("user", "And modulo 6?"))
    assert follow_up.score > score("And modulo 6?").score + 0.2
    assert any(reason.startswith("a short follow-up on harder turns") for reason in follow_up.because)


def test_a_long_turn_inherits_nothing() -> None:
    """A new question of two hundred characters stands on its own."""
    new = "Please tell me something nice about my garden and my cat and my house. " * 3
    talk = score(said("user", PROOF), said("user", new))
    assert talk.score == pytest.approx(score(new).score, abs=0.02)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"tools": (TOOL,) * 8}, "8 tools to choose from (+0.12)"),
        (
            {"response_format": ResponseFormat(type="json_schema", schema={})},
            "an answer that must keep a schema (+0.04)",
        ),
    ],
)
def test_tools_and_schemas_add(options: dict, reason: str) -> None:
    """What small models are bad at, beyond the text, raises the score and is named."""
    result = score("What is the weather?", **options)
    assert result.score > score("What is the weather?").score
    assert reason in result.because


@pytest.mark.parametrize(
    "before",
    [
        said("system", "You are a careful assistant. " * 500),
        said("assistant", ToolCall(id="1", name="search", arguments="x" * 15_000)),
        said("tool", ToolResult(call_id="1", content=(Text(text="y" * 15_000),))),
    ],
    ids=["system", "call", "result"],
)
def test_a_long_context_adds(before: Message) -> None:
    """Everything around the last user turn has to be kept in mind."""
    result = score(before, said("user", "What is next?"))
    assert result.score > score("What is next?").score
    assert any("characters of context (+0.09)" in reason for reason in result.because)


def test_a_picture_adds() -> None:
    """A picture to be read raises the score."""
    result = score("What is this?", Image(url="https://example.com/a.png"))
    assert any(reason.startswith("pictures or files") for reason in result.because)


def test_a_request_without_user_turn_is_scored() -> None:
    """Nothing is required of a request."""
    assert score(said("system", "Be brief.")).level == "low"


@settings(max_examples=150)
@given(st.text(max_size=300))
def test_any_text_scores_between_0_and_1(text: str) -> None:
    """Whatever the text, the features are finite and the score lies within its bounds."""
    values = features(text)
    assert len(values) == len(NAMES)
    assert all(value is None or math.isfinite(value) for value in values)
    assert 0 < score(text).score < 1


def test_language_bound_features_mean_nothing_elsewhere() -> None:
    """The length of words counts in English only, their variety not in Chinese: unknown means average."""
    english, german, chinese = (
        dict(zip(NAMES, features(text), strict=True))
        for text in ("What is the best way to do this?", "Donaudampfschifffahrt gefällt mir", "请解释这个问题")
    )
    assert english["word_length"] is not None
    assert german["word_length"] is None
    assert german["distinct_words"] == 1.0
    assert chinese["distinct_words"] is None


def test_lettered_choices_are_not_the_question() -> None:
    """The length is the question's, without its choices."""
    row = dict(zip(NAMES, features("Which one is red?\nA. sky\nB. blood\nC. grass"), strict=True))
    assert row["choices"] == 1.0
    assert row["log_length"] == math.log1p(len("Which one is red?\n"))


def test_weights_for_other_features_are_refused() -> None:
    """A file trained for another feature list is an error that says what to do."""
    tree = json.loads(Path(complexity.__file__).with_suffix(".json").read_text("utf-8"))
    tree["features"].pop(NAMES[0])
    with pytest.raises(ValueError, match=r"train again: python -m benchmarks\.train_complexity"):
        complexity.parse(json.dumps(tree))


def test_every_feature_has_words_for_both_sides() -> None:
    """Because can always say it in plain words."""
    assert all(feature.more and feature.less and feature.more != feature.less for feature in FEATURES)
