"""What the complexity scorer sees of a text: lengths, shape, notation and word classes. No model, no language guess.

`features` gives one number per name in `NAMES`. A feature that means nothing for a text (the share of rare
English words in a Chinese one) is None, and counts as average.
"""

from __future__ import annotations

import math
import re
from typing import NamedTuple

from .lexicon import CLASSES, COMMON, SUBSTRINGS, WORDS, WordClass

SAMPLE = 12_000
"""Characters looked at. Of a longer text, this many: half from its head, a quarter each from middle and tail."""


class Feature(NamedTuple):
    """A feature's name, and how to call it in plain words when it is above and below the average."""

    name: str
    more: str
    less: str


FEATURES: tuple[Feature, ...] = (
    Feature("log_length", "a long question", "a short question"),
    # vocabulary
    Feature("word_length", "long words", "short words"),
    Feature("distinct_words", "a varied vocabulary", "a repetitive vocabulary"),
    # numbers and notation
    Feature("log_numbers", "many numbers", "few numbers"),
    Feature("longest_number", "large numbers", "no large numbers"),
    Feature("digits", "mostly digits", "few digits"),
    Feature("log_maths", "mathematical signs", "few mathematical signs"),
    Feature("log_latex", "LaTeX notation", "no LaTeX notation"),
    Feature("log_code", "code", "no code"),
    Feature("brackets", "many brackets", "few brackets"),
    Feature("choices", "lettered choices", "no choices to pick from"),
    # cues of reasoning, anywhere in the text
    Feature("log_cues", "steps, quantities and conditions", "few steps, quantities and conditions"),
    Feature("log_demands", "strict demands", "no strict demands"),
    # what is asked, by the opening and the closing words
    Feature("asks_fact", "asks who, what, when or where", "does not ask who, what, when or where"),
    Feature("asks_reason", "asks why or how", "does not ask why or how"),
    Feature("asks_prove", "asks for a proof or derivation", "asks for no proof"),
    Feature("asks_compute", "asks for a calculation", "asks for no calculation"),
    Feature("asks_create", "asks to write something", "asks to write nothing"),
    Feature("asks_design", "asks for a design or plan", "asks for no design"),
    Feature("asks_analyse", "asks for a comparison or judgement", "asks for no comparison"),
    Feature("asks_transform", "works on text that is given", "works on no given text"),
)
NAMES: tuple[str, ...] = tuple(feature.name for feature in FEATURES)

_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_MATHS = "=+-*/^<>%≤≥≠√∑∫π÷∞∂∈"
_CODE = (
    "```",
    "def ",
    "class ",
    "return",
    "import ",
    "#include",
    "public ",
    "function(",
    "=>",
    ";\n",
    "assert",
    "SELECT ",
)
_CHOICE = re.compile(r"^[ \t]*\(?[A-J][).:]\s", re.MULTILINE)
_SPACELESS = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af]")
_EDGE = 12
"""Words at the start and at the end of a text that say what is asked."""
_CJK_LETTERS = 3
"""Letters of an alphabet that say about as much as one Chinese or Japanese character."""
_CUES: tuple[WordClass, ...] = ("step", "quantity", "condition")
_ASKS: tuple[WordClass, ...] = ("fact", "reason", "prove", "compute", "create", "design", "analyse", "transform")


def features(text: str) -> list[float | None]:
    """The features of `text`, in the order of `NAMES`. Time is bounded: a long text is sampled first."""
    text = sample(text)
    chars = max(1, len(text))
    spaceless = 0 if text.isascii() else len(_SPACELESS.findall(text))
    words = _WORD.findall((_SPACELESS.sub(" ", text) if spaceless else text).lower())
    spaced = spaceless < chars / 4 and bool(words)
    english = spaced and 6 * sum(map(COMMON.__contains__, words)) >= len(words)
    choices = _CHOICE.findall(text)
    stem = _CHOICE.split(text, maxsplit=1)[0] if len(choices) > 1 else text
    numbers = _NUMBER.findall(text)
    counts, asked = _classes(words, text if spaceless else "")
    return [
        math.log1p(len(stem) + (_CJK_LETTERS - 1) * spaceless),
        sum(map(len, words)) / len(words) if english else None,
        len(set(words)) / len(words) if spaced else None,
        math.log1p(len(numbers)),
        float(max(map(len, numbers), default=0)),
        sum(map(len, numbers)) / chars,
        math.log1p(sum(map(text.count, _MATHS))),
        math.log1p(text.count("\\") + text.count("$")),
        math.log1p(sum(map(text.count, _CODE))),
        sum(map(text.count, "()[]{}")) / chars,
        float(len(choices) > 1),
        math.log1p(sum(counts[name] for name in _CUES)),
        math.log1p(counts["demand"]),
        *(float(name in asked) for name in _ASKS),
    ]


def sample(text: str) -> str:
    """`text`, or 12,000 characters of it: half from the head, a quarter each from the middle and the tail."""
    if len(text) <= SAMPLE:
        return text
    quarter, middle = SAMPLE // 4, len(text) // 2
    return "\n".join((text[: 2 * quarter], text[middle - quarter // 2 : middle + quarter // 2], text[-quarter:]))


def _classes(words: list[str], spaceless_text: str) -> tuple[dict[WordClass, int], set[WordClass]]:
    """How often each class occurs, and which classes the opening or the closing words name."""
    counts = dict.fromkeys(CLASSES, 0)
    for word in words:
        if (name := WORDS.get(word)) is not None:
            counts[name] += 1
    asked: set[WordClass] = {WORDS[word] for word in (*words[:_EDGE], *words[-_EDGE:]) if word in WORDS}
    if spaceless_text:
        for word, name in SUBSTRINGS:
            if number := spaceless_text.count(word):
                counts[name] += number
                asked.add(name)
    return counts, asked
