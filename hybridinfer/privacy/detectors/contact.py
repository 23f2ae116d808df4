"""Contact data: e-mail addresses."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..finding import Finding
from .view import View

_EMAIL = re.compile(
    r"(?<![\w.+%-])[A-Za-z0-9_.+%-]{1,64}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,24}(?![\w@])"
)
_RESERVED = re.compile(r"(?i)@(?:.*\.)?(?:example\.(?:com|org|net|edu)|example|test|invalid|localhost)$|^git@")


def detect(view: View) -> Iterator[Finding]:
    """E-mail addresses outside the domains reserved for examples (RFC 2606)."""
    if "@" not in view.text:
        return
    for match in _EMAIL.finditer(view.text):
        if not _RESERVED.search(match[0]):
            yield Finding(
                type="email",
                start=match.start(),
                end=match.end(),
                detector="contact",
                validator="format",
                confidence=0.95,
            )
