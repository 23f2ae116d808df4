"""`hybridinfer ask`: answer one prompt and say who answered."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from ..errors import RequestError
from ..receipt import Receipt
from .arguments import PROMPT
from .terminal import print_json, read_prompt, read_tags, talk, usd


def ask(
    prompt: Annotated[str | None, PROMPT] = None,
    *,
    file: Path | None = None,
    policy: Path | None = None,
    stream: Annotated[bool, Parameter(negative="")] = False,
    json: Annotated[bool, Parameter(negative="")] = False,
    system: str | None = None,
    max_tokens: int | None = None,
    temperature: float | None = None,
    timeout: float | None = None,
    privacy: str | None = None,
    budget_usd: Decimal | None = None,
    tag: Annotated[tuple[str, ...], Parameter(negative="")] = (),
) -> int:
    """Answer one prompt and say who answered.

    The answer goes to stdout, one line about it to stderr. Exit code 0 when an answer came, a canned
    one included; 1 when none came.

    --json prints {text, target, zone, rung, degraded, levels, rule, removed: [{target, because}], attempts:
    [{target, number, code, because, seconds, input_tokens, output_tokens, cost_usd}], cost_usd, seconds}; text, target, zone
    and rung are null when nobody answered. Money is a number of USD.

    Args:
        prompt: The prompt in quotes, or "-" for stdin.
        file: Read the prompt from this file.
        policy: The policy's file; otherwise it is looked for.
        stream: Print the answer as it comes.
        json: Print the answer and how it came about as JSON.
        system: A system message to stand before the prompt.
        max_tokens: The longest answer, in tokens.
        temperature: 0 for the likeliest words, higher for more variety.
        timeout: The whole deadline in seconds.
        privacy: Your own privacy label; it raises the level, never lowers it.
        budget_usd: The most that this one request may cost.
        tag: name=value, for the policy's rules and budgets; may be repeated.
    """
    from ..router import Router

    messages: list[dict[str, Any]] = [{"role": "user", "content": read_prompt(prompt, file)}]
    if system is not None:
        messages.insert(0, {"role": "system", "content": system})
    given = {
        "max_tokens": max_tokens,
        "temperature": temperature,
        "timeout": timeout,
        "privacy": privacy,
        "budget_usd": budget_usd,
        "tags": read_tags(tag),
    }
    options = {name: value for name, value in given.items() if value is not None}
    with Router.from_policy(policy) if policy else Router() as router:
        try:
            if stream and not json:
                with router.stream(messages, **options) as answer:
                    for piece in answer.text_stream:
                        print(piece, end="", flush=True)
                    print()
                    response = answer.response
            else:
                response = router.complete(messages, **options)
                if not json:
                    print(response.text)
        except RequestError as error:
            if json:
                print_json(story(error.receipt, None))
            talk(f"hybridinfer: {error}")
            return 1
    if json:
        print_json(story(response.receipt, response.text))
    else:
        talk(summary(response.receipt))
    return 0


def story(receipt: Receipt, text: str | None) -> dict[str, Any]:
    """The shape that `ask --json` prints; stable between minor versions. `text` is None when nobody answered."""
    decision = receipt.decision
    return {
        "text": text,
        "target": receipt.target,
        "zone": receipt.zone,
        "rung": receipt.rung,
        "degraded": receipt.degraded,
        "levels": dict(decision.levels) if decision else {},
        "rule": decision.rule if decision else None,
        "removed": [{"target": r.target, "because": r.because} for r in decision.removed] if decision else [],
        "attempts": [
            {
                "target": attempt.target,
                "number": attempt.number,
                "code": str(attempt.code),
                "because": attempt.because,
                "seconds": round(attempt.seconds, 6),
                "input_tokens": attempt.input_tokens,
                "output_tokens": attempt.output_tokens,
                "cost_usd": attempt.cost_usd,
            }
            for attempt in receipt.attempts
        ],
        "cost_usd": receipt.cost_usd,
        "seconds": round(receipt.seconds, 6),
    }


def summary(receipt: Receipt) -> str:
    """One line for people: who answered, from which rung, at what price, in what time, and what failed before."""
    failed = [f"{a.target} {a.code}" for a in receipt.attempts if a.target != receipt.target]
    parts = [
        f"answered by {receipt.target} ({receipt.zone})",
        f"rung {receipt.rung}" + (", degraded" if receipt.degraded else ""),
        usd(receipt.cost_usd),
        f"{receipt.seconds:.2f} s",
    ]
    return " · ".join(parts + (["after " + ", ".join(failed)] if failed else []))
