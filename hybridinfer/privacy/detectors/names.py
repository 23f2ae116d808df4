"""Names of persons where the text says so itself. They never decide a route; they are masked beside harder findings."""

from __future__ import annotations

from collections.abc import Iterator

from ..finding import Finding
from .lazy import lazy
from .view import View

_WORD = r"[^\W\d_a-z][^\W\d_]{1,24}(?:[-'’][^\W\d_]{1,24})?"
_NAME = lazy(rf"{_WORD}(?:[ \t](?:[A-Z]\.|van|von|de|del|da|di|la|le|bin|al|{_WORD})){{0,3}}")
_CUES = lazy(
    r"\b(?:my name is|i am called|name|full name|first name|last name|surname|patient|customer|client|employee|contact|owner|cardholder"
    r"|account holder|applicant|beneficiary|signed|regards|sincerely|dear|mr|mrs|ms|dr|prof|mx|nombre|nom|vorname|nachname)\b"
    r"[.:=\"',]{0,3}[ \t\n]{0,2}[\"']?"
)
_BEFORE_ADDRESS = lazy(rf"({_WORD}(?:[ \t]{_WORD}){{1,2}})[ \t]?[<(]\s?[\w.+-]{{1,64}}@")
_NOT_NAMES = frozenset({
    "Sir", "Madam", "Team", "All", "Name", "The", "ID", "Id", "Number", "None", "Null", "Support", "Hiring",
    "Customer", "Service", "Address", "Email", "Phone",
})  # fmt: skip


def detect(view: View) -> Iterator[Finding]:
    """Names after `my name is`, `Name:`, a title, a greeting; names before an address in angle brackets."""
    for cue in _CUES.finditer(view.lower):
        if match := _NAME.match(view.text, cue.end()):
            yield from _finding(match.start(), match.end(), match[0], "label")
    if "@" in view.text:
        for match in _BEFORE_ADDRESS.finditer(view.text):
            yield from _finding(match.start(1), match.end(1), match[1], "address")


def _finding(start: int, end: int, name: str, validator: str) -> Iterator[Finding]:
    if name.split(maxsplit=1)[0] not in _NOT_NAMES:
        yield Finding(type="person_name", start=start, end=end, detector="names", validator=validator, confidence=0.5)
