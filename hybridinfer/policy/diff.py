"""What changes between two policies: who is served by which plan, what the boundaries allow, and every number.

Compared are meanings, not lines: reordering targets or rewriting a condition that means the same is no change.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .check import reach
from .space import Space
from .table import Box, condition, spelled

if TYPE_CHECKING:
    from .model import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A rule and its plan. `masked` targets see masked text only; no rule has an empty name."""

    rule: str
    plan: tuple[str, ...]
    masked: tuple[str, ...]
    checks: Mapping[str, str] = field(default_factory=dict[str, str])
    """What a target's answer must pass before it counts."""

    def __str__(self) -> str:
        plan = spelled(self.plan, self.masked, self.checks)
        return f"{plan} (rule {self.rule})" if self.rule else "(no rule)"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanChange:
    """Requests whose plan changes; `when` lists disjoint conditions, any of which holds."""

    when: tuple[Box, ...]
    combinations: int
    before: Plan
    after: Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class ReachChange:
    """What a target may see at most of a privacy level: open, masked, never; absent where there is none."""

    privacy: str
    target: str
    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueChange:
    """A number or word at `path`; None where it is absent."""

    path: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Everything that differs in meaning."""

    plans: tuple[PlanChange, ...]
    combinations: int
    """How many kinds of request the two policies tell apart together."""
    reach: tuple[ReachChange, ...]
    values: tuple[ValueChange, ...]

    def __bool__(self) -> bool:
        return bool(self.plans or self.reach or self.values)

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready form."""
        from dataclasses import asdict

        return asdict(self)


def diff(before: Policy, after: Policy) -> Difference:
    """What `after` changes. Raises `TooManyCombinations`."""
    space = Space(before, after)
    return Difference(
        plans=tuple(_plans(space, before, after)),
        combinations=space.size,
        reach=tuple(_reach(before, after)),
        values=tuple(_values("", _numbers(before), _numbers(after))),
    )


def lines(difference: Difference) -> Iterator[str]:
    """The difference for people, the most important first."""
    for change in difference.reach:
        yield f"reach: privacy {change.privacy} -> {change.target}: {change.before} => {change.after}"
    for plan in difference.plans:
        share = f"{plan.combinations} of {difference.combinations} combinations"
        yield f"plan: {' or '.join(condition(box) for box in plan.when)} ({share})"
        yield f"  - {plan.before}"
        yield f"  + {plan.after}"
    for value in difference.values:
        yield f"value: {value.path}: {word(value.before)} => {word(value.after)}"


def _plans(space: Space, before: Policy, after: Policy) -> Iterator[PlanChange]:
    new = _plan_sets(space, after)
    for old, here in _plan_sets(space, before):
        for other, there in new:
            same = (old.plan, old.masked, old.checks) == (other.plan, other.masked, other.checks)
            if not same and here & there:
                when, count = tuple(space.boxes(here & there)), (here & there).bit_count()
                yield PlanChange(when=when, combinations=count, before=old, after=other)


def _plan_sets(space: Space, policy: Policy) -> list[tuple[Plan, int]]:
    sets = []
    for outcome in space.outcomes(policy):
        masked = tuple(name for name in outcome.ladder if name in outcome.masked)
        rule = policy.rules[outcome.rule]
        plan = Plan(rule=rule.name, plan=outcome.ladder, masked=masked, checks=rule.checks(outcome.ladder))
        sets.append((plan, outcome.bits))
    rest = space.shares(policy)[-1]
    return [*sets, (Plan(rule="", plan=(), masked=()), rest)] if rest else sets


def _reach(before: Policy, after: Policy) -> Iterator[ReachChange]:
    old, new = reach(before), reach(after)
    for level in dict.fromkeys((*old, *new)):
        here, there = old.get(level, {}), new.get(level, {})
        for target in dict.fromkeys((*here, *there)):
            was, will = here.get(target, "never"), there.get(target, "never")
            if was != will:
                yield ReachChange(privacy=level, target=target, before=was, after=will)


def _numbers(policy: Policy) -> dict[str, Any]:
    """What is not covered by plans: targets, thresholds, budgets, how rules ask; lists with names as mappings."""
    tree = policy.model_dump(mode="json", include={"drills", "targets", "signals", "budgets", "resilience"})
    tree["budgets"] = {budget.pop("name"): budget for budget in tree["budgets"]}
    ways = {rule.name: rule.model_dump(mode="json", include=_HOW, exclude_none=True) for rule in policy.rules}
    tree["rules"] = {name: way for name, way in ways.items() if way}
    return tree


_HOW = {"hedge", "prompt"}
"""Of a rule, what is neither its condition nor its plan."""


def _values(path: str, before: Any, after: Any) -> Iterator[ValueChange]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in dict.fromkeys((*before, *after)):
            yield from _values(f"{path}.{key}" if path else str(key), before.get(key), after.get(key))
    elif before != after:
        yield ValueChange(path=path, before=before, after=after)


def word(value: Any) -> str:
    """A value as people write it; what is absent or empty in a block is left out."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {word(item)}" for key, item in value.items() if item not in (None, {})) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(word, value))}]"
    return "(none)" if value is None else str(value)
