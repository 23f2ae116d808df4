"""What holds for every text: masking loses nothing, leaves nothing, and repeats itself."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from hybridinfer.privacy.detectors import COMPANION, scan
from hybridinfer.privacy.redact import Vault

VALUES = st.sampled_from(
    [
        "jo@corp.io",
        "JO@corp.io",
        "4111 1111 1111 1111",
        "4111111111111111",
        "219-09-9999",
        "+41 44 668 18 00",
        "the password is hunter2",
        "password: hunter2",
        "DE89 3704 0044 0532 0130 00",
        "93.184.216.34",
        "221B Baker Street",
        "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8",
        "my name is Jane Roe",
        "[EMAIL_1_abcd]",
        "jo%40corp.io",
        "am9obkBjb3JwLmlvIGlzIG15IGVtYWls",
    ]
)
TEXTS = st.lists(st.one_of(VALUES, st.text(max_size=20)), max_size=8).map(" ".join)


@given(st.one_of(TEXTS, st.text(max_size=200)))
def test_restoring_undoes_masking(text: str) -> None:
    """Any text comes back exactly."""
    vault = Vault([text])
    assert vault.restore(vault.mask(text, scan(text))) == text


@given(TEXTS, st.data())
def test_restoring_a_stream_undoes_masking(text: str, data: st.DataObject) -> None:
    """Any text comes back exactly, cut into any pieces."""
    vault = Vault([text])
    hidden = vault.mask(text, scan(text))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(hidden)), max_size=12)))
    edges = [0, *cuts, len(hidden)]
    restorer = vault.restorer()
    pieces = [restorer.feed(hidden[start:end]) for start, end in pairwise(edges)]
    assert "".join(pieces) + restorer.flush() == text


@given(st.lists(VALUES, min_size=1, max_size=6).map(" | ".join))
def test_masking_is_idempotent(text: str) -> None:
    """A masked text is masked already."""
    vault = Vault([text])
    hidden = vault.mask(text, scan(text))
    assert vault.mask(hidden, scan(hidden)) == hidden


@given(st.lists(VALUES, min_size=1, max_size=6).map(" | ".join))
def test_no_finding_survives_masking(text: str) -> None:
    """Neither its text, nor anything else that could be found."""
    findings = scan(text)
    hidden = Vault([text]).mask(text, findings)
    assert [f for f in scan(hidden) if f.type not in COMPANION] == []
    for finding in findings:
        assert text[finding.start : finding.end] not in hidden
