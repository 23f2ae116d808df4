"""Values that mean something only beside their label: `MRN: 4016436`, `"patient_id": "A-77"`, `my licence number is ...`."""

from __future__ import annotations

import re
from collections.abc import Iterator

from .lazy import lazy
from .view import View

_LINK = re.compile(
    r"(?:['’]?s\b)?[\s\"'*\])]{0,3}"
    r"(?:(?:(?:number|num|nummer|numéro|número|numero|numer|nr|no|id|identifier|code|is|was|are|es|est|ist|è|é|of|my|mine|mein|meine|mon|ma|mi|mio|mia|meu|minha|mijn|min|mit|je|jest|to|moje|mój|är|er|на|мой|моя|мій|это|це|του|μου|είναι|của|tôi|là|saya|adalah|שלי|הוא|היא|هو|هي|मेरा|है)\b|nº|n°|n\.º|№|号码?|號碼?|番号|번호|[是为為はがをに가는은이를을의])"
    r"[.:]?\s{0,3}|[:：#=\-(\"'*|\[]\s{0,3}){0,6}",
    re.IGNORECASE,
)
_VALUE = re.compile(
    r"[A-Za-z]{0,4}[-/ ]?(?=[A-Za-z0-9/\-]{0,8}[0-9])[A-Za-z0-9](?:[A-Za-z0-9]|[-/ .](?=[A-Z0-9\-]{0,10}[0-9])){3,26}"
    r"(?:-[A-Za-z0-9]|\([0-9A]\))?(?![A-Za-z0-9])"
)
_JOINED = lazy(r"s?(?:nummer|numret|nr|number|no|id)(?![a-z])", re.IGNORECASE)
"""What may be joined to a label: `paspoortnummer`, `passnr`."""

_WORDS = lazy(r"[^\W\d_]{0,4}[^\w\n]{1,4}(?:[^\W\d_]{1,16}[^\w\n]{1,4}){0,5}?(?=[A-Za-z]{0,6}[0-9])")
"""At most five words between a label and its value: `passport, mine is`, `NIK saya`, `pasaporte español`."""


def loosely(view: View, end: int, value: re.Pattern[str]) -> re.Match[str] | None:
    """The `value` that stands some words behind a label's `end`. For what hardly anything else can be."""
    words = _WORDS.match(view.text, end)
    return value.match(view.text, words.end()) if words is not None else None


def labelled(
    view: View, labels: frozenset[str], value: re.Pattern[str] = _VALUE, *, loose: re.Pattern[str] | None = None
) -> Iterator[tuple[str, re.Match[str]]]:
    """Each label that is followed by a value, and the match of the value; by a `loose` one also after some words."""
    if view.labels.isdisjoint(labels):
        return
    for label in sorted(view.labels & labels):  # in one order, or a tie could be told in either way
        for at in view.near_words(label):
            end = at + len(label)
            if loose is not None and (far := loosely(view, end, loose)):
                yield label, far
            after = view.text[end : end + 1]
            if after.isalnum() and view.text[end : end + 2].lower() != "s " and not _is_ideograph(after):
                joined = _JOINED.match(view.text, end)
                if joined is None:
                    continue
                end = joined.end()
            if label.endswith((" no", "nr")) and view.text[end : end + 1] == ".":
                end += 1
            link = _LINK.match(view.text, end)
            if link is not None and (match := value.match(view.text, link.end())):
                yield label, match


def _is_ideograph(char: str) -> bool:
    """Whether words of `char`'s script follow one another without spaces."""
    return "\u2e80" <= char <= "\ud7ff"
