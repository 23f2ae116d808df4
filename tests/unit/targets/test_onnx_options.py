"""What the options of a local model make of one request."""

from __future__ import annotations

import time

import pytest
from pydantic import ValidationError

from hybridinfer.targets.onnx_options import OnnxOptions, deadline, priority, scope, tenant
from hybridinfer.types import Message, Request, Terms, Text

KNOWN = Terms(first_token=5.0, privacy=("privacy=public",))


def ask(**options) -> Request:
    return Request(messages=(Message(role="user", parts=(Text(text="x"),)),), **options)


@pytest.mark.parametrize(
    ("text", "size"), [("512MB", 512_000_000), ("1.5GiB", 3 << 29), (1 << 20, 1 << 20), (None, None)]
)
def test_memory_is_a_size_with_its_unit(text: object, size: int | None) -> None:
    """Bytes without one, from Python."""
    assert OnnxOptions.model_validate({"memory": text}).memory == size


@pytest.mark.parametrize("text", ["512", "lots", True, 4.5, "1KB", "0MB"])
def test_what_is_no_size_is_refused(text: object) -> None:
    """With how to write it."""
    with pytest.raises(ValidationError):
        OnnxOptions.model_validate({"memory": text})


def test_only_the_same_tenant_and_privacy_level_share() -> None:
    """Another user, another level: another scope."""
    options = OnnxOptions()
    one = scope(ask(tags={"tenant": "a"}, terms=KNOWN), options)
    assert one == scope(ask(tags={"tenant": "a", "other": "1"}, terms=KNOWN), options)
    others = [
        ask(tags={"tenant": "b"}, terms=KNOWN),
        ask(tags={"team": "a"}, terms=KNOWN),
        ask(tags={"tenant": "a"}, user="u", terms=KNOWN),
        ask(tags={"tenant": "a"}, terms=Terms(privacy=("privacy=secret",))),
    ]
    assert len({one, *(scope(other, options) for other in others)}) == 5


@pytest.mark.parametrize(
    ("request_", "options"),
    [
        (ask(terms=KNOWN), {}),
        (ask(tags={"tenant": "a"}), {}),
        (ask(tags={"tenant": "a"}, terms=Terms()), {}),
        (ask(tags={"tenant": "a"}, terms=KNOWN), {"prefix_cache": "off"}),
        (ask(terms=Terms()), {"prefix_cache": "process"}),
    ],
    ids=["no tenant", "no terms", "no level", "off", "process without level"],
)
def test_unknown_means_nobody_shares(request_: Request, options: dict[str, str]) -> None:
    """Without tenant or level a prompt is its own."""
    assert scope(request_, OnnxOptions.model_validate(options)) is None


def test_a_process_may_share_within_a_privacy_level() -> None:
    """Where the policy says that all requests are of one tenant."""
    options = OnnxOptions(prefix_cache="process")
    assert scope(ask(tags={"tenant": "a"}, terms=KNOWN), options) == scope(ask(terms=KNOWN), options) is not None


def test_tenants_are_told_by_the_tags_named() -> None:
    """The request's user counts as the tag user, unless that is there."""
    assert tenant(ask(), OnnxOptions()) == ""
    assert tenant(ask(user="u"), OnnxOptions()) == tenant(ask(tags={"user": "u"}, user="v"), OnnxOptions())
    assert tenant(ask(user="u"), OnnxOptions(share_by=("tenant",))) == ""


def test_priority_is_a_tag() -> None:
    """high before the others, low behind them."""
    assert [
        priority(ask(tags=tags)) for tags in ({"priority": "high"}, {}, {"priority": "?"}, {"priority": "low"})
    ] == [
        1,
        0,
        0,
        -1,
    ]


def test_the_deadline_counts_from_now() -> None:
    """Unknown where nobody told it."""
    assert deadline(ask()) is deadline(ask(terms=Terms())) is None
    at = deadline(ask(terms=KNOWN))
    assert at is not None
    assert 0 < at - time.monotonic() <= 5.0
