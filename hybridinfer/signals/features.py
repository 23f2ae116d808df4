"""What the complexity scorer sees of a text: sixty numbers of its length, wording, notation and opening words.

`features` gives one number per name in `NAMES`. A feature that means nothing for a text (the share of rare
English words in a Chinese one) is None, and counts as average.
"""

from __future__ import annotations

import math
import re
from typing import NamedTuple

from .lexicon import ASKS, COMMON, CUE_PAIRS, CUES, NEGATIONS, SUBSTRINGS, TRANSLATIONS

SAMPLE = 12_000
"""Characters looked at. Of a longer text, this many: half from its head, a quarter each from middle and tail."""


class Group(NamedTuple):
    """Features that say the same in several ways; the scorer explains itself by their sum.

    The first feature leads: `more` is the group in plain words where that is above the average, `less` below.
    Only the last group is called by the words that were found.
    """

    more: str
    less: str
    features: tuple[str, ...]


GROUPS: tuple[Group, ...] = (
    Group("a long prompt", "a short prompt", (
        "log_characters", "log_words", "log_stem_characters", "log_lines", "log_sentences", "words_per_sentence",
    )),
    Group("uncommon words", "common words", ("rare_words", "distinct_words")),
    Group("long words", "short words", ("long_words", "word_length")),
    Group("many capitalised words", "few capitalised words", ("capitalised_words",)),
    Group("many numbers", "few numbers", ("log_numbers", "numbers_per_word", "longest_number", "digits")),
    Group("mathematical signs", "few mathematical signs", ("log_maths", "log_latex")),
    Group("code", "no code", ("log_code", "fenced_code")),
    Group("much punctuation", "little punctuation", (
        "separators", "brackets", "quotation", "non_ascii", "question_marks", "blank",
    )),
    Group("choices or a list", "no choices to pick from", ("multiple_choice", "options")),
    Group("steps, quantities and conditions", "few steps, quantities and conditions", (
        "log_cues", "cues_per_word", "negation",
    )),
    Group("opens with", "opens with none of the usual words", tuple(f"asks_{word}" for word in ASKS)),
)  # fmt: skip
NAMES: tuple[str, ...] = tuple(name for group in GROUPS for name in group.features)

_ASCII_WORD = re.compile(r"[A-Za-z]+(?:'[A-Za-z]+)*")
_WORD = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)*")
_SENTENCE_END = re.compile(r"[.!?](?:\s|$)|[\u3002\uff01\uff1f\u061f\u0964]")
"""English, Chinese and Japanese, Arabic, Hindi."""
_QUESTION_MARKS = "?\uff1f\u061f"
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_ASCII_MATHS, _OTHER_MATHS = "=+-*/^<>%", "≤≥√∑∫π"
_LATEX = re.compile(r"\\[a-zA-Z]+|\$")
_CODE = (
    "```", "def ", "class ", "return ", "import ", "#include", "public ", "function(", "=>", ";\n", "assert ",
)  # fmt: skip
_OPTION = re.compile(r"^[ \t]*(?:\(?[A-J][).:]|[-*•]|\d+[.)])\s", re.MULTILINE)
_SPACELESS = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af]")
_NOT_LATIN = re.compile(r"[\u0370-\u1dff\u3040-\ud7af]")
_LONG = 8
"""A word of more letters counts as long."""
_OPENING = 12
"""Words at the start of a text that say what is asked."""
_EDGE = 60
"""Characters at either end of a text without spaces that do."""
_SPACELESS_LETTERS, _SPACELESS_WORD = 3, 2
"""A Chinese or Japanese character says about as much as three letters of an alphabet; two make a word."""


def features(text: str) -> list[float | None]:
    """The features of `text`, in the order of `NAMES`. Time is bounded: a long text is sampled first."""
    text = sample(text)
    ascii_ = text.isascii()
    chars = max(1, len(text))
    spaceless = 0 if ascii_ else len(_SPACELESS.findall(text))
    words = _ASCII_WORD.findall(text) if ascii_ else _WORD.findall(_SPACELESS.sub(" ", text) if spaceless else text)
    lower = [word.lower() for word in words]
    asked, foreign = _asked(lower, text if spaceless else "")
    foreign = foreign or (not ascii_ and len(_NOT_LATIN.findall(text)) > chars / 4)
    count = len(words) + spaceless // _SPACELESS_WORD
    per_word = max(1, count)
    options = [match.start() for match in _OPTION.finditer(text)]
    stem = options[0] if len(options) > 1 else len(text)
    sentences = max(1, len(_SENTENCE_END.findall(text)))
    numbers = _NUMBER.findall(text)
    cues = sum(map(CUES.__contains__, lower)) + sum(map(text.lower().count, CUE_PAIRS))
    extra = (_SPACELESS_LETTERS - 1) * spaceless
    return [
        math.log1p(len(text) + extra),
        math.log1p(count),
        math.log1p(stem + extra),
        math.log1p(text.count("\n") + 1),
        math.log1p(sentences),
        count / sentences,
        None if foreign else 1 - sum(map(COMMON.__contains__, lower)) / per_word if words else 0.0,
        None if foreign else len(set(lower)) / per_word,
        None if foreign else sum([len(word) > _LONG for word in words]) / per_word,
        None if foreign else sum(map(len, words)) / per_word,
        None if foreign else sum([word[0].isupper() for word in words]) / per_word,
        math.log1p(len(numbers)),
        len(numbers) / per_word,
        float(max((len(number) - number.count(".") - number.count(",") for number in numbers), default=0)),
        sum(map(len, numbers)) / chars,
        math.log1p(sum(map(text.count, _ASCII_MATHS if ascii_ else _ASCII_MATHS + _OTHER_MATHS))),
        math.log1p(len(_LATEX.findall(text))) if "\\" in text or "$" in text else 0.0,
        math.log1p(sum(map(text.count, _CODE))),
        float("```" in text),
        sum(map(text.count, ",;:")) / chars,
        sum(map(text.count, "()[]{}")) / chars,
        float('"' in text or "“" in text),
        None if foreign else 0.0 if ascii_ else (len(text) - len(text.encode("ascii", "ignore"))) / chars,
        float(sum(map(text.count, _QUESTION_MARKS))),
        float("____" in text or "<mask>" in text),
        float(len(options) > 1),
        float(len(options)),
        None if foreign else math.log1p(cues),
        None if foreign else cues / per_word,
        None if foreign else float(not NEGATIONS.isdisjoint(lower)),
        *map(float, map(asked.__contains__, ASKS)),
    ]  # fmt: skip


def sample(text: str) -> str:
    """`text`, or 12,000 characters of it: half from the head, a quarter each from the middle and the tail."""
    if len(text) <= SAMPLE:
        return text
    quarter, middle = SAMPLE // 4, len(text) // 2
    return "\n".join((text[: 2 * quarter], text[middle - quarter // 2 : middle + quarter // 2], text[-quarter:]))


def _asked(lower: list[str], spaceless_text: str) -> tuple[set[str], bool]:
    """Which of `ASKS` the opening words name, and whether a word of another language did."""
    opening = lower[:_OPENING]
    translated = {TRANSLATIONS[word] for word in opening if word in TRANSLATIONS}
    if spaceless_text:
        edges = spaceless_text[:_EDGE] + "\n" + spaceless_text[-_EDGE:]
        translated |= {ask for word, ask in SUBSTRINGS if word in edges}
    return translated | {word for word in opening if word in _ASKS}, bool(translated)


_ASKS = frozenset(ASKS)
