"""One text, several readings: look-alike characters made plain, escapes and encoded blobs opened.

Every reading knows its way back, so that a finding always names code points of the text that was given.
"""

from __future__ import annotations

import base64
import binascii
import re
import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from html import unescape
from typing import NamedTuple
from urllib.parse import unquote

from .finding import Finding

_MARGIN = 256
"""Characters around an escape that are read again with it."""
_DEPTH = 3
"""Encodings within encodings that are opened; deeper ones are too odd to pass as a prompt."""
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u206a-\u206f\ufe00-\ufe0f\ufeff\U000e0000-\U000e007f]"
)
_JSON_ESCAPE = re.compile(r'\\(?:u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|["\\/bfnrt])')
_HARD_ESCAPE = re.compile(r"\\(?:u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2})")
_PERCENT = re.compile(r"(?:%[0-9a-fA-F]{2})+")
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|amp|lt|gt|quot|apos|commat|period|colon|nbsp);")
_BLOB = re.compile(r"[A-Za-z0-9+/_-]{20,}={0,2}")
_LEAST = 20
"""The shortest blob."""
_BETWEEN = "\n\n"
"""Stands behind each blob: its offset is the blob's end, so a finding in a blob covers all of it."""
_SHORT_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_ODD = re.compile(
    "[\u00a0\u0660-\u2017\u201a-\u201b\u201e-\u2fff\u3000\u3002\ua620-\uabf9\ufe58-\ufe6b\uff01-\uff61\U0001d400-\U0001d7ff\U0001f100-\U0001f18f]"
)
"""Where `_plain_characters` may have something to say."""
_SUSPECT = re.compile(f"{_INVISIBLE.pattern[:-1]}{_ODD.pattern[1:-1]}\u0370-\u04ff]")
_MIXED = re.compile(r"[\u0370-\u04ff](?:(?<=[a-zA-Z@].)|(?<=[a-zA-Z]\..)|(?=[a-zA-Z@]|\.[a-zA-Z]))")
_WORD_AROUND = 128
"""A word of two scripts is looked through so far to both sides."""
_TWINS = dict(
    zip(
        map(ord, "АВЕКМНОРСТУХЅІЈаеорсухіјѕԁһӏɡΑΒΕΖΗΙΚΜΝΟΡΤΥΧονα"),
        "ABEKMHOPCTYXSIJaeopcyxijsdhlgABEZHIKMNOPTYXova",
        strict=True,
    )
)
"""Cyrillic and Greek letters that look like Latin ones (Unicode TR 39, the single-letter confusables in common use)."""
_SIGNS = {
    **dict.fromkeys(map(ord, "‐‑‒–—―−﹘﹣－"), "-"),
    **dict.fromkeys(
        map(ord, "\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"),
        " ",
    ),
    **dict.fromkeys(map(ord, "․。｡．"), "."),
    ord("："): ":",
    ord("＠"): "@",
    ord("﹫"): "@",
}


