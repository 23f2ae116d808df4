"""Train hybridinfer/signals/complexity.json from recorded outcomes: one command, the same bytes every time.

    uv run --group bench python -m benchmarks.train_complexity --data ../shared/data/routing

Weighted ridge regression of "the small models fail" (1 - weak) on the features of signals/features.py:
every family of prompts weighs the same, and the weights shrink to a prior: zero, except for the classes of
what is asked, for which benchmarks hold next to no examples (nobody benchmarks greetings or designs) and
where they do (coding exercises) speak for their kind only. These shrink hard, so that the prior decides.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hybridinfer.signals.features import NAMES, features

from . import routing_data

OUTPUT = Path(__file__).parent.parent / "hybridinfer" / "signals" / "complexity.json"
SHRINK = 0.2
"""Ridge penalty on standardised weights, per unit of total sample weight. Chosen by leave-one-family-out."""
SHRINK_HARD = 5.0
PRIOR = {
    "log_demands": 0.02,
    "asks_fact": -0.05,
    "asks_reason": 0.03,
    "asks_prove": 0.35,
    "asks_compute": 0.05,
    "asks_create": 0.03,
    "asks_design": 0.25,
    "asks_analyse": 0.10,
    "asks_transform": -0.15,
}
"""Points of expected failure per unit of the feature; these features shrink hard towards them."""
FLOOR = 0.25
"""The least scale of a yes-or-no feature: a rare one would otherwise weigh as if it were common."""
YES_OR_NO = frozenset(name for name in NAMES if name.startswith("asks_")) | {"choices"}
CLIP = 3.0
CENTRE, SLOPE = 0.55, 8.0
"""The logistic map to a score, set by hand on everyday prompts like those of the unit tests: with the default
levels (0.4, 0.75) greetings and extraction are low, and high begins where small models fail two in three."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """A trained linear model; arrays in the order of `NAMES`."""

    intercept: float
    means: np.ndarray
    scales: np.ndarray
    weights: np.ndarray

    def predict(self, matrix: np.ndarray) -> np.ndarray:
        """Expected failure for each row of `matrix`; NaN counts as average."""
        return self.intercept + _standardise(matrix, self.means, self.scales) @ self.weights


def matrix(prompts: list[str]) -> np.ndarray:
    """One row of features per prompt; NaN where a feature means nothing."""
    return np.array([[np.nan if value is None else value for value in features(prompt)] for prompt in prompts])


def fit(x: np.ndarray, failed: np.ndarray, family: np.ndarray) -> Fit:
    """Ridge with a prior: minimise the weighted mean of (failed - prediction)^2 + sum shrink * (weight - prior)^2."""
    _, index, counts = np.unique(family, return_inverse=True, return_counts=True)
    share = 1.0 / counts[index]
    share /= share.sum()
    known = ~np.isnan(x)
    total = (share[:, None] * known).sum(axis=0)
    means = (share[:, None] * np.where(known, x, 0.0)).sum(axis=0) / total
    spread = np.sqrt((share[:, None] * np.where(known, x - means, 0.0) ** 2).sum(axis=0))
    scales = np.maximum(spread, [FLOOR if name in YES_OR_NO else 1e-6 for name in NAMES])
    z = _standardise(x, means, scales)
    centred = z - share @ z
    prior = np.array([PRIOR.get(name, 0.0) for name in NAMES]) * scales
    penalty = np.diag([SHRINK_HARD if name in PRIOR else SHRINK for name in NAMES])
    rest = failed - share @ failed - centred @ prior
    weights = prior + np.linalg.solve(
        (centred * share[:, None]).T @ centred + penalty, (centred * share[:, None]).T @ rest
    )
    return Fit(intercept=float(share @ failed - share @ z @ weights), means=means, scales=scales, weights=weights)


def _standardise(x: np.ndarray, means: np.ndarray, scales: np.ndarray) -> np.ndarray:
    return np.clip((np.where(np.isnan(x), means, x) - means) / scales, -CLIP, CLIP)


def render(model: Fit, data: routing_data.Outcomes) -> str:
    """The JSON text that ships. Numbers are rounded to five digits, beyond which they mean nothing."""
    rows = ",\n".join(
        f'    "{name}": {{"mean": {mean:.5g}, "scale": {scale:.5g}, "weight": {weight:.5f}}}'
        for name, mean, scale, weight in zip(NAMES, model.means, model.scales, model.weights, strict=True)
    )
    families = sorted(set(data.family.tolist()))
    trained = {
        "command": "python -m benchmarks.train_complexity --data PATH",
        "data": {"dev_prompts.parquet sha256": data.sha256, "prompts": len(data.prompts), "families": families},
        "target": "1 - mean success of the small models",
        "method": "ridge; families weigh the same; weights shrink to the prior",
        "shrink": SHRINK,
        "prior": PRIOR,
        "shrink_of_the_prior": SHRINK_HARD,
    }
    score = {"centre": CENTRE, "slope": SLOPE}
    return (
        "{\n"
        f'  "trained": {json.dumps(trained, indent=2).replace(chr(10), chr(10) + "  ")},\n'
        f'  "score": {json.dumps(score)},\n'
        f'  "intercept": {model.intercept:.5f},\n'
        f'  "features": {{\n{rows}\n  }}\n'
        "}\n"
    )


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(
        description="Train the complexity scorer; writes hybridinfer/signals/complexity.json."
    )
    parser.add_argument("--data", type=Path, default=routing_data.DEFAULT, help="folder with dev_prompts.parquet")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args(arguments)
    data = routing_data.load(options.data)
    model = fit(matrix(data.prompts), 1.0 - data.weak, data.family)
    options.output.write_text(render(model, data), "utf-8")
    print(f"{options.output.name}: {len(NAMES)} weights from {len(data.prompts):,} prompts")


if __name__ == "__main__":
    main(sys.argv[1:])
