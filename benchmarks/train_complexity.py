"""Train hybridinfer/signals/complexity.json from recorded outcomes: one command, the same bytes every time.

    uv run --group bench python -m benchmarks.train_complexity --data ../shared/data/routing [--embedding]

With `--embedding` it makes complexity_embedding.json: every third prompt, and the 384 numbers of `edge.embedder` behind
the features (`hybridinfer models pull minilm-l6-v2` first). Those are the same bytes on processors of one kind only: int8
arithmetic rounds elsewhere in its own way.

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

from hybridinfer.edge.catalogue import embedders
from hybridinfer.edge.embedder import NAME
from hybridinfer.signals.complexity import MEANING, meaning
from hybridinfer.signals.features import NAMES, features

from . import routing_data

OUTPUT = Path(__file__).parent.parent / "hybridinfer" / "signals" / "complexity.json"
WITH_EMBEDDING = OUTPUT.with_name("complexity_embedding.json")
STRENGTH = 0.03
"""Ridge penalty on standardised weights, per prompt. Chosen by leave-one-family-out among five values."""
MEANING_STRENGTH = 1.0
"""The penalty on the weights of an embedding. Chosen likewise, among four values."""
EVERY = 3
"""With an embedding one prompt in so many is enough for 444 weights, and takes minutes instead of a quarter of an hour."""
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


def meanings(prompts: list[str]) -> np.ndarray:
    """One row of an embedding's numbers per prompt."""
    return np.array([meaning(prompt) for prompt in prompts])


def fit(x: np.ndarray, failed: np.ndarray, meaning_strength: float = MEANING_STRENGTH) -> Fit:
    """Minimise the mean of (failed - prediction)^2 plus the strengths times the sum of the squared weights.

    Columns behind `NAMES` are an embedding's.
    """
    strengths = np.where(np.arange(x.shape[1]) < len(NAMES), STRENGTH, meaning_strength)
    means, scales = np.nanmean(x, axis=0), np.maximum(np.nanstd(x, axis=0), _LEAST_SCALE)
    z = _standardise(x, means, scales)
    centred = z - z.mean(axis=0)
    gram = centred.T @ centred / len(x) + np.diag(strengths)
    weights = np.linalg.solve(gram, centred.T @ (failed - failed.mean()) / len(x))
    return Fit(intercept=float(failed.mean() - z.mean(axis=0) @ weights), means=means, scales=scales, weights=weights)


def _standardise(x: np.ndarray, means: np.ndarray, scales: np.ndarray) -> np.ndarray:
    z: np.ndarray = np.clip((np.where(np.isnan(x), means, x) - means) / scales, -CLIP, CLIP)
    return z


def render(model: Fit, data: routing_data.Outcomes, points: np.ndarray) -> str:
    """The JSON text that ships. Numbers are rounded to five digits, beyond which they mean nothing.

    `points`: the expected failure of every training prompt.
    """
    embedded = len(model.weights) > len(NAMES)
    names = (*NAMES, *MEANING) if embedded else NAMES
    rows = ",\n".join(
        f'    "{name}": {{"mean": {mean:.5g}, "scale": {scale:.5g}, "weight": {weight:.5f}}}'
        for name, mean, scale, weight in zip(names, model.means, model.scales, model.weights, strict=True)
    )
    families = sorted(set(data.family.tolist()))
    trained: dict[str, object] = {
        "command": f"python -m benchmarks.train_complexity --data PATH{' --embedding' if embedded else ''}",
        "data": {"dev_prompts.parquet sha256": data.sha256, "prompts": len(data.prompts), "families": families},
        "target": "1 - mean success of the small models",
        "method": "ridge on standardised features, clipped at 3 scales; every prompt weighs the same",
        "strength": STRENGTH,
    }
    if embedded:
        trained |= {"embedding": NAME, "sha256": embedders()[NAME].sha256, "its strength": MEANING_STRENGTH}
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
    parser.add_argument("--embedding", action="store_true", help="complexity_embedding.json instead")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args(arguments)
    data = routing_data.load(options.data)
    if options.embedding:
        data = data.every(EVERY)
    x = matrix(data.prompts)
    if options.embedding:
        x = np.hstack([x, meanings(data.prompts)])
    model = fit(x, 1.0 - data.weak)
    output: Path = options.output or (WITH_EMBEDDING if options.embedding else OUTPUT)
    output.write_text(render(model, data, model.predict(x)), "utf-8")
    print(f"{output.name}: {x.shape[1]} weights from {len(data.prompts):,} prompts")


if __name__ == "__main__":
    main(sys.argv[1:])
