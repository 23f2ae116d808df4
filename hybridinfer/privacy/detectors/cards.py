"""Payment cards: 12 to 19 digits with a Luhn check digit (ISO/IEC 7812), in the groups that cards are written in."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..finding import Finding
from .lazy import lazy
from .view import View, digits

_RUN = lazy(r"[0-9](?<![\w.$€£][0-9])(?<![0-9]-.)(?:[ -]{0,2}[0-9]){11,40}(?![\w]|[.,][0-9])", re.ASCII)
_GROUP = lazy(r"[0-9]+")
_CUE = lazy(
    r"card|visa\b|master|amex|american express|discover|\bcc\b|credit|debit|maestro|diners|\bjcb\b"
    r"|tarjeta|carte|carta|karte|kort|kaart|karta|karty|kartę|kortti|cartão|kart|卡|カード|карт"
)
_ROW_ABOVE = lazy(r"[0-9] [0-9] [0-9][ ]*\n[^\n0-9]{0,12}\Z")
_ROW_BELOW = lazy(r"[ ]*\n[^\n0-9]{0,12}[0-9] [0-9] [0-9]")
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
_LENGTHS = range(12, 20)
_MOST_GROUPS = 6
_ISSUER = lazy(r"[3-6]|2[2-7]|1800|2131")


def detect(view: View) -> Iterator[Finding]:
    """Card numbers by checksum, and by a word for card beside them."""
    if not view.near:
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
    grid = _is_row(view.text, groups[0][0], groups[-1][1])
    at = 0
    while at < len(groups):
        if at and groups[min(at + _MOST_GROUPS, len(groups)) - 1][1] - groups[at][0] < _LENGTHS.start:
            at += 1
            continue  # single digits
        for end in _ends(groups, at, cue=cue, grid=grid):
            number = digits(view.text[groups[at][0] : groups[end - 1][1]])
            if validator := _validator(number, cue=cue):
                yield Finding(
                    type="payment_card",
                    start=groups[at][0],
                    end=groups[end - 1][1],
                    detector="cards",
                    validator=validator,
                    confidence=0.99 if validator == "luhn" else 0.7,
                )
                at = end - 1
                break
        at += 1


def _is_row(text: str, start: int, end: int) -> bool:
    """Whether the line above or below is a row of digits, too: a board, a matrix, a picture in numbers."""
    return _ROW_ABOVE.search(text, max(0, start - 24), start) is not None or _ROW_BELOW.match(text, end) is not None


def _ends(groups: list[tuple[int, int]], at: int, *, cue: bool, grid: bool) -> Iterator[int]:
    """Where a card that begins with group `at` may end, the longest first."""
    sizes = tuple([end - start for start, end in groups[at : at + _MOST_GROUPS]])
    if at == 0 and len(groups) in _LENGTHS and all(end - start == 1 for start, end in groups) and (cue or not grid):
        yield len(groups)  # digits spelled one by one
    if sum(sizes) < _LENGTHS.start:
        return
    for count in range(len(sizes), 0, -1):
        head = sizes[:count]
        usual = count == 1 or head in _GROUPINGS or (cue and min(head) > 1)
        if usual and sum(head) in _LENGTHS:
            yield at + count


def _validator(number: str, *, cue: bool) -> str:
    if len(set(number)) == 1:
        return ""
    if luhn(number) and (cue or (len(number) > 12 and _ISSUER.match(number))):
        return "luhn"
    return "label" if cue and len(number) in (15, 16) and number[0] in "3456" else ""
