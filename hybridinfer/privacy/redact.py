"""Mask and restore: findings become placeholders that mean nothing outside one request, and turn back in its answer.

A placeholder reads `[EMAIL_2b_q7fk]`: the type, the entity's number, the surface form (the first has no letter), and
four letters drawn anew for every request, so that no document can carry a placeholder that a later request restores.
"""

from __future__ import annotations

import json
import re
import secrets
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator

from .finding import Finding, merge
from .words import Words

_LETTERS = "abcdefghjkmnpqrstuvwxyz"
_LITERAL = re.compile(r'"(?:[^"\\]|\\.)*"')
_BARE = re.compile(r"[^\s,:\[\]{}\"]+")
_ECHO_HEAD, _ECHO_LIMIT = 4, 256
"""Values of this many characters are masked wherever they occur again; shorter ones would hit ordinary words."""
_KEPT_SIGNS = re.compile(r"[^\W_]+")


class Vault:
    """The placeholders of one request, and what they stand for. It never outlives the request, and is never logged."""

    def __init__(self, texts: Iterable[str] = (), *, nonce: str | None = None) -> None:
        """`texts`: all that will be masked; the letters are chosen so that none of them can be taken for ours."""
        written = list(texts)
        self._nonce = nonce or _nonce()
        while nonce is None and any(f"_{self._nonce}]" in text for text in written):
            self._nonce = _nonce()
        self._values: dict[str, str] = {}
        self._placeholders: dict[str, str] = {}
        self._entities: dict[tuple[str, str], tuple[str, int]] = {}
        self._counts: dict[str, int] = {}
        self._echoes = Words(head=_ECHO_HEAD)
        self._sorted: list[str] = []
        self._mine = re.compile(rf"\[[A-Z][A-Z_]{{1,40}}_\d{{1,9}}[a-z]{{0,8}}_{self._nonce}\]")
        self.strays = 0
        """Placeholders in answers that carry this request's letters but were never given out."""

    def __repr__(self) -> str:
        return f"Vault({len(self._values)} placeholders)"

    def learn(self, text: str, findings: Iterable[Finding], *, as_json: bool = False) -> None:
        """Give every finding of `text` its placeholder, so that `mask` finds the values everywhere else too."""
        for finding in findings:
            self._placeholder(finding.type, _decoded(text[finding.start : finding.end], as_json=as_json))

    def mask(self, text: str, findings: Iterable[Finding], *, as_json: bool = False) -> str:
        """`text` with its findings, and every other occurrence of a learnt value, replaced."""
        spans = merge([*findings, *self._echo(text)])
        if not spans:
            return text
        literals = [match.span() for match in _LITERAL.finditer(text)] if as_json else []
        pieces: list[str] = []
        at = 0
        for span in spans:
            start, end, quote = span.start, span.end, ""
            if as_json and not _inside(literals, start, end):
                start, end, quote = *_bare_token(text, start, end), '"'
                if start < at:
                    continue
            placeholder = self._placeholder(span.type, _decoded(text[start:end], as_json=as_json))
            pieces += (text[at:start], quote, placeholder, quote)
            at = end
        return "".join((*pieces, text[at:]))

    def restore(self, text: str, *, as_json: bool = False) -> str:
        """`text` with every placeholder of this request turned back; `as_json`: inside JSON strings, so escaped."""

        def value(match: re.Match[str]) -> str:
            original = self._values.get(match[0])
            if original is None:
                self.strays += 1
                return match[0]
            return json.dumps(original, ensure_ascii=False)[1:-1] if as_json else original

        return self._mine.sub(value, text) if self._values else text

    def restorer(self, *, as_json: bool = False) -> Restorer:
        """A restorer for one stream of text."""
        return Restorer(lambda text: self.restore(text, as_json=as_json), self._begins)

    def _begins(self, tail: str) -> bool:
        if len(self._sorted) != len(self._values):
            self._sorted = sorted(self._values)
        at = bisect_left(self._sorted, tail)
        return at < len(self._sorted) and self._sorted[at].startswith(tail)

    def _placeholder(self, kind: str, value: str) -> str:
        if (known := self._placeholders.get(value)) is not None:
            return known
        label, entity = kind.upper(), (kind, _canonical(kind, value))
        if entity in self._entities:
            stem, forms = self._entities[entity]
        else:
            self._counts[label] = self._counts.get(label, 0) + 1
            stem, forms = f"{label}_{self._counts[label]}", 0
        self._entities[entity] = (stem, forms + 1)
        placeholder = f"[{stem}{_form(forms)}_{self._nonce}]"
        self._placeholders[value] = placeholder
        self._values[placeholder] = value
        if _ECHO_HEAD <= len(value) <= _ECHO_LIMIT:
            self._echoes.add(value)
        return placeholder

    def _echo(self, text: str) -> Iterator[Finding]:
        """Every place of a learnt value, so that no second mention gives away the first."""
        for start, end in self._echoes.find(text):
            kind = self._kind_of(text[start:end])
            yield Finding(type=kind, start=start, end=end, detector="echo", validator="same value", confidence=0.5)

    def _kind_of(self, value: str) -> str:
        return self._placeholders[value][1:].rsplit("_", 2)[0].lower()


class Restorer:
    """Restores a stream piece by piece; it holds back only what can still become a placeholder of this request."""

    def __init__(self, restore: Callable[[str], str], begins: Callable[[str], bool]) -> None:
        self._restore = restore
        self._begins = begins
        self._held = ""

    def feed(self, piece: str) -> str:
        """Take `piece`, give what is certain by now."""
        text = self._held + piece
        cut = text.rfind("[")
        if cut >= 0 and "]" not in text[cut:] and self._begins(text[cut:]):
            self._held, text = text[cut:], text[:cut]
        else:
            self._held = ""
        return self._restore(text)

    def flush(self) -> str:
        """The end of the stream: what was held back never became a placeholder."""
        held, self._held = self._held, ""
        return held


def _nonce() -> str:
    return "".join(secrets.choice(_LETTERS) for _ in range(4))


def _canonical(kind: str, value: str) -> str:
    """One key for all spellings of one entity: signs and case do not count; in secrets everything counts."""
    if kind in _EXACT:
        return value
    plain = "".join(_KEPT_SIGNS.findall(value)).casefold()
    if kind == "phone":
        plain = plain.removeprefix("00")  # 0041 44 ... is +41 44 ...
    return plain or value


_EXACT = frozenset({"credential", "password", "private_key", "connection_string", "own_term", "own_pattern"})


def _form(number: int) -> str:
    """0 -> '', 1 -> 'b', 2 -> 'c', ..., 26 -> 'ba': the letter of a surface form."""
    letters = ""
    while number > 0:
        number, rest = divmod(number, 26)
        letters = chr(ord("a") + rest) + letters
    return letters


def _decoded(piece: str, *, as_json: bool) -> str:
    if as_json and "\\" in piece:
        try:
            return str(json.loads(f'"{piece}"'))
        except ValueError:
            return piece
    return piece


def _inside(literals: list[tuple[int, int]], start: int, end: int) -> bool:
    at = bisect_left(literals, (start + 1,)) - 1
    return at >= 0 and literals[at][0] < start and end < literals[at][1]


def _bare_token(text: str, start: int, end: int) -> tuple[int, int]:
    """The whole JSON number or word around a span that no string holds."""
    while start > 0 and _BARE.match(text[start - 1]):
        start -= 1
    while end < len(text) and _BARE.match(text[end]):
        end += 1
    return start, end
