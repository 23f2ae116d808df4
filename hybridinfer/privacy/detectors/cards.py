"""Payment cards: 13 to 19 digits with a Luhn check digit and an issuer's prefix (ISO/IEC 7812)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..finding import Finding
from .view import View

_DIGITS = re.compile(r"(?<![\w.$€£])[2-6](?:[ -]{0,2}[0-9]){12,18}(?![\w]|[.,][0-9])")


def detect(view: View) -> Iterator[Finding]:
    """Card numbers in any grouping."""
    if not view.has_digit:
        return
    for match in _DIGITS.finditer(view.text):
        digits = match[0].replace(" ", "").replace("-", "")
        if luhn(digits) and len(set(digits)) > 2:
            yield Finding(
                type="payment_card",
                start=match.start(),
                end=match.end(),
                detector="cards",
                validator="luhn",
                confidence=0.99,
            )


def luhn(digits: str) -> bool:
    """Whether the last digit checks the others (ISO/IEC 7812-1, annex B)."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) << (place & 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0
