"""Placeholders: stable within one request, exact on the way back, whole in streams."""

from __future__ import annotations

import json

import pytest

from hybridinfer.privacy.detectors import scan
from hybridinfer.privacy.finding import Finding
from hybridinfer.privacy.redact import Vault


def masked(text: str, vault: Vault | None = None, *, as_json: bool = False) -> str:
    vault = vault or Vault(nonce="abcd")
    return vault.mask(text, scan(text, as_json=as_json), as_json=as_json)


def test_same_value_same_placeholder() -> None:
    """One address, mentioned twice, is one placeholder."""
    assert masked("jo@corp.io or jo@corp.io") == "[EMAIL_1_abcd] or [EMAIL_1_abcd]"


def test_other_spellings_share_the_entity_but_keep_their_form() -> None:
    """The number says that both are one card; the letter lets each come back as it was written."""
    vault = Vault(nonce="abcd")
    text = "4111 1111 1111 1111, then 4111111111111111, then jo@corp.io and 5555555555554444"
    hidden = masked(text, vault)
    assert hidden == "[PAYMENT_CARD_1_abcd], then [PAYMENT_CARD_1b_abcd], then [EMAIL_1_abcd] and [PAYMENT_CARD_2_abcd]"
    assert vault.restore(hidden) == text


def test_in_secrets_every_character_counts() -> None:
    """Two passwords that differ only in case are two entities."""
    assert masked("password: Hunter2x\npassword: hunter2X").count("_1_abcd") == 1


def test_learnt_values_are_masked_where_no_label_stands() -> None:
    """A password told once is hidden everywhere, in other texts too."""
    vault = Vault(nonce="abcd")
    first = "the password is hunter2"
    vault.learn(first, scan(first))
    assert vault.mask("is hunter2 right? hunter22 is not", ()) == "is [PASSWORD_1_abcd] right? hunter22 is not"


def test_placeholders_differ_between_requests() -> None:
    """The letters are drawn anew, so one request's placeholder means nothing in another."""
    assert len({masked("jo@corp.io", Vault()) for _ in range(8)}) > 1


def test_letters_that_a_text_already_holds_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing the caller wrote can be taken for a placeholder of this request."""
    drawn = iter("aaaabbbb")
    monkeypatch.setattr("hybridinfer.privacy.redact.secrets.choice", lambda _: next(drawn))
    vault = Vault(["I write [EMAIL_1_aaaa] myself"])
    assert masked("jo@corp.io", vault) == "[EMAIL_1_bbbb]"


def test_unknown_placeholders_stay_and_are_counted() -> None:
    """A number that was never given out is left as it is, and noted."""
    vault = Vault(nonce="abcd")
    masked("jo@corp.io", vault)
    assert vault.restore("[EMAIL_7_abcd] [EMAIL_1_zzzz] [EMAIL_1_abcd]") == "[EMAIL_7_abcd] [EMAIL_1_zzzz] jo@corp.io"
    assert vault.strays == 1


@pytest.mark.parametrize("mangled", ["[email_1_abcd]", "EMAIL_1_abcd", "[EMAIL 1 abcd]", r"\[EMAIL\_1\_abcd\]"])
def test_mangled_placeholders_are_left_as_they_are(mangled: str) -> None:
    """Only the exact placeholder turns back."""
    vault = Vault(nonce="abcd")
    masked("jo@corp.io", vault)
    assert vault.restore(mangled) == mangled


def test_restored_json_stays_json() -> None:
    """Quotes, newlines and backslashes of a value are escaped inside JSON strings."""
    vault = Vault(nonce="abcd")
    key = '-----BEGIN RSA PRIVATE KEY-----\nMII"\\eow\nIBAAKCAQAA\n-----END RSA PRIVATE KEY-----'
    hidden = masked(key, vault)
    assert json.loads(vault.restore(json.dumps({"key": hidden}), as_json=True)) == {"key": key}


def test_masked_json_stays_json() -> None:
    """Bare numbers become strings; escaped values are kept unescaped; the rest is untouched."""
    vault = Vault(nonce="abcd")
    text = r'{"ssn": 219099999, "to": "jo\u0040corp.io", "n": 12}'
    hidden = json.loads(masked(text, vault, as_json=True))
    assert hidden == {"ssn": "[NATIONAL_ID_1_abcd]", "to": "[EMAIL_1_abcd]", "n": 12}
    assert vault.restore(hidden["to"]) == "jo@corp.io"


def finding(start: int, end: int) -> Finding:
    return Finding(type="own_term", start=start, end=end, detector="own", validator="term", confidence=1)


def test_bare_json_numbers_are_masked_whole() -> None:
    """A finding inside a number hides all of its digits, and two inside one number hide it once."""
    assert Vault(nonce="abcd").mask("[123456]", [finding(2, 4)], as_json=True) == '["[OWN_TERM_1_abcd]"]'
    twice = [finding(2, 3), finding(4, 5)]
    assert Vault(nonce="abcd").mask("[123456]", twice, as_json=True) == '["[OWN_TERM_1_abcd]"]'


def test_a_finding_cut_through_an_escape_is_kept_as_written() -> None:
    """What cannot be unescaped comes back as it stood."""
    vault = Vault(nonce="abcd")
    text = r'"a\u00e9b"'
    assert vault.restore(vault.mask(text, [finding(1, 4)], as_json=True)) == text


def test_a_vault_shows_nothing() -> None:
    """Its text form counts, and never quotes."""
    vault = Vault()
    masked("jo@corp.io", vault)
    assert repr(vault) == "Vault(1 placeholders)"


def test_a_text_without_findings_is_the_same_text() -> None:
    """Nothing found, nothing changed."""
    assert masked("hello [EMAIL_1_abcd]") == "hello [EMAIL_1_abcd]"


def test_streams_are_restored_whatever_the_split() -> None:
    """A placeholder cut at any two places comes back whole."""
    vault = Vault(nonce="abcd")
    text = "a [b] " + masked("jo@corp.io", vault) + " [EMAIL_1"
    for first in range(len(text)):
        for second in range(first, len(text)):
            restorer = vault.restorer()
            pieces = [text[:first], text[first:second], text[second:]]
            assert "".join(map(restorer.feed, pieces)) + restorer.flush() == "a [b] jo@corp.io [EMAIL_1"


def test_only_what_can_become_a_placeholder_is_held_back() -> None:
    """Text flows on unless its end may still be the beginning of a known placeholder."""
    vault = Vault(nonce="abcd")
    masked("jo@corp.io", vault)
    restorer = vault.restorer()
    assert [restorer.feed(piece) for piece in ("hi [", "x", " [EM", "AIL_2")] == ["hi ", "[x", " ", "[EMAIL_2"]


def test_many_surface_forms_have_letters_of_their_own() -> None:
    """The 39th spelling of one card is still told from the first."""
    vault = Vault(nonce="abcd")
    number = "4111111111111111"
    forms = [number[:cut] + sign + number[cut:] for cut in range(2, 15) for sign in (" ", "-", "  ")]
    texts = [f"card {form}" for form in forms]
    hidden = [vault.mask(text, scan(text)) for text in texts]
    assert len(set(hidden)) == len(forms)
    assert all("PAYMENT_CARD_1" in text for text in hidden)
    assert [vault.restore(text) for text in hidden] == texts


def test_both_ways_to_dial_abroad_are_one_entity() -> None:
    """`00` and `+` before the country's code."""
    text = "+41 44 668 18 00 or 0041446681800"
    masked = Vault(nonce="abcd").mask(text, scan(text))
    assert masked == "[PHONE_1_abcd] or [PHONE_1b_abcd]"
