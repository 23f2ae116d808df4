"""The words that gate the detectors: all of them are looked for in one walk over the text."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache

_WORDS: dict[str, None] = {}


def hints(*words: str) -> tuple[str, ...]:
    """`words` (lower case), to be looked for in every text from now on."""
    _WORDS.update(dict.fromkeys(words))
    return words


def present(text: str) -> frozenset[str]:
    """Which of all hints are in `text`."""
    return _finder(len(_WORDS))(text)


@cache
def _finder(_count: int) -> Callable[[str], frozenset[str]]:
    """One for each count of words, as they only ever become more: a key as long as the list would cost more than the search."""
    words = tuple(_WORDS)
    try:
        import re2
    except ImportError:  # no wheel for this platform: the same, some times slower
        return lambda text: one_by_one(words, text)
    every = re2.Set.SearchSet()
    for word in words:
        every.Add(re2.escape(word))
    always = every.Add("")  # in every text: where it is missing, the search has failed
    every.Compile()

    def find(text: str) -> frozenset[str]:
        try:
            numbers = frozenset(every.Match(text) or ())
        except UnicodeEncodeError:  # half a surrogate pair
            return one_by_one(words, text)
        if always not in numbers:
            return one_by_one(words, text)
        return frozenset([words[number] for number in numbers if number != always])

    return find


def one_by_one(words: Iterable[str], text: str) -> frozenset[str]:
    """The same without RE2."""
    return frozenset([word for word in words if word in text])
