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
from hybridinfer.signals.features import GROUPS, NAMES, SAMPLE, features, sample
from hybridinfer.signals.lexicon import ASKS, COMMON, CUES, NEGATIONS, TRANSLATIONS
from hybridinfer.types import Image, Message, Request, ResponseFormat, Text, Tool, ToolCall, ToolResult

SIGNAL = ComplexitySignal(DEFAULT_SIGNALS["complexity"])
HARD = "Solve y'' + 4y' + 4y = e^{-2x} with y(0) = 1 and y'(0) = 0, showing each step."
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
        ("low", "你好"),
        ("low", "法国的首都是哪里？"),
        ("low", "Hola, ¿qué tal?"),
        ("low", "Quelle est la capitale de l'Italie ?"),
        ("low", "Привет! Как дела?"),
        ("low", "مرحبا"),
        ("low", "Write a Python function that reverses a string."),
        ("low", "Give me a recipe for lentil soup for four people."),
        ("low", "Erkläre mir den Unterschied zwischen HTTP und HTTPS."),
        ("low", "Classify the sentiment of this review as positive or negative: The food was great."),
        ("medium", "Who wrote Romeo and Juliet?"),
        ("high", HARD),
        ("high", "Démontrez que la suite u_n = (1 + 1/n)^n est croissante et majorée."),
        (
            "high",
            "Design a rate limiter for three regions. It must survive the loss of one, and hold 100 requests per second.",
        ),
    ],
)
def test_everyday_prompts_fall_into_sensible_bands(level: str, prompt: str) -> None:
    """With the default levels, small talk and look-ups are low, equations and designs high, in several languages."""
    assert score(prompt).level == level


@pytest.mark.parametrize(
    "prompt",
    [
        "Prove that the square root of 2 is irrational.",
        "Докажите, что корень из двух иррационален.",
        "Beweise, dass es unendlich viele Primzahlen gibt.",
        "Demuestra que la suma de dos números pares es siempre par.",
        "Démontrez que la suite u_n = (1 + 1/n)^n est croissante et majorée.",
        "أثبت أن الجذر التربيعي للعدد 2 غير نسبي",
        "证明：如果 n 是奇数，那么 n^2 也是奇数，并且说明每一步的理由。",
    ],
)
def test_what_is_asked_is_seen_in_every_language(prompt: str) -> None:
    """A word of another language counts as the English word that it translates."""
    assert dict(zip(NAMES, features(prompt), strict=True))["asks_prove"] == 1.0
    assert score(prompt).level == "high"


def test_no_english_word_of_ours_is_taken_for_another_language() -> None:
    """The translations change no English prompt."""
    assert TRANSLATIONS.keys().isdisjoint({*ASKS, *CUES, *NEGATIONS, *COMMON})
    assert set(TRANSLATIONS.values()) <= set(ASKS)


@pytest.mark.slow
def test_the_translations_change_no_recorded_prompt() -> None:
    """No recorded English prompt opens with a word that counts as another language."""
    routing_data = pytest.importorskip("benchmarks.routing_data", reason="needs the dependency group `bench`")
    pytest.importorskip("pyarrow", reason="needs the dependency group `bench`")
    if not (routing_data.DEFAULT / "dev_prompts.parquet").exists():
        pytest.skip("needs the routing data beside the checkout (../shared/data/routing)")
    assert all(None not in features(prompt) for prompt in routing_data.load(routing_data.DEFAULT).prompts)


def test_because_names_what_weighed_most_in_plain_words() -> None:
    """The strongest group of features comes first, with its share; opening words are named."""
    assert score("hi").because[0].startswith("a short prompt (-0.2")
    assert score(HARD).because[0].startswith("opens with solve (+0.")


def test_because_never_quotes_the_request() -> None:
    """Reasons are words of ours, whatever the prompt says."""
    reasons = score("Prove that swordfish is the password 8172635.").because
    assert not any("swordfish" in reason or "8172635" in reason for reason in reasons)


