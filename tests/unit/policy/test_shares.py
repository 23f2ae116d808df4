"""Levels as shares of the traffic: how they are written, and what is refused."""

from __future__ import annotations

import pytest

from hybridinfer.errors import ConfigurationError, PolicyError
from hybridinfer.policy.load import digest, load, loads
from hybridinfer.policy.rewrite import with_levels
from hybridinfer.policy.shares import Share, as_written, shares_of

BASE = "version: 1\ntargets: {sorry: {kind: canned, text: no}}\nrules:   # the last\n  - {name: a, use: sorry}\n"


def test_shares_are_read_and_written_alike():
    """`60%` in, `60%` out, and the same digest after a round trip."""
    policy = loads(BASE + "signals: {complexity: {levels: {low: 62.5%, high: 37.5%}}}\n")
    levels = policy.signals["complexity"].levels
    assert shares_of(levels) == {"low": 0.625, "high": 0.375}
    assert as_written(levels) == {"low": "62.5%", "high": "37.5%"}
    assert digest(load(policy.model_dump(mode="json"))) == digest(policy)


def test_a_share_in_python_is_a_share():
    """Programs may write them as objects, too."""
    levels = {"low": Share(0.6), "high": Share(0.4)}
    policy = load(
        {
            "version": 1,
            "targets": {"sorry": {"kind": "canned", "text": "no"}},
            "rules": [{"name": "a", "use": "sorry"}],
            "signals": {"complexity": {"levels": levels}},
        }
    )
    assert shares_of(policy.signals["complexity"].levels) == levels
    assert shares_of({"low": 0.0}) is None


@pytest.mark.parametrize(
    ("signals", "message"),
    [
        ("{complexity: {levels: {low: 60%, high: 0.4}}}", "shares and numbers do not mix"),
        ("{complexity: {levels: {low: 60%, high: 30%}}}", "these sum up to 90%"),
        ("{complexity: {levels: {low: 100%, high: 0%}}}", "above 0% and at most 100%"),
        ("{complexity: {levels: {low: 60 %, high: 40 %}}}", "not a number"),
        ("{size: {levels: {short: 60%, long: 40%}}}", "only complexity's levels can be shares"),
        ("{privacy: {levels: {public: 60%, secret: 40%}}}", "only complexity's levels can be shares"),
    ],
)
def test_what_is_refused(signals, message):
    """Each with a line that says what to write; privacy is never a share."""
    with pytest.raises(PolicyError, match=message):
        loads(f"{BASE}signals: {signals}\n")


NEW = {"low": 0.0, "medium": 0.55, "high": 0.8}


@pytest.mark.parametrize(
    ("text", "after"),
    [
        (
            BASE + "signals:\n  complexity: {levels: {low: 0.0, medium: 0.4, high: 0.75}}   # mine\n",
            BASE + "signals:\n  complexity: {levels: {low: 0.0, medium: 0.55, high: 0.8}}   # mine\n",
        ),
        (
            BASE + "signals:\n  complexity:\n    levels:\n      low: 0.0\n      medium: 0.4  # why\n      high: 0.75\n",
            BASE + "signals:\n  complexity:\n    levels:\n      low: 0.0\n      medium: 0.55  # why\n      high: 0.8\n",
        ),
        (
            BASE + "signals:\n  # sizes\n  size: {levels: {short: 0.0, long: 0.8}}\n",
            BASE
            + "signals:\n  # sizes\n  complexity: {levels: {low: 0.0, medium: 0.55, high: 0.8}}\n"
            + "  size: {levels: {short: 0.0, long: 0.8}}\n",
        ),
        (BASE, BASE.replace("rules:", "signals:\n  complexity: {levels: {low: 0.0, medium: 0.55, high: 0.8}}\nrules:")),
    ],
    ids=["one line", "a block", "another signal", "no signals"],
)
def test_levels_are_changed_and_nothing_else(text, after):
    """Comments, order and layout stay as they are."""
    assert with_levels(text, "complexity", NEW) == after


def test_shares_are_written_as_shares():
    """As the policy had them."""
    text = BASE + "signals: {complexity: {levels: {low: 60%, high: 40%}}}\n"
    assert "{low: 75%, high: 25%}" in with_levels(text, "complexity", {"low": Share(0.75), "high": Share(0.25)})


@pytest.mark.parametrize(
    "text",
    [
        BASE + "signals: {size: {levels: {short: 0.0, long: 0.8}}}\n",
        '{"version": 1, "targets": {"sorry": {"kind": "canned", "text": "no"}}, "rules": [{"name": "a", "use": "sorry"}]}',
        BASE.replace(
            "rules:",
            "signals:\n  own: {kind: complexity, levels: &z {low: 0.0, medium: 0.4, high: 0.75}}\n  complexity: {levels: *z}\nrules:",
        ),
    ],
    ids=["signals on one line", "no margin", "an alias"],
)
def test_an_unusual_text_is_left_to_its_author(text):
    """Rather than to write something else than was meant."""
    with pytest.raises(ConfigurationError, match=r"yourself|one line for each signal"):
        with_levels(text, "complexity", NEW)
