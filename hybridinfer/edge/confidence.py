"""The chance that a local model's answer is right: one logistic map per model, over how sure it was and what it wrote.

A map is a small JSON file that people can read: for each feature the mean and scale on the questions it was fitted
on, and its weight. `calibration/` holds those of the catalogue's models; one of your own, made by `hybridinfer models
calibrate`, wins over the shipped one. Without a map nobody can say, and the confidence is None.

The features are those that work in the literature on knowing when a model knows: sequence log-probability and
entropy (Kadavath et al., arXiv 2207.05221; Gupta et al., language model cascades, arXiv 2404.10136), and marks in the
text: refusal, hedging, repetition, length.
"""

from __future__ import annotations

import json
import math
import os
import re
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .certainty import Certainty

_REFUSES = re.compile(
    r"\b(?:i(?:'m| am) (?:sorry|unable|not able)|i (?:can(?:no|')t|do not know|don't know|am just)|as an ai|"
    r"not possible to|no information|unable to)\b",
    re.IGNORECASE,
)
_HEDGES = re.compile(
    r"\b(?:maybe|perhaps|possibly|probably|might|may be|could be|not sure|uncertain|it depends|seems|i think|i believe|"
    r"likely|approximately|however)\b",
    re.IGNORECASE,
)
_SCANNED = 20_000
"""Characters of an answer that are looked at."""
_GRAM = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """One line of a map: the value is taken less `mean`, over `scale`, times `weight` (log-odds)."""

    mean: float
    scale: float
    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfidenceMap:
    """The calibrated map of one model. `provenance` says what it was fitted on, and how it did on held-out questions."""

    model: str
    bias: float
    features: Mapping[str, Feature]
    provenance: Mapping[str, Any]

    def confidence(self, values: Mapping[str, float]) -> float:
        """The chance, 0..1, that an answer with these features is right."""
        odds = self.bias
        for name, feature in self.features.items():
            odds += feature.weight * (values[name] - feature.mean) / feature.scale
        return 1 / (1 + math.exp(-max(-30.0, min(30.0, odds))))

    def to_json(self) -> str:
        """The file, one feature a line."""
        rows = [
            f'    "{name}": {{"mean": {_short(f.mean)}, "scale": {_short(f.scale)}, "weight": {_short(f.weight)}}}'
            for name, f in self.features.items()
        ]
        head = f'{{\n  "model": {json.dumps(self.model)},\n  "bias": {_short(self.bias)},\n  "features": {{\n'
        tail = json.dumps(dict(self.provenance), indent=2, ensure_ascii=False).replace("\n", "\n  ")
        return head + ",\n".join(rows) + f'\n  }},\n  "provenance": {tail}\n}}\n'


def features(certainty: Certainty, text: str) -> dict[str, float]:
    """What a map looks at; all of it is known once the answer is whole."""
    seen = text[:_SCANNED]
    return {
        "mean_logprob": certainty.mean_logprob,
        "min_logprob": certainty.min_logprob,
        "mean_entropy": certainty.mean_entropy,
        "max_entropy": certainty.max_entropy,
        "first_entropy": certainty.first_entropy,
        "log_tokens": math.log1p(certainty.tokens),
        "refuses": float(_REFUSES.search(seen) is not None),
        "hedges": float(min(3, sum(1 for _ in _HEDGES.finditer(seen)))),
        "repeats": repetition(seen),
    }


def repetition(text: str) -> float:
    """The share, 0..1, of runs of three words that occurred before; 0 in anything short."""
    words = text.lower().split()
    runs = [tuple(words[i : i + _GRAM]) for i in range(len(words) - _GRAM + 1)]
    return 1 - len(set(runs)) / len(runs) if runs else 0.0


def own_file(model: str, environ: Mapping[str, str]) -> Path:
    """Where the map of your own lies: in `calibration` under HYBRIDINFER_STATE, else the platform's user state folder.

    Raises `ConfigurationError` where HYBRIDINFER_STATE is off.
    """
    import platformdirs

    chosen = environ.get("HYBRIDINFER_STATE")
    if chosen == "off":
        raise ConfigurationError("HYBRIDINFER_STATE is off, so no map of your own can be kept; name a folder")
    root = Path(chosen).expanduser() if chosen else Path(platformdirs.user_state_dir("hybridinfer"))
    return root / "calibration" / f"{re.sub(r'[^A-Za-z0-9._-]', '_', model)}.json"


def find_map(model: str, environ: Mapping[str, str] | None = None) -> ConfidenceMap | None:
    """Your own map of `model`, else the shipped one, else None. A file that is no map counts as none."""
    merged = {**os.environ, **(environ or {})}
    if merged.get("HYBRIDINFER_STATE") != "off" and (own := own_file(model, merged)).is_file():
        return parse(own.read_text("utf-8"))
    return _shipped(model)


@lru_cache(maxsize=32)
def _shipped(model: str) -> ConfidenceMap | None:
    file = resources.files("hybridinfer.edge").joinpath("calibration").joinpath(f"{model}.json")
    return parse(file.read_text("utf-8")) if re.fullmatch(r"[\w.-]+", model) and file.is_file() else None


def parse(text: str) -> ConfidenceMap | None:
    """A map from its file; None where it is none, or names features that this version does not know."""
    try:
        tree = json.loads(text)
        lines = {name: Feature(**{k: float(v) for k, v in line.items()}) for name, line in tree["features"].items()}
        found = ConfidenceMap(
            model=tree["model"], bias=float(tree["bias"]), features=lines, provenance=dict(tree["provenance"])
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return found if set(lines) <= set(KNOWN) and all(line.scale > 0 for line in lines.values()) else None


KNOWN = (
    "mean_logprob",
    "min_logprob",
    "mean_entropy",
    "max_entropy",
    "first_entropy",
    "log_tokens",
    "refuses",
    "hedges",
    "repeats",
)
"""The names of all features, in the order of `features`."""


def _short(number: float) -> str:
    return f"{number:.6g}"