class Reading(NamedTuple):
    """`text` as detectors see it. `offsets[i]` is the start of its character `i` in the given text; None: equal.

    All characters of one encoded blob start where the blob does: it has no smaller parts.
    """

    text: str
    offsets: Sequence[int] | None = None
    words: tuple[str, ...] = ()
    """The long words of `text`, once it is plain."""

    def original(self, finding: Finding) -> Finding:
        """`finding` with offsets of the given text."""
        start, end = self.span(finding.start, finding.end)
        if (start, end) == (finding.start, finding.end):
            return finding
        return Finding(
            type=finding.type,
            start=start,
            end=end,
            detector=finding.detector,
            validator=finding.validator,
            confidence=finding.confidence,
        )

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Where `text[start:end]` came from."""
        if self.offsets is None:
            return start, end
        if self.offsets[end] == self.offsets[end - 1]:
            # Several characters that came from one escape or blob cannot be cut apart.
            end = min(bisect_right(self.offsets, self.offsets[end], end), len(self.text))
        return self.offsets[start], self.offsets[end]


def readings(text: str, *, as_json: bool = False) -> Iterator[Reading]:
    """All readings of `text`, the plain one first; as JSON, its escapes are opened at once."""
    first = Reading(text=text)
    if as_json and "\\" in text:
        first = _substitute(first, _JSON_ESCAPE, _unescape) or first
    yield from _open(_plain(first), _DEPTH)


def _open(reading: Reading, depth: int) -> Iterator[Reading]:
    yield reading
    if depth == 0:
        return
    for inner in _encoded(reading):
        yield from _open(_plain(inner), depth - 1)


def _encoded(reading: Reading) -> list[Reading]:
    text = reading.text
    found: list[Reading] = []
    if "\\" in text and _HARD_ESCAPE.search(text):
        found += _around(reading, _JSON_ESCAPE, _unescape)
    if "%" in text:
        found += _around(reading, _PERCENT, unquote)
    if "&" in text:
        found += _around(reading, _ENTITY, unescape)
    if reading.words and (blobs := _blobs(reading)) is not None:
        found.append(blobs)
    return found


def _blobs(reading: Reading) -> Reading | None:
    """What the base64 blobs of `reading` hold, one under the other: many small ones cost no more than one large."""
    pieces: list[str] = []
    offsets: list[int] = []
    at = 0
    if not any(_base64(blob) for word in reading.words if len(word) >= _LEAST for blob in _BLOB.findall(word)):
        return None
    for word in reading.words:
        at = reading.text.find(word, at)
        for match in _BLOB.finditer(word):
            if (decoded := _base64(match[0])) is not None:
                start, end = reading.span(at + match.start(), at + match.end())
                pieces.append(decoded)
                offsets += [start] * len(decoded)
                offsets += [end] * len(_BETWEEN)
        at += len(word)
    return Reading(text=_BETWEEN.join((*pieces, "")), offsets=[*offsets, offsets[-1]])


def _around(reading: Reading, pattern: re.Pattern[str], change: Callable[[str], str]) -> Iterator[Reading]:
    """`reading` with every match changed: only the surroundings of matches, so that one escape costs no second scan."""
    start = end = -1
    for match in pattern.finditer(reading.text):
        if match.start() > end + _MARGIN:
            if end >= 0:
                yield from _changed(reading, start, end, pattern, change)
            start = match.start()
        end = match.end()
    if end >= 0:
        yield from _changed(reading, start, end, pattern, change)


def _changed(
    reading: Reading, start: int, end: int, pattern: re.Pattern[str], change: Callable[[str], str]
) -> Iterator[Reading]:
    start, end = max(0, start - _MARGIN), min(len(reading.text), end + _MARGIN)
    offsets = range(start, end + 1) if reading.offsets is None else reading.offsets[start : end + 1]
    piece = Reading(text=reading.text[start:end], offsets=offsets)
    if (inner := _substitute(piece, pattern, change)) is not None:
        yield inner


def _plain(reading: Reading) -> Reading:
    """`reading` with invisible characters dropped and look-alikes replaced."""
    if reading.text.isascii():
        return _worded(reading)
    if not _SUSPECT.search(reading.text):
        return _worded(reading)
    if _INVISIBLE.search(reading.text):
        reading = _substitute(reading, _INVISIBLE, lambda _: "") or reading
    text = reading.text
    if _ODD.search(text):
        table = _plain_characters()
        text = _ODD.sub(lambda match: table.get(ord(match[0]), match[0]), text)
    if _MIXED.search(text):
        text = _untwinned(text)
    return _worded(Reading(text=text, offsets=reading.offsets))


def _untwinned(text: str) -> str:
    """`text` with look-alikes replaced in words of two scripts; in words of one, they are that script's own letters."""
    pieces: list[str] = []
    at = 0
    for match in _MIXED.finditer(text):
        start, end = match.span()
        if start < at:
            continue
        least, most = max(at, start - _WORD_AROUND), min(len(text), end + _WORD_AROUND)
        while start > least and not text[start - 1].isspace():
            start -= 1
        while end < most and not text[end].isspace():
            end += 1
        pieces += (text[at:start], text[start:end].translate(_TWINS))
        at = end
    return "".join((*pieces, text[at:]))


def _worded(reading: Reading) -> Reading:
    words = long_words(reading.text)
    return Reading(reading.text, reading.offsets, words) if words else reading


@cache
def _plain_characters() -> dict[int, str]:
    """Digits of every script, full-width and mathematical letters, odd hyphens and spaces -> ASCII, one to one."""
    table = dict(_SIGNS)
    blocks = (
        *range(0x660, 0x3000),
        *range(0xA620, 0xABFA),
        *range(0xFF01, 0xFF5F),
        *range(0x1D400, 0x1D800),
        *range(0x1F100, 0x1F190),
    )
    for code in blocks:
        char = chr(code)
        digit = unicodedata.decimal(char, None)
        plain = str(digit) if digit is not None else unicodedata.normalize("NFKC", char)
        if plain != char and len(plain) == 1 and plain.isascii():
            table.setdefault(code, plain)
    return table


def _substitute(reading: Reading, pattern: re.Pattern[str], change: Callable[[str], str]) -> Reading | None:
    """`reading` with every match changed; None when nothing does."""
    pieces: list[str] = []
    offsets: list[int] = []
    at = 0
    for match in pattern.finditer(reading.text):
        start, end = match.span()
        new = change(match[0])
        pieces += (reading.text[at:start], new)
        offsets += range(at, start)
        offsets += [start] * len(new)
        at = end
    if at == 0:
        return None
    pieces.append(reading.text[at:])
    offsets += range(at, len(reading.text) + 1)
    if reading.offsets is not None:
        offsets = [reading.offsets[offset] for offset in offsets]
    return Reading(text="".join(pieces), offsets=offsets)


def _unescape(escape: str) -> str:
    kind = escape[1]
    if kind in "ux":
        return chr(int(escape[2:], base=16))  # noqa: FURB166 - there is no 0x here
    return _SHORT_ESCAPES.get(kind, kind)


def _base64(blob: str) -> str | None:
    """The text within `blob`; None when it holds none (a hash, an identifier, a picture)."""
    body = blob.rstrip("=").replace("-", "+").replace("_", "/")
    if len(body) % 4 == 1 or len(set(body)) < 6:
        return None
    try:
        decoded = base64.b64decode(body + "=" * (-len(body) % 4), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
    printable = sum(char.isprintable() or char in "\r\n\t" for char in decoded)
    return decoded if printable == len(decoded) else None


def long_words(text: str) -> tuple[str, ...]:
    """The words of `text`, between white space, of 14 characters and more, in their order."""
    return tuple([word for word in text.split() if len(word) >= 14])
