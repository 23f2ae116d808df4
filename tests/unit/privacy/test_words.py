"""Many literal values in one walk."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hybridinfer.privacy.words import Words


def find(text: str, *values: str, head: int = 2) -> list[str]:
    words = Words(head=head)
    for value in values:
        words.add(value)
    return [text[start:end] for start, end in words.find(text)]


def test_values_are_whole_words() -> None:
    """Neither inside a word, nor at its beginning or end only."""
    assert find("abc xabc abcx abc", "abc") == ["abc", "abc"]


def test_values_may_begin_and_end_with_signs() -> None:
    """Signs need no border."""
    assert find("x+41 79", "+41 79") == ["+41 79"]


def test_adding_twice_changes_nothing() -> None:
    """A set of values, not a list."""
    words = Words(head=2)
    words.add("abc")
    words.add("abc")
    assert len(words) == 1


@given(st.lists(st.text("ab -", min_size=2, max_size=5), max_size=5), st.text("ab -", max_size=40))
def test_matches_are_values_in_order_and_apart(values: list[str], text: str) -> None:
    """Any values, any text: what is found was asked for, and never overlaps."""
    words = Words(head=2)
    for value in values:
        words.add(value)
    at = 0
    for start, end in words.find(text):
        assert start >= at
        assert text[start:end] in values
        at = end
