"""What learned weights are expected to save and to lose, on labelled requests that they have not seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from .fit import Labels, Learned

    Array = np.ndarray[Any, Any]

DRAWS = 500
"""Bootstrap samples of the labelled requests; the seed is fixed."""
_LEAST = 20
"""Judged answers that a side needs before its mean is worth anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A figure with its 95% interval."""

    value: float
    low: float
    high: float

    @property
    def certain(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """Learned weights against the shipped ones; shares of all requests and qualities are 0..1."""

    cloud_share: float
    quality: float
    """Of the answers with the shipped weights at this share."""
    better: Estimate
    """Quality gained at the same share."""
    saved: Estimate
    """Of all requests, the share that need no cloud any more for the quality there was."""


def forecast(learned: Learned, labels: Labels, cloud_share: float) -> Forecast:
    """What to expect where a share of `cloud_share` goes to the cloud. Bootstrap over the requests; deterministic."""
    import numpy as np

    cloud = labels.cloud if learned.against == "cloud" else np.ones(len(labels.local))

    def figures(rows: Array) -> tuple[float, float, float]:
        local, far = labels.local[rows], cloud[rows]
        old = curve(learned.shipped[rows], local, far)
        new = curve(learned.held_out[rows], local, far)
        at = round(cloud_share * (len(old) - 1))
        enough = np.flatnonzero(new >= old[at])
        need = enough[0] if len(enough) else len(new) - 1
        return float(old[at]), float(new[at] - old[at]), float((at - need) / (len(old) - 1))

    everything = np.arange(len(cloud))
    quality, better, saved = figures(everything)
    random = np.random.default_rng(0)
    draws = np.array([figures(random.integers(0, len(cloud), len(cloud))) for _ in range(DRAWS)])
    low, high = np.quantile(draws[:, 1:], [0.025, 0.975], axis=0)
    return Forecast(
        cloud_share=cloud_share,
        quality=quality,
        better=Estimate(value=better, low=float(low[0]), high=float(high[0])),
        saved=Estimate(value=saved, low=float(low[1]), high=float(high[1])),
    )


def curve(rank: Array, local: Array, cloud: Array) -> Array:
    """Mean quality where the top 0%, 1%, ... 100% of `rank` go to the cloud; NaN labels are left out of their side."""
    import numpy as np

    order = np.argsort(rank, kind="stable")
    near, far = _means(local[order]), _means(cloud[order][::-1])[::-1]
    kept = np.round(np.linspace(1, 0, 101) * len(rank)).astype(int)
    stays = kept / len(rank)
    quality: Array = stays * near[kept] + (1 - stays) * far[kept]
    return quality


def _means(values: Array) -> Array:
    """Mean of the first 0, 1, ... n values, without those nobody judged; where they are few, of the first judged ones."""
    import numpy as np

    known = np.isfinite(values)
    sums = np.append(0.0, np.cumsum(np.where(known, values, 0.0)))
    counts = np.append(0, np.cumsum(known))
    least = min(_LEAST, int(counts[-1]))
    at = np.maximum(np.arange(len(sums)), np.searchsorted(counts, least))
    means: Array = sums[at] / np.maximum(1, counts[at])
    return means
