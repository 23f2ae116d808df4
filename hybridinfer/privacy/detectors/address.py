"""Postal addresses: a house number with a street, in the word orders of several languages; post-office boxes."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..finding import Finding
from .hints import hints
from .lazy import lazy
from .view import View

_KINDS = (
    "Street|St|Avenue|Ave|Av|Road|Rd|Boulevard|Blvd|Lane|Ln|Drive|Dr|Court|Ct|Circle|Cir|Way|Place|Pl|Terrace|Ter|Tce|Parkway|Pkwy"
    "|Square|Sq|Highway|Hwy|Trail|Trl|Loop|Crescent|Cres|Close|Mews|Row|Alley|Walk|Grove|Gardens|Plaza|Plz|Turnpike|Pike|Path"
    "|Crossing|Quay|Wharf|Esplanade|Parade|Heights|Hill|Run|Point|Broadway"
)
_UNIT = r"(?:,?\s+(?:Apt|Apartment|Suite|Ste|Unit|Floor|Fl|Flat|Room|Rm|No|#)\.?\s*#?[\w-]{1,6})?"
_TOWN = r"(?:,?\s+[A-Z][\w .'’-]{1,30})?(?:,?\s+[A-Z]{2},?\s+[0-9]{5}(?:-[0-9]{4})?)?"
_ENGLISH = lazy(
    r"[0-9]{1,6}(?:-[0-9]{1,4})?[A-Za-z]?,?[ \n]{1,3}(?:(?:[NSEW]|[NS][EW]|North|South|East|West)\b\.?\s+)?"
    r"(?:[A-Z0-9][\w'’.-]{0,24}\s+){1,4}?(?:"
    + _KINDS
    + r")\b\.?(?:\s+(?:NW|NE|SW|SE|North|South|East|West|[NSEW])\b)?"
    + _UNIT
    + _TOWN
)
_ROMANCE = lazy(
    r"(?<!\w)(?:(?:Calle|Avenida|Plaza|Paseo|Carrer|Rua|Rúa|Travessa|Praça|Via|Viale|Corso|Piazza|Largo|[Rr]ue|[Aa]venue|[Bb]oulevard|[Aa]llée"
    r"|[Cc]hemin|[Qq]uai|[Uu]lica|[Aa]leja|Strada|Bulevardul|улица|проспект)[ ]|(?:C/|Avda\.|Av\.|ul\.|Str\.|ул\.|пр\.)[ ]?)"
    r"[^\W\d_][\w .'’ºª-]{1,40}?,?[ ]?(?:n[ºo°]\.?[ ]?|núm\.?[ ]?)?[0-9]{1,5}(?:[ ]?[A-Za-z]\b)?(?:[/ m.]{1,4}[0-9]{1,4})?(?!\w)"
)
_FRENCH = lazy(
    r"[0-9]{1,5}(?:\s?(?:bis|ter|quater))?,?\s(?:(?:rue|av\.|boulevard|bd|allée|chemin|quai)\s(?:(?:de|du|des|la|le|les|d'|l'|aux?)\s?){0,3}[^\W\d_]"
    r"|(?:avenue|place|impasse|route|cours|square|passage)\s(?:(?:(?:de|du|des|la|le|les|aux?)\s|d'|l'){1,3}[^\W\d_]|[A-ZÀ-Ý]))"
    r"[\w'’-]{1,30}(?:\s[A-ZÀ-Ý][\w'’-]{1,30}){0,3}"
)
_GERMANIC = lazy(
    r"[A-ZÄÖÜÅØÆ](?<!\w.)[\w.-]{1,40}(?:straße|strasse|str\.|weg|platz|allee|gasse|ring|damm|ufer|steig|straat|laan|plein|gracht|kade|dijk|gatan|vägen|gata|vei|veien|gade|vej|katu|tie)"
    r"\s[0-9]{1,4}(?:\s?[a-zA-Z]\b)?(?!\w)"
    r"|[A-ZÄÖÜ](?<!\w.)[\w-]{1,30}[ -](?:Straße|Strasse|Str\.|Weg|Platz|Allee|Ring)\s[0-9]{1,4}(?:\s?[a-z]\b)?(?!\w)"
)
_LOWER_CASE = lazy(
    r"(?<!\w)(?:via|viale|corso|piazza|largo|calle|avenida|plaza|paseo|rua|travessa)[ ][^\W\d_][\w .'’-]{1,40}?,?[ ]?[0-9]{1,5}(?:[ ]?[A-Za-z]\b)?(?!\w)"
)
"""As people type it; it needs the town after it (`_TAIL`)."""
_TAIL = lazy(
    r"(?:(?:\s?[/-]\s?[0-9]{1,4})?(?:,?\s+[0-9]{1,2}\s?[º°ª](?:\s?[A-Za-z]{1,4}\b)?)?,?\s+(?:[A-Z]{1,2}-)?(?:[0-9]{4,5}|[0-9]{3} [0-9]{2}|[0-9]{2}-[0-9]{3})(?![0-9])(?:\s?[A-Z]{2}\b)?"
    r"|,?(?:\s+[A-Z][\w'’-]{1,20}){1,3},?\s+[A-Z]{2},?\s+[0-9]{5})(?:[ ]+[A-ZÀ-Ý][\w'’-]{1,30}){0,2}"
)
"""Floor, postal code and town after a street."""
_BOX = lazy(
    r"(?:P\.?\s?O\.?\s?Box|Post(?:\s?[Oo]ffice)?\s?[Bb]ox|PO BOX|Postfach|Apartado|Casella Postale|Boîte Postale|Postbus|Postboks)\s+#?[0-9]{1,6}\b"
)
_ASIAN = lazy(
    r"[\u4e00-\u9fff]{2,12}(?:路|街|道|巷)[0-9]{1,5}(?:号|號)(?:[0-9]{1,4}(?:栋|幢|楼|单元|室|层|號|号|樓)){0,4}"
    r"|(?:〒?[0-9]{3}-[0-9]{4} ?)?[\u4e00-\u9fff]{1,8}[都道府県市区町村][\u4e00-\u9fff\u3040-\u30ff]{1,12}[0-9]{1,3}[-丁][0-9]{1,3}(?:[-番目][0-9]{1,4}){0,2}(?: ?[\u3040-\u30ff\u4e00-\u9fff]{2,20}[0-9]{1,4}(?:号室|号)?)?"
)
_CYRILLIC = lazy(
    r"(?:ул\.|улица|вул\.|пр-?т\.?|просп\.|проспект|пер\.|переулок|наб\.|ш\.|шоссе|бул\.|бульвар|пл\.)\s?[А-Яа-яЁёІіЇїЄє][А-Яа-яЁёІіЇїЄє .-]{1,40},?\s?(?:д\.|дом|буд\.)?\s?[0-9]{1,4}[А-Яа-я]?(?:,?\s?(?:кв\.|корп\.|к\.|стр\.)\s?[0-9]{1,4}){0,2}"
)
_KOREAN = lazy(
    r"[가-힣]{1,10}(?:시|도|구|군)\s(?:[가-힣0-9]{1,12}\s){0,3}[가-힣0-9]{1,12}(?:로|길|동)\s?[0-9]{1,4}(?:-[0-9]{1,4})?"
)
_SCRIPTS = tuple(
    (lazy(script), pattern)
    for script, pattern in (("[\u4e00-\u9fff]", _ASIAN), ("[\u0400-\u04ff]", _CYRILLIC), ("[가-힣]", _KOREAN))
)
_MILITARY = lazy(
    r"(?i)(?:(?:PSC|Unit|CMR)\s[0-9]{1,5},?\sBox\s[0-9]{1,5}(?:[\s,]{1,3}[AFD]PO,?\sA[AEP]\s[0-9]{5})?|\b[AFD]PO,?\sA[AEP]\s[0-9]{5}(?:-[0-9]{4})?)\b"
)
_WITH_UNIT = lazy(
    r"[0-9]{1,6}[A-Za-z]?,?\s[^\W\d_][^\n,]{2,60}?[,\n]?[\s>?|*]{0,8}"
    r"(?:suite|ste\.?|apt\.?|apartment|unit|flat|appartement|wohnung|piso|interno|lägenhet)\s?#?[0-9]{1,5}[A-Za-z]?(?!\w)",
    re.IGNORECASE,
)
_CUES = frozenset({
    "address", "addr", "dirección", "adresse", "indirizzo", "endereço", "live", "lives", "lived", "living",
    "reside", "resides", "residing", "located", "based", "ship", "shipped", "deliver", "delivered", "mail",
    "mailed", "return", "sent", "meet", "off", "up", "moved", "move", "corner", "office", "taxi", "anschrift", "wohnhaft",
    "adres", "adresa", "osoite", "cím", "lakcím", "wohne", "wohnt",
})  # fmt: skip
_LABEL = lazy(
    r"\b(?:anschrift|wohnhaft|wohn[et]|adresa?|osoite|(?:lak)?cím|address|addr|dirección|adresse|indirizzo|endereço|li(?:ve|ves|ved|ving)|resid(?:e|es|ed|ing)|located|based|ship(?:ped)?|deliver(?:ed)?"
    r"|mail(?:ed)?|return|corner of(?: the)?|sent|meet(?: me| us)?|drops? (?:you|me|us) off|pick (?:you|me|us) up|moved?|office is|taxi)\b['\"]?\s?[:=]?\s{0,6}(?:(?:is|are|at|on|to|in|it is)\s){0,2}[\"']?"
)
_NO_STREET = frozenset({"for", "if", "or", "else", "when", "and", "by", "with", "than", "times", "plus", "minus"})
_HOME = lazy(r"(?:li(?:ves?|ving)|resid(?:es?|ing)) (?:at|on) |corner of (?:the )?")
_AT_HOME = lazy(r"[0-9]{1,6}[a-z]?,? (?:[0-9]{1,4} )?(?:[^\W\d_][\w'’.-]{0,24}[ ]?){1,5}")
_LABELLED = lazy(
    r"[0-9]{1,6}[A-Za-z]?,?\s(?:[0-9]{1,4}\s)?(?:[^\W\d_][\w'’.-]{0,24}[ ,]{1,2}){1,5}[0-9]{1,5}(?!\w)"
    r"|(?!(?:January|February|March|April|May|June|July|August|September|October|November|December|Page|Chapter|Section|Table|Figure|Step|Level|Room|Day|Week)\s[0-9])"
    r"[A-ZÀ-Ý][\w'’.-]{1,24}(?:\s[A-ZÀ-Ý][\w'’.-]{1,24}){0,3}\s(?!(?:19|20)[0-9]{2}\b)[0-9]{1,5}[A-Za-z]?(?=[,.;]?(?:\s|$))"
)
_NUMBER = re.compile(
    r"[0-9](?<![\w.$€£-][0-9])(?:(?<![0-9][\s\S][0-9])|(?![0-9]{0,5}[\s\S][0-9]))[0-9]{0,5}(?![0-9])(?=[A-Za-z]{0,6}[,.;:)\"']?(?:\s|$)|[-/][0-9])"
)
"""A number that may be a house's: not one in the middle of a row of numbers."""
_STREET_FOLLOWS = lazy(r"[0-9]{1,6}(?:-[0-9]{1,4})?[A-Za-z]{0,6},?\s{1,3}(?:bis\s|ter\s|[0-9]{1,4}\s)?([^\W\d_]+)")
_AFTER, _BEFORE, _LEAD = 90, 60, 50
"""How far a street may stand from its number, in characters."""
_STREETS = frozenset(_KINDS.lower().split("|"))
_FRENCH_STREETS = frozenset({
    "rue", "avenue", "av", "boulevard", "bd", "place", "allée", "chemin", "impasse", "quai", "route", "cours",
    "square", "passage",
})  # fmt: skip
_UNITS = frozenset(
    {"suite", "ste", "apt", "apartment", "unit", "flat", "appartement", "wohnung", "piso", "interno", "lägenhet"}
)
_UNIT_ALONE = lazy(r"\b(?:Suite|Ste\.?|Apt\.?|Apartment)\s#?[0-9]{1,5}[A-Za-z]?(?!\w)")
_UNIT_HINTS = hints(
    "suite ", "ste ", "ste.", "apt ", "apt.", "apartment ", "unit ", "flat ", "appartement ", "wohnung ", "piso ",
    "interno ", "lägenhet ",
)  # fmt: skip
_HEADS = frozenset({
    "calle", "c", "avda", "avenida", "plaza", "paseo", "carrer", "rua", "rúa", "travessa", "praça", "via",
    "viale", "corso", "piazza", "largo", "rue", "avenue", "av", "boulevard", "allée", "chemin", "quai", "ul",
    "os", "ulica", "aleja", "strada", "str", "bulevardul", "улица", "ул", "проспект", "пр",
})  # fmt: skip
_TAILS = (
    "straße", "strasse", "str", "weg", "platz", "allee", "gasse", "ring", "damm", "ufer", "steig", "straat",
    "laan", "plein", "gracht", "kade", "dijk", "gatan", "vägen", "gata", "vei", "veien", "gade", "vej", "katu",
    "tie",
)  # fmt: skip
_BOXES = hints(" box", "postfach", "apartado", "casella", "boîte", "postbus", "postboks", "apo", "fpo", "dpo")


