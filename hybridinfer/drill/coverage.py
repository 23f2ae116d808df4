"""Fallback coverage: of the ways in which a policy can fall from one rung to the next, those that were walked.

An edge is (target, code, next target). What a policy can take follows from its ladders over all combinations of
levels, and from the codes that let a request fall through; what was walked stands on the receipts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from ..budget.tariffs import find
from ..policy.model import IN_PROCESS, Policy, TargetBlock
from ..policy.space import Space
from ..receipt import ANSWERED, Code, Receipt

_NEVER_HERE = frozenset({Code.RATE_LIMITED, Code.UNAUTHORIZED, Code.INTERRUPTED, Code.REFUSED, Code.INVALID})
"""Codes that what runs in this process never ends with: no server is there to say so."""
_NEVER_FALLS = frozenset({Code.OK, Code.CANCELLED})


class Edge(NamedTuple):
    """`target` ended with `code`, so `next` was asked."""

    target: str
    code: Code
    next: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """Edges that can be taken, and those of them that were."""

    possible: frozenset[Edge]
    walked: frozenset[Edge]

    @property
    def share(self) -> float:
        """0..1; a policy without any fallback is covered."""
        return len(self.walked) / len(self.possible) if self.possible else 1.0

    @property
    def missed(self) -> list[Edge]:
        """Those that nobody walked, sorted."""
        return sorted(self.possible - self.walked)


def coverage(policy: Policy, receipts: Iterable[Receipt]) -> Coverage:
    """How much of the policy's fallback these receipts walked. Raises `TooManyCombinations` as `policy check` says."""
    edges = possible(policy)
    return Coverage(possible=edges, walked=edges & {edge for receipt in receipts for edge in walked(receipt)})


def possible(policy: Policy) -> frozenset[Edge]:
    """Every edge that some request can take. Raises `TooManyCombinations` as `policy check` says."""
    codes = {name: _codes(policy, block) for name, block in policy.targets.items()}
    edges = set[Edge]()
    for outcome in Space(policy).outcomes(policy):
        checked = policy.rules[outcome.rule].checks(outcome.ladder)
        for target, following in pairwise(outcome.ladder):
            unsure = {Code.UNSURE} if target in checked else set[Code]()
            edges |= {Edge(target, code, following) for code in codes[target] | unsure}
    return frozenset(edges)


def walked(receipt: Receipt) -> Iterator[Edge]:
    """The edges that one request took. Who was only asked to check another's answer is not on the way."""
    ladder = receipt.decision.ladder if receipt.decision else {attempt.target for attempt in receipt.attempts}
    way = [
        attempt
        for number, attempt in enumerate(receipt.attempts, 1)
        if attempt.target in ladder and (attempt.code not in ANSWERED or number == len(receipt.attempts))
    ]
    for one, following in pairwise(way):
        if one.target != following.target:
            yield Edge(one.target, one.code, following.target)


def _codes(policy: Policy, block: TargetBlock) -> set[Code]:
    """The codes with which this target can end and the request goes on."""
    if block.kind == "canned":
        return set()
    codes = set(policy.resilience.fallback_on) - _NEVER_FALLS
    if block.kind in IN_PROCESS:
        codes -= _NEVER_HERE
    codes.add(Code.CIRCUIT_OPEN)
    if policy.budgets and block.kind not in IN_PROCESS and find(block) is not None:
        codes.add(Code.OVER_BUDGET)
    if block.max_concurrency is not None:
        codes.add(Code.SATURATED)
    return codes
