"""Fit the confidence map of a model to its own answers to questions whose answers are known.

A ridge logistic regression on the features of `confidence`, as Platt's scaling in several dimensions (Platt,
Probabilistic outputs for support vector machines, 1999). What it is worth is said on questions it did not see: the
folds take turns, and their predictions together give AUROC, Brier score and calibration error.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .confidence import KNOWN, ConfidenceMap, Feature

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

LEAST = 200
"""Questions; with fewer a map says more about them than about the model."""
LEAST_OF_EACH = 25
"""Right answers, and wrong ones."""
FOLDS = 10
RIDGE = 3.0
"""The penalty on each squared weight, over standardised features: one question counts as much as a third of it."""
BINS = 10
_STEPS = 50
_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")


class TooFewAnswers(ValueError):
    """Nothing can be said of a model by so few answers, or by answers that are all right or all wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """An open question, and the answers that count."""

    ask: str
    answers: tuple[str, ...]

    def is_answered_by(self, text: str) -> bool:
        """Whether `text` holds one of the answers as whole words; of numbers its last one counts."""
        said = _plain(text)
        if all(_NUMBER.fullmatch(answer) for answer in self.answers):
            numbers = _NUMBER.findall(said)
            return bool(numbers) and numbers[-1].replace(",", "").rstrip(".") in self.answers
        return any(self._holds(said, answer) for answer in self.answers)

    def _holds(self, said: str, answer: str) -> bool:
        if _NUMBER.fullmatch(answer):
            numbers = _NUMBER.findall(said)
            return bool(numbers) and numbers[-1].replace(",", "") == answer
        case = re.NOFLAG if len(answer) <= 2 and not answer.islower() else re.IGNORECASE  # He is helium, "he" is not
        return re.search(rf"(?<!\w){re.escape(_plain(answer))}(?:s|es|ies|y|th)?(?!\w)", said, case) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """One answer: what the map looks at, and whether it was right."""

    features: Mapping[str, float]
    right: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Worth:
    """How the map does on questions that it was not fitted on."""

    questions: int
    right: float
    """The share of right answers."""
    auroc: float
    """The chance that a right answer is given more confidence than a wrong one; 0.5 knows nothing."""
    brier: float
    """The mean squared error of the confidence; always saying the share of right answers gives right * (1 - right)."""
    ece: float
    """Mean distance of confidence and truth over bins of ten percent, weighted by their answers."""


def read(tree: Any) -> tuple[Question, ...]:
    """The questions of a file `questions: [{ask: ..., answers: [...]}]`. Raises `ValueError` that says which is wrong."""
    entries = tree.get("questions") if isinstance(tree, Mapping) else None
    if not isinstance(entries, Sequence) or isinstance(entries, str):
        raise ValueError("write a list under 'questions:', each with 'ask' and 'answers'")  # noqa: TRY004 - of a file
    found = []
    for number, entry in enumerate(entries, 1):
        ask = entry.get("ask") if isinstance(entry, Mapping) else None
        answers = entry.get("answers") if isinstance(entry, Mapping) else None
        answers = [answers] if isinstance(answers, (str, int, float)) else answers
        if not isinstance(ask, str) or not answers or not isinstance(answers, Sequence):
            raise ValueError(f"question {number} needs 'ask: a text' and 'answers: [a text, ...]'")
        found.append(Question(ask=ask, answers=tuple(map(str, answers))))
    return tuple(found)


def fit(model: str, answers: Sequence[Labelled], provenance: Mapping[str, Any]) -> tuple[ConfidenceMap, Worth]:
    """The map over all answers, and its worth by held-out folds. Raises `TooFewAnswers`."""
    right = sum(answer.right for answer in answers)
    if len(answers) < LEAST or min(right, len(answers) - right) < LEAST_OF_EACH:
        have = f"{len(answers)} answers, {right} of them right"
        raise TooFewAnswers(
            f"a map needs {LEAST} answers, {LEAST_OF_EACH} right and {LEAST_OF_EACH} wrong; here are {have}"
        )
    x, y = _matrix(answers)
    worth = _worth(held_out(answers), [answer.right for answer in answers])
    mean, scale, weights, bias = _logistic(x, y)
    lines = {
        name: Feature(mean=float(mean[at]), scale=float(scale[at]), weight=float(weights[at]))
        for at, name in enumerate(KNOWN)
    }
    held = {"auroc": worth.auroc, "brier": worth.brier, "ece": worth.ece}
    said = {**provenance, "questions": worth.questions, "right": round(worth.right, 3)}
    said["held_out"] = {name: round(value, 3) for name, value in held.items()}
    return ConfidenceMap(model=model, bias=bias, features=lines, provenance=said), worth


def held_out(answers: Sequence[Labelled], *, folds: int = FOLDS) -> list[float]:
    """The confidence of each answer by a map that was fitted without its fold."""
    import numpy as np

    x, y = _matrix(answers)
    order = np.random.default_rng(0).permutation(len(answers))
    said = np.zeros(len(answers))
    for fold in range(folds):
        out = order[fold::folds]
        rest = np.setdiff1d(order, out)
        mean, scale, weights, bias = _logistic(x[rest], y[rest])
        said[out] = 1 / (1 + np.exp(-np.clip((x[out] - mean) / scale @ weights + bias, -30, 30)))
    return [float(value) for value in said]


def auroc(scores: Sequence[float], right: Sequence[bool]) -> float:
    """The chance that a right answer scores higher than a wrong one; equal scores count a half."""
    import numpy as np

    value, label = np.asarray(scores, dtype=np.float64), np.asarray(right, dtype=bool)
    good, bad = value[label], value[~label]
    above = (good[:, None] > bad[None, :]).mean() + 0.5 * (good[:, None] == bad[None, :]).mean()
    return float(above)


def _worth(said: Sequence[float], right: Sequence[bool]) -> Worth:
    import numpy as np

    sure, label = np.asarray(said), np.asarray(right, dtype=np.float64)
    bins = np.minimum((sure * BINS).astype(int), BINS - 1)
    gaps = [
        abs(float(sure[bins == each].sum() - label[bins == each].sum())) for each in range(BINS)
    ]  # the count of a bin cancels its weight
    return Worth(
        questions=len(label),
        right=float(label.mean()),
        auroc=auroc(said, right),
        brier=float(((sure - label) ** 2).mean()),
        ece=sum(gaps) / len(label),
    )


def _matrix(answers: Sequence[Labelled]) -> tuple[Floats, Floats]:
    import numpy as np

    x = np.array([[answer.features[name] for name in KNOWN] for answer in answers], dtype=np.float64)
    return x, np.array([answer.right for answer in answers], dtype=np.float64)


def _logistic(x: Floats, y: Floats) -> tuple[Floats, Floats, Floats, float]:
    """Mean, scale, weights and bias by Newton's method; a feature that never varies gets no weight."""
    import numpy as np

    mean, scale = x.mean(axis=0), x.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    z = np.column_stack([(x - mean) / scale, np.ones(len(x))])
    penalty = np.diag([RIDGE] * x.shape[1] + [0.0])
    w = np.zeros(z.shape[1])
    for _ in range(_STEPS):
        p = 1 / (1 + np.exp(-np.clip(z @ w, -30, 30)))
        slope = z.T @ (p - y) + penalty @ w
        curve = (z * (p * (1 - p))[:, None]).T @ z + penalty
        step = np.linalg.solve(curve + 1e-9 * np.eye(len(w)), slope)
        w -= step
        if float(np.abs(step).max()) < 1e-9:
            break
    return mean, scale, w[:-1], float(w[-1])


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).replace("**", "").split())
