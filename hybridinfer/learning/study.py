"""From labelled requests to a weights file, with its provenance and what to expect of it; or why there is none."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .fit import ENOUGH, FOLDS, fit, labels_of
from .forecast import DRAWS, Forecast, forecast

if TYPE_CHECKING:
    from ..signals.complexity import Scorer
    from .fit import Learned
    from .journal import Labelled


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What there was to learn from; `first` and `last` in seconds since the epoch."""

    local: int
    cloud: int
    sources: dict[str, int]
    first: float | None
    last: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """What came of it. `text`: the weights file; None: none is worth writing, and `why` says so."""

    counts: Counts
    why: str
    against: str = ""
    forecast: Forecast | None = None
    text: str | None = None


def study(prior: Scorer, rows: Sequence[Labelled], cloud_share: float) -> Study:
    """Learn from `rows`. Deterministic: the same rows give the same bytes."""
    counts = Counts(
        local=sum(row.local is not None for row in rows),
        cloud=sum(row.cloud is not None for row in rows),
        sources=dict(sorted(Counter(source for row in rows for source in row.sources).items())),
        first=min((row.at for row in rows), default=None),
        last=max((row.at for row in rows), default=None),
    )
    if counts.local < ENOUGH:
        why = f"at least {ENOUGH} labels of local answers are needed; fewer would make the score worse, not better"
        return Study(counts=counts, why=why)
    labels = labels_of(rows)
    learned = fit(prior, labels)
    assert learned is not None, "the labels were counted"
    if learned.strength is None:
        why = "these labels do not prove that other weights rank your requests better; the shipped ones stay"
        return Study(counts=counts, why=why, against=learned.against)
    expected = forecast(learned, labels, cloud_share)
    return Study(
        counts=counts,
        why="",
        against=learned.against,
        forecast=expected,
        text=render(learned, counts),
    )


def render(learned: Learned, counts: Counts) -> str:
    """The weights as `signals.complexity.parse` reads them."""
    from ..signals.features import NAMES

    scorer = learned.scorer
    provenance = {
        "command": "hybridinfer learn",
        "labels": {"local": counts.local, "cloud": counts.cloud, "sources": counts.sources},
        "requests from": counts.first,
        "requests to": counts.last,
        "method": f"ridge towards the shipped weights, chosen on {FOLDS} folds; forecast by {DRAWS} bootstrap samples",
        "strength": learned.strength,
        "against": learned.against,
    }
    tree = {
        "trained": provenance,
        "score": {"centre": scorer.centre, "slope": scorer.slope, "quantiles": list(scorer.quantiles)},
        "intercept": scorer.intercept,
        "features": {
            name: {"mean": mean, "scale": scale, "weight": weight}
            for name, mean, scale, weight in zip(NAMES, scorer.means, scorer.scales, scorer.weights, strict=True)
        },
    }
    return json.dumps(tree, indent=2) + "\n"
