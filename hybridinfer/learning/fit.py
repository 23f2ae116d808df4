"""Refit the complexity weights to labels from one's own traffic, never further from the shipped ones than labels prove.

A ridge draws the weights towards the shipped ones; how strongly, and whether at all, is decided on labels that the
fit has not seen (five folds): the learned weights are taken only if they rank those better than the shipped ones by
more than two standard errors. So a few hundred labels that say nothing change nothing. docs/learn.md has the figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from ..signals.complexity import Scorer
    from .journal import Labelled

    Array = np.ndarray[Any, Any]

ENOUGH = 200
"""Labels of one side below which nothing is learned from it: naive fitting on 50 ranks worse than not fitting."""
STRENGTHS = (30.0, 100.0, 300.0, 1000.0)
"""How many labels the shipped weights are worth, tried from weak to strong."""
FEW = 400
"""Local labels below which only the strengths from FIRM on are tried: five folds of so few cannot tell the others apart."""
FIRM = 300.0
FOLDS = 5
MARGIN = 2.0
"""Standard errors by which the learned ranking must be better. 0.5 to 3 were tried: docs/learn.md, "How it was chosen"."""
_CLIP = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """Features, one row a request, and how good the answers were, 0..1; NaN where nobody judged."""

    x: Array
    local: Array
    cloud: Array

    def rows(self, mask: Array) -> Labels:
        """Some of the rows."""
        return Labels(x=self.x[mask], local=self.local[mask], cloud=self.cloud[mask])


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """What the labels taught. `scorer` is the shipped one where `strength` is None: nothing was certain enough."""

    scorer: Scorer
    strength: float | None
    against: str
    """`cloud`: the judged answers of the cloud; `ideal`: a cloud that always succeeds, as too few were judged."""
    held_out: Array
    """Ranks 0..1 of each request by weights that have not seen it; higher goes to the cloud first."""
    shipped: Array
    """The same by the shipped weights."""


def labels_of(rows: Sequence[Labelled]) -> Labels:
    """The labelled requests as arrays."""
    import numpy as np

    def column(values: Sequence[float | None]) -> Array:
        return np.array([np.nan if value is None else value for value in values], dtype=np.float64)

    return Labels(
        x=np.array([column(row.features) for row in rows]),
        local=column([row.local for row in rows]),
        cloud=column([row.cloud for row in rows]),
    )


def fit(prior: Scorer, labels: Labels) -> Learned | None:
    """The weights for these labels; None where there are too few. Deterministic: the same rows, the same weights."""
    import numpy as np

    known = int(np.isfinite(labels.local).sum())
    if known < ENOUGH:
        return None
    judged = bool(np.isfinite(labels.cloud).sum() >= ENOUGH)
    if not judged:
        labels = replace(labels, cloud=np.full(len(labels.local), np.nan))
    z, start = standardised(prior, labels.x), np.array(prior.weights)
    fold = np.random.default_rng(0).permutation(len(z)) % FOLDS
    shipped = _ranks_within(z @ start, fold)
    best: tuple[float, float | None, Array] = (0.0, None, shipped)
    for tried in STRENGTHS:
        if known < FEW and tried < FIRM:
            continue
        scores = np.zeros(len(z))
        for number in range(FOLDS):
            held = fold == number
            scores[held] = z[held] @ ridge(z[~held], labels.rows(~held), start, tried * (1 - 1 / FOLDS))
        ranking = _ranks_within(scores, fold)
        gain = _surely(ranking - shipped, labels, fold)
        if gain > best[0]:
            best = gain, tried, ranking
    _, strength, ranking = best
    scorer = prior if strength is None else _on_scale(prior, z, ridge(z, labels, start, strength))
    against = "cloud" if judged else "ideal"
    return Learned(scorer=scorer, strength=strength, against=against, held_out=ranking, shipped=shipped)


def ridge(z: Array, labels: Labels, start: Array, strength: float) -> Array:
    """Weights of what the cloud gains, from both sides' labels, drawn to `start` as if that were `strength` labels.

    What a local answer lacks is fitted from `start`; how good the cloud's is, from nothing. Their sum is, for requests
    where both were judged, the ridge on the difference.
    """
    import numpy as np

    weights = start.copy()
    for values, known in ((1.0 - labels.local, start), (labels.cloud, np.zeros_like(start))):
        rows = np.isfinite(values)
        if rows.any():
            centred = z[rows] - z[rows].mean(axis=0)
            left = values[rows] - values[rows].mean() - centred @ known
            gram = centred.T @ centred + strength * np.eye(len(start))
            weights += np.linalg.solve(gram, centred.T @ left)
    return weights


def standardised(prior: Scorer, x: Array) -> Array:
    """Features in the scales of the training prompts; a feature that means nothing counts as average."""
    import numpy as np

    means, scales = np.array(prior.means), np.array(prior.scales)
    z: Array = np.clip((np.where(np.isnan(x), means, x) - means) / scales, -_CLIP, _CLIP)
    return z


def ranks(scores: Array) -> Array:
    """Ranks between 0 and 1; equal scores share the middle of theirs."""
    import numpy as np

    _, which, counts = np.unique(scores, return_inverse=True, return_counts=True)
    middle: Array = (np.cumsum(counts) - counts / 2) / len(scores)
    return middle[which]


def _ranks_within(scores: Array, fold: Array) -> Array:
    """Ranks within each fold, as scores of different fits are on different scales."""
    import numpy as np

    result = np.zeros(len(scores))
    for number in range(FOLDS):
        result[fold == number] = ranks(scores[fold == number])
    return result


def _surely(moved: Array, labels: Labels, fold: Array) -> float:
    """The lower bound of what moving the ranks so gains, in units of APGR's numerator.

    APGR is, but for constants, the mean of rank times gain; so its change is the mean of `moved` times the gain.
    """
    import numpy as np

    terms = np.zeros(len(moved))
    for values in (1.0 - labels.local, labels.cloud):
        rows = np.isfinite(values)
        for number in range(FOLDS):
            here = rows & (fold == number)
            if here.any():
                terms[here] += moved[here] * (values[here] - values[here].mean()) / rows.sum()
    return float(terms.sum() - MARGIN * np.sqrt(len(terms)) * terms.std())


def _on_scale(prior: Scorer, z: Array, weights: Array) -> Scorer:
    """The prior with these weights, stretched so that levels keep their meaning.

    The labelled requests have the mean and the spread of points that they had; levels that are shares begin by them.
    """
    import numpy as np

    before, after = z @ np.array(prior.weights), z @ weights
    stretch = float(before.std() / after.std()) if after.std() > 0 else 1.0
    intercept = prior.intercept + float(before.mean() - stretch * after.mean())
    points = intercept + stretch * after
    scores = 1 / (1 + np.exp(-prior.slope * (points - prior.centre)))
    quantiles = np.quantile(scores, np.linspace(0, 1, len(prior.quantiles)))
    return replace(
        prior,
        intercept=round(intercept, 5),
        weights=tuple(round(float(weight), 5) for weight in stretch * weights),
        quantiles=tuple(round(float(score), 4) for score in quantiles),
    )
