"""`hybridinfer explain`: what would happen to a prompt, and why. Nothing is called."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from ..receipt import Decision
from .arguments import PROMPT
from .terminal import print_json, read_prompt, read_tags, usd


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

    --json prints {levels, scores, because, rule, plan, removed: [{target, because}], estimated_cost_usd}; the
    estimate is the most that the first target of the plan can cost.

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
    if json:
        print_json(picture(decision))
    else:
        print("\n".join(lines(decision)))
    return 0


def picture(decision: Decision) -> dict[str, Any]:
    """The shape that `explain --json` prints; stable between minor versions.

    `estimated_cost_usd` is the most that the first target of the plan can cost; null when the plan is empty.
    """
    return {
        "levels": dict(decision.levels),
        "scores": {name: round(score, 4) for name, score in decision.scores.items()},
        "because": {name: list(reasons) for name, reasons in decision.because.items()},
        "rule": decision.rule,
        "plan": list(decision.plan),
        "removed": [{"target": removal.target, "because": removal.because} for removal in decision.removed],
        "estimated_cost_usd": decision.estimates.get(decision.plan[0]) if decision.plan else None,
    }


def lines(decision: Decision) -> list[str]:
    """The decision for people: one line per signal, then rule, plan and removals."""
    rows = [
        (name, f"{level} {decision.scores.get(name, 0):.2f}", "; ".join(decision.because.get(name, ())))
        for name, level in decision.levels.items()
    ]
    plan = [f"{name} (masked)" if name in decision.masked else name for name in decision.plan]
    rows += [("rule", decision.rule, ""), ("plan", " -> ".join(plan) or "nothing is left", "")]
    rows += [("removed", removal.target, removal.because) for removal in decision.removed]
    first = decision.estimates.get(decision.plan[0]) if decision.plan else None
    rows.append(("costs", f"at most {usd(first)}" if decision.plan else "nothing", ""))
    wide = max(len(second) for _, second, third in rows if third) if any(third for *_, third in rows) else 0
    return [f"{first_:<11} {second:<{wide}}  {third}".rstrip() for first_, second, third in rows]
