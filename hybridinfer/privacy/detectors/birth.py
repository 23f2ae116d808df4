"""Dates of birth: a date beside a word for birth."""

from __future__ import annotations

from collections.abc import Iterator

from ..finding import Finding
from .hints import hints
from .lazy import lazy
from .view import View

_CUES = (
    "date of birth", "birth date", "birthdate", "birthday", "dob", "d.o.b", "born on", "born", "geburtsdatum", "geboren",
    "date de naissance", "né le", "née le", "fecha de nacimiento", "nacido", "nacida", "nació", "nací", "nasceu", "nasci", "naquit", "nacque", "(b.", "data di nascita", "nato il", "nata il",
    "data de nascimento", "nascido", "nascida", "geboortedatum", "data urodzenia", "urodzon", "födelsedatum", "fødselsdato",
    "出生日期", "生年月日", "生日", "출생", "생년월일", "geb.", "geb", "дата рождения", "родился", "родилась", "дата народження", "дата на раждане",
    "datum narození", "narozen", "narozena", "dátum narodenia", "doğum tarihi", "doğum tarihim", "ημερομηνία γέννησης", "γεννήθηκα", "syntymäaika", "synt.",
    "data nașterii", "născut", "născută", "született", "születési idő", "születési dátum", "tanggal lahir", "tgl lahir", "lahir", "ngày sinh",
    "วันเกิด", "תאריך לידה", "تاريخ الميلاد", "जन्म तिथि", "जन्मतिथि", "datum rođenja", "gimimo data", "sünniaeg",
)  # fmt: skip
_STEMS = hints(
    "birth", "dob", "(b.", "naqui", "nacq", "d.o.b", "born", "geb", "naiss", "né", "nac", "nasc", "nato il", "nata il", "urodz", "föd", "fød", "生", "출생", "생년",
    "рожд", "родил", "народж", "раждан", "naroz", "naroden", "doğum", "γένν", "γεννή", "syntym", "synt.", "nașt", "născ", "szület", "lahir", "ngày sinh",
    "วันเกิด", "לידה", "الميلاد", "जन्म", "rođen", "gimimo", "sünni",
)  # fmt: skip
"""One of them is in every cue."""
_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|ene|abr|ago|dic|fév|avr|mai|juin|juil|août|déc|mär|okt|dez|gen|mag|giu|lug|set|ott)[a-zéûä]{0,9}\.?"
_DATE = lazy(
    r"[^\n\w]{0,6}(?:(?:is|was|on|le|el|il|am|em|the|ist|est|es|è|é|är|er|to|jest|pada|είναι|है|היא)\b[^\n\w]{1,4}){0,3}"
    r"(?P<date>[0-9]{1,4}[-/.][0-9]{1,2}[-/.][0-9]{1,4}(?![0-9])"
    rf"|[0-9]{{1,2}}(?:st|nd|rd|th)?[ .]{{1,2}}(?:of |de )?{_MONTH}[ ,]{{1,2}}(?:de )?[0-9]{{4}}"
    rf"|{_MONTH} [0-9]{{1,2}}(?:st|nd|rd|th)?,? [0-9]{{4}}"
    r"|[0-9]{4}年[0-9]{1,2}月[0-9]{1,2}日)"
)
_LONG_AGO = lazy(r"(?<![0-9])1[0-8][0-9]{2}(?![0-9])")
"""Years in which nobody alive was born."""
_YEAR = lazy(r"[0-9](?:[0-9]{3}|[-/.][0-9])")


def detect(view: View) -> Iterator[Finding]:
    """Full dates after a word for birth."""
    if not view.hinted(_STEMS) or _YEAR.search(view.text) is None:
        return
    for cue in _CUES:
        if cue not in view.flat:
            continue
        for at in view.words(cue):
            match = _DATE.match(view.lower, at + len(cue))
            if match is not None and not _LONG_AGO.search(match["date"]):
                yield Finding(
                    type="date_of_birth",
                    start=match.start("date"),
                    end=match.end("date"),
                    detector="birth",
                    validator="label",
                    confidence=0.8,
                )
