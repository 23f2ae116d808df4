"""Train hybridinfer/signals/complexity.json from recorded outcomes: one command, the same bytes every time.

    uv run --group bench python -m benchmarks.train_complexity --data ../shared/data/routing

Ridge regression of "the small models fail" (1 - weak) on the standardised features of signals/features.py;
every prompt weighs the same. docs/complexity.md lists what was tried before this was chosen.
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
STRENGTH = 0.03
"""Ridge penalty on standardised weights, per prompt. Chosen by leave-one-family-out among five values."""
CLIP = 3.0
"""Scales beyond which a feature counts no further, in training as in the scorer."""
QUANTILES = 101
"""Ranks at which the scores of the training prompts are kept, for levels that are shares of the traffic."""
_LEAST_SCALE = 1e-6
"""Of a feature that never varies; its weight is 0."""
CENTRE, SLOPE = 0.65, 13.0
"""The logistic map to a score, set by hand; it changes no ranking. With the default levels, `low` ends at 0.60
points of expected failure and `high` begins at 0.72, about the median of the training prompts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """A trained linear model; arrays in the order of `NAMES`."""

    intercept: float
    means: np.ndarray
    scales: np.ndarray
    weights: np.ndarray

    def predict(self, matrix: np.ndarray) -> np.ndarray:
        """Expected failure for each row of `matrix`; NaN counts as average."""
        points: np.ndarray = self.intercept + _standardise(matrix, self.means, self.scales) @ self.weights
        return points


def matrix(prompts: list[str]) -> np.ndarray:
    """One row of features per prompt; NaN where a feature means nothing."""
    return np.array([[np.nan if value is None else value for value in features(prompt)] for prompt in prompts])


def fit(x: np.ndarray, failed: np.ndarray) -> Fit:
    """Minimise the mean of (failed - prediction)^2 plus STRENGTH times the sum of the squared weights."""
    means, scales = np.nanmean(x, axis=0), np.maximum(np.nanstd(x, axis=0), _LEAST_SCALE)
    z = _standardise(x, means, scales)
    centred = z - z.mean(axis=0)
    gram = centred.T @ centred / len(x) + STRENGTH * np.eye(x.shape[1])
    weights = np.linalg.solve(gram, centred.T @ (failed - failed.mean()) / len(x))
    return Fit(intercept=float(failed.mean() - z.mean(axis=0) @ weights), means=means, scales=scales, weights=weights)


def _standardise(x: np.ndarray, means: np.ndarray, scales: np.ndarray) -> np.ndarray:
    z: np.ndarray = np.clip((np.where(np.isnan(x), means, x) - means) / scales, -CLIP, CLIP)
    return z


def render(model: Fit, data: routing_data.Outcomes, points: np.ndarray) -> str:
    """The JSON text that ships. Numbers are rounded to five digits, beyond which they mean nothing.

    `points`: the expected failure of every training prompt.
    """
    rows = ",\n".join(
        f'    "{name}": {{"mean": {mean:.5g}, "scale": {scale:.5g}, "weight": {weight:.5f}}}'
        for name, mean, scale, weight in zip(NAMES, model.means, model.scales, model.weights, strict=True)
    )
    families = sorted(set(data.family.tolist()))
    trained = {
        "command": "python -m benchmarks.train_complexity --data PATH",
        "data": {"dev_prompts.parquet sha256": data.sha256, "prompts": len(data.prompts), "families": families},
        "target": "1 - mean success of the small models",
        "method": "ridge on standardised features, clipped at 3 scales; every prompt weighs the same",
        "strength": STRENGTH,
    }
    scores = np.quantile(1 / (1 + np.exp(-SLOPE * (points - CENTRE))), np.linspace(0, 1, QUANTILES))
    score = {"centre": CENTRE, "slope": SLOPE, "quantiles": [round(float(one), 4) for one in scores]}
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
    x = matrix(data.prompts)
    model = fit(x, 1.0 - data.weak)
    options.output.write_text(render(model, data, model.predict(x)), "utf-8")
    print(f"{options.output.name}: {len(NAMES)} weights from {len(data.prompts):,} prompts")


if __name__ == "__main__":
    main(sys.argv[1:])
