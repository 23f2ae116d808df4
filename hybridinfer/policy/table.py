"""The decision table: every rule, whom it serves, and the plan that boundaries leave it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .space import Space

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from .model import Policy

MANY = 6
"""From here on a row shows which values occur, and no longer which of them occur together."""

Box = dict[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One outcome of one rule. `when` lists disjoint conditions, any of which holds; `{}` is every request."""

    rule: str
    when: tuple[Box, ...]
    combinations: int
    plan: tuple[str, ...]
    masked: tuple[str, ...]
    forbidden: tuple[str, ...]
    checks: Mapping[str, str] = field(default_factory=dict[str, str])
    """What a target's answer must pass, in words."""

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready form."""
        return {
            "rule": self.rule,
            "when": [{name: list(values) for name, values in box.items()} for box in self.when],
            "combinations": self.combinations,
            "plan": list(self.plan),
            "masked": list(self.masked),
            "forbidden": list(self.forbidden),
            "checks": dict(self.checks),
        }


def table(policy: Policy, space: Space | None = None) -> list[Row]:
    """One row for each rule and each plan that it leads to. Raises `TooManyCombinations`."""
    space = space or Space(policy)
    rows = []
    for outcome in space.outcomes(policy):
        rule = policy.rules[outcome.rule]
        rows.append(
            Row(
                rule=rule.name,
                when=tuple(space.boxes(outcome.bits)),
                combinations=outcome.bits.bit_count(),
                plan=outcome.ladder,
                masked=tuple(name for name in outcome.ladder if name in outcome.masked),
                forbidden=tuple(name for name in rule.use if name not in outcome.ladder),
                checks=rule.checks(outcome.ladder),
            )
        )
    return rows


def text(rows: Sequence[Row]) -> str:
    """The table for people. `~` marks a target that sees masked text only; `-` one that a boundary takes out."""
    cells: list[tuple[str, str, str]] = []
    for row in rows:
        first, *rest = _conditions(row.when)
        plan = spelled(row.plan, row.masked, row.checks)
        forbidden = "".join(f"  -{name}" for name in row.forbidden)
        cells.append((row.rule, first, plan + forbidden))
        cells.extend(("", condition, "") for condition in rest)
    return columns([("rule", "when", "plan"), *cells])


def spelled(plan: Sequence[str], masked: Container[str], checks: Mapping[str, str]) -> str:
    """A plan in one line: `small (confidence 0.7) > ~cloud > sorry`."""
    words = [
        (f"~{name}" if name in masked else name) + (f" ({checks[name]})" if name in checks else "") for name in plan
    ]
    return " > ".join(words) or "(nothing)"


def columns(cells: Sequence[tuple[str, ...]]) -> str:
    """Cells in aligned columns; the first row is the head."""
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def condition(box: Mapping[str, Sequence[str]]) -> str:
    """One condition in words: `privacy personal|secret, complexity low`."""
    return ", ".join(f"{name} {'|'.join(values)}" for name, values in box.items()) or "always"


def _conditions(boxes: Sequence[Box]) -> list[str]:
    if len(boxes) <= MANY:
        return [condition(box) for box in boxes]
    seen: dict[str, dict[str, None]] = {}
    for name in boxes[0]:
        if all(name in box for box in boxes):
            seen[name] = dict.fromkeys(value for box in boxes for value in box[name])
    return [f"{condition({name: tuple(values) for name, values in seen.items()})} ({len(boxes)} cases)"]
