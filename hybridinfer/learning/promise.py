"""How good answers would be at a cloud share: from the labels of one's own traffic, with an interval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import ConfigurationError
from .fit import ENOUGH, standardised

if TYPE_CHECKING:
    import numpy as np

    from ..signals.complexity import Scorer
    from .calibrate import Traffic
    from .fit import Labels

    Array = np.ndarray[Any, Any]

DRAWS = 200
"""Bootstrap samples of the labels; the seed is fixed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """Mean quality 0..1 of all answers, with its 95% interval. `judged`: whether the cloud's answers were, too."""

    count: int
    """How many of the highest scores are above the boundary."""
    quality: float
    low: float
    high: float
    judged: bool


def promise(scorer: Scorer, labels: Labels, found: Traffic, quality: float) -> Promise:
    """The fewest requests above the boundary so that answers are worth `quality`. Deterministic.

    A local answer succeeds with a probability that falls with the score: a logistic curve through the labels. A cloud's
    succeeds as often as those that were judged, or always where fewer than 200 were. Raises ConfigurationError where
    the local labels are too few, or where even the cloud is not that good.
    """
    import numpy as np

    known = np.isfinite(labels.local)
    if known.sum() < ENOUGH:
        raise ConfigurationError(f"{known.sum()} local answers are labelled; a quality needs at least {ENOUGH}")
    points = scorer.intercept + standardised(scorer, labels.x[known]) @ np.array(scorer.weights)
    scores, good = 1 / (1 + np.exp(-scorer.slope * (points - scorer.centre))), labels.local[known]
    far = labels.cloud[np.isfinite(labels.cloud)]
    judged = len(far) >= ENOUGH
    traffic, above, below = np.array(found.scores), np.array(found.above), np.array(found.below)

    def qualities(rows: Array, cloud: float) -> Array:
        here = _curve(scores[rows], good[rows], traffic)
        high, low = np.where(above, cloud, here), np.where(below, cloud, here)
        total: Array = np.append(0.0, np.cumsum(high)) + np.append(np.cumsum(low[::-1])[::-1], 0.0)
        return total / len(traffic)

    means = qualities(np.arange(len(good)), float(far.mean()) if judged else 1.0)
    count = next((at for at in found.counts() if means[at] >= quality), None)
    if count is None:
        raise ConfigurationError(f"no cloud share gives a quality of {quality:g}; the best is {means.max():.3f}")
    random = np.random.default_rng(0)
    draws = [
        qualities(
            random.integers(0, len(good), len(good)),
            float(random.choice(far, len(far)).mean()) if judged else 1.0,
        )[count]
        for _ in range(DRAWS)
    ]
    low, high = np.quantile(draws, [0.025, 0.975])
    return Promise(count=count, quality=float(means[count]), low=float(low), high=float(high), judged=judged)


def _curve(scores: Array, good: Array, at: Array) -> Array:
    """The logistic curve of success by score, by Newton's method with a faint pull to no slope; its values `at`."""
    import numpy as np

    x = np.column_stack([np.ones_like(scores), scores - 0.5])
    weights = np.zeros(2)
    for _ in range(25):
        p = 1 / (1 + np.exp(-x @ weights))
        slope = x.T @ (good - p) - 0.1 * weights
        bend = (x * (p * (1 - p))[:, None]).T @ x + 0.1 * np.eye(2)
        weights += np.linalg.solve(bend, slope)
    values: Array = 1 / (1 + np.exp(-(weights[0] + weights[1] * (at - 0.5))))
    return values
