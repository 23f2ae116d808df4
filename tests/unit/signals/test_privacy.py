"""The privacy signal: findings, labels and what cannot be read become one level."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from hybridinfer.policy.model import SignalBlock
from hybridinfer.privacy.fields import Field
from hybridinfer.signals.base import SignalResult, Standing
from hybridinfer.signals.privacy import PrivacySignal
from hybridinfer.types import Image, Message, Request, Text

LEVELS = {"public": 0.0, "personal": 0.5, "secret": 0.9}


def signal(**options: object) -> PrivacySignal:
    return PrivacySignal(SignalBlock(levels=LEVELS, options=options))


def ask(*texts: str, privacy: str | None = None, **fields: object) -> Request:
    messages = tuple(Message(role="user", parts=(Text(text=text),)) for text in texts)
    return Request(messages=messages, privacy=privacy, **fields)  # type: ignore[arg-type]


def score(request: Request, **options: object) -> SignalResult:
    return signal(**options).score(request, Standing())


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("What is a monad?", "public"),
        ("my name is Jane Roe", "public"),
        ("mail jo@corp.io", "personal"),
        ("card 4111 1111 1111 1111", "personal"),
        ("the password is hunter2", "secret"),
    ],
)
def test_the_hardest_finding_gives_the_level(text: str, level: str) -> None:
    """Contact and identity are personal, credentials are secret, a name alone is public."""
    assert score(ask(text)).level == level


def test_reasons_count_and_place_but_never_quote() -> None:
    """Types, counts and places; no content."""
    result = score(ask("hi", "jo@corp.io, amy@corp.io and 4111 1111 1111 1111"))
    assert result.because == ("email: 2 in message 2", "payment_card: 1 in message 2")


def test_a_conversation_is_as_sensitive_as_its_hardest_message() -> None:
    """An old message keeps counting."""
    assert score(ask("the password is hunter2", "thanks", "now sing")).level == "secret"


@pytest.mark.parametrize(
    ("label", "level"), [("public", "personal"), ("personal", "personal"), ("secret", "secret"), ("no such", "secret")]
)
def test_a_label_raises_and_never_lowers(label: str, level: str) -> None:
    """An unknown label counts as the highest level."""
    assert score(ask("mail jo@corp.io", privacy=label)).level == level


def test_a_trusted_label_also_lowers() -> None:
    """Only where the policy says so."""
    assert score(ask("mail jo@corp.io", privacy="public"), trust_labels=True).level == "public"


def test_a_trusted_label_does_not_make_a_text_clean() -> None:
    """Masking looks at what is there, not at what the caller says."""
    assert not signal(trust_labels=True).is_clean(ask("mail jo@corp.io", privacy="public"))


def test_a_label_keeps_a_request_from_being_clean() -> None:
    """Masking cannot discharge a claim that the detectors know nothing of."""
    assert not signal().is_clean(ask("hello", privacy="personal"))
    assert signal().is_clean(ask("hello"))


def test_pictures_have_the_level_of_the_unscannable() -> None:
    """Personal by default; the policy may say otherwise; an unknown name is the highest."""
    request = Request(messages=(Message(role="user", parts=(Image(data="AAAA"),)),))
    assert score(request).level == "personal"
    assert score(request).because == ("unscannable: image in message 1",)
    assert score(request, unscannable="public").level == "public"
    assert score(request, unscannable="no such").level == "secret"


def test_own_terms_and_patterns_count_as_identity() -> None:
    """The policy's lists make a request personal."""
    assert score(ask("about Falcon"), terms=["falcon"]).because == ("own_term: 1 in message 1",)
    assert score(ask("see PRJ-1234"), patterns=[r"PRJ-\d{4}"]).level == "personal"


def test_types_can_be_made_secret_or_public() -> None:
    """A policy may weigh types otherwise."""
    request = ask("mail jo@corp.io")
    assert score(request, secret_types=["email"]).level == "secret"
    assert score(request, public_types=["email"]).level == "public"
    assert signal(public_types=["email"]).find(Field(where="x", text="jo@corp.io")) == ()


@pytest.mark.parametrize(
    "options",
    [{"term": ["x"]}, {"patterns": [r"(a)\1"]}, {"terms": ["x"]}, {"secret_types": ["mail"]}, {"public_types": ["x"]}],
)
def test_wrong_options_are_refused(options: dict[str, object]) -> None:
    """An unknown option or type, and a pattern that is not linear, never load."""
    with pytest.raises((ValidationError, ValueError)):
        signal(**options)


def test_out_of_time_is_secret() -> None:
    """What was not scanned may be anything."""
    assert score(ask("x" * 10), seconds=1e-12).level == "secret"


def test_every_field_counts() -> None:
    """Not only messages: metadata, user, headers and stops are scanned too."""
    for field in (
        {"metadata": {"m": "jo@corp.io"}},
        {"user": "jo@corp.io"},
        {"extra_headers": {"X": "jo@corp.io"}},
        {"stop": ("jo@corp.io",)},
    ):
        assert score(ask("hi", **field)).level == "personal", field  # type: ignore[arg-type]


def test_names_are_masked_only_beside_harder_findings() -> None:
    """What masking replaces: nothing for a name alone, both for a name with an address."""
    assert signal().find(Field(where="x", text="my name is Jane Roe")) == ()
    assert len(signal().find(Field(where="x", text="my name is Jane Roe, jo@corp.io"))) == 2
