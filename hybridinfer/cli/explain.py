"""`hybridinfer explain`: what would happen to a prompt, and why. Nothing is called."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from ..receipt import Decision
from .arguments import PROMPT
from .terminal import print_json, read_prompt, read_tags, talk, usd

if TYPE_CHECKING:
    from ..budget.expected import Expected
    from ..policy.model import Policy

RECENT = 7 * 24 * 3600.0
"""Seconds back to which recorded requests count."""


def explain(
    prompt: Annotated[str | None, PROMPT] = None,
    *,
    file: Path | None = None,
    policy: Path | None = None,
    json: Annotated[bool, Parameter(negative="")] = False,
    max_tokens: int | None = None,
    privacy: str | None = None,
    tag: Annotated[tuple[str, ...], Parameter(negative="")] = (),
) -> int:
    """Show what would happen to a prompt, and why. Nothing is called.

    --json prints {levels, scores, because, rule, plan, removed: [{target, because}], estimated_cost_usd, expected}; the
    estimate is the most that the first target of the plan can cost. expected is {attempts, most_attempts, cost_usd, by,
    calls}: calls and money, by the recorded requests of the last seven days where a target has 20 (by: records),
    otherwise by the policy alone (by: policy), as if the first target answered.

    Args:
        prompt: The prompt in quotes, or "-" for stdin.
        file: Read the prompt from this file.
        policy: The policy's file; otherwise it is looked for.
        json: Print the decision as JSON.
        max_tokens: The longest answer, in tokens; it moves the estimate.
        privacy: Your own privacy label; it raises the level, never lowers it.
        tag: name=value, for the policy's rules and budgets; may be repeated.
    """
    from ..router import Router

    given = {"max_tokens": max_tokens, "privacy": privacy, "tags": read_tags(tag)}
    options = {name: value for name, value in given.items() if value is not None}
    text = read_prompt(prompt, file)
    with Router.from_policy(policy) if policy else Router() as router:
        decision = router.decide(text, **options)
        expected = _expected(router.policy, decision, text)
    if json:
        print_json(picture(decision, expected))
    else:
        print("\n".join(lines(decision, expected)))
    return 0


def _expected(policy: Policy, decision: Decision, text: str) -> Expected | None:
    from datetime import UTC, datetime

    from ..budget.book import LedgerDown
    from ..budget.expected import expect, history
    from ..budget.ledger import records_path
    from ..budget.prices import PriceBook
    from ..budget.requests import read
    from ..tokens import count

    now = datetime.now(UTC)
    try:
        known = history(read(records_path(), since=now.timestamp() - RECENT))
    except LedgerDown as error:  # a broken ledger is a reason to explain less, not nothing
        talk(str(error))
        known = history(())
    return expect(
        policy,
        decision.plan,
        known=known,
        worst=decision.estimates,
        input_tokens=count(text),
        prices=PriceBook(policy),
        at=now,
    )


def picture(decision: Decision, expected: Expected | None = None) -> dict[str, Any]:
    """The shape that `explain --json` prints; stable between minor versions.

    `estimated_cost_usd` is the most that the first target of the plan can cost; it and `expected` are null when the
    plan is empty.
    """
    return {
        "levels": dict(decision.levels),
        "scores": {name: round(score, 4) for name, score in decision.scores.items()},
        "because": {name: list(reasons) for name, reasons in decision.because.items()},
        "rule": decision.rule,
        "plan": list(decision.plan),
        "removed": [{"target": removal.target, "because": removal.because} for removal in decision.removed],
        "estimated_cost_usd": decision.estimates.get(decision.plan[0]) if decision.plan else None,
        "expected": asdict(expected) if expected is not None else None,
    }


def lines(decision: Decision, expected: Expected | None = None) -> list[str]:
    """The decision for people: one line per signal, then rule, plan, removals, and what it is expected to take."""
    rows = [
        (name, f"{level} {decision.scores.get(name, 0):.2f}", "; ".join(decision.because.get(name, ())))
        for name, level in decision.levels.items()
    ]
    plan = [f"{name} (masked)" if name in decision.masked else name for name in decision.plan]
    rows += [("rule", decision.rule, ""), ("plan", " -> ".join(plan) or "nothing is left", "")]
    rows += [("removed", removal.target, removal.because) for removal in decision.removed]
    first = decision.estimates.get(decision.plan[0]) if decision.plan else None
    rows.append(("costs", f"at most {usd(first)}" if decision.plan else "nothing", ""))
    if expected is not None:
        rows += _figures(expected)
    wide = max(len(second) for _, second, third in rows if third) if any(third for *_, third in rows) else 0
    return [f"{first_:<11} {second:<{wide}}  {third}".rstrip() for first_, second, third in rows]


def _figures(expected: Expected) -> list[tuple[str, str, str]]:
    most = f"at most {expected.most_attempts}"
    if expected.by == "policy":
        return [("calls", f"1 if the first target answers, {most}; too few calls on record for an average", "")]
    source = f"by {expected.calls:,} recorded calls"
    return [
        ("expected", f"{usd(expected.cost_usd)} {source}", ""),
        ("calls", f"{expected.attempts:.2f} {source}, {most} by the policy", ""),
    ]
