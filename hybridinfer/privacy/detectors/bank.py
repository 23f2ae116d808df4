"""Bank data: IBAN (ISO 13616, mod 97), account and routing numbers beside their label, crypto wallets."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping

from ..finding import Finding
from .hints import hints, labels
from .labels import labelled
from .lazy import lazy
from .view import View, digits

_IBAN = lazy(r"[A-Za-z]{2}[0-9]{2}(?:[ -]?[A-Za-z0-9]{1,4}){3,8}(?![A-Za-z0-9])")
_IBAN_CUE = lazy(r"iban|account|konto|compte|cuenta|conta|rekening|rachun")
_LENGTHS = (
    "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 EG29 ES24 FI18 "
    "FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 "
    "LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 PT25 QA29 RO24 RS22 RU33 SA24 "
    "SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30"
)
IBAN_LENGTHS: Mapping[str, int] = {entry[:2]: int(entry[2:]) for entry in _LENGTHS.split()}
"""Characters of an IBAN by country (SWIFT's IBAN registry)."""
_ACCOUNTS = labels(
    "bank account", "checking account", "savings account", "account", "acct", "a/c", "sort code", "nr konta", "rachunek",
    "rachunku", "kontonummer", "kontonr", "numéro de compte", "compte bancaire", "cuenta bancaria", "número de cuenta",
    "cuenta", "conta corrente", "conta bancária", "rekeningnummer", "numero di conto", "conto corrente", "bban", "clabe",
    "konto", "bsb", "blz", "bankleitzahl", "compte n°", "bankrekening", "číslo účtu", "bankkonto", "tilinumero", "számlaszám", "iban number",
    "счет", "счёт", "расчетный счет", "р/с", "account no", "acc no", "acct no", "giro", "银行账号", "账号", "银行卡号", "口座番号", "계좌번호",
    "bank code", "branch code", "micr", "kontonr.", "účet",
)  # fmt: skip
_WORDS_TOO = frozenset(
    {"account", "cuenta", "konto", "cuenta bancaria", "bank account", "account no", "giro", "счет", "счёт", "rachunek"}
)
"""Labels that people have things other than numbers in: a number must follow at once."""
_ROUTING = labels("routing number", "routing", "aba routing", "aba number", "aba", "rtn", "transit number")
_BICS = hints("swift", "bic")
_IFSCS = hints("ifsc")
_ACCOUNT_VALUE = lazy(r"(?:[xX*•]{2,12}[- ]?)?[0-9](?:[ -]?[0-9]){5,25}(?![A-Za-z0-9])(?![.,][0-9])")
_FAR_ACCOUNT = re.compile(r"[0-9](?:[ -]?[0-9]){8,19}(?![A-Za-z0-9])(?![.,][0-9])")
_RANGE = lazy(r"[0-9]{4} ?- ?[0-9]{4}")
_BIC_LINK = lazy(r"(?:[/ ](?:bic|swift))?(?: (?:code|number|no|is))*[:.#]?\s{0,3}(?:is )?")
_ROUTING_VALUE = lazy(r"[0-9]{9}(?![0-9])")
_IFSC = lazy(r"(?<![A-Za-z0-9])[A-Z]{4}0[A-Z0-9]{6}(?![A-Za-z0-9])")
_IFSC_CUE = lazy(r"ifsc")
_BIC_VALUE = lazy(r"[A-Z]{4}[A-Z]{2}[A-Z0-9]{2}(?:[A-Z0-9]{3})?(?![A-Za-z0-9])")
_UPI = lazy(
    r"(?<![\w.-])[\w.-]{2,60}@(?:ok(?:axis|hdfcbank|icici|sbi)|ybl|ibl|axl|apl|upi|paytm|yapl|waicici)(?![\w.-])"
)
"""Handles of India's payment interface."""
_WALLET = lazy(
    r"\b(?:bc1[a-z0-9]{25,59}|[13][1-9A-HJ-NP-Za-km-z]{25,34}|0x[0-9a-fA-F]{40}|[LM][1-9A-HJ-NP-Za-km-z]{33}"
    r"|r[1-9A-HJ-NP-Za-km-z]{24,34}|addr1[a-z0-9]{50,100}|T[1-9A-HJ-NP-Za-km-z]{33})\b"
)
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_WALLET_CUE = lazy(
    r"wallet|bitcoin|\bbtc\b|ethereum|\beth\b|crypto|address|litecoin|\bltc\b|ripple|\bxrp\b|cardano|tron\b"
)


def detect(view: View) -> Iterator[Finding]:
    """All bank data of `view`."""
    if view.hinted(_BICS):
        for label in sorted(_BICS):
            yield from _bic(view, label)
    if "@" in view.text:
        for handle in _UPI.finditer(view.text):
            yield _finding("bank_account", handle.start(), handle.end(), "upi", 0.8)
    if view.hinted(_IFSCS):
        for code in _IFSC.finditer(view.text):
            if view.before(code.start(), _IFSC_CUE):
                yield _finding("bank_account", code.start(), code.end(), "label", 0.8)
    if not view.near and not view.token_spans:
        return
    for start in view.codes:
        if match := _IBAN.match(view.text, start):
            yield from _iban(view, match)
    for label, match in labelled(view, _ACCOUNTS, _ACCOUNT_VALUE, loose=_FAR_ACCOUNT):
        if match.re is _FAR_ACCOUNT and (label in _WORDS_TOO or match[0].endswith("000")):
            continue
        if _RANGE.fullmatch(match[0]) and view.lower[: match.start()].endswith("accounts "):
            continue  # accounts 1000-1999
        if len(digits(match[0])) >= (8 if label in ("account", "cuenta", "konto", "账号") else 6):
            yield _finding("bank_account", match.start(), match.end(), "label", 0.8)
    for _, match in labelled(view, _ROUTING, _ROUTING_VALUE):
        if _routing(match[0]):
            yield _finding("bank_account", match.start(), match.end(), "aba checksum", 0.9)
    for span in view.token_spans:
        for match in _WALLET.finditer(view.text, *span):
            if validator := _wallet(view, match):
                yield _finding("crypto_wallet", match.start(), match.end(), validator, 0.9)


def _bic(view: View, label: str) -> Iterator[Finding]:
    """A bank's code after its name; it needs no digit."""
    for at in view.words(label):
        link = _BIC_LINK.match(view.lower, at + len(label))
        if link is not None and (match := _BIC_VALUE.match(view.text, link.end())) and link.end() > at + len(label):
            yield _finding("bank_account", match.start(), match.end(), "label", 0.7)


def is_iban(text: str) -> bool:
    """Whether `text` has its country's length and the check digits of an IBAN; spaces and hyphens do not count."""
    plain = "".join(filter(str.isalnum, text)).upper()
    if len(plain) != IBAN_LENGTHS.get(plain[:2]):
        return False
    return int("".join(str(int(char, 36)) for char in plain[4:] + plain[:4])) % 97 == 1


def _iban(view: View, match: re.Match[str]) -> Iterator[Finding]:
    start, length = match.start(), IBAN_LENGTHS.get(match[0][:2].upper(), 0)
    end, seen = start, 0
    while end < match.end() and seen < length:
        seen += view.text[end].isalnum()
        end += 1
    if seen == length > 0 and not view.text[end : end + 1].isalnum() and is_iban(view.text[start:end]):
        yield _finding("iban", start, end, "mod 97", 0.99)
        return
    plain = "".join(filter(str.isalnum, match[0]))
    is_long = len(plain) >= min(IBAN_LENGTHS.values()) and sum(map(str.isdecimal, plain)) >= 12
    if is_long and view.before(start, _IBAN_CUE):
        yield _finding("iban", start, match.end(), "label", 0.7)


def _routing(number: str) -> bool:
    """The American Bankers Association's check digit."""
    weights = (3, 7, 1, 3, 7, 1, 3, 7, 1)
    return sum(weight * int(digit) for weight, digit in zip(weights, number, strict=True)) % 10 == 0


def _wallet(view: View, match: re.Match[str]) -> str:
    value = match[0]
    if value[0] in "13LM" and _base58check(value):
        return "base58check"
    if value.startswith("bc1") and any(char.isdigit() for char in value[3:]) and not value.isalpha():
        return "format"
    if value.startswith(("0x", "addr1")) and len(set(value)) > 8:
        return "format"
    return "label" if len(set(value)) > 12 and view.before(match.start(), _WALLET_CUE) else ""


def _base58check(text: str) -> bool:
    number = 0
    for char in text:
        number = number * 58 + _BASE58.index(char)
    if number >> 200:
        return False
    data = number.to_bytes(25, "big")
    return hashlib.sha256(hashlib.sha256(data[:21]).digest()).digest()[:4] == data[21:]


def _finding(kind: str, start: int, end: int, validator: str, confidence: float) -> Finding:
    return Finding(type=kind, start=start, end=end, detector="bank", validator=validator, confidence=confidence)
