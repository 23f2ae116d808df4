"""The words that gate the detectors: all words of a gate are looked for in one walk over a text."""

from __future__ import annotations

from collections.abc import Callable, Iterable


class Gate:
    """A growing list of words in lower case."""

    def __init__(self) -> None:
        self._words: dict[str, None] = {}
        self._find: Callable[[str], frozenset[str]] | None = None

    def add(self, *words: str) -> frozenset[str]:
        """`words`, to be looked for in every text from now on."""
        self._words.update(dict.fromkeys(words))
        self._find = None
        return frozenset(words)

    def present(self, text: str) -> frozenset[str]:
        """Which of all words are in `text`."""
        find = self._find = self._find or _finder(tuple(self._words))
        return find(text)


HINTS = Gate()
"""Words anywhere in a text."""
LABELS = Gate()
"""Words before a number."""
hints = HINTS.add
labels = LABELS.add


def _finder(words: tuple[str, ...]) -> Callable[[str], frozenset[str]]:
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
            numbers = every.Match(text) or ()
        except UnicodeEncodeError:  # half a surrogate pair
            return one_by_one(words, text)
        if always not in numbers:
            return one_by_one(words, text)
        return frozenset([words[number] for number in numbers if number != always])

    return find


def one_by_one(words: Iterable[str], text: str) -> frozenset[str]:
    """The same without RE2."""
    return frozenset([word for word in words if word in text])
