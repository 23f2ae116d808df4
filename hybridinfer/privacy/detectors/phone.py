"""Phone numbers: international ones, those beside a word for phone, and national ones in a phone's own grouping."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from ..finding import Finding
from .lazy import lazy
from .view import View, digits, holds

_CUE = lazy(
    r"phone|\btel\b|tel[.:]|telef|teléf|tfno|téléph|\bcall|mobile|mobil|móvil|\bcell|cellul|celular|\bfax|contact|whatsapp|\bring\b|text (?:me|him|her|us)"
    r"|\bsms\b|hotline|helpline|reach (?:me|him|her|us)|\bext\b|\bdial|☎|📞|📱|\bkom\.|handy|rufnummer|telefon|numéro|número|numero|answering|messages? to|desk:|office:|home:|work:|cell:|電話|电话|手机|手機|携帯|전화|연락처|тел|номер телефона|мой номер|мобильн|\b(?:my|meine|mijn|mitt|mit|mój|min) (?:number|nummer|numer)\b|tlf|puhelin|ponsel|hp:|โทร|טלפון|هاتف|τηλ|gsm|mobiele|kontakt|جوال|موبايل|محمول|واتس|رقمي|تلفن|موبایل|נייד|κινητ|điện thoại|\bsđt|telp|nomor|मोबाइल|फ़ोन|फोन|नंबर|ফোন|মোবাইল|เบอร์|ケータイ|스마트폰|номера телефон|моб\.|ring (?:mig|meg)|\bcep\b"
)
_STEMS = (
    "phone", "tel", "tfno", "tél", "call", "mobil", "móvil", "cell", "celul", "fax", "contact", "whatsapp", "ring", "text ", "sms",
    "line", "reach", "ext", "dial", "☎", "📞", "📱", "kom.", "handy", "rufnum", "numéro", "número", "numero", "answering",
    "message", "desk:", "office:", "home:", "work:", "電話", "电话", "手机", "手機", "携帯", "전화", "연락처", "тел",
    "номер", "мобил", "nummer", "numer", "tlf", "puhelin", "ponsel", "hp:", "โทร", "טלפון", "هاتف", "τηλ", "my number", "gsm", "kontakt",
    "جوال", "موبايل", "محمول", "واتس", "رقمي", "تلفن", "موبایل", "נייד", "κινητ", "điện", "sđt", "nomor", "मोबाइल", "फ़ोन", "फोन", "नंबर",
    "ফোন", "মোবাইল", "เบอร์", "ケータイ", "스마트폰", "моб.", "cep",
)  # fmt: skip
"""One of them is in every cue."""
_LEAD = 40
_EXTENSION = lazy(r"\s?(?:x|ext\.?\s?)[0-9]{1,6}\Z")
_LINE_ABOVE = lazy(r"([^\n]{2,20}):\s*\n\s*\Z")
"""A line of its own above the number: `Phone:`."""
_NOT_CUE = lazy(
    r"(?:order|invoice|ticket|case|ref|reference|tracking|isbn|issn|doi|sku|serial|part|model|version|port|pid|id|zip|acct|account|transaction|timestamp)\s*(?:number|no\.?|#|id)?\s*[:#=]?\s*$"
)
_DATE = lazy(
    r"[1-9][0-9]{3}-[01][0-9]-[0-3][0-9](?![0-9])|(?:19|20)[0-9]{2}[-/. ][0-9]{1,2}[-/. ][0-9]{1,2}|(?:[0-3]?[0-9][-/. ][01]?[0-9]|[01]?[0-9][-/. ][0-3]?[0-9])[-/. ](?:19|20)?[0-9]{2}(?![0-9]|[-/.][0-9])(?=$| [0-9]{1,2}$)|(?:19|20)[0-9]{2}\s?[-/]\s?(?:19|20)[0-9]{2}(?![0-9])"
)
_NORTH_AMERICA = lazy(r"(?:\+?1[ .-]?)?\(?[2-9][0-9]{2}(?:\)[ .-]?|[ .-])[0-9]{3}[ .-][0-9]{4}")
_NORTH_AMERICA_LOOSE = lazy(r"(?:\+?1[ .-]?)?\(?[0-9]{3}(?:\)[ .-]?|[.-])[0-9]{3}[.-][0-9]{4}")
_NATIONAL = lazy(
    r"\(?0[1-9][0-9]{0,4}\)?(?:[ ./-]{1,2}[0-9]{2,8}){1,5}|0[1-9](?:[ .-][0-9]{2}){4}|[6-9][0-9]{2}(?: [0-9]{3}){2}|[6-9][0-9]{2}(?: [0-9]{2}){3}"
)
_ZIP = lazy(r"[0-9]{5}-[0-9]{4}")
_FICTION = lazy(r"(?:(?:\+|00)?1)?(?:[2-9][0-9]{2})?55501[0-9]{2}")
"""The range that the North American plan keeps for fiction; elsewhere these digits are anybody's."""


