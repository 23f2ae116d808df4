"""National identity and tax numbers of more than 50 countries: by checksum (python-stdnum), by format, and beside their label."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module
from typing import Literal, NamedTuple

from ..finding import Finding
from .hints import labels
from .labels import labelled
from .lazy import lazy
from .view import View, digits

Kind = Literal["national_id", "tax_id"]


class Scheme(NamedTuple):
    """One kind of number. `shape`: its regular expression where it can be told without a label, checksum permitting."""

    module: str
    """Below `stdnum`: it holds `is_valid`."""
    labels: tuple[str, ...]
    shape: str = ""
    kind: Kind = "national_id"


_SCHEMES = (
    Scheme("us.ssn", ("ssn", "social security", "soc sec", "social sec", "social")),
    Scheme("us.ein", ("ein", "employer identification"), kind="tax_id"),
    Scheme("us.itin", ("itin", "taxpayer", "tax id", "tin", "taxid"), kind="tax_id"),
    Scheme("gb.nhs", ()),
    Scheme("gb.utr", ("utr", "unique taxpayer reference"), kind="tax_id"),
    Scheme("ca.sin", ("sin", "social insurance", "nas"), r"[1-79][0-9]{2}([ -])[0-9]{3}\1[0-9]{3}"),
    Scheme("au.tfn", ("tfn", "tax file number"), kind="tax_id"),
    Scheme("de.idnr", ("steueridentifikationsnummer", "steuer id", "steuerid", "identifikationsnummer", "steuerliche identifikationsnummer", "idnr", "steuernummer", "steuer identifikationsnummer"), kind="tax_id"),
    Scheme("fr.nir", ("nir", "sécurité sociale", "insee", "sécu", "numéro de sécu"), r"[12] ?[0-9]{2} ?(?:0[1-9]|1[0-2]) ?(?:[0-9]{2}|2[AB]) ?[0-9]{3} ?[0-9]{3} ?[0-9]{2}"),
    Scheme("fr.nif", ("numéro fiscal", "spi"), kind="tax_id"),
    Scheme("es.dni", ("dni", "documento nacional", "nif"), r"[0-9]{8}[- ]?[A-HJ-NP-TV-Z]"),
    Scheme("es.nie", ("nie",), r"[XYZ][- ]?[0-9]{7}[- ]?[A-HJ-NP-TV-Z]"),
    Scheme("it.codicefiscale", ("codice fiscale", "cf"), r"[A-Za-z]{6}[0-9LMNPQRSTUVlmnpqrstuv]{2}[ABCDEHLMPRSTabcdehlmprst][0-9LMNPQRSTUVlmnpqrstuv]{2}[A-Za-z][0-9LMNPQRSTUVlmnpqrstuv]{3}[A-Za-z]"),
    Scheme("nl.bsn", ("bsn", "burgerservicenummer", "sofinummer")),
    Scheme("be.nn", ("rijksregisternummer", "numéro national", "registre national", "nationaal nummer", "insz", "niss"), r"[0-9]{2}\.[0-9]{2}\.[0-9]{2}-[0-9]{3}\.[0-9]{2}"),
    Scheme("pt.cc", ("cartão de cidadão",), r"[0-9]{8}[ -]?[0-9][ -]?[A-Z]{2}[0-9]"),
    Scheme("pt.nif", ("contribuinte",), kind="tax_id"),
    Scheme("pl.pesel", ("pesel",), r"[0-9]{2}(?:[02468][1-9]|[13579][0-2])(?:0[1-9]|[12][0-9]|3[01])[0-9]{5}"),
    Scheme("pl.nip", ("nip", "regon"), r"[1-9][0-9]{2}-[0-9]{3}-[0-9]{2}-[0-9]{2}", kind="tax_id"),
    Scheme("se.personnummer", ("personnummer", "personal identity number"), r"(?:(?:19|20)[0-9]{2}|[0-9]{2})(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])[-+][0-9]{4}"),
    Scheme("no.fodselsnummer", ("fødselsnummer", "fodselsnummer"), r"(?:0[1-9]|[12][0-9]|3[01])(?:0[1-9]|1[0-2])[0-9]{2} [0-9]{5}"),
    Scheme("dk.cpr", ("cpr",), r"(?:0[1-9]|[12][0-9]|3[01])(?:0[1-9]|1[0-2])[0-9]{2}-[0-9]{4}"),
    Scheme("fi.hetu", ("henkilötunnus", "hetu"), r"(?:0[1-9]|[12][0-9]|3[01])(?:0[1-9]|1[0-2])[0-9]{2}[-+A-FU-Y][0-9]{3}[0-9A-FHJ-NPR-Y]"),
    Scheme("ie.pps", ("ppsn", "pps", "pps number"), r"[0-9]{7}[A-W][A-IW]?"),
    Scheme("ch.ssn", ("ahv", "avs", "ahv nummer", "sozialversicherungsnummer", "rentenversicherungsnummer"), r"756\.?[0-9]{4}\.?[0-9]{4}\.?[0-9]{2}"),
    Scheme("at.vnr", ("svnr",)),
    Scheme("cz.rc", ("rodné číslo", "rodne cislo"), r"[0-9]{2}[0-8][0-9][0-3][0-9]/[0-9]{3,4}"),
    Scheme("ro.cnp", ("cnp",), r"[1-8][0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])[0-9]{6}"),
    Scheme("bg.egn", ("egn", "егн", "единен граждански номер")),
    Scheme("gr.amka", ("amka", "αμκα")),
    Scheme("hr.oib", ("oib",)),
    Scheme("tr.tckimlik", ("tc kimlik", "kimlik no", "tckn", "t.c. kimlik", "kimlik numara", "vatandaşlık numara")),
    Scheme("ru.inn", ("инн", "снилс", "inn", "snils"), kind="tax_id"),
    Scheme("br.cpf", ("cpf",), r"[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2}"),
    Scheme("br.cnpj", ("cnpj",), r"[0-9]{2}\.[0-9]{3}\.[0-9]{3}/[0-9]{4}-[0-9]{2}", kind="tax_id"),
    Scheme("mx.curp", ("curp",), r"[A-Z]{4}[0-9]{6}[HMX][A-Z]{5}[0-9A-Z][0-9]"),
    Scheme("mx.rfc", ("rfc",), r"[A-ZÑ&]{4}[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])[A-Z0-9]{3}", kind="tax_id"),
    Scheme("ar.cuit", ("cuit", "cuil"), r"(?:20|23|24|27|30|33|34)-[0-9]{8}-[0-9]", kind="tax_id"),
    Scheme("cl.rut", ("rut", "run"), r"[0-9]{1,2}\.[0-9]{3}\.[0-9]{3}-[0-9Kk]"),
    Scheme("", ("cédula", "cedula", "cédula de ciudadanía", "cedula de ciudadania", "cédula de identidad", "documento de identidad")),
    Scheme("ve.rif", ("rif",), r"[VEJPG]-?[0-9]{8}-?[0-9]", kind="tax_id"),
    Scheme("pe.ruc", ("ruc",), kind="tax_id"),
    Scheme("do.cedula", (), r"[0-9]{3}-[0-9]{7}-[0-9]"),
    Scheme("ar.dni", ("d.n.i",)),
    Scheme("in_.aadhaar", ("aadhaar", "aadhar", "uidai", "आधार"), r"[2-9][0-9]{3}([ -])[0-9]{4}\1[0-9]{4}"),
    Scheme("in_.pan", ("pan", "pan card", "permanent account number"), r"[A-Z]{3}[ABCFGHLJPT][A-Z][0-9]{4}[A-Z]", kind="tax_id"),
    Scheme("cn.ric", ("身份证", "身份证号", "身份证号码", "resident identity"), r"[1-9][0-9]{5}(?:19|20)[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])[0-9]{3}[0-9Xx]"),
    Scheme("kr.rrn", ("주민등록번호", "rrn"), r"[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])-[1-8][0-9]{6}"),
    Scheme("my.nric", ("mykad", "nric", "my kad"), r"[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])-[0-9]{2}-[0-9]{4}"),
    Scheme("th.pin", ("บัตรประชาชน", "เลขประจำตัวประชาชน", "thai id"), r"[1-8]-[0-9]{4}-[0-9]{5}-[0-9]{2}-[0-9]"),
    Scheme("ee.ik", ("isikukood",)),
    Scheme("lt.asmens", ("asmens kodas", "asmens kodo")),
    Scheme("lv.pvn", ("personas kods", "personas kodu"), r"(?:0[1-9]|[12][0-9]|3[012])(?:[0-9]{2})[0-9]{2}-[0-9]{5}"),
    Scheme("si.emso", ("emšo", "emso")),
    Scheme("", ("jmbg", "јмбг", "матични број", "embg", "embs")),
    Scheme("is_.kennitala", ("kennitala",), r"(?:0[1-9]|[12][0-9]|3[01])(?:0[1-9]|1[0-2])[0-9]{2}-[0-9]{4}"),
    Scheme("hu.anum", ("adószám", "adóazonosító jel", "adóazonosító jelem"), kind="tax_id"),
    Scheme("", ("személyi szám", "személyi azonosító", "személyi igazolvány", "taj szám", "taj")),
    Scheme("sk.rc", ("rodné číslo", "občiansky preukaz", "občanský průkaz", "op číslo")),
    Scheme("ua.rntrc", ("іпн", "рнокпп", "ідентифікаційний номер"), kind="tax_id"),
    Scheme("", ("иин", "унп", "жсн", "идентификационный номер", "пинфл", "pinfl")),
    Scheme("nz.ird", ("ird",), kind="tax_id"),
    Scheme("id.nik", ("nik", "ktp", "nomor induk")),
    Scheme("id.npwp", ("npwp",), r"[0-9]{2}\.[0-9]{3}\.[0-9]{3}\.[0-9]-[0-9]{3}\.[0-9]{3}", kind="tax_id"),
    Scheme("pk.cnic", ("cnic",), r"[0-9]{5}-[0-9]{7}-[0-9]"),
    Scheme("", ("hkid", "hong kong id", "身分證", "身分證字號", "身份證", "身份證號碼", "身分证")),
    Scheme("", ("emirates id", "civil id", "iqama", "national code", "cccd", "cmnd", "căn cước", "philsys", "umid", "sss number", "sss no",
                "bvn", "huduma", "ghana card", "kra pin", "voter card", "nid number", "nin", "کد ملی", "کدملی", "الرقم القومي", "رقم الهوية",
                "الهوية الوطنية", "الرقم الوطني", "شناختی کارڈ", "পরিচয়পত্র", "số cmnd", "số cccd", "kad pengenalan", "外国人登録", "個人番号", "외국인등록번호", "在留カード")),
    Scheme("ie.pps", ("personal public service",)),
    Scheme("", ("numéro de carte d'identité", "cni", "carte nationale", "cin", "cartão cidadão", "bilhete de identidade", "rg", "título de eleitor")),
    Scheme("gr.vat", ("αφμ", "afm"), kind="tax_id"),
    Scheme("", ("αδτ", "δελτίο ταυτότητας", "αρ. ταυτότητας")),
    Scheme("za.idnr", ("south african id", "rsa id", "sa id")),
    Scheme("il.idnr", ("teudat zehut", "תעודת זהות", "תעודת הזהות", "מספר זהות")),
    Scheme("", ("national id", "nationalid", "national identification", "national identity", "citizen id", "identity card", "identity number", "id card",
                "national insurance", "nino", "ni number", "dowód", "dowodu", "dowodu osobistego", "personalausweis", "ausweisnummer", "carte d'identité", "carta d'identità",
                "マイナンバー", "my number", "individual number", "vat", "vat number", "vat id", "ust idnr", "partita iva")),
)  # fmt: skip
_LABELS = {label: scheme for scheme in _SCHEMES for label in scheme.labels}
_ALL = labels(*_LABELS)
_SHAPED = tuple(scheme for scheme in _SCHEMES if scheme.shape)
_SSN = lazy(r"[0-9](?<![\w.-][0-9])(?<!0[0-9]{2}-)[0-9]{2}([ -])(?!00)[0-9]{2}\1(?!0000)[0-9]{4}(?![\w-])", re.ASCII)
_SSN_CUE = lazy(r"ssn|social|soc\.? sec|tax id|\btin\b|itin|\bein\b|national id|taxpayer")
_LIKELY = lazy(r"\w(?:[ ./-]?\w){6}|\w{7}")
"""The least that a number which needs no label begins with."""
_TOLD = lazy(
    r"784-(?:19|20)[0-9]{2}-[0-9]{7}-[0-9](?![\w-])|[A-Z]{1,2}[0-9]{6}\([0-9A]\)|(?<!\w)[STFGM][0-9]{7}[A-Z](?!\w)"
)
"""Emirates ID, Hong Kong ID, Singapore's NRIC and FIN: told by their form alone."""
_EMIRATES = "784-"
_NINO = lazy(r"[A-CEGHJ-PR-TW-Z](?<!\w.)[A-CEGHJ-NPR-TW-Z] ?[0-9]{2} ?[0-9]{2} ?[0-9]{2} ?[A-D](?!\w)")
_NOT_NINO = ("BG", "GB", "KN", "NK", "NT", "TN", "ZZ")
_DIGITS = {"sin": 9, "nik": 16}
"""Of labels that are words or names as well: what else follows them has no such length."""
_FAR = re.compile(r"(?=[A-Za-z]{0,6}[0-9])[0-9A-Za-z](?:[ ./-]?[0-9]|[ ./-]?[A-Z](?![a-z])){6,18}(?!\w)")
"""A number some words behind its label; it must have its checksum."""
_ONLY_VALID = frozenset(
    {"rfc", "pan", "run", "rut", "cf", "nie", "inn", "nas", "avs", "spi", "pps", "nir", "ird", "ruc", "rif", "sécu"}
)
"""Labels that mean other things too: their value must have its checksum."""
_SHORT = frozenset({
    "sin", "tin", "nas", "cf", "pan", "run", "rut", "nie", "pps", "social", "nir", "spi", "inn", "vat", "rfc",
    "cpr", "nip", "utr", "ein", "rrn", "avs", "nin", "cin", "cni", "rg", "taj", "bvn", "ktp", "afm",
})  # fmt: skip
"""Labels that are also ordinary words or abbreviations: their value must have a number's length, or its checksum."""


