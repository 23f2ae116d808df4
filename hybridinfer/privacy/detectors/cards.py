"""Payment cards: 12 to 19 digits with a Luhn check digit (ISO/IEC 7812), in the groups that cards are written in."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..finding import Finding
from .view import View, digits

_RUN = re.compile(r"[0-9](?<![\w.$€£][0-9])(?<![0-9]-.)(?:[ -]{0,2}[0-9]){11,40}(?![\w]|[.,][0-9])")
_GROUP = re.compile(r"[0-9]+")
_CUE = re.compile(
    r"card|visa\b|master|amex|american express|discover|\bcc\b|credit|debit|maestro|diners|\bjcb\b"
    r"|tarjeta|carte|carta|karte|kort|kaart|karta|karty|kartę|kortti|cartão|kart|卡|カード|карт"
)
_GROUPINGS = frozenset(
    {
        (4, 4, 4, 4),
        (4, 6, 5),
        (4, 6, 4),
        (4, 4, 4, 4, 3),
        (4, 4, 4, 1),
        (4, 4, 4, 3),
        (4, 4, 4, 2),
        (6, 4, 4, 4, 1),
        (6, 13),
    }
)
_ISSUER = re.compile(r"[3-6]|2[2-7]|1800|2131")


def detect(view: View) -> Iterator[Finding]:
    """Card numbers by checksum, and by a word for card beside them."""
    if not view.has_digit:
        return
    for run in _RUN.finditer(view.text):
        cue = view.before(run.start(), _CUE)
        groups = [(match.start() + run.start(), match.end() + run.start()) for match in _GROUP.finditer(run[0])]
        yield from _cards(view, groups, cue=cue)


def luhn(number: str) -> bool:
    """Whether the last digit checks the others (ISO/IEC 7812-1, annex B)."""
    total = 0
    for place, digit in enumerate(reversed(number)):
        value = int(digit) << (place & 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def _cards(view: View, groups: list[tuple[int, int]], *, cue: bool) -> Iterator[Finding]:
    at = 0
    while at < len(groups):
        for end in range(len(groups), at, -1):
            validator = _validator(view, groups[at:end], cue=cue)
            if validator:
                confidence = 0.99 if validator == "luhn" else 0.7
                yield Finding(
                    type="payment_card",
                    start=groups[at][0],
                    end=groups[end - 1][1],
                    detector="cards",
                    validator=validator,
                    confidence=confidence,
                )
                at = end - 1
                break
        at += 1


def _validator(view: View, groups: list[tuple[int, int]], *, cue: bool) -> str:
    sizes = tuple(end - start for start, end in groups)
    if not 12 <= sum(sizes) <= 19:
        return ""
    usual = len(sizes) == 1 or sizes in _GROUPINGS or set(sizes) == {1} or (cue and min(sizes) > 1)
    number = digits(view.text[groups[0][0] : groups[-1][1]])
    if not usual or len(set(number)) == 1:
        return ""
    if luhn(number) and (cue or (len(number) > 12 and _ISSUER.match(number))):
        return "luhn"
    return "label" if cue and len(number) in (15, 16) and number[0] in "3456" else ""
