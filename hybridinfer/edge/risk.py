"""How sure an answer must be so that accepted answers are seldom wrong: a bound, not an average.

`threshold` tests a fixed list of thresholds on labelled answers. For each, the share of wrong answers among the
accepted ones has an exact upper bound (Clopper and Pearson, Biometrika 26, 1934); the level is divided by the number
of thresholds (Bonferroni), so that with the promised probability *every* certified one keeps the bound, and the lowest
may be taken. Among risk-controlling procedures this is the plainest (Angelopoulos et al., Learn then Test, arXiv
2110.01052). It holds for traffic like the labelled answers; nothing holds for other traffic.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

GRID = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95)
"""The thresholds that are tested; few, since each of them costs certainty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """What is known of one threshold: accepted answers, wrong ones among them, and the bound on their share."""

    threshold: float
    accepted: int
    wrong: int
    at_most: float
    """The share of wrong answers among the accepted ones is at most this, at the promised level."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Risk:
    """The lowest threshold that keeps the risk, or None; and how many accepted, all right, would be enough."""

    chosen: Bound | None
    bounds: tuple[Bound, ...]
    enough: int
    """Accepted answers that it takes to prove the risk, if none of them is wrong."""


def threshold(confidences: Sequence[float], right: Sequence[bool], *, risk: float, level: float = 0.95) -> Risk:
    """The lowest confidence at which at most `risk` of the accepted answers are wrong, at `level`.

    Args:
        confidences: Of labelled answers that the map was *not* fitted on, 0..1.
        right: Whether each was right.
        risk: 0..1, exclusive.
        level: The probability that the promise holds, over the choice of labelled answers.
    """
    if not 0 < risk < 1 or not 0 < level < 1:
        raise ValueError("risk and level lie between 0 and 1")
    alpha = (1 - level) / len(GRID)
    bounds = []
    for each in GRID:
        taken = [ok for sure, ok in zip(confidences, right, strict=True) if sure >= each]
        wrong = len(taken) - sum(taken)
        bounds.append(
            Bound(threshold=each, accepted=len(taken), wrong=wrong, at_most=upper_bound(wrong, len(taken), alpha))
        )
    chosen = next((bound for bound in bounds if bound.at_most <= risk), None)
    return Risk(chosen=chosen, bounds=tuple(bounds), enough=math.ceil(math.log(alpha) / math.log1p(-risk)))


def upper_bound(events: int, trials: int, alpha: float) -> float:
    """The Clopper-Pearson upper bound of a share: the p at which so few events have the probability `alpha`."""
    if events >= trials:
        return 1.0
    low, high = events / trials, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _at_most(events, trials, middle) > alpha else (low, middle)
    return high


def _at_most(events: int, trials: int, p: float) -> float:
    """The probability of at most `events` of `trials`, each with the probability `p`."""
    if p <= 0 or p >= 1:
        return float(p <= 0)
    log_p, log_q = math.log(p), math.log1p(-p)
    terms = (
        math.lgamma(trials + 1) - math.lgamma(k + 1) - math.lgamma(trials - k + 1) + k * log_p + (trials - k) * log_q
        for k in range(events + 1)
    )
    return min(1.0, math.fsum(map(math.exp, terms)))