def detect(view: View) -> Iterator[Finding]:
    """Postal addresses exact to the house or the box: every number looks whether a street stands around it."""
    if not view.has_digit:
        return
    text, end = view.text, 0
    read_to, cue = 0, -1
    has_unit: bool | None = None
    for number in _NUMBER.finditer(text):
        start = number.start()
        if start < end:
            continue  # inside an address already
        if has_unit is None:
            has_unit = view.hinted(_UNIT_HINTS)
        lead = max(0, start - _LEAD)
        if not _CUES.isdisjoint(view.lower[max(lead, read_to) : start].replace(":", " ").split()):
            cue = start
        read_to = start
        match = _after(view, start, has_unit=has_unit) or _before(view, start)
        if match is None and cue >= lead:
            match = _labelled(view, start)
        if match is not None:
            tail = _TAIL.match(text, match.end())
            end = match.end() if tail is None else tail.end()
            yield _finding(match, end)
    if view.hinted(_BOXES):
        for pattern in (_BOX, _MILITARY):
            yield from map(_finding, pattern.finditer(text))
    if not text.isascii():
        for script, pattern in _SCRIPTS:
            if script.search(text):
                yield from map(_finding, pattern.finditer(text))


def _after(view: View, start: int, *, has_unit: bool) -> re.Match[str] | None:
    """`12 Baker Street`, `4 bis rue de la Paix`, `7 Main, Apt. 3`."""
    text = view.text
    follows = _STREET_FOLLOWS.match(text, start)
    if follows is None:
        return None
    first = follows[1]
    if not (has_unit or first[0].isupper() or first in _FRENCH_STREETS):
        return None
    match = None
    if view.nearby(_STREETS, start, start + _AFTER):
        match = _ENGLISH.match(text, start)
    if match is None and view.nearby(_FRENCH_STREETS, start, start + _AFTER):
        match = _FRENCH.match(text, start)
    if match is None and has_unit and view.nearby(_UNITS, start, start + _AFTER):
        match = _WITH_UNIT.match(text, start)
    return match


