"""A shipped drill in front of somebody else's policy: who plays the parts, and which levels its requests have.

Shipped drills speak of the targets of the default policy. `small` is played by the first local model, `strong` and
`fast` by the first two clouds or servers; where there is one, it plays both. A part that nobody can play is cut, and so is the expectation of certain names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from ..policy.model import IN_PROCESS, REMOTE
from .failing import impossible

if TYPE_CHECKING:
    from ..policy.model import Policy
    from .failing import FaultBlock
    from .scenario import AskBlock, Scenario

SMALL, FAST, STRONG = "small", "fast", "strong"
NOBODY = ""
_HIGHEST, _MIDDLE = frozenset({"high", "long", "secret", "spent"}), frozenset({"medium", "personal", "tight"})


def cast(scenario: Scenario, policy: Policy) -> tuple[Scenario, dict[str, str]]:
    """The scenario with names and levels that `policy` has; and by part who plays it, `NOBODY` where it is cut."""
    here = [(name, block.kind) for name, block in policy.targets.items()]
    local = [name for name, kind in here if kind in IN_PROCESS and kind != "canned"]
    remote = [name for name, kind in here if kind in REMOTE]
    players = {
        SMALL: next(iter(local), NOBODY),
        STRONG: next(iter(remote), NOBODY),
        FAST: next(iter(remote[1:] or remote), NOBODY),
    }
    faults = [block for phase in scenario.phases for block in phase.faults.items()]
    parts = {part: player for part, player in players.items() if any(_misfit(part, *one, policy) for one in faults)}
    phases = tuple(
        phase.model_copy(update={"faults": dict(_replayed(phase.faults, parts))}) for phase in scenario.phases
    )
    asks = tuple(_asked(ask, policy) for ask in scenario.load.requests)
    changes: dict[str, object] = {"phases": phases, "load": scenario.load.model_copy(update={"requests": asks})}
    if not set(scenario.expect.answered_by or ()) <= policy.targets.keys():
        changes["expect"] = scenario.expect.model_copy(update={"answered_by": None, "rungs": None})
    return scenario.model_copy(update=changes), parts


def _misfit(part: str, name: str, block: FaultBlock, policy: Policy) -> bool:
    if name != part:
        return False
    target = policy.targets.get(part)
    return target is None or target.kind == "canned" or any(impossible(word, target.kind) for word in block.words)


def _replayed(faults: Mapping[str, FaultBlock], parts: Mapping[str, str]) -> Iterator[tuple[str, FaultBlock]]:
    """`strong` last: where one target plays both clouds, it fails as `strong` does."""
    for name in sorted(faults, key=lambda name: name == STRONG):
        player = parts.get(name, name)
        if player:
            yield player, faults[name]


def _asked(ask: AskBlock, policy: Policy) -> AskBlock:
    """Levels by their place, lowest, middle or highest, where the policy has other words for them."""
    levels = dict[str, str]()
    for signal, level in ask.levels.items():
        if signal in policy.signals:
            words = list(policy.signals[signal].levels)
            at = len(words) - 1 if level in _HIGHEST else len(words) // 2 if level in _MIDDLE else 0
            levels[signal] = level if level in words else words[at]
    return ask.model_copy(update={"levels": levels})