def detect(view: View) -> Iterator[Finding]:
    """All phone numbers of `view` but the fictitious ones."""
    for match in view.numbers:
        validator, confidence = _judge(view, match)
        if validator:
            yield Finding(
                type="phone",
                start=match.start(),
                end=match.end(),
                detector="phone",
                validator=validator,
                confidence=confidence,
            )


def _judge(view: View, match: re.Match[str]) -> tuple[str, float]:
    text, start = _EXTENSION.sub("", match[0]), match.start()
    number = digits(text)
    if not 7 <= len(number) <= 15 or len(set(number)) < 3 or _FICTION.fullmatch(("+" if "+" in text else "") + number):
        return "", 0.0
    if any(len(group) > 6 for group in text.split(".")[1:]) or (text[1:2] == " " and text[2:3] != "("):
        return "", 0.0
    if text.startswith(("+", "(+", "00")) and _possible(text, number):
        counts = text[0] == "0" and view.before(start, _NOT_CUE, width=25)  # ticket 00012345678
        return ("", 0.0) if counts else ("libphonenumber", 0.95)
    lead = view.lower[max(0, start - _LEAD) : start]
    if holds(lead, _STEMS) and view.before(start, _CUE, width=_LEAD):
        verdict = "label", 0.85
    elif (above := _LINE_ABOVE.search(lead)) is not None and _CUE.search(above[1]):
        verdict = "label", 0.8
    elif _NORTH_AMERICA.fullmatch(text) or _NORTH_AMERICA_LOOSE.fullmatch(text):
        verdict = "format", 0.75
    elif _is_national(text, number) and view.text[max(0, start - 1)] != "/":
        verdict = "format", 0.6
    else:
        return "", 0.0
    return ("", 0.0) if _DATE.match(text) or view.before(start, _NOT_CUE, width=25) else verdict


def _is_national(text: str, number: str) -> bool:
    if not 9 <= len(number) <= 12 or text.count("/") > 1 or _ZIP.fullmatch(text) or _is_round(number):
        return False
    return _NATIONAL.fullmatch(text) is not None


def _is_round(number: str) -> bool:
    """`640 000 000` is an amount."""
    return number.endswith("000")


def _possible(text: str, number: str) -> bool:
    """Whether the country and the length fit, by libphonenumber's metadata."""
    if text.startswith("00"):
        number = number[2:]
    for size in (1, 2, 3):
        if lengths := _lengths(number[:size]):
            rest = number[size:]
            return len(rest) in lengths or (rest[:1] == "0" and len(rest) - 1 in lengths)  # +44 (0)20 ...
    return False


@cache
def _lengths(code: str) -> frozenset[int]:
    """How many digits may follow the country code `code`; empty: there is no such code."""
    from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneMetadata

    lengths: set[int] = set()
    for region in COUNTRY_CODE_TO_REGION_CODE.get(int(code), ()):
        metadata = PhoneMetadata.metadata_for_region_or_calling_code(int(code), region)
        if metadata is not None and metadata.general_desc is not None:
            lengths.update(metadata.general_desc.possible_length)
    return frozenset(lengths)