def _labelled(view: View, start: int) -> re.Match[str] | None:
    """`lives at 31 Al Bakri`, `address: Bygget 64`: weaker forms, told by the words before them."""
    lead = max(0, start - _LEAD)
    for cue in _LABEL.finditer(view.lower, lead, start):
        match = _LABELLED.match(view.text, cue.end())
        if match is not None and not _NO_STREET.isdisjoint(match[0].split()):
            match = None  # return 1 for yes and 0 for no
        if match is None and _HOME.fullmatch(cue[0]):
            match = _AT_HOME.match(view.text, cue.end())
        if match is not None and match.start() <= start < match.end():
            return match
    return None


def _before(view: View, start: int) -> re.Match[str] | None:
    """`Calle Mayor 7`, `Lindenstraße 12`."""
    text = view.text
    if start < 4 or not (text[start - 1].isspace() or text[start - 1] in "º°."):
        return None
    last = text[text.rfind(" ", max(0, start - _BEFORE), start - 1) + 1 : start - 1]
    tail = last.rstrip(".,º° ")
    if not last or not (last[0].isupper() or tail.endswith(_TAILS) or last[-1] in ".,º°"):
        return None
    patterns = []
    if last.rstrip(".#") in ("Suite", "Ste", "Apt", "Apartment"):
        patterns.append(_UNIT_ALONE)
    if view.nearby(_HEADS, max(0, start - _BEFORE), start):
        patterns += (_ROMANCE, _LOWER_CASE)
    if tail.lower().endswith(_TAILS):
        patterns.append(_GERMANIC)
    for pattern in patterns:
        for match in pattern.finditer(text, max(0, start - _BEFORE), start + 40):
            if match.start() < start < match.end() and (pattern is not _LOWER_CASE or _TAIL.match(text, match.end())):
                return match
    return None


def _finding(match: re.Match[str], end: int | None = None) -> Finding:
    return Finding(
        type="address",
        start=match.start(),
        end=match.end() if end is None else end,
        detector="address",
        validator="format",
        confidence=0.8,
    )
