"""The words that gate the detectors."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from hybridinfer.privacy.detectors import scan
from hybridinfer.privacy.detectors.hints import HINTS, LABELS, Gate, one_by_one

if TYPE_CHECKING:
    import pytest

WORDS = tuple(HINTS._words)


@given(st.lists(st.sampled_from(WORDS) | st.text(max_size=5), max_size=40).map("".join))
def test_one_walk_finds_what_single_looks_find(text: str) -> None:
    """Any mixture of hints and other text."""
    assert HINTS.present(text) == one_by_one(WORDS, text)


def test_all_hints_at_once() -> None:
    """And many times over."""
    assert HINTS.present(" ".join(WORDS) * 50) == frozenset(WORDS)


def test_half_a_surrogate_pair_hides_nothing() -> None:
    """Such text cannot be encoded for RE2."""
    assert "pass" in HINTS.present("\ud800 pass")


def test_a_search_that_fails_is_done_again_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """RE2 says nothing when its memory runs out; the mark that is in every text is missing then."""

    class Silent:
        def Add(self, _: str) -> int:  # noqa: N802 - RE2's name
            return 0

        def Compile(self) -> None:  # noqa: N802
            pass

        def Match(self, _: str) -> list[int]:  # noqa: N802
            return []

        @classmethod
        def SearchSet(cls) -> Silent:  # noqa: N802
            return cls()

    class Re2:
        Set = Silent

        @staticmethod
        def escape(word: str) -> str:
            return word

    monkeypatch.setitem(sys.modules, "re2", Re2)  # type: ignore[arg-type]
    gate = Gate()
    gate.add("pass", "word", "nothing")
    assert gate.present("the password") == {"pass", "word"}


def test_without_re2_the_same_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Platforms without a wheel are slower, not blind."""
    monkeypatch.setitem(sys.modules, "re2", None)
    monkeypatch.setattr(HINTS, "_find", None)
    monkeypatch.setattr(LABELS, "_find", None)
    found = scan("the password is hunter2, BSN 111222333")
    assert [finding.type for finding in found] == ["password", "national_id"]


def test_a_word_added_later_is_found_too() -> None:
    """The search is made anew when the words become more."""
    gate = Gate()
    gate.add("one")
    assert gate.present("one two") == {"one"}
    assert gate.add("two") == {"two"}
    assert gate.present("one two") == {"one", "two"}
