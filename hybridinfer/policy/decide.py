"""Policy + levels -> Decision. Pure: no I/O, no clock, no randomness, no state.

The first rule that matches gives the ladder; boundaries take targets off it; whatever else cannot serve
this request stays on the ladder but leaves the plan. `permit` answers the same question for one target,
for the lock at the exit and for the proof in `check`.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Literal

from ..quick import quick
from ..receipt import Decision, Reason, Removal
from .model import BoundaryBlock, Policy, TargetBlock, When, zone_of

Verdict = Literal["open", "masked", "never"]
"""May a request reach a target: as it is, only after masking, or not at all?"""

_NO_TAGS: Mapping[str, str] = {}
_ALL_ABLE: Mapping[str, Removal] = {}


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Permit:
    """The verdict of all boundaries together, and the name of the one that decided (empty when open)."""

    verdict: Verdict
    boundary: str = ""


def decide(
    policy: Policy,
    levels: Mapping[str, str],
    *,
    needs: AbstractSet[str] = frozenset(),
    tags: Mapping[str, str] = _NO_TAGS,
    unable: Mapping[str, Removal] = _ALL_ABLE,
) -> Decision:
    """The rule, ladder and plan for a request with these levels, needs and tags.

    `unable` holds, by target, why it cannot serve this request (capability, window, price, budget).
    Without a matching rule the decision has an empty rule name and an empty ladder; `policy check`
    proves that a policy never comes to that.
    """
    rule = next((rule for rule in policy.rules if matches(rule.when, levels, needs, tags)), None)
    if rule is None:
        return Decision(rule="", levels=levels, ladder=(), plan=())
    active = [each for each in policy.boundaries if binds(policy, each.when, levels, needs, tags)]
    ladder: list[str] = []
    plan: list[str] = []
    removed: list[Removal] = []
    masked: set[str] = set()
    for name in rule.use:
        permit = _judge(active, name, policy.targets[name])
        if permit.verdict == "never":
            removed.append(Removal(target=name, reason=Reason.BOUNDARY, because=_because(active, permit)))
            continue
        ladder.append(name)
        if permit.verdict == "masked":
            masked.add(name)
        if name in unable:
            removed.append(unable[name])
        else:
            plan.append(name)
    return Decision(
        rule=rule.name,
        levels=levels,
        ladder=tuple(ladder),
        plan=tuple(plan),
        removed=tuple(removed),
        masked=frozenset(masked),
    )


def permit(
    policy: Policy,
    target: str,
    levels: Mapping[str, str],
    tags: Mapping[str, str],
    needs: AbstractSet[str] | None = None,
) -> Permit:
    """May a request with these levels, tags and needs reach `target`?

    `needs=None` says that nobody knows them: a boundary that tests them then binds. A target that the
    policy does not know is forbidden.
    """
    block = policy.targets.get(target)
    if block is None:
        return Permit(verdict="never", boundary="unknown target")
    active = [each for each in policy.boundaries if binds(policy, each.when, levels, needs, tags)]
    return _judge(active, target, block)


def matches(when: When, levels: Mapping[str, str], needs: AbstractSet[str], tags: Mapping[str, str]) -> bool:
    """Does a rule's condition hold? A level that was not measured matches nothing."""
    for signal, wanted in when.levels.items():  # loops, not all(): this runs for every rule of every request
        if levels.get(signal) not in wanted:
            return False
    if when.needs and needs.isdisjoint(when.needs):
        return False
    return _tagged(when, tags)


def binds(
    policy: Policy,
    when: When,
    levels: Mapping[str, str],
    needs: AbstractSet[str] | None,
    tags: Mapping[str, str],
) -> bool:
    """Does a boundary's condition hold? Unlike in rules, a level that is missing or unknown counts as a yes."""
    for signal, wanted in when.levels.items():
        level = levels.get(signal)
        if level not in wanted and signal in policy.signals and level in policy.signals[signal].levels:
            return False
    if when.needs and needs is not None and needs.isdisjoint(when.needs):
        return False
    return _tagged(when, tags)


def _tagged(when: When, tags: Mapping[str, str]) -> bool:
    return not when.tags or all(tags.get(tag) in wanted for tag, wanted in when.tags.items())


def _judge(active: list[BoundaryBlock], name: str, block: TargetBlock) -> Permit:
    verdict = Permit(verdict="open")
    for boundary in active:
        match limit(boundary, name, block):
            case "never":
                return Permit(verdict="never", boundary=boundary.name)
            case "masked" if verdict.verdict == "open":
                verdict = Permit(verdict="masked", boundary=boundary.name)
            case _:
                pass
    return verdict


def limit(boundary: BoundaryBlock, name: str, block: TargetBlock) -> Verdict:
    """What one boundary, where it binds, says about one target. An unknown region is a forbidden one.

    A target in this process needs no region: the request is there already.
    """
    zone = zone_of(block)
    if boundary.cloud is not None:
        return boundary.cloud if zone == "cloud" else "open"
    if boundary.zones is not None:
        return "open" if zone in boundary.zones else "never"
    if boundary.regions is not None:
        here = zone == "device" and block.region is None
        return "open" if here or block.region in boundary.regions else "never"
    return "open" if boundary.targets is not None and name in boundary.targets else "never"


def _because(active: list[BoundaryBlock], permit: Permit) -> str:
    boundary = next(each for each in active if each.name == permit.boundary)
    return f'boundary "{boundary.name}": {boundary.allows}'
