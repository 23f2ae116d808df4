"""Passwords and keys told by their label: in code, configuration, shells, markup, and in plain sentences."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from ..finding import Finding
from .hints import hints
from .lazy import lazy
from .text import entropy, is_placeholder
from .view import View, holds

_KEY = lazy(
    r"identified by(?= ['\"])|passw(?:or)?ds?|passwd|passphrases?|passcodes?|pwd|(?<![a-z])p(?:ass|w|sw|ssw)(?![a-z])|(?<![a-z])mdp(?![a-z])|pass[_-]phrases?|pass(?=[=:])|secrets?|tokens?|api[_\- ]?keys?|auth[_\- ]?keys?|credentials?|creds?\b|(?<![a-z])key(?=\sis\s)"
    r"|(?:private|access|encryption|signing|account|shared|master|license|licence|storage|subscription|deploy|publishable|service)[_\- ]?keys?|(?<![a-z])key(?=[\"']?\s?[:=]+\s?[\"'])"
    r"|(?<![a-z])auth(?=[\"'_]?\s?[:=])|cookie|session[_\- ]?(?:id|key)|(?<![a-z])salt(?=[\"']?\s?[:=])|(?<![a-z])pin(?=\s(?:code|number|is)|[:=])|(?<![a-z])otp\b"
    r"|kennwort|passwort|contraseñas?|clave|has[lł]o|mot de passe|senha|wachtwoord|lösenord|adgangskode|salasana|parola|şifre|пароль|密码|口令|パスワード|비밀번호"
    r"|jelszó|heslo|κωδικός(?: πρόσβασης)?|mật khẩu|รหัสผ่าน|kata sandi|كلمة (?:المرور|السر)|סיסמ[הא]|лозинка|парола|lozinka|geslo|slaptažodis|parool|пароля|contrasenya|pasahitza|密碼|暗証番号|암호|पासवर्ड"
)
_HINTS = hints(
    "identified by",
    "pass", "pwd", "pw", "psw", "mdp", "secret", "token", "key", "cred", "auth", "cookie", "session", "salt", "pin", "otp", "kennwort", "contraseñ",
    "clave", "haslo", "hasło", "mot de", "senha", "wachtwoord", "lösenord", "adgangskode", "salasana", "parola", "şifre",
    "парол", "密码", "口令", "パスワード", "비밀번호",
    "jelsz", "heslo", "κωδικ", "mật khẩu", "รหัสผ่าน", "kata sandi", "كلمة", "סיסמ", "лозинка", "lozinka", "geslo", "slaptaž", "parool",
    "contrasen", "pasahitza", "密碼", "暗証番号", "암호", "पासवर्ड",
)  # fmt: skip
_PASSWORD = lazy(
    r"pass|pwd|\bp(?:w|sw|ssw)\b|mdp|identified|kennwort|contraseñ|clave|has[lł]o|senha|wachtwoord|lösenord|adgangskode|salasana|parola|şifre|пароль|密码|口令|パスワード|비밀번호|pin|cred|otp"
    r"|jelszó|heslo|κωδικός(?: πρόσβασης)?|mật khẩu|รหัสผ่าน|kata sandi|كلمة (?:المرور|السر)|סיסמ[הא]|лозинка|парола|lozinka|geslo|slaptažodis|parool|пароля|contrasenya|pasahitza|密碼|暗証番号|암호|पासवर्ड"
)
_LINK = re.compile(
    r"(?P<rest>[A-Za-z0-9_\-]{0,24})(?:['’]s(?=\s)|[\"'`\])]{0,3})"
    r"(?:[ \t]{0,8}(?P<op>:=|=>|===?|!==?|\?=|\|\|=|=|:|\(|>|：|[是为為はがをに는은이가를을])[ \t]{0,8}"
    r"|(?P<verb>\s{1,3}(?:(?:is|was|are|as|to|of|es|ist|est|è|é|war|lautet|là|adalah|je|jest|är|er|це|е|este|είναι|dir)(?:\s(?:now|still|just|set\sto|currently|called|reset\sto|changed\sto))?[:\s]\s{0,3})?))"
    r"(?:(?:basic|bearer|token)\s{1,3})?(?:[ubrf@]{0,2}(?P<quote>\\?[\"'`“‘]))?",
    re.IGNORECASE,
)
_BARE = lazy(r"[^\s\"'`,;<>{}()\[\]|\\“”‘’]{4,200}")
_SCRIPT = lazy("[\u2e80-\ud7ff\uff00-\uffef]")
_QUOTED = lazy(r"[^\"'`\n“”‘’]{3,200}")
_KINDS = (
    "private", "access", "encryption", "signing", "account", "shared", "master", "license", "licence", "storage",
    "subscription", "deploy", "publishable", "service", "api", "auth",
)  # fmt: skip
"""Of keys: the hint `key` stands behind them, every other hint begins its label."""
_LONGEST_KIND = 13
_CLOSING = {"“": "”", "‘": "’"}
_IDENTIFIER = lazy(r"[A-Za-z_$][\w$]*(?:(?:\.|::|->|\?\.)[A-Za-z_$][\w$]*)*[!?]?")
_WORDS = lazy(r"[A-Za-z]+(?:[_\-. /:][A-Za-z]+)*")
_REFERENCE = lazy(
    r"https?://|/|\.{1,2}/|--|file:|env[.:]|os\.|process\.|self\.|this\.|config[.\[]|arn:|vault:|secretref|projects/"
)
_SIGN = lazy(r"[!@#$%^&*+=?~]")
_ENVIRONMENT = lazy(r"(?:^|\n)[ \t#/*;>-]{0,12}(?:export|set|env|-e|--env|\$env:)?[ \t]{0,3}[\w.-]{0,60}$")
_NAME_OF_VALUE = lazy(
    r"pass|pwd|secret|token|key|user|name|value|string|config|input|field|data|text|cred|auth|var|arg|param|hash|enter|none|null|true|false|get|set"
)
_HARMLESS = lazy(
    r"public|publishable|csrf|xsrf|max[_-]?token|min[_-]?token|num[_-]?token"
    r"|(?:name|[a-z_-]id|ids|path|file|length|len|size|type|url|uri|expir\w*|count|column|primary|foreign|sort|partition|bucket|cache|index|keyboard|keyword"
    r"|keying|tokenizer|code_?name|label|style|version|host|arn|alias|prefix|suffix|format|regex|pattern|policy|manager|store|max|min|num|limit|usage|message"
    r"|error|field|input|hint|prompt|title|description|_at|date|ttl|timeout|status|enabled|required|provider|class|selector)[\"']?$"
)
"""Labels that speak about a key or a password without holding one."""
_SEGMENTS = lazy(
    r"(?:[A-Za-z]+[0-9]{0,2}[A-Za-z]*|[0-9]{1,3})(?:[._/:=+-](?:[A-Za-z]+[0-9]{0,2}[A-Za-z]*|[0-9]{1,3}))+"
)
"""Words and small numbers joined by signs: a name, a version, a file, not a key."""
_SAID_BEFORE = lazy(
    r"(?<!\S)[\"'`“(]?([^\s\"'`“”()]{6,60})[\"'`”)]?\s(?:is|as|was|for)\s(?:my|the|our|your|their|his|her|a|new|default)\s(?:[\w-]{2,15}\s){0,2}\Z",
    re.IGNORECASE,
)
_SAYING = (" is", " as", " was", " for")
_SAID_LATER = lazy(
    r"(?:[ \t][^\s:=,;.()\"']{1,24}){1,6}?(?:[ \t](?:is|was|es|ist|lautet|est|c['’]est|è|é|jest|to|är|er|on|je|este|olarak|adalah|είναι|це)(?:[ \t](?:now|still|currently|jetzt|ahora))?[ \t:]|[ \t]?:)[ \t]{0,3}"
    r"[\"'`“]?([^\s\"'`,;<>{}()\[\]|\\“”]{4,80})",
    re.IGNORECASE,
)
_SAID_OF = lazy(
    r"(?:[ \t][^\W\d_]{1,16}){1,3}[ \t][\"'`“]?((?=[^\s]{0,30}[!#$%^&*+=?_~])(?=[^\s]{0,30}[0-9])(?=[^\s]{0,30}[a-z])(?=[^\s]{0,30}[A-Z])[\w!#$%^&*+=?~-]{8,40})(?=[\"'`”,.;!]?(?:\s|\Z))"
)
"""`пароль от админки Snegir_2291`: with no verb, only what has letters of both cases, digits and signs."""
_STANDARD = lazy(
    r"[A-Z]{2,8}-?[0-9]{2,6}(?:[-:][0-9]{1,4})?|(?i:n?varchar|char|bcrypt|argon2|scrypt|pbkdf2|sha|md5)\w*"
)
"""`the hash of the password is SHA256`."""
_USER = lazy(r"\b(?:user(?:name)?|login|email|account|id)\b[^\n]{1,30}(?:[/,;|]|and|with)\s?(?:[a-z]{2,12}\s)?\Z")
_MIXED_CASE = lazy(r"[a-z][A-Z]")
_SAYINGS = frozenset(
    [
        "not",
        "required",
        "incorrect",
        "invalid",
        "wrong",
        "correct",
        "valid",
        "missing",
        "empty",
        "weak",
        "strong",
        "short",
        "long",
        "secure",
        "insecure",
        "expired",
        "hashed",
        "encrypted",
        "stored",
        "protected",
        "set",
        "reset",
        "changed",
        "unchanged",
        "shared",
        "needed",
        "optional",
        "unknown",
        "known",
        "null",
        "none",
        "blank",
        "visible",
        "hidden",
        "compromised",
        "leaked",
        "stolen",
        "lost",
        "forgotten",
        "mandatory",
        "case-sensitive",
        "plaintext",
        "plain",
    ]
)


def detect(view: View) -> Iterator[Finding]:
    """Values that stand where a password or a key stands, and look like one."""
    for key in _keys(view.lower, view.hints & _HINTS):
        if _PASSWORD.search(key[0]):
            yield from _said_before(view, key.start())
        link = _LINK.match(view.text, key.end())
        if link is None:
            continue
        quote = (link["quote"] or "").lstrip("\\")
        if not quote and not link["op"] and not link["verb"].strip() and _PASSWORD.search(key[0]):
            yield from _said_later(view, key.end())
        value = (_QUOTED if quote else _BARE).match(view.text, link.end())
        if value is not None and (script := _SCRIPT.search(value[0])) is not None:
            value = _BARE.match(
                view.text, value.start(), value.start() + script.start()
            )  # a sentence goes on without a space
        if value is None or (not quote and value[0].count("=") > 2):
            continue
        if quote and view.text[value.end() : value.end() + 1] not in (_CLOSING.get(quote, quote), "\\"):
            continue
        if not quote and not link["op"] and value[0].isalpha() and value[0].islower() and "identified" not in key[0]:
            continue  # an ordinary word after a mention in a sentence: by far the most frequent case
        candidate = _Candidate(view, key, link, quote, value)
        if candidate.is_secret():
            start, end = candidate.span()
            is_password = _PASSWORD.search(key[0]) is not None
            yield Finding(
                type="password" if is_password else "credential",
                start=start,
                end=end,
                detector="passwords",
                validator="sentence" if candidate.in_prose else "assignment",
                confidence=0.7,
            )


def _said_before(view: View, start: int) -> Iterator[Finding]:
    """`hunter2 is my password`."""
    if not holds(view.lower[max(0, start - 60) : start], _SAYING):
        return
    match = _SAID_BEFORE.search(view.text, max(0, start - 110), start)
    if match is None or is_placeholder(match[1]) or _REFERENCE.match(match[1].lower()):
        return
    if any(map(str.isdecimal, match[1])) and any(map(str.isalpha, match[1])) and not _is_name(match[1]):
        yield Finding(
            type="password",
            start=match.start(1),
            end=match.end(1),
            detector="passwords",
            validator="sentence",
            confidence=0.6,
        )


def _said_later(view: View, at: int) -> Iterator[Finding]:
    """`the password for the router is hunter2`, `hasło do panelu: hunter2`."""
    match = _SAID_LATER.match(view.text, at) or _SAID_OF.match(view.text, at)
    if match is None:
        return
    value = match[1].rstrip(".:!?,")
    count, has_letter = sum(map(str.isdecimal, value)), any(map(str.isalpha, value))
    if not has_letter or len(value) < 6 or is_placeholder(value) or _REFERENCE.match(value.lower()):
        return
    if _STANDARD.fullmatch(value):
        return
    if count < 2 and _is_name(value):
        return
    if (count and entropy(value) > 2.2) or _SIGN.search(value[1:]) or _MIXED_CASE.search(value):
        yield Finding(
            type="password",
            start=match.start(1),
            end=match.start(1) + len(value),
            detector="passwords",
            validator="sentence",
            confidence=0.65,
        )


def _keys(lower: str, hints: Iterable[str]) -> Iterator[re.Match[str]]:
    """Every label in `lower`: the hints find the places, which is much cheaper than the expression."""
    places: set[int] = set()
    for hint in hints:
        at = lower.find(hint)
        while at >= 0:
            places.add(at - _lead(lower, at) if hint == "key" else at)
            at = lower.find(hint, at + len(hint))
    end = 0
    for place in sorted(places):
        if place >= end and (key := _KEY.match(lower, place)):
            end = key.end()
            yield key


def _lead(lower: str, at: int) -> int:
    """How long the kind of key is that stands before the word key at `at`."""
    kind = lower[max(0, at - _LONGEST_KIND) : at]
    gap = int(kind.endswith(("_", "-", " ")))
    kind = kind[:-1] if gap else kind
    return next((len(word) + gap for word in _KINDS if kind.endswith(word)), 0) if kind.endswith(_KINDS) else 0


class _Candidate:
    """One label with the value after it, and the questions that tell a secret from a mere mention."""

    def __init__(self, view: View, key: re.Match[str], link: re.Match[str], quote: str, value: re.Match[str]) -> None:
        self._view = view
        self._start = value.start()
        self._op = (link["op"] or "").strip()
        self._quoted = bool(quote)
        text = value[0]
        self.in_prose = not self._op and "identified" not in key[0]
        self._verb = bool((link["verb"] or "").strip())
        self._value = text if quote else text.rstrip(".:!?" if self.in_prose else ":")
        start = key.start()
        while (
            start > 0 and key.start() - start < 40 and (view.text[start - 1].isalnum() or view.text[start - 1] in "_.-")
        ):
            start -= 1
        self._key_start = start
        self._key = view.text[start : key.end()] + link["rest"]
        self._is_password = _PASSWORD.search(key[0]) is not None
        self._before = view.text[max(0, start - 2) : start]
        self._digits = sum(map(str.isdecimal, self._value))
        self._letters = sum(map(str.isalpha, self._value))

    def span(self) -> tuple[int, int]:
        """Where the value stands."""
        return self._start, self._start + len(self._value)

    def is_secret(self) -> bool:
        """Whether the value looks like a secret in this kind of place."""
        value = self._value
        if (
            len(value) < 4
            or is_placeholder(value)
            or _REFERENCE.match(value.lower())
            or _HARMLESS.search(self._key.lower())
        ):
            return False
        if not self._quoted and value[0] in "@$&%~":
            return False
        if self._op == ">" and not self._before.endswith("<"):
            return False
        if self._op == "(" and not self._quoted:
            return False
        if self.in_prose and not self._verb and self._key.lower() == "pass":
            return self._is_after_user() and self._is_told()  # otherwise it is the verb
        if self.in_prose and not self._quoted:
            return self._is_flag() or self._is_told()
        return self._is_literal() if self._quoted else self._is_bare()

    def _is_after_user(self) -> bool:
        """`user amy / pass hunter2`."""
        before = self._view.lower[max(0, self._key_start - 40) : self._key_start]
        return _USER.search(before) is not None

    def _is_flag(self) -> bool:
        """`--password hunter2`."""
        return self._before == "--" and not _is_option(self._value) and self._digits > 0

    def _is_told(self) -> bool:
        """`the password is hunter2`: letters with digits or signs, no ordinary word."""
        value = self._value
        if self._key.lower() == "key":
            return len(value) >= 20 and self._digits > 2 and entropy(value) > 3.7
        if self._is_password and self._digits == len(value):
            return len(value) in range(4, 9) and self._verb
        if self._digits and self._letters:
            return (
                len(value) >= 6
                and entropy(value) > 2.2
                and not value.lower().startswith(("http", "sha", "md5", "base64", "v1", "v2"))
            )
        return (
            self._is_password
            and len(value) >= 6
            and self._letters > 2
            and (
                _SIGN.search(value[1:]) is not None
                or (self._verb and value.isalpha() and _MIXED_CASE.search(value) is not None)
            )
            and "=" not in value
        )

    def _is_literal(self) -> bool:
        """`password = "hunter2"`."""
        value = self._value
        if " " in value.strip():
            return self._is_password and "phrase" in self._key.lower() and 2 <= value.count(" ") <= 8
        if not self._is_password and _is_name(value):
            return False
        if self.in_prose and self._verb and self._is_password:
            return len(value) >= 6 and value.lower() not in _SAYINGS
        if self._key.lower() == "key":
            return len(value) >= 20 and self._digits > 2 and entropy(value) > 3.7
        if self._digits == 0 and _WORDS.fullmatch(value) and (not value.isalpha() or not self._is_password):
            return not self._is_password and value.isalpha() and len(value) >= 16 and entropy(value) > 3.7
        if self._is_password:
            return not self.in_prose or self._digits > 0 or _SIGN.search(value) is not None
        return len(value) >= 8 and self._digits > 0 and self._letters > 0 and entropy(value) >= 2.8

    def _is_bare(self) -> bool:
        """`PASSWORD=hunter2`."""
        value = self._value
        if self._op in ("==", "===", "!=", "!==", "=>") or "(" in value:
            return False
        if value.endswith("=") and not (len(value) >= 24 and len(value) % 4 == 0 and entropy(value) > 3.7):
            return False
        if not self._is_password and _is_name(value):
            return False
        if _IDENTIFIER.fullmatch(value) and (self._digits == 0 or ("." in value and entropy(value) < 3.3)):
            return self._is_environment() and self._is_word_secret()
        if self._digits and self._letters:
            return len(value) >= 6 and entropy(value) > 2.2
        if len(value) >= 8 and self._letters and _SIGN.search(value):
            return True
        return (
            self._is_password
            and self._digits >= 4
            and value.isdecimal()
            and ("pin" in self._key.lower() or self._digits >= 6)
        )

    def _is_environment(self) -> bool:
        """`DB_PASSWORD=...` or `password: ...` at the beginning of a line, and nothing after it."""
        after = self._view.text[self._start + len(self._value) : self._start + len(self._value) + 1]
        before = self._view.text[max(0, self._key_start - 20) : self._key_start]
        at_start = (
            self._key_start == 0 or _ENVIRONMENT.search("\n" + before if self._key_start <= 20 else before) is not None
        )
        return (at_start or self._key.isupper()) and after in ("", "\n", "\r", " ")

    def _is_word_secret(self) -> bool:
        value = self._value
        return (
            self._op in ("=", ":")
            and "." not in value
            and 6 <= len(value) <= 64
            and entropy(value) >= 2.2
            and (self._is_password or "secret" in self._key.lower() or "token" in self._key.lower())
            and _NAME_OF_VALUE.search(value.lower()) is None
        )


def _is_name(value: str) -> bool:
    return entropy(value) < 4.2 and _SEGMENTS.fullmatch(value) is not None


def _is_option(value: str) -> bool:
    """`-x`, `--file`, `$VAR`: the next argument of a command, no value."""
    return value.startswith(("-", "$"))