def detect(view: View) -> Iterator[Finding]:
    """Identity and tax numbers of persons."""
    if not view.near and not view.codes:
        return
    for match in _SSN.finditer(view.text):
        if match[0][:3] not in ("000", "666") and (match[1] == "-" or view.before(match.start(), _SSN_CUE)):
            yield _finding("national_id", match, "us.ssn format", 0.8)
    for label, match in labelled(view, _ALL, loose=_FAR):
        scheme = _LABELS[label]
        number = digits(match[0])
        count = len(number)
        if len(set(number)) == 1:
            continue  # 000-00-0000: nobody's
        valid = bool(scheme.module) and is_valid(scheme.module, match[0])
        if not valid and (label in _ONLY_VALID or match.re is _FAR):
            continue
        if count != _DIGITS.get(label, count):
            continue
        if valid or (count >= (7 if label in _SHORT else 6) and count <= 18):
            yield _finding(scheme.kind, match, scheme.module if valid else "label", 0.9 if valid else 0.75)
    yield from _shaped(view)


def is_valid(module: str, number: str) -> bool:
    """Whether `stdnum.<module>` accepts `number`."""
    return bool(_validator(module)(number))


def _shaped(view: View) -> Iterator[Finding]:
    """Numbers with a checksum whose shape is rare enough to need no label."""
    shapes = _shapes()
    for start in view.codes:
        if _LIKELY.match(view.text, start) is None:
            continue
        if not view.text[start].isdecimal() or view.text.startswith(_EMIRATES, start):
            if (told := _TOLD.match(view.text, start)) is not None:
                yield _finding("national_id", told, "format", 0.8)
            nino = _NINO.match(view.text, start)
        else:
            nino = _NINO.match(view.text, start - 3) if start >= 3 and view.text[start - 2].isupper() else None
        if nino and nino[0][:2] not in _NOT_NINO:
            yield _finding("national_id", nino, "gb.nino format", 0.8)
        match = shapes.match(view.text, start)
        if match is None:
            continue
        scheme = _SHAPED[int(str(match.lastgroup)[1:])]
        if len(set(match[0])) > 3 and is_valid(scheme.module, match[0]):
            yield _finding(scheme.kind, match, scheme.module, 0.8)


@cache
def _shapes() -> re.Pattern[str]:
    """All shapes in one expression."""
    parts: list[str] = []
    for number, scheme in enumerate(_SHAPED):
        shape = scheme.shape.replace("([ -])", f"(?P<r{number}>[ -])").replace(r"\1", f"(?P=r{number})")
        parts.append(f"(?P<s{number}>{shape}(?![\\w]|[.-][0-9]))")
    return re.compile("|".join(parts), re.ASCII)


@cache
def _validator(module: str) -> Callable[[str], object]:
    validator: Callable[[str], object] = import_module(f"stdnum.{module}").is_valid
    return validator


def _finding(kind: str, match: re.Match[str], validator: str, confidence: float) -> Finding:
    return Finding(
        type=kind, start=match.start(), end=match.end(), detector="national", validator=validator, confidence=confidence
    )
