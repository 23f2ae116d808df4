"""Sums over recorded requests: what was asked, what it cost, and what other ways of routing would have cost."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from ..types import Usage
from .requests import AUDIT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .prices import PriceBook
    from .requests import Record

NOBODY = "(nobody)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One group of requests, or all of them. Shares are 0..1; latencies in seconds."""

    key: str
    requests: int
    input_tokens: int
    output_tokens: int
    cost_usd: Decimal
    estimated_usd: Decimal
    cloud_share: float
    degraded_share: float
    p50_seconds: float
    p95_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """What dumb routings would have cost for the same answers, by the price list of each day."""

    target: str
    """The cloud target that answers everything."""
    always_cloud_usd: Decimal
    random_usd: Decimal
    """A coin that sends as many requests to the cloud as really went there, and the others to this machine."""
    always_local_usd: Decimal
    """What the machine costs, if the policy prices it, at the mean of the requests it answered."""
    saved_usd: Decimal
    """Always-cloud minus what was really spent, failed attempts and audits included."""


def grouping(by: str) -> Callable[[Record], str]:
    """The key of a record for `target`, `rule`, `day` (UTC) or `tag:NAME`. Raises ValueError for anything else."""
    if by == "target":
        return lambda record: record.target or NOBODY
    if by == "rule":
        return lambda record: record.rule or NOBODY
    if by == "day":
        return lambda record: datetime.fromtimestamp(record.at, UTC).date().isoformat()
    kind, _, name = by.partition(":")
    if kind == "tag" and name:
        return lambda record: record.tags.get(name, "")
    raise ValueError(f"no grouping {by!r}; use target, rule, day or tag:NAME")


def lines(records: Iterable[Record], by: str) -> tuple[Line, ...]:
    """One line a group, in the order of the keys."""
    key = grouping(by)
    groups: defaultdict[str, list[Record]] = defaultdict(list)
    for record in records:
        groups[key(record)].append(record)
    return tuple(total(group, name) for name, group in sorted(groups.items()))


def total(records: Iterable[Record], key: str = "all") -> Line:
    """The sums of `records` as one line. An audit is money and tokens, but no request."""
    every = tuple(records)
    asked = [record for record in every if record.rule != AUDIT]
    count = max(1, len(asked))
    times = sorted(record.seconds for record in asked)
    return Line(
        key=key,
        requests=len(asked),
        input_tokens=sum(record.input_tokens for record in every),
        output_tokens=sum(record.output_tokens for record in every),
        cost_usd=sum((record.cost_usd for record in every), Decimal(0)),
        estimated_usd=sum((record.estimated_usd for record in every), Decimal(0)),
        cloud_share=sum(record.zone == "cloud" for record in asked) / count,
        degraded_share=sum(record.degraded for record in asked) / count,
        p50_seconds=_quantile(times, 0.50),
        p95_seconds=_quantile(times, 0.95),
    )


def baseline(records: Iterable[Record], prices: PriceBook, target: str) -> Baseline:
    """What always asking `target` would have cost: its price for the same tokens, on the day of each request.

    Raises LookupError where nobody can price `target`.
    """
    paid = tuple(records)
    every = [record for record in paid if record.rule != AUDIT]
    always = sum(
        (
            prices.cost(
                target,
                Usage(input_tokens=record.input_tokens, output_tokens=record.output_tokens),
                at=datetime.fromtimestamp(record.at, UTC),
            )
            for record in every
        ),
        Decimal(0),
    )
    count, cloud = max(1, len(every)), sum(record.zone == "cloud" for record in every)
    local = [record.cost_usd for record in every if record.zone == "device"]
    here = sum(local, Decimal(0)) * len(every) / max(1, len(local))
    return Baseline(
        target=target,
        always_cloud_usd=always,
        random_usd=(always * cloud + here * (len(every) - cloud)) / count,
        always_local_usd=here,
        saved_usd=always - sum((record.cost_usd for record in paid), Decimal(0)),
    )


def _quantile(rising: list[float], share: float) -> float:
    return rising[max(0, math.ceil(share * len(rising)) - 1)] if rising else 0.0
