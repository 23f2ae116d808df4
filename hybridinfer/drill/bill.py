"""What a live drill can cost at most, before it starts: every try of every target on a plan, and every check of an answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from ..checks import agreeing
from ..commands import Answer
from ..policy.decide import permit
from ..sameness import judged

if TYPE_CHECKING:
    from ..budget.prices import PriceBook
    from ..policy.model import Policy
    from ..receipt import Decision
    from ..targets.base import Target
    from ..types import Request


class Calls(NamedTuple):
    """Calls of one target that one request may lead to."""

    target: str
    times: int
    usd: Decimal
    """Of one of them, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """The sum over all requests of a drill."""

    requests: int
    usd: Decimal
    calls: Mapping[str, int]
    """By target, at most; canned replies are not counted."""


def bill(policy: Policy, requests: Iterable[Iterable[Calls]]) -> Bill:
    """The bill of `requests`, each with its `calls`. A budget for one request bounds what it pays for, checks included."""
    own = [budget.usd for budget in policy.budgets if budget.per == "request"]
    count, usd, calls = 0, Decimal(0), Counter[str]()
    for one in requests:
        some = [each for each in one if policy.targets[each.target].kind != "canned"]
        count += 1
        usd += min([sum((each.times * each.usd for each in some), Decimal(0)), *own])
        for each in some:
            calls[each.target] += each.times
    return Bill(requests=count, usd=usd, calls=calls)


def calls_of(
    request: Request, decision: Decision, policy: Policy, targets: Mapping[str, Target], prices: PriceBook
) -> Iterator[Calls]:
    """What a request with this decision can lead to: answers with their retries, further samples, second opinions, judges.

    A hedge adds nothing: it is the next target's first try, and ends both targets' retries.
    """
    rule = next(one for one in policy.rules if one.name == decision.rule)
    agreement = agreeing(rule.agree, decision.plan)
    together = () if agreement is None else agreement.targets
    for name in decision.plan:
        tries = 1 if name in together else policy.resilience.retry.attempts
        yield Calls(name, tries, decision.estimates[name])
    helpers = [(agreement.by, len(together) - 1, True)] if agreement is not None else []
    for name, accept in rule.accept.items():
        if name in decision.plan:
            if accept.samples is not None:
                yield Calls(name, accept.samples - 1, decision.estimates[name])
            helpers += [(accept.agree_with, 1, False), (accept.by, 1, True)]
    for helper, times, judges in helpers:
        if helper is None or permit(policy, helper, decision.levels, request.tags, request.needs).verdict == "never":
            continue
        yield Calls(helper, times, _worst(request, targets[helper], prices, judges=judges))


def _worst(request: Request, target: Target, prices: PriceBook, *, judges: bool) -> Decimal:
    """One call of a helper; a judge reads two answers of full length beside the question."""
    asked = judged(request, Answer(), Answer()) if judges else request
    read = target.count_tokens(asked) + (2 * (request.max_tokens or 0) if judges else 0)
    assert asked.max_tokens is not None, "a drill's requests name it"
    return prices.worst_case(target.info.name, input_tokens=read, max_tokens=asked.max_tokens) or Decimal(0)
