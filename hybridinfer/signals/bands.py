"""Levels as shares of the traffic: where each begins, from the distribution of the scores.

Here is what is pure and the same everywhere: the bands that the training prompts would have had. A router moves
them with its own traffic (`learning.levels`); `policy test`, drills, simulations and `explain` stay with these.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import accumulate
from typing import TYPE_CHECKING

from ..policy.shares import shares_of
from .weights import scorer_of

if TYPE_CHECKING:
    from ..policy.model import SignalBlock

Floors = Mapping[str, float]
"""Where each level begins, lowest first. Below 0: for every score; above 1: for none."""


def bands(block: SignalBlock) -> Floors:
    """Where the levels begin before any traffic was seen: as written, or by the scores of the training prompts."""
    if shares_of(block.levels) is None:
        return block.levels
    quantiles = scorer_of(block)[0].quantiles
    return at_shares(block, lambda rank: between(quantiles, rank))


def at_shares(block: SignalBlock, quantile: Callable[[float], float]) -> Floors:
    """Where the levels begin if their shares are to hold for scores with these quantiles (rank 0..1 -> score)."""
    ranks = [0.0, *accumulate(block.levels.values())][:-1]
    return {name: quantile(rank) if rank else 0.0 for name, rank in zip(block.levels, ranks, strict=True)}


def level_of(floors: Floors, score: float) -> str:
    """The highest level that begins at or below `score`; the first one for whatever is below them all."""
    first = next(iter(floors))
    return [first, *(name for name, floor in floors.items() if score >= floor)][-1]


def say(floors: Floors) -> str:
    """The bands in words, for `because`."""
    _, *upper = floors.items()
    return ", ".join(f"{name} from {min(1.0, max(0.0, floor)):.2f}" for name, floor in upper)


def between(quantiles: tuple[float, ...], rank: float) -> float:
    """The score at `rank` 0..1, on the straight line between the two quantiles around it."""
    at = min(1.0, max(0.0, rank)) * (len(quantiles) - 1)
    low = min(int(at), len(quantiles) - 2)
    return quantiles[low] + (quantiles[low + 1] - quantiles[low]) * (at - low)
