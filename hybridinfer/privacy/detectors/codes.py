"""Secrets with labels of their own: door codes, one-time codes, recovery phrases, network keys; arguments of commands; pairs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from ..finding import Finding
from .hints import hints
from .lazy import lazy
from .text import entropy, is_placeholder
from .view import View, around

_IS = r"(?:\s(?:is|was|are|es|ist|est|è|é|now|currently)\b){1,2}[:\s]\s{0,2}|\s?[:=]\s{0,3}"
_FOR = r"(?:\s(?:for|to|of|on|at|from)\s[^\n:=.]{1,40}?)?"


class Form(NamedTuple):
    """One way to tell a secret. Group 1 of `pattern` is the value.

    `gate`: a text without any of these has no match, and is not looked at more closely; `hints`: matches lie around one.
    """

    gate: frozenset[str]
    hints: frozenset[str]
    pattern: re.Pattern[str]
    kind: str = "password"
    least: float = 0.0
    """Entropy of the value in bits per character."""


_CODES = hints(" code", " pin", "combination", " keypad", " otp", "passcode", " key", " seed", " secret")
_FORMS = (
    Form(
        _CODES,
        hints(" code", " pin", "combination", " keypad"),
        lazy(
            rf"\b(?:door|gate|alarm|garage|entry|entrance|lock(?:box)?|safe|vault|keypad|building|access|unlock|screen|voicemail|sim|card|phone)"
            rf"[\s-](?:code|pin|pin code|combination|keypad){_FOR}(?:{_IS})[\"'#*]?([0-9]{{4,10}}#?|[0-9]{{1,2}}-[0-9]{{1,2}}-[0-9]{{1,2}})(?![\w.-])"
        ),
    ),
    Form(
        _CODES,
        hints(" code", " otp", "passcode"),
        lazy(
            rf"\b(?:verification|one[- ]time|login|sign[- ]?in|sms|confirmation|2fa|mfa|authenticat\w+|otp|security|auth)"
            rf"\s(?:code|passcode|pin){_FOR}(?:{_IS})[\"']?((?:[a-z]-)?[0-9]{{3}}[ -]?[0-9]{{3,5}})(?![\w.-])"
        ),
    ),
    Form(
        _CODES,
        hints("recovery", "backup", "2fa", "mfa", "totp", "authenticator", "seed", "activation", "product key", "serial key"),
        lazy(
            rf"\b(?:recovery|backup|2fa|mfa|totp|authenticator|activation|product|serial|licen[sc]e|scratch)\s(?:[a-z0-9]{{2,10}}\s)?(?:codes?|keys?|seed|secret){_FOR}(?:{_IS})"
            r"[\"']?((?=[^\n]{0,12}[0-9])[A-Za-z0-9]{4,8}(?:-[A-Za-z0-9]{4,8}){1,7}|[A-Za-z2-7]{16,64}|(?=[^\n]{0,11}[0-9])[A-Za-z0-9]{8,40})(?![\w-])",
            re.IGNORECASE,
        ),
        least=2.2,
    ),
    Form(
        hints("phrase", "mnemonic", " seed"),
        hints("phrase", "mnemonic", "seed"),
        lazy(
            rf"(?:pass ?phrase|seed(?: phrase| words)?|(?:recovery|backup|secret) phrase|mnemonic)(?:\s(?:for|to|of)\s[^\n:=.]{{1,40}}?)?(?:{_IS})[\"'“]?"
            r"((?:[a-z]{2,12}[ ,-]{1,2}){3,24}[a-z]{2,12})(?![a-z])"
        ),
        least=2.5,
    ),
    Form(
        hints("phrase", "mnemonic", " seed"),
        hints("phrase", "mnemonic", "seed"),
        lazy(r"(?<![a-z])(?<![a-z][ ,])((?:[a-z]{3,8}[ ,]{1,2}){11}(?:(?:[a-z]{3,8}[ ,]{1,2}){3}){0,4}[a-z]{3,8})(?![a-z]|[ ,][a-z])"),
        least=2.5,
    ),
    Form(
        hints("passw", "pwd", "credential", "login", "log in"),
        hints("admin", "root", "guest"),
        lazy(r"\b(?:admin(?:istrator)?|root|guest)\s[/:|]\s[\"']?((?=[^\s]{0,30}[0-9])(?=[^\s]{0,30}[A-Za-z])[^\s\"'`,;/<>(){}\[\]]{6,40})(?![^\s,.;:!?\"')-])"),
        least=2.5,
    ),
    Form(
        hints("wifi", "wi-fi", "wlan", "ssid", "wpa"),
        hints("wifi", "wi-fi", "wlan", "ssid", "wpa"),
        lazy(
            r"\b(?:wi-?fi|wlan|ssid|wpa[23]?)\b[^\n]{0,60}?\b(?:key|code|pass|password|psk|passwort|schlüssel|clave|clé)(?:\s(?:is|ist|est|es))?\s?[:=]?\s{0,2}[\"']?([^\s\"',;]{8,63})"
        ),
    ),
    Form(
        hints(" -", "/user:"),
        hints("sshpass", "net use", "redis-cli", "docker login", "az login", "ldap", "rdesktop", "mosquitto", "7z", "zip", "smbclient", "htpasswd"),
        lazy(
            r"\b(?:(?:sshpass|docker login|az login|rdesktop|podman login|helm registry login)\b[^\n]{0,120}?\s-p[ =]?|redis-cli\b[^\n]{0,80}?\s-a[ =]|mosquitto_(?:pub|sub)\b[^\n]{0,120}?\s-P[ =]"
            r"|ldap(?:search|modify|add|whoami)\b[^\n]{0,160}?\s-w[ =]|(?:7z|7za|unzip|zip)\b[^\n]{0,40}?\s-[pP][ ]?|smbclient\b[^\n]{0,120}?-U[ =]?[^\s%]{1,40}%"
            r"|net use\b[^\n]{0,120}?/user:[^\s]{1,60} |htpasswd\s-\w*b\w*\s\S{1,80}\s\S{1,40}\s)[\"']?([^\s\"'|;&<>$-][^\s\"'|;&<>]{3,80})"
        ),
    ),
    Form(
        hints("cv", "security code"),
        hints("cvv", "cvc", "security code"),
        lazy(r"\b(?:cvv2?|cvc2?|cv2|card security code|security code)\b(?:\s(?:number|code|no))?(?:\sis)?\s?[:=#]?\s{0,2}[\"']?([0-9]{3,4})(?![\w.-])"),
        kind="payment_card",
    ),
    Form(
        hints("value"),
        hints("passw", "secret", "token", "api_key", "apikey", "pwd", "credential"),
        lazy(
            r"(?:name|key|id)[\"']?\s?[=:]\s?[\"']?[\w.:-]{0,40}?(?:passw|secret|token|api_?key|pwd|credential)[\w.:-]{0,30}[\"']?[,\s]{1,20}[\"']?value[\"']?\s?[=:]\s?[\"']?([^\"'\s<>,{}$]{6,200})",
            re.IGNORECASE,
        ),
        kind="credential",
        least=2.2,
    ),
)  # fmt: skip
_LOWER = frozenset({0, 1, 3, 6, 8})
"""Forms that are read in lower case."""
_BEFORE, _AFTER = 60, 320
"""How far a match may reach to both sides of its hint, in characters."""
_STOPS = lazy(
    r"\b(?:the|an?|to|of|is|are|and|for|your|or|in|must|be|should|it|used|which|when|not|by|from|as|can|will|was|were|with|have|has|but|they|this|that|these|there|then|than|how|what|into)\b"
)
_CARD = lazy(r"card|visa|master|amex|credit|debit|exp")
_TOKEN = lazy(
    r"(?<![\w/.-])[a-z]{2,12}[_-](?:[a-z0-9]{2,8}[_-]){0,2}(?=[A-Za-z0-9_-]{0,40}[0-9])(?=[A-Za-z0-9_-]{0,40}[A-Z])(?=[A-Za-z0-9_-]{0,40}[a-z])([A-Za-z0-9]{24,120})(?![\w/.-])"
)


def detect(view: View) -> Iterator[Finding]:
    """Secrets told by labels that mean little elsewhere, and tokens with a prefix whose vendor is unknown."""
    lower = view.lower
    present = view.hints
    for number, form in enumerate(_FORMS) if present else ():
        if present.isdisjoint(form.gate) or present.isdisjoint(form.hints):
            continue
        near = present & form.hints
        text = lower if number in _LOWER else view.text
        for start, end in around(lower, near, before=_BEFORE, after=_AFTER):
            for match in form.pattern.finditer(text, start, end):
                if _is_told(view, form, match):
                    yield _finding(form.kind, match.start(1), match.end(1), "label", 0.75)
    for span in view.token_spans:
        for match in _TOKEN.finditer(view.text, *span):
            if entropy(match[1]) > 4.0 and sum(map(str.isdecimal, match[1])) > 2 and not is_placeholder(match[0]):
                yield _finding("credential", match.start(), match.end(), "prefix", 0.7)


def _is_told(view: View, form: Form, match: re.Match[str]) -> bool:
    value = view.text[match.start(1) : match.end(1)]
    if form.kind == "payment_card":
        return _CARD.search(view.lower, max(0, match.start() - 80), match.end() + 40) is not None
    if " " in value.strip() and value[0].isalpha():
        return _STOPS.search(value) is None
    return (
        entropy(value) >= form.least
        and not is_placeholder(value)
        and not (value.isalpha() and value.islower())
        and not value.lower().startswith(("http", "--"))
    )


def _finding(kind: str, start: int, end: int, validator: str, confidence: float) -> Finding:
    return Finding(type=kind, start=start, end=end, detector="codes", validator=validator, confidence=confidence)
