"""Readings: what a model would read, with the way back to the characters that were given."""

from __future__ import annotations

import base64
import urllib.parse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridinfer.privacy.detectors import scan
from hybridinfer.privacy.finding import Finding
from hybridinfer.privacy.normalise import readings

MAIL = "jane.roe@corp.io"


def spans(text: str) -> list[str]:
    return [text[f.start : f.end] for f in scan(text) if f.type == "email"]


@pytest.mark.parametrize(
    "disguise",
    [
        "jane.roe＠corp.io",
        "jane.roe@corp。io",
        "ｊａｎｅ.ｒｏｅ@ｃｏｒｐ.ｉｏ",
        "jan\u200be.roe@co\u00adrp.io",
        "jаne.roe@соrp.io",  # Cyrillic а, с, о
        "jane.roe%40corp.io",
        "jane%2Eroe%40corp%2Eio",
        r"jane.roe\u0040corp.io",
        r"jane.roe\x40corp.io",
        "jane.roe&#64;corp.io",
        "jane.roe&commat;corp.io",
    ],
)
def test_disguised_addresses_are_found_whole(disguise: str) -> None:
    """Look-alikes, invisible characters and escapes hide nothing, and the span covers the disguise."""
    assert spans(f"write to {disguise} now") == [disguise]


@pytest.mark.parametrize(
    "disguise", ["４１１１ １１１１ １１１１ １１１１", "٤١١١١١١١١١١١١١١١", "𝟒𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏", "4111–1111–1111–1111"]
)
def test_digits_of_every_script_are_digits(disguise: str) -> None:
    """Full-width, Arabic and mathematical digits make a card number too, as do odd hyphens."""
    assert [(f.type, f.start, f.end) for f in scan(disguise)] == [("payment_card", 0, len(disguise))]


def test_an_encoded_blob_is_found_as_a_whole() -> None:
    """What base64 holds cannot be cut out of it: all of the blob is the finding."""
    blob = base64.b64encode(f"my mail is {MAIL}".encode()).decode()
    assert spans(f"decode {blob} please") == [blob]


def test_encodings_within_encodings_are_opened_three_deep() -> None:
    """Percent-encoded base64 of base64 is opened as well."""
    inner = base64.b64encode(base64.b64encode(f"my mail is {MAIL}".encode())).decode()
    assert spans(urllib.parse.quote(inner + "%41"))


@pytest.mark.parametrize(
    "blob",
    [
        "550e8400e29b41d4a716446655440000",
        "aGVsbG8",
        "AAAAAAAAAAAAAAAAAAAAAAAA",
        base64.b64encode(bytes(range(60))).decode(),
    ],
)
def test_blobs_without_text_are_left_alone(blob: str) -> None:
    """Hashes, short words and binary data have no second reading."""
    assert [reading.text for reading in readings(blob)] == [blob]


def test_words_in_one_script_keep_it() -> None:
    """Russian is not turned into Latin look-alikes unless a word mixes both."""
    (reading,) = readings("высота")
    assert reading.text == "высота"


def test_json_escapes_are_opened_at_once() -> None:
    """As JSON, the first reading is already unescaped."""
    first, *_ = readings(r'"a\n\"b\u00e9"', as_json=True)
    assert first.text == '"a\n"bé"'


@given(st.text(alphabet="ab１２\u200b–％%41&#64;\\u00", max_size=60), st.integers(0, 60), st.integers(1, 20))
def test_every_span_of_every_reading_maps_back_into_the_text(text: str, start: int, length: int) -> None:
    """Any reading, any span: its origin lies within the given text, in order."""
    for reading in readings(text):
        if start + length > len(reading.text):
            continue
        finding = Finding(type="t", start=start, end=start + length, detector="d", validator="v", confidence=1)
        origin = reading.original(finding)
        assert 0 <= origin.start < origin.end <= len(text)
