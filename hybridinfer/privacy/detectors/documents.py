"""Numbers of documents and records beside their label: passport, driving licence, medical records, badges, plates."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from ..finding import Finding
from .hints import hints, labels
from .labels import labelled, loosely
from .lazy import lazy
from .view import View, digits

_LABELS: Mapping[str, tuple[str, ...]] = {
    "passport": (
        "passport", "pasaporte", "passeport", "reisepass", "passnummer", "passaporto", "passaporte", "paspoort",
        "paszport", "paszportu", "护照", "護照", "旅券", "パスポート", "여권", "паспорт", "паспорта", "паспорту", "passnr",
        "passi", "pasport", "पासपोर्ट", "جواز", "דרכון", "หนังสือเดินทาง", "hộ chiếu", "cestovní pas", "útlevél", "pașaport", "διαβατήριο", "διαβατηρίου", "pasaport", "загранпаспорт",
    ),
    "driver_licence": (
        "driver's license", "drivers license", "driver license", "driver's licence", "drivers licence", "driver licence",
        "driverlicense", "driverslicense", "driving licence", "driving license", "dl", "dln", "licence number",
        "license number", "licence no", "license no", "licence #", "license #", "permiso de conducir", "carnet de conducir", "permis de conduire", "führerschein",
        "führerscheinnummer", "driving permit", "driver id", "driver permit", "licencia de conducir", "licence de conduire", "körkort",
        "førerkort", "kørekort", "ajokortti", "sürücü belgesi", "водительское удостоверение", "водительских прав", "驾驶证", "驾照",
        "運転免許", "운전면허", "carteira de motorista", "carteira nacional", "cnh", "patente di guida", "patente", "carta de condução", "rijbewijs", "prawo jazdy", "prawa jazdy",
        "driver number", "dvla", "ehliyet", "jogosítvány", "řidičský průkaz", "permis auto", "רישיון נהיגה", "رخصة القيادة", "ड्राइविंग लाइसेंस",
    ),
    "medical_id": (
        "mrn", "medical record", "medical record number", "patient id", "patientid", "patient number", "npi", "dea",
        "dea number", "member id", "memberid", "health insurance", "health plan", "health card", "health id",
        "insurance id", "insurance number", "policy holder id", "medicare", "medicaid", "nhs number", "nhs no", "nhs",
        "beneficiary", "nhc", "número de historia", "nass", "asegurado", "prescription", "rx number", "krankenversichertennummer",
        "versichertennummer", "numéro de sécurité", "carte vitale", "chart number", "hospital number", "encounter id",
        "chart no", "chart #", "hospital no", "patient no", "patient #", "policy number", "policy no", "policy #", "subscriber id",
        "subscriber number", "member number", "member #", "claim number", "claim id", "claim no", "uhid", "ohip", "ramq",
        "kvnr", "krankenkasse", "versichertennr", "historia clínica", "historia clinica", "nuss", "seguridad social", "tessera sanitaria",
        "numéro d'assuré", "numéro de dossier", "dossier médical", "dossiernummer", "patientennummer", "fallnummer", "patiëntnummer",
        "abha", "ihi", "medical id", "health number", "health record", "accession number", "accession no", "lab id",
        "病历号", "病歴番号", "診察券", "номер карты пациента", "полис", "полис омс", "омс", "prontuário", "cartão sus",
        "medical license", "medical licence", "case id", "admission number", "visit number", "ipp", "mbi", "número de paciente",
        "numero paciente", "patient identifier", "cartella clinica", "patientnummer", "journalnummer", "患者番号", "환자번호", "患者编号", "住院号",
    ),
    "other_id": (
        "employee id", "employeeid", "employee number", "emp id", "badge number", "badge id", "student id", "license plate",
        "licence plate", "plate number", "vin", "vehicle identification", "imei", "imsi", "voter id", "visa number",
        "green card", "alien registration", "device id", "numer rejestracyjny", "employee no", "staff id", "staff number", "personnel number", "personalnummer", "matrikelnummer",
        "student number", "student no", "license tag", "badge no",
        "chassis number", "serial number of my", "passenger name record", "pnr",
        "kundennummer", "numéro client", "número de cliente", "loyalty number", "frequent flyer", "matrícula", "kennzeichen", "military id",
    ),
}  # fmt: skip
_MRZ = lazy(r"\b[PIAC][A-Z<][A-Z]{3}[A-Z<]{3,40}<<[A-Z<]{1,40}(?:\s{1,2}[A-Z0-9<]{30,44})?")
"""First line of a travel document's machine-readable zone (ICAO 9303), and the second where it follows."""
_TYPE = {label: kind for kind, labels in _LABELS.items() for label in labels}
_ALL = labels(*_TYPE)
_NAMED_TYPE = {
    **dict.fromkeys((
        "passport", "pasaporte", "passeport", "reisepass", "passaporto", "passaporte", "paspoort", "paszport", "паспорт",
        "पासपोर्ट", "护照", "護照", "パスポート", "여권",
    ), "passport"),
    **dict.fromkeys((
        "driver's license", "drivers license", "driver license", "driver's licence", "drivers licence", "driver licence",
        "driving licence", "driving license", "driver number", "dvla", "führerschein", "patente", "rijbewijs", "permis de conduire",
        "carnet de conducir", "permiso de conducir", "licencia de conducir",
    ), "driver_licence"),
    **dict.fromkeys(("beneficiary identifier", "krankenversichertennummer", "medical record", "patient ipp"), "medical_id"),
}  # fmt: skip
_NAMED = hints(*_NAMED_TYPE)
"""Documents whose number is told without its label too: `passport, mine is C29624249`."""
_CODE = lazy(
    r"(?=[A-Z]{0,8}[0-9])[A-Z0-9]{7,18}(?!\w)|[0-9][A-Z0-9]{3}-[A-Z0-9]{3}-[A-Z0-9]{4}(?!\w)"
    r"|[0-9]{2} ?[0-9]{2},? ?(?:№|N|номер) ?[0-9]{6}(?!\w)"
)
"""A number as printed, an American Medicare number, a Russian passport's series and number."""
_LEAST, _LEAST_ALONE = 3, 7
"""Digits of a code beside letters, and of one without."""
_DATE = lazy(r"(?:19|20)[0-9]{6}|[0-3][0-9][01][0-9](?:19|20)[0-9]{2}")


def detect(view: View) -> Iterator[Finding]:
    """Numbers that follow the name of a document."""
    if "<<" in view.text:
        for match in _MRZ.finditer(view.text):
            yield _finding("passport", match, "machine-readable zone", 0.95)
    for name in sorted(view.hints & _NAMED) if view.hinted(_NAMED) else ():
        for at in view.words(name):
            far = loosely(view, at + len(name), _CODE)
            if far is not None and _is_code(far[0]):
                yield _finding(_NAMED_TYPE[name], far, "label", 0.7)
    if not view.near:
        return
    for label, match in labelled(view, _ALL):
        if sum(map(str.isdecimal, match[0])) >= 4:
            yield _finding(_TYPE[label], match, "label", 0.8)


def _is_code(value: str) -> bool:
    """Whether `value` is no date, no amount and no word with a number."""
    count = len(digits(value))
    if not value.isdecimal():
        return count >= _LEAST
    return count >= _LEAST_ALONE and not value.endswith("000") and _DATE.fullmatch(value) is None


def _finding(kind: str, match: re.Match[str], validator: str, confidence: float) -> Finding:
    return Finding(
        type=kind,
        start=match.start(),
        end=match.end(),
        detector="documents",
        validator=validator,
        confidence=confidence,
    )
