"""E-mail addresses, also spelled out (`jane (at) corp (dot) io`)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..finding import Finding
from .hints import hints
from .lazy import lazy
from .view import View, around

_LOCAL_SIGNS = frozenset("_.+%'-")
_LONGEST_LOCAL = 64
_DOMAIN = lazy(r"@(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.){1,8}[^\W\d_]{2,24}(?![^\W\d]|@)")
_SPELLED = lazy(
    r"[\w.+-]{1,64}\s?(?:\[\s?at\s?\]|\(\s?at\s?\)|\{\s?at\s?\}|<at>)\s?[\w-]{1,63}"
    r"(?:(?:\s?(?:\[\s?dot\s?\]|\(\s?dot\s?\)|\{\s?dot\s?\}|<dot>)\s?|\.)[\w-]{1,63}){1,4}",
    re.IGNORECASE,
)
_SPELLED_HINTS = hints("[at]", "(at)", "{at}", "<at>", "[ at ]", "( at )", "{ at }")
_IN_WORDS = lazy(
    r"[\w+-]{1,64}(?: (?:dot|punkt|punto|point) [\w+-]{1,64}){0,4} (?:at|@) [\w-]{1,63}(?: (?:dot|punkt|punto|point) [\w-]{1,63}){0,3}"
    r" (?:(?:dot|punkt|punto) (?:com|org|net|edu|gov|io|co|info|de|fr|es|it|nl|uk|ch|at|se|no|dk|fi|pl|pt|br|in|jp|cn|ru|us|ca|au|eu)"
    r"|point (?:com|org|net|edu|gov|io|fr|ch|eu|ca))\b",
    re.IGNORECASE,
)
_DOTS = hints(" dot ", " punkt ", " punto ", " point ")
_RESERVED = lazy(r"(?:^|\.)(?:example\.[a-z]{2,6}|example|test|invalid|localhost|local)$")
_NOBODY = lazy(
    r"(?:your?|my|the|some|any|no|to|from)?[._-]?(?:user|name|test|tester|demo|sample|example|admin|info|mail|email|contact|support|help|sales|hello|hi|me|you"
    r"|someone|somebody|anyone|nobody|person|customer|client|member|owner|author|sender|recipient|receiver|first|last|full|foo|bar|baz|qux|noreply|no-reply|root"
    r"|webmaster|postmaster|office|team|service|billing|dev|ops|jane|john|doe|smith|alice|bob|carol|dave|eve|joe|a|b|x|y|firstname|lastname|username|domain|address)"
    r"[0-9]{0,3}(?:[._+-]?(?:user|name|test|doe|smith|mail|email|address|last|lastname|here|[0-9]{1,3}))?"
)
"""Local parts that name no one: with a reserved domain they are placeholders."""
_USER_OF_URL = lazy(r"://[^\s/@]{0,80}\Z")
"""Before it: `user:password@host` is no address; `keys` looks at it."""
_REMOTES = frozenset({"git", "hg", "svn"})


def detect(view: View) -> Iterator[Finding]:
    """E-mail addresses, but for placeholders at the domains reserved for examples (RFC 2606)."""
    if "@" in view.text:
        has_url = "://" in view.text
        for domain in _DOMAIN.finditer(view.text):
            start = _local(view.text, domain.start())
            local = view.text[start : domain.start()]
            if not any(map(str.isalnum, local)):
                continue
            if has_url and _USER_OF_URL.search(view.text, max(0, start - 100), start):
                continue
            if not _is_placeholder(local.lower(), domain[0][1:].lower()):
                start += len(local) - len(local.lstrip(".'-%"))
                yield _finding(start, domain.end(), "format", 0.95)
    if view.hinted(_SPELLED_HINTS):
        for match in _SPELLED.finditer(view.text):
            yield _finding(match.start(), match.end(), "spelled out", 0.8)
    yield from _in_words(view)


def _in_words(view: View) -> Iterator[Finding]:
    """`jane dot miller at corp dot io`."""
    if not view.hinted(_DOTS):
        return
    for start, end in around(view.lower, view.hints & _DOTS, before=120, after=80):
        if view.lower.find(" at ", start, end) >= 0 or view.lower.find(" @ ", start, end) >= 0:
            for match in _IN_WORDS.finditer(view.text, start, end):
                yield _finding(match.start(), match.end(), "spelled out", 0.8)


def _local(text: str, at: int) -> int:
    """Where the local part begins that ends before the `@` at `at`."""
    start, least = at, max(0, at - _LONGEST_LOCAL)
    while start > least and ((char := text[start - 1]).isalnum() or char in _LOCAL_SIGNS):
        start -= 1
    return start


def _is_placeholder(local: str, domain: str) -> bool:
    """`user@example.com`, `git@host`; but `maria.lopez84@example.com` still names a person."""
    return local in _REMOTES or (_RESERVED.search(domain) is not None and _NOBODY.fullmatch(local) is not None)


def _finding(start: int, end: int, validator: str, confidence: float) -> Finding:
    return Finding(type="email", start=start, end=end, detector="contact", validator=validator, confidence=confidence)
