"""Answers that only look alike do not vouch for each other, and no answer breaks the comparison."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridinfer.commands import Answer
from hybridinfer.sameness import majority, same
from hybridinfer.types import ToolCall


def alike(first, second):
    return same((Answer(text=first), Answer(text=second)))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("42", "The answer is 42."),
        ("1,000", "1000.0"),
        ("-5", "(-5)"),
        ("$1,000", "$1000.00"),
        ("5 %", "5%"),
        ('{"a": 1, "b": 1.50}', '```json\n{"b": 1.5, "a": 1}\n```'),
        ("Yes.", "**yes**"),
    ],
)
def test_layout_is_no_difference(first, second):
    """The same number, the same JSON, the same words."""
    assert alike(first, second)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("10⁶", "106"),
        ("H₂O", "H2O"),
        ("1½", "11/2"),
        ("$5", "€5"),
        ("5%", "5"),
        ("5", "-5"),
        ("12345678901234567890123456789", "12345678901234567890123456788"),
        ('{"a": 0.12345678901234567890123456789}', '{"a": 0.12345678901234567890123456788}'),
        ("1,5", "15"),
        ("", ""),
        ("...", "[[["),
    ],
)
def test_looking_alike_is_not_enough(first, second):
    """Powers, units, signs, and digits beyond those that a float or a rounding keeps."""
    assert not alike(first, second)


@pytest.mark.parametrize(
    "text",
    ['{"a": 1e9999999}', "1e999", "[1e99999999999999999999]", "[" * 5000, '{"a":' * 950 + "1" + "}" * 950, "\ud800"],
)
def test_no_answer_breaks_the_comparison(text):
    """A model may write what no number and no stack can hold; brackets alone say nothing."""
    assert alike(text, text) == (set(text) != {"["})
    assert same((Answer(tool_calls=(ToolCall(id="1", name="f", arguments=text),)),) * 2)


def test_nothing_said_twice_is_no_majority():
    """Two empty samples do not outvote an answer."""
    answers = [Answer(text=text) for text in ("...", "!", "4")]
    assert majority(answers)[1] == 1


@given(st.text(max_size=40), st.text(max_size=40))
def test_the_comparison_takes_any_text(first, second):
    """It is the same in both directions, and everything that says something agrees with itself."""
    assert alike(first, second) == alike(second, first)
    assert alike(first, first) or not any(letter.isalnum() for letter in first)
