"""Which class measures what, and what a measurement that fails counts as."""

from __future__ import annotations

import pytest

from hybridinfer.errors import ConfigurationError
from hybridinfer.policy.load import load
from hybridinfer.policy.model import Policy
from hybridinfer.signals import registry
from hybridinfer.signals.base import SignalResult
from hybridinfer.signals.registry import may_depend_on_money
from hybridinfer.types import Request, Standing

REQUEST = Request(messages=())


def policy(**signals) -> Policy:
    return load(
        {
            "version": 1,
            "targets": {"sorry": {"kind": "canned", "text": "no"}},
            "rules": [{"name": "all", "use": "sorry"}],
            "signals": signals,
        }
    )


class Fixed:
    name = "mood"

    def __init__(self, result):
        self._result = result

    def score(self, request, standing):
        if isinstance(self._result, Exception):
            raise self._result
        return self._result


class Entry:
    def __init__(self, made):
        self._made = made

    def load(self):
        return lambda _block: self._made


def installed(monkeypatch, made):
    from hybridinfer.policy import names

    monkeypatch.setattr(registry, "entry_points", lambda group, name: [Entry(made)] if name == "mood" else [])
    monkeypatch.setattr(names, "installed", lambda _group: ["mood"])


def test_the_usual_signals_are_built():
    """One for each block, by name."""
    built = registry.build(policy())
    assert set(built) == {"privacy", "complexity", "size", "budget"}
    assert registry.all_quick(policy())
    assert not registry.all_quick(policy(complexity={"model": "embedding"}))
    assert not registry.all_quick(policy(privacy={"options": {"names": "model"}}))


def test_a_kind_may_serve_under_another_name():
    """`kind` says which."""
    made = policy(length={"kind": "size", "levels": {"low": 0, "high": 0.5}})
    assert type(registry.build(made)["length"]) is type(registry.build(made)["size"])


def test_installed_kinds(monkeypatch):
    """By entry point; they are not this package's own."""
    signal = Fixed(SignalResult(score=0.0, level="low"))
    installed(monkeypatch, signal)
    made = policy(mood={"levels": {"low": 0, "high": 0.5}})
    assert registry.build(made)["mood"] is signal
    assert not registry.all_quick(made)


def test_a_plugin_without_score_is_told(monkeypatch):
    """When it is built, not at the first request."""
    installed(monkeypatch, object())
    with pytest.raises(ConfigurationError, match="did not return a signal"):
        registry.build(policy(mood={"levels": {"low": 0, "high": 0.5}}))


def test_an_unknown_kind_is_told(monkeypatch):
    """A plugin that was removed since the policy was checked."""
    installed(monkeypatch, None)
    made = policy(mood={"levels": {"low": 0}})
    monkeypatch.setattr(registry, "entry_points", lambda group, name: [])
    with pytest.raises(ConfigurationError, match="no signal of kind 'mood'; known are budget, complexity"):
        registry.build(made)


def test_a_signal_of_ones_own_must_be_handed_over():
    """The kind `own` says that the program brings it."""
    made = policy(mood={"kind": "own", "levels": {"low": 0}})
    with pytest.raises(ConfigurationError, match="a signal of kind 'own' is handed over"):
        registry.build(made)
    signal = Fixed(None)
    assert registry.build(made, {"mood": signal})["mood"] is signal


def test_signals_of_ones_own_are_taken_as_they_are():
    """And must be in the policy."""
    signal = Fixed(None)
    assert registry.build(policy(), {"size": signal})["size"] is signal
    with pytest.raises(ConfigurationError, match="signals sise are not in policy"):
        registry.build(policy(), {"sise": signal})


@pytest.mark.parametrize(
    "result", [ValueError("the text"), None, "high", SignalResult(score=0.0, level="unheard of")], ids=repr
)
def test_a_measurement_that_fails_counts_as_the_highest_level(result):
    """Raised, forgotten, of the wrong type or with a level that nobody knows."""
    made = policy()
    signals = registry.build(made, {"privacy": Fixed(result)})
    scored = registry.score_all(made, signals, REQUEST, Standing())
    assert (scored["privacy"].score, scored["privacy"].level) == (1.0, "secret")
    assert "the text" not in str(scored["privacy"].because)
    assert scored["complexity"].level == "low"


@pytest.mark.parametrize(
    ("when", "matters"),
    [({"privacy": "secret"}, False), ({"budget": "spent"}, True), ({"mood": "low"}, True), ({"purse": "low"}, True)],
)
def test_money_matters_where_a_tested_signal_may_read_it(when, matters):
    """The budget's own signal under any name, and anybody's; this package's others never look at it."""
    levels = {"levels": {"low": 0.0, "high": 0.5}}
    policy = load(
        {
            "version": 1,
            "targets": {"sorry": {"kind": "canned", "text": "no"}},
            "signals": {"mood": {"kind": "own"} | levels, "purse": {"kind": "budget"} | levels},
            "rules": [{"name": "some", "when": when, "use": "sorry"}, {"name": "rest", "use": "sorry"}],
        }
    )
    assert may_depend_on_money(policy) is matters
