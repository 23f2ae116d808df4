"""What a plan is expected to take: calls and money, from the policy's retries and, where there are any, recent records.

A walk down the plan: a call is answered with the share of success that its target had; else it is tried again as often
as the policy retries, then the next target is asked. Failures count as independent of each other, and as of a kind that
is retried; waits that a `Retry-After` makes too long are not foreseen.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Literal

from ..types import Usage
from .health import doings
from .requests import AUDIT

if TYPE_CHECKING:
    from datetime import datetime

    from ..policy.model import Policy
    from .prices import PriceBook
    from .requests import Record

ENOUGH = 20
"""Recorded calls of a target below which its share of success, or the length of its answers, is not used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What recent records say, by target; only those with enough calls."""

    shares: Mapping[str, float]
    """Of calls that were answered, 0..1."""
    output_tokens: Mapping[str, float]
    """Of an answer, on average."""
    calls: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """For one request."""

    attempts: float
    """Calls, with those of retries and fallbacks; checks, second opinions and hedges come on top."""
    most_attempts: int
    """If nothing but the last answers."""
    cost_usd: Decimal
    """Answered calls at their usual length; failed ones are taken as unpaid."""
    by: Literal["records", "policy"]
    """policy: no target of the plan has enough records, so the first is taken to answer, as long as it may."""
    calls: int
    """Recorded calls behind the figures."""


def history(records: Iterable[Record]) -> History:
    """Shares and lengths of `records`, which stand in the order of time."""
    every = tuple(records)
    judged = {name: one for name, one in doings(every).items() if one.answered + one.failed >= ENOUGH}
    lengths: defaultdict[str, list[int]] = defaultdict(list)
    for record in every:
        if record.target is not None and record.rule != AUDIT:
            lengths[record.target].append(record.output_tokens)
    return History(
        shares={name: share for name, one in judged.items() if (share := one.share) is not None},
        output_tokens={name: sum(some) / len(some) for name, some in lengths.items() if len(some) >= ENOUGH},
        calls={name: one.answered + one.failed for name, one in judged.items()},
    )


def expect(
    policy: Policy,
    plan: Sequence[str],
    *,
    known: History,
    worst: Mapping[str, Decimal],
    input_tokens: int,
    prices: PriceBook,
    at: datetime,
) -> Expected | None:
    """What to expect of `plan`; None for an empty one. `worst`: what one call of each target can cost at most."""
    if not plan:
        return None

    def usual(name: str) -> Decimal:
        most, length = worst.get(name, Decimal(0)), known.output_tokens.get(name)
        if not most or length is None:
            return most
        return min(most, prices.cost(name, Usage(input_tokens=input_tokens, output_tokens=round(length)), at=at))

    attempts, cost, reached, most = 0.0, Decimal(0), 1.0, 0
    for name in plan:
        canned = policy.targets[name].kind == "canned"
        tries = 1 if canned else policy.resilience.retry.attempts
        most += tries
        failing = 0.0 if canned else 1.0 - known.shares.get(name, 1.0)
        attempts += reached * sum(failing**tried for tried in range(tries))
        answered = reached * (1.0 - failing**tries)
        cost += Decimal(answered) * usual(name)
        reached -= answered
    calls = sum(known.calls.get(name, 0) for name in plan)
    by: Literal["records", "policy"] = "records" if calls else "policy"
    return Expected(attempts=attempts, most_attempts=most, cost_usd=round(cost, 9), by=by, calls=calls)
