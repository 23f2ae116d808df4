"""Names in one policy that must exist: targets, levels, kinds, needs, signals; and secrets in plain sight.

Kinds of installed packages are known by name only; nothing of them is imported.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from .model import Policy, RuleBlock, When
from .scalars import REFERENCE
from .shares import shares_of
from .words import did_you_mean

if TYPE_CHECKING:
    from .source import Path

TARGET_KINDS = ("onnx", "openai", "anthropic", "canned")
SIGNAL_KINDS = ("privacy", "complexity", "size", "budget")
OWN = "own"
"""The kind of targets and signals that the program hands to the router as objects (`targets=`, `signals=`)."""


class Fault(NamedTuple):
    """Where, what, what to do; `key` when the key is at fault and not its value."""

    path: Path
    what: str
    hint: str
    key: bool = False


_RESERVED = {"levels", "needs", "tags"}
_KEY_NAME = re.compile(r"(?i)(?:^|[_-])(?:api[_-]?key|key|token|secret|password|authorization)$")
_NO_SECRETS = frozenset({"public_key"})  # the file of a key that everybody may have
_KEY_TEXT = re.compile(
    r"(?:sk|pk|rk)-[\w-]{16,}|gh[pousr]_\w{20,}|AKIA[0-9A-Z]{16}|xox[a-z]-[\w-]{10,}|Bearer\s+\S{12,}"
)


def faults_in(policy: Policy) -> Iterator[Fault]:
    """Every name that does not exist, every name given twice, every secret written out."""
    yield from _kinds(policy)
    yield from _secrets(policy)
    yield from _twice(policy)
    for i, boundary in enumerate(policy.boundaries):
        yield from _when(policy, ("boundaries", i, "when"), boundary.when)
        yield from _targets(policy, ("boundaries", i, "targets"), boundary.targets or ())
    for i, rule in enumerate(policy.rules):
        yield from _when(policy, ("rules", i, "when"), rule.when)
        for name, way in (*zip(rule.use, rule.places, strict=True), *rule.helpers.items()):
            if name not in policy.targets:
                yield Fault(("rules", i, *way), f"unknown target {name!r}", did_you_mean(name, policy.targets))
        yield from _checks(policy, i, rule)
        for name, count in Counter(rule.use).items():
            if count > 1 and name in policy.targets:
                second = [way for each, way in zip(rule.use, rule.places, strict=True) if each == name][1]
                yield Fault(("rules", i, *second), f"target {name!r} stands twice in one rule", "keep the first")
    yield from _tests(policy)


def _checks(policy: Policy, i: int, rule: RuleBlock) -> Iterator[Fault]:
    """Checks that check nothing: by the target itself, or by a text that is always the same."""
    for at, rung in enumerate(rule.rungs):
        if rung.accept is not None and rung.accept.agree_with == rung.target:
            hint = "name another one, or use 'samples'"
            yield Fault(("rules", i, "use", at, "accept", "agree_with"), "a target cannot agree with itself", hint)
        agreeing = [(name, ("agree", place)) for place, name in enumerate(rung.agree or ())]
        for name, way in (*agreeing, *rung.helpers):
            block = policy.targets.get(name)
            if block is not None and block.kind == "canned":
                what = f"target {name!r} is canned: it says the same to everybody"
                yield Fault(("rules", i, "use", at, *way), what, "name a target that answers")


def _kinds(policy: Policy) -> Iterator[Fault]:
    for name, target in policy.targets.items():
        if target.kind not in TARGET_KINDS:
            known = (*TARGET_KINDS, OWN, *installed("hybridinfer.targets"))
            if target.kind not in known:
                yield Fault(
                    ("targets", name, "kind"), f"unknown kind {target.kind!r}", did_you_mean(target.kind, known)
                )
    for name, signal in policy.signals.items():
        kind = signal.kind or name
        if kind not in SIGNAL_KINDS:
            known = (*SIGNAL_KINDS, OWN, *installed("hybridinfer.signals"))
            if kind not in known:
                at: Path = ("signals", name, "kind") if signal.kind else ("signals", name)
                yield Fault(at, f"unknown signal {kind!r}", did_you_mean(kind, known), key=signal.kind is None)
        if not signal.levels:
            yield Fault(("signals", name), "names no levels", "add 'levels: {low: 0.0, high: 0.6}'", key=True)
        if kind != "complexity" and signal.model is not None:
            yield Fault(("signals", name, "model"), "only complexity has a model to choose", "leave it out")
        if kind != "complexity" and shares_of(signal.levels) is not None:
            hint = "write where each level begins, such as {short: 0.0, long: 0.5}"
            yield Fault(("signals", name, "levels"), "only complexity's levels can be shares of the traffic", hint)
        if name in _RESERVED:
            yield Fault(
                ("signals", name),
                f"a signal cannot be called {name!r}",
                "'when' uses this word; choose another",
                key=True,
            )


def installed(group: str) -> list[str]:
    """The names that installed packages register in an entry-point group."""
    from importlib.metadata import entry_points

    return sorted({point.name for point in entry_points(group=group)})


def _secrets(policy: Policy) -> Iterator[Fault]:
    hint = "refer to an environment variable, as ${env:NAME}"
    blocks = [(("targets", name), target.options) for name, target in policy.targets.items()]
    blocks += [(("signals", name), signal.options) for name, signal in policy.signals.items()]
    for at, options in blocks:
        for way, value in _texts((*at, "options"), options):
            secret = isinstance(way[-1], str) and way[-1] not in _NO_SECRETS and _KEY_NAME.search(way[-1])
            named = secret and not re.fullmatch(REFERENCE, value)
            if named or _KEY_TEXT.search(value):
                yield Fault(way, "a secret is never written into a policy", hint)
    for name, target in policy.targets.items():
        for key, value in (
            ("kind", target.kind),
            ("model", target.model),
            ("text", target.text),
            ("base_url", target.base_url or ""),
        ):
            if _KEY_TEXT.search(value):
                yield Fault(("targets", name, key), "a secret is never written into a policy", hint)


def _texts(way: Path, value: Any) -> Iterator[tuple[Path, str]]:
    if isinstance(value, str):
        yield way, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _texts((*way, str(key)), item)
    elif isinstance(value, (list, tuple)):
        for i, item in enumerate(value):
            yield from _texts((*way, i), item)


def _twice(policy: Policy) -> Iterator[Fault]:
    for block in ("budgets", "boundaries", "rules", "tests"):
        seen: set[str] = set()
        for i, item in enumerate(getattr(policy, block)):
            if item.name in seen:
                yield Fault((block, i, "name"), f"two {block} are called {item.name!r}", "give each a name of its own")
            seen.add(item.name)


def _when(policy: Policy, at: Path, when: When) -> Iterator[Fault]:
    for signal, levels in when.levels.items():
        if signal not in policy.signals:
            known = [*policy.signals, "needs", "tags"]
            yield Fault((*at, signal), f"unknown signal {signal!r}", did_you_mean(signal, known), key=True)
            continue
        for i, level in enumerate(levels):
            yield from _level(policy, (*at, signal, i), signal, level)


def _level(policy: Policy, at: Path, signal: str, level: str) -> Iterator[Fault]:
    known = policy.signals[signal].levels
    if level not in known:
        yield Fault(at, f"{signal} has no level {level!r}", did_you_mean(level, known))


def _targets(policy: Policy, at: Path, names: tuple[str, ...]) -> Iterator[Fault]:
    for i, name in enumerate(names):
        if name not in policy.targets:
            yield Fault((*at, i), f"unknown target {name!r}", did_you_mean(name, policy.targets))


def _tests(policy: Policy) -> Iterator[Fault]:
    for i, test in enumerate(policy.tests):
        yield from _targets(policy, ("tests", i, "given", "down"), test.given.down)
        yield from _targets(policy, ("tests", i, "given", "unsure"), test.given.unsure)
        budgets = [budget.name for budget in policy.budgets]
        for j, name in enumerate(test.given.spent):
            if name not in budgets:
                yield Fault(("tests", i, "given", "spent", j), f"unknown budget {name!r}", did_you_mean(name, budgets))
        for key in ("never", "forbidden", "masked", "open"):
            yield from _targets(policy, ("tests", i, "expect", key), getattr(test.expect, key))
        for part, levels in (("given", test.given.levels), ("expect", test.expect.levels)):
            for signal, level in levels.items():
                at: Path = ("tests", i, part, "levels", signal)
                if signal not in policy.signals:
                    yield Fault(at, f"unknown signal {signal!r}", did_you_mean(signal, policy.signals), key=True)
                else:
                    yield from _level(policy, at, signal, level)
        answered = test.expect.answered_by
        if answered is not None and answered not in policy.targets:
            yield Fault(
                ("tests", i, "expect", "answered_by"),
                f"unknown target {answered!r}",
                did_you_mean(answered, policy.targets),
            )
        rules = [rule.name for rule in policy.rules]
        if test.expect.rule is not None and test.expect.rule not in rules:
            yield Fault(
                ("tests", i, "expect", "rule"),
                f"unknown rule {test.expect.rule!r}",
                did_you_mean(test.expect.rule, rules),
            )
