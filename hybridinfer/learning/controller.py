"""Keeps asked shares of a stream of scores: a quantile sketch that forgets, and a correction of what it misses.

The sketch (a t-digest, Dunning and Ertl, arXiv 1902.04023; package fastdigest) knows where a share of the recent
scores begins. Each boundary between two levels asks it at a rank, and the rank is corrected after every score by
STEP times (share asked - score above): adaptive conformal inference, Gibbs and Candes, arXiv 2106.00170. Their
proposition 4.1 needs no assumption on the scores: after T of them the share above a boundary is within
(1 + STEP) / (T * STEP) of the share asked, whatever drifts and however many scores are equal. With many equal
scores the rank swings around them, so that they take turns: nothing is drawn by lot, nothing is hashed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from math import inf
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastdigest import TDigest

STEP = 0.02
"""How far one score moves a rank. A larger step meets the share sooner and lets the boundary tremble more."""
MEMORY = 500
"""Scores after which one weighs 1/e of the newest."""
HEAD_START = 20.0
"""The weight of the training prompts at first: that of so many scores."""
CENTROIDS = 100
_TOO_HEAVY = 1e6  # weights grow instead of decaying; beyond this all are scaled down


class Controller:
    """The boundaries between the levels of one signal. Not thread-safe: one event loop owns it."""

    def __init__(self, shares: Mapping[str, float], prior: Sequence[float]) -> None:
        """`shares` from the lowest level to the highest, 1 in all; `prior`: scores to begin with."""
        from fastdigest import TDigest

        self.shares = dict(shares)
        self.seen = 0
        """Scores counted, over all restarts."""
        self._asked = [1 - below for below in accumulate(self.shares.values())][:-1]
        self._ranks = list(self._asked)
        self._weight = 1.0
        weight = HEAD_START / len(prior)
        self._sketch: TDigest = TDigest.from_values(list(prior), w=weight, max_centroids=CENTROIDS)

    @property
    def floors(self) -> dict[str, float]:
        """Where each level begins now; -inf: at every score, inf: at none. They never fall from level to level."""
        lowest, *upper = self.shares
        begins = accumulate((self._quantile(rank) for rank in self._ranks), max)
        return {lowest: -inf, **dict(zip(upper, begins, strict=True))}

    def count(self, score: float) -> None:
        """Take one more score into account."""
        begins = list(self.floors.values())[1:]
        for number, (asked, floor) in enumerate(zip(self._asked, begins, strict=True)):
            self._ranks[number] += STEP * (asked - (score >= floor))
        self.seen += 1
        self._weight *= 1 + 1 / MEMORY
        self._sketch.update(score, self._weight)
        if self._weight > _TOO_HEAVY:
            self._scale()

    def state(self) -> dict[str, Any]:
        """What `restore` needs, JSON-ready: bands and weights of scores, no text."""
        self._scale()
        centroids = [[round(mean, 6), round(weight, 4)] for mean, weight in self._sketch.centroids]
        return {"shares": self.shares, "seen": self.seen, "ranks": self._ranks, "centroids": centroids}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`. Where other shares were asked, only the scores count. Raises where it is garbled."""
        from fastdigest import TDigest

        means = [float(mean) for mean, _ in state["centroids"]]
        weights = [float(weight) for _, weight in state["centroids"]]
        ranks, seen = [float(rank) for rank in state["ranks"]], int(state["seen"])
        if not means or any(not 0 <= mean <= 1 for mean in means) or any(not 0 <= one < inf for one in weights):
            raise ValueError("not a sketch of scores")
        same = state["shares"] == self.shares and len(ranks) == len(self._ranks)
        if any(not abs(rank) <= 1 / STEP for rank in ranks):
            raise ValueError("not ranks")
        self._sketch = TDigest.from_values(means, weights, max_centroids=CENTROIDS)
        self._ranks = ranks if same else list(self._asked)
        self._weight, self.seen = 1.0, seen

    def _quantile(self, above: float) -> float:
        """The score that a share `above` of the recent scores reaches."""
        if above >= 1:
            return -inf
        return inf if above <= 0 else self._sketch.quantile(1 - above)

    def _scale(self) -> None:
        from fastdigest import TDigest

        centroids = self._sketch.centroids
        means, weights = [mean for mean, _ in centroids], [weight / self._weight for _, weight in centroids]
        self._sketch = TDigest.from_values(means, weights, max_centroids=CENTROIDS)
        self._weight = 1.0