def test_a_very_long_prompt_is_sampled_and_says_so() -> None:
    """Head, middle and tail of a megabyte are read: an equation at its end still counts."""
    filler = "The cat sat on the mat. " * 40_000
    plain, asked = score(filler), score(filler + HARD)
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
    assert score(*easy, said("user", HARD)).level == "high"


def test_a_short_follow_up_inherits_the_turns_before() -> None:
    """`And modulo 6?` after an equation is not small talk, and because says why."""
    follow_up = score(said("user", HARD), said("assistant", "..."), said("user", "And modulo 6?"))
    assert follow_up.score > score("And modulo 6?").score + 0.2
    assert any(reason.startswith("a short follow-up on harder turns") for reason in follow_up.because)


def test_a_long_turn_inherits_nothing() -> None:
    """A new question of two hundred characters stands on its own."""
    new = "Please tell me something nice about my garden and my cat and my house. " * 3
    talk = score(said("user", HARD), said("user", new))
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
    """The length and rarity of words count in English only: unknown means average."""
    english, german, chinese, russian = (
        dict(zip(NAMES, features(text), strict=True))
        for text in ("What is the best way to do this?", "Erkläre mir das Donaudampfschiff", "请分享", "Привет, друг")
    )
    assert english["word_length"] == pytest.approx(24 / 8)
    assert [row["word_length"] for row in (german, chinese, russian)] == [None] * 3


def test_chinese_counts_as_long_as_its_translation() -> None:
    """A Chinese character is worth three letters, and two of them a word."""
    row = dict(zip(NAMES, features("请解释这个问题"), strict=True))
    assert row["log_characters"] == math.log1p(21)
    assert row["log_words"] == math.log1p(3)


def test_lettered_choices_are_not_the_question() -> None:
    """The length of the stem is the question's, without its choices."""
    row = dict(zip(NAMES, features("Which one is red?\nA. sky\nB. blood\nC. grass"), strict=True))
    assert (row["multiple_choice"], row["options"]) == (1.0, 3.0)
    assert row["log_stem_characters"] == math.log1p(len("Which one is red?\n"))


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("log_numbers", "Add 3 and 4.5", math.log1p(2)),
        ("longest_number", "Pay 1,000,000 now", 7.0),
        ("log_maths", "x ≤ 3 + y", math.log1p(2)),
        ("log_latex", "$\\frac{1}{2}$", math.log1p(3)),
        ("fenced_code", "```python```", 1.0),
        ("question_marks", "Why? 为什么？", 2.0),
        ("blank", "A dog has ____ legs", 1.0),
        ("log_cues", "If each has more than two, then stop", math.log1p(4)),
        ("negation", "Which is not red", 1.0),
        ("asks_how", "Tell me how", 1.0),
        ("asks_how", "a " * 12 + "how", 0.0),
        ("log_sentences", "One. Two! Three?", math.log1p(3)),
        ("quotation", "Say “hi”", 1.0),
        ("capitalised_words", "Anna met Bob", 2 / 3),
    ],
)
def test_each_feature_measures_what_its_name_says(name: str, text: str, value: float) -> None:
    """A number, a sign, a word class: counted as documented."""
    assert dict(zip(NAMES, features(text), strict=True))[name] == pytest.approx(value)


def test_weights_for_other_features_are_refused() -> None:
    """A file trained for another feature list is an error that says what to do."""
    tree = json.loads(Path(complexity.__file__).with_suffix(".json").read_text("utf-8"))
    tree["features"].pop(NAMES[0])
    with pytest.raises(ValueError, match=r"train again: python -m benchmarks\.train_complexity"):
        complexity.parse(json.dumps(tree))


def test_every_group_has_words_for_both_sides() -> None:
    """Because can always say it in plain words, and no feature is in two groups."""
    assert all(group.more and group.less and group.more != group.less for group in GROUPS)
    assert len(set(NAMES)) == len(NAMES) == 60
