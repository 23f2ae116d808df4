"""One's own terms and patterns, and which patterns are refused."""

from __future__ import annotations

import pytest

from hybridinfer.privacy.detectors import Own
from hybridinfer.privacy.detectors.linear import check_linear
from hybridinfer.privacy.detectors.view import View


def found(own: Own, text: str) -> list[str]:
    return [text[f.start : f.end] for f in own.detect(View(text))]


def test_terms_match_whole_words_in_any_case() -> None:
    """`Falcon` is found in any case, but not inside another word."""
    assert found(Own(terms=["Falcon"]), "FALCON, falconry, falcon") == ["FALCON", "falcon"]


def test_the_longest_of_two_terms_wins() -> None:
    """A term that continues another one is found whole."""
    assert found(Own(terms=["red", "red team"]), "the red team") == ["red team"]


def test_a_term_of_one_character_is_refused() -> None:
    """It would hit everything."""
    with pytest.raises(ValueError, match="shorter than 2"):
        Own(terms=["x"])


def test_patterns_say_which_one_matched() -> None:
    """The validator counts from one, so that people find the pattern in their policy."""
    (finding,) = Own(patterns=["never", r"PRJ-\d{4}"]).detect(View("see PRJ-1234"))
    assert (finding.type, finding.validator) == ("own_pattern", "pattern 2")


def test_patterns_see_long_texts_to_their_end() -> None:
    """Windows overlap: a match far down, and one across a window's border, are both found."""
    text = "." * 4090 + "PRJ-1234" + "." * 9000 + "PRJ-9999"
    assert set(found(Own(patterns=[r"PRJ-\d{4}"]), text)) == {"PRJ-1234", "PRJ-9999"}


def test_empty_lists_are_false() -> None:
    """A policy without lists costs no family."""
    assert not Own()
    assert Own(patterns=["a"])


@pytest.mark.parametrize(
    "pattern",
    [r"PRJ-\d+", r"(?:ab|cd){2}x", r"[A-Z]+-\d+", r"a{3}(?:b{2}){4}", r"\bcase \d{4,8}\b", r"(?>a+)b", r"x*+y"],
)
def test_bounded_patterns_pass(pattern: str) -> None:
    """Ordinary identifiers can be written."""
    check_linear(pattern)


@pytest.mark.parametrize(
    ("pattern", "advice"),
    [
        (r"(a)\1", "refer back"),
        (r"(a)?(?(1)b|c)", "refer back"),
        (r"(?=a)b", "look ahead"),
        (r"(?<!a)b", "look ahead"),
        (r"(?:a+)+b", "inside a repeat"),
        (r"(?:a|b*){2,}", "inside a repeat"),
        (r"\d+\d+x", "side by side"),
        (r"(", "not a regular expression"),
    ],
)
def test_dangerous_patterns_are_refused_with_advice(pattern: str, advice: str) -> None:
    """Whatever could run for ever is an error when the policy is loaded."""
    with pytest.raises(ValueError, match=advice):
        check_linear(pattern)
