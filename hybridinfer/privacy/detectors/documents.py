"""Numbers of documents and records beside their label: passport, driving licence, medical records, badges, plates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..finding import Finding
from .labels import labelled
from .view import View

_LABELS: Mapping[str, tuple[str, ...]] = {
    "passport": (
        "passport", "pasaporte", "passeport", "reisepass", "passnummer", "passaporto", "passaporte", "paspoort",
        "paszport", "paszportu", "护照",
    ),
    "driver_licence": (
        "driver's license", "drivers license", "driver license", "driver's licence", "drivers licence", "driver licence",
        "driverlicense", "driverslicense", "driving licence", "driving license", "dl", "dln", "licence number",
        "license number", "permiso de conducir", "carnet de conducir", "permis de conduire", "führerschein",
        "führerscheinnummer", "patente di guida", "carta de condução", "rijbewijs", "prawo jazdy", "prawa jazdy",
    ),
    "medical_id": (
        "mrn", "medical record", "medical record number", "patient id", "patientid", "patient number", "npi", "dea",
        "dea number", "member id", "memberid", "health insurance", "health plan", "health card", "health id",
        "insurance id", "insurance number", "policy holder id", "medicare", "medicaid", "nhs number", "nhs no", "nhs",
        "beneficiary", "nhc", "número de historia", "nass", "asegurado", "prescription", "rx number", "krankenversichertennummer",
        "versichertennummer", "numéro de sécurité", "carte vitale", "chart number", "hospital number", "encounter id",
    ),
    "other_id": (
        "employee id", "employeeid", "employee number", "emp id", "badge number", "badge id", "student id", "license plate",
        "licence plate", "plate number", "vin", "vehicle identification", "imei", "imsi", "voter id", "visa number",
        "green card", "alien registration", "device id", "numer rejestracyjny", "matrícula", "kennzeichen", "military id",
    ),
}  # fmt: skip
_TYPE = {label: kind for kind, labels in _LABELS.items() for label in labels}


def detect(view: View) -> Iterator[Finding]:
    """Numbers that follow the name of a document."""
    if not view.near:
        return
    for label, match in labelled(view, _TYPE):
        if sum(map(str.isdecimal, match[0])) >= 4:
            yield Finding(
                type=_TYPE[label],
                start=match.start(),
                end=match.end(),
                detector="documents",
                validator="label",
                confidence=0.8,
            )
