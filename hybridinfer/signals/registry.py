"""Which signal class serves which name, and how all of them are run on one request."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, cast

from ..errors import ConfigurationError
from ..policy.names import OWN
from .base import Signal, SignalResult, Standing

if TYPE_CHECKING:
    from ..policy.model import Policy, SignalBlock
    from ..types import Request

SignalFactory = Callable[["SignalBlock"], Signal]

BUILT_IN: Mapping[str, tuple[str, str]] = {
    "budget": ("budget", "BudgetSignal"),
    "complexity": ("complexity", "ComplexitySignal"),
    "privacy": ("privacy", "PrivacySignal"),
    "size": ("size", "SizeSignal"),
}
"""Kind -> (module, class)."""

GROUP = "hybridinfer.signals"
"""The entry-point group for kinds of your own: a callable that takes the block and returns a `Signal`."""


def build(policy: Policy, own: Mapping[str, Signal] | None = None) -> Mapping[str, Signal]:
    """One signal for each block of the policy, by name; those in `own` are taken as they are.

    Raises ConfigurationError for an unknown kind, or for names in `own` that the policy does not have.
    """
    own = own or {}
    if unknown := sorted(set(own) - set(policy.signals)):
        raise ConfigurationError(
            f"signals {', '.join(unknown)} are not in policy {policy.name!r}, which has {', '.join(policy.signals)}"
        )
    return {
        name: own[name] if name in own else _factory(block.kind or name)(block)
        for name, block in policy.signals.items()
    }


def all_quick(policy: Policy) -> bool:
    """Whether every signal is this package's own and asks no model, so that a short prompt holds up nobody."""
    return all(
        (block.kind or name) in BUILT_IN and block.model is None and block.options.get("names", "labels") == "labels"
        for name, block in policy.signals.items()
    )


def may_depend_on_money(policy: Policy) -> bool:
    """Whether a rule or boundary tests a signal that may read the ledger's standing: the budget's, or anybody's own."""
    conditions = [rule.when for rule in policy.rules] + [boundary.when for boundary in policy.boundaries]
    tested = {name for when in conditions for name in when.levels}
    return any((policy.signals[name].kind or name) not in BUILT_IN.keys() - {"budget"} for name in tested)


def score_all(
    policy: Policy, signals: Mapping[str, Signal], request: Request, standing: Standing
) -> dict[str, SignalResult]:
    """Every signal's result. One that raises, or names a level of its own, counts as its highest: unknown means deny."""
    results: dict[str, SignalResult] = {}
    for name, block in policy.signals.items():
        try:
            result = signals[name].score(request, standing)
            known = result.level in block.levels
        except Exception as error:  # noqa: BLE001 - whatever a signal raises, the request must stay safe
            results[name] = highest(block, f"the signal failed ({type(error).__name__})")
        else:
            results[name] = result if known else highest(block, "the signal named a level that the policy lacks")
    return results


def highest(block: SignalBlock, because: str) -> SignalResult:
    """The result for something that could not be measured."""
    return SignalResult(score=1.0, level=list(block.levels)[-1], because=(because,), measured=False)


def _factory(kind: str) -> SignalFactory:
    if kind in BUILT_IN:
        module, name = BUILT_IN[kind]
        return cast("SignalFactory", getattr(import_module(f".{module}", __package__), name))
    for entry in entry_points(group=GROUP, name=kind):
        return partial(_loaded, kind, entry.load())
    if kind == OWN:
        raise ConfigurationError("a signal of kind 'own' is handed over: Router(..., signals={name: the signal})")
    known = ", ".join(sorted(BUILT_IN))
    raise ConfigurationError(f"no signal of kind {kind!r}; known are {known} and entry points of the group {GROUP}")


def _loaded(kind: str, factory: SignalFactory, block: SignalBlock) -> Signal:
    signal = factory(block)
    if not callable(getattr(signal, "score", None)):
        raise ConfigurationError(f"the entry point {GROUP}:{kind} did not return a signal (no `score` method)")
    return signal
