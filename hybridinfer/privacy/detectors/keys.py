"""Private keys, signed tokens, credentials in addresses and headers."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..finding import Finding
from .hints import hints
from .lazy import lazy
from .text import entropy, is_placeholder
from .view import View

_PEM = lazy(
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----(?:[^-]|-(?!----END)){16,20000}(?:-----END [A-Z0-9 ]{0,40}KEY(?: BLOCK)?-----)?"
)
_PUTTY = lazy(r"PuTTY-User-Key-File-\d:[\s\S]{0,1500}?Private-Lines:[\s\S]{20,8000}?(?=Private-MAC|$)")
_JWT = lazy(r"ey(?<![\w-]..)[A-Za-z0-9_-]{10,2000}+\.ey[A-Za-z0-9_-]{10,8000}(?:\.[A-Za-z0-9_-]{0,2000})?")
_JWE = lazy(r"ey(?<![\w-]..)[A-Za-z0-9_-]{10,2000}+(?:\.[A-Za-z0-9_-]{0,8000}){4}")
_URL = lazy(r"://[^\s/:@\"'<>?#]{0,80}:([^\s/\"'<>{}$]{2,120})@[\w.\[-]")
_HEADER = lazy(
    r"(?:authorization[\"']?\s{0,3}[:=,]\s{0,3}[\"'(]{0,2}(?:basic|bearer|token|digest|apikey|negotiate)?\s{0,3}|(?:basic|bearer)\s{1,3})"
    r"(?P<v>[A-Za-z0-9._~+/=:-]{8,4000})",
    re.IGNORECASE,
)
_CURL_USER = lazy(
    r"curl(?<!\w....)\b[^\n]{0,400}?\s(?:-u|--user)[ =]?(?:\"([^\"\s:]{1,80}:[^\"\n]{3,120})\"|'([^'\s:]{1,80}:[^'\n]{3,120})'|([^\s\"':]{1,80}:[^\s\"']{3,120}))"
)
_MYSQL = lazy(r"\b(?:mysql|mysqldump|mysqladmin|mariadb)\b[^\n]{0,200}?\s-p([^\s\"'$-][^\s\"']{3,80})")
_NUGET = lazy(r"<add\s+key=\"(?:ClearText)?Password\"\s{1,9}value=\"([^\"]{8,400})\"", re.IGNORECASE)
_SECRET_MANIFEST = lazy(r"kind:\s{0,3}[\"']?secret\b", re.IGNORECASE)
_MANIFEST_VALUE = lazy(
    r"^[ \t]{1,8}[\w.-]{1,80}:[ \t]{1,4}[\"']?([A-Za-z0-9+/]{10,4000}={0,2})[\"']?[ \t]*$", re.MULTILINE
)

hints("curl", "mysql", "mariadb", "<add", "secret", "authorization", "bearer", "basic", "-----begin", "putty-user-key")


def detect(view: View) -> Iterator[Finding]:
    """Secrets that their own form gives away."""
    text, found = view.text, view.hints
    if "-----begin" in found:
        for match in _PEM.finditer(text):
            yield _finding("private_key", match.start(), match.end(), "pem", 1.0)
    if "putty-user-key" in found:
        for match in _PUTTY.finditer(text):
            yield _finding("private_key", match.start(), match.end(), "putty", 1.0)
    if "ey" in view.tokens:
        for match in (*_JWT.finditer(text), *_JWE.finditer(text)):
            if entropy(match[0]) > 3.5 and "..." not in match[0]:
                yield _finding("credential", match.start(), match.end(), "jwt", 0.95)
    if "://" in text and "@" in text:
        for match in _URL.finditer(text):
            if not is_placeholder(match[1]):
                yield _finding("connection_string", match.start(1), match.end(1), "url", 0.97)
    for word in ("authorization", "bearer", "basic"):
        if word in found and (word == "authorization" or word in view.tokens):
            for at in view.words(word):
                header = _HEADER.match(text, at)
                if header is not None and _looks_random(value := header["v"].rstrip(".:,")):
                    yield _finding("credential", header.start("v"), header.start("v") + len(value), "header", 0.9)
    if "curl" in found:
        for match in _CURL_USER.finditer(text):
            group = next(number for number in (1, 2, 3) if match[number])
            user, _, password = match[group].partition(":")
            if not is_placeholder(password) and not is_placeholder(user):
                yield _finding("password", match.start(group), match.end(group), "curl", 0.9)
    if "mysql" in found or "mariadb" in found:
        for match in _MYSQL.finditer(text):
            if not is_placeholder(match[1]):
                yield _finding("password", match.start(1), match.end(1), "mysql", 0.8)
    if "<add" in found:
        for match in _NUGET.finditer(text):
            if not is_placeholder(match[1]) and not match[1].startswith("%"):
                yield _finding("password", match.start(1), match.end(1), "nuget", 0.9)
    if "secret" in found and _SECRET_MANIFEST.search(text):
        for match in _MANIFEST_VALUE.finditer(text):
            if not is_placeholder(match[1]) and entropy(match[1]) > 2.8:
                yield _finding("credential", match.start(1), match.end(1), "manifest", 0.85)


def _looks_random(value: str) -> bool:
    mixed = any(map(str.isdecimal, value)) or value.endswith("=")
    return mixed and len(value) >= 8 and entropy(value) > 2.75 and not is_placeholder(value)


def _finding(kind: str, start: int, end: int, validator: str, confidence: float) -> Finding:
    return Finding(type=kind, start=start, end=end, detector="keys", validator=validator, confidence=confidence)
