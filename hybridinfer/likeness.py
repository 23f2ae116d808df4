"""Do two answers mean the same, as far as this machine can tell? `judge: embedding`; nothing is sent anywhere.

An embedding alone cannot say so: of the pairs in `benchmarks/data/agreement.yaml`, those that contradict each other are
as near (median cosine .89) as those that agree (.92). So words come first: numbers, negations and the order of what both
say must be equal, and only what one says and the other does not is left to the embedding, where it must be all but the
same word. docs/verify.md has the figures. Where it is not certain the answer is no.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .sameness import key

if TYPE_CHECKING:
    from .commands import Answer
    from .edge.embedder import Embedder

logger = logging.getLogger("hybridinfer")

LEAST = 0.9
"""Cosine of what is left of both answers. The nearest contradiction measured has .87 (larger, smaller), .87 (days)."""

_WORD = re.compile(r"[a-z]+n't|[a-z]+|[-+$]*\d+(?:[.,]\d+)*%?")
_THOUSANDS = re.compile(r",(?=\d{3}(?!\d))")
_SIGNS = re.compile(r"[-=+*/<>{}()\[\]\\_^|#&@~$%:]")
"""What notation is made of: where one answer has others than the other, words do not tell."""
_COUNTED = {word: str(number) for number, word in enumerate((
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty",
))}  # fmt: skip
_NEGATIONS = frozenset({
    "no", "not", "never", "none", "neither", "nor", "without", "cannot", "nothing", "nobody", "hardly", "false",
    "incorrect", "wrong", "untrue",
})  # fmt: skip
_EMPTY = frozenset({
    "a", "an", "the", "is", "are", "be", "it", "its", "this", "that", "these", "those", "of", "and", "as", "so",
    "then", "do", "does", "has", "have", "because", "answer", "therefore", "s", "yes",
})  # fmt: skip
"""Words that may come and go without another meaning."""
_CHOICE = frozenset({"or", "between", "than"})
"""Where one of these is said, the question names the very things that answers must tell apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What is compared of a text: all in the order it was said."""

    numbers: tuple[str, ...]
    negations: tuple[str, ...]
    content: tuple[str, ...]

    @classmethod
    def of(cls, text: str) -> Said:
        """Its words without case, sorted into these."""
        numbers, negations, content = list[str](), list[str](), list[str]()
        for word in _words(text):
            if word in _COUNTED or not word[0].isalpha():
                numbers.append(_COUNTED.get(word, _THOUSANDS.sub("", word)))
            elif word in _NEGATIONS or word.endswith("n't"):
                negations.append("not" if word.endswith("n't") else word)
            elif word not in _EMPTY:
                content.append(word)
        return cls(numbers=tuple(numbers), negations=tuple(negations), content=tuple(dict.fromkeys(content)))


def alike(question: str, first: Answer, second: Answer, embedder: Callable[[], Embedder]) -> bool:
    """Whether both mean the same as answers to `question`. English prose only; else, and in doubt, no."""
    if any(key(answer)[0] != "text" for answer in (first, second)):
        return False  # calls, JSON and numbers are compared as such
    if not (first.text.isascii() and second.text.isascii()) or _notation(first.text) != _notation(second.text):
        return False  # it was trained on English, and on words
    one, other = Said.of(first.text), Said.of(second.text)
    if one.numbers != other.numbers or one.negations != other.negations or not (one.content and other.content):
        return False
    if _shared(one, other) != _shared(other, one):
        return False
    left, left_other = _left(one, other), _left(other, one)
    if not left or not left_other:
        asked, said = set(_words(question)), set(_words(f"{first.text} {second.text}"))
        return _CHOICE.isdisjoint(asked | said) and asked.issuperset(left or left_other)
    model = embedder()
    if not (model.reads_whole(first.text) and model.reads_whole(second.text)):
        return False
    return float(model.vector(" ".join(left)) @ model.vector(" ".join(left_other))) >= LEAST


def judge(environ: Mapping[str, str]) -> Callable[[str, Answer, Answer], bool]:
    """`alike` with the model of this machine, loaded when it is first needed; where that fails, a no and one log line."""

    def says(question: str, first: Answer, second: Answer) -> bool:
        from .edge import embedder

        try:
            return alike(question, first, second, lambda: embedder.load(environ))
        except Exception as error:  # noqa: BLE001 - the runtime raises bare types; what cannot be checked has not passed
            logger.error("the embedding judge failed (%s)", type(error).__name__)  # noqa: TRY400 - no content
            return False

    return says


def _words(text: str) -> Sequence[str]:
    return _WORD.findall(text.lower())


def _notation(text: str) -> Sequence[str]:
    """The signs in `text` but for bold letters, a list's hyphens and a closing colon."""
    return sorted(_SIGNS.findall(re.sub(r"\*\*|^\s*[-*] |:\s", " ", text, flags=re.MULTILINE)))


def _shared(one: Said, other: Said) -> Sequence[str]:
    return [word for word in one.content if word in other.content]


def _left(one: Said, other: Said) -> Sequence[str]:
    return [word for word in one.content if word not in other.content]
