"""How well a score routes: APGR, CPT and skill, from the recorded quality of a weak and a strong model per prompt.

A score sends the top share c of the prompts to the strong model; r(c) is the mean quality that results.
PGR(c) = (r(c) - r(0)) / (r(1) - r(0)), the performance gap recovered; APGR is its integral over c (0.5 for
random routing); CPT(x) is the smallest share, in percent, whose PGR reaches x. Source: Ong et al., RouteLLM,
arXiv 2406.18665, section 3.2; here exact, at every prompt, with ties entering as one straight segment.
Skill = (APGR - 0.5) / (APGR of the oracle - 0.5) makes pairs of different ceilings comparable: 0 is random,
1 is the oracle that knows strong - weak.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """The figures of one score on one set of prompts. CPT in percent of the calls."""

    apgr: float
    skill: float
    cpt50: float
    cpt80: float


def quality(score: np.ndarray, weak: np.ndarray, strong: np.ndarray) -> Quality:
    """All figures of `score` (higher: rather the strong model) on prompts of the recorded quality 0..1."""
    gain = strong - weak
    share, recovered = curve(score, gain)
    apgr = float(np.trapezoid(recovered, share))
    return Quality(
        apgr=apgr, skill=_skill(apgr, gain), cpt50=_cpt(share, recovered, 0.5), cpt80=_cpt(share, recovered, 0.8)
    )


def skill(score: np.ndarray, weak: np.ndarray, strong: np.ndarray) -> float:
    """Only the skill of `score`."""
    gain = strong - weak
    share, recovered = curve(score, gain)
    return _skill(float(np.trapezoid(recovered, share)), gain)


def curve(score: np.ndarray, gain: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The shares c and PGR(c), from (0, 0) to (1, 1); one point per distinct score."""
    order = np.argsort(-score, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)
    total = np.cumsum(gain[order])
    return np.append(0.0, (ends + 1) / len(score)), np.append(0.0, total[ends] / total[-1])


def interval(
    figure: Callable[[np.ndarray, np.ndarray, np.ndarray], float],
    score: np.ndarray,
    weak: np.ndarray,
    strong: np.ndarray,
    *,
    draws: int = 500,
) -> tuple[float, float]:
    """The central 95% of `figure` over `draws` bootstrap samples of the prompts; the seed is fixed."""
    random = np.random.default_rng(0)
    rows = (random.integers(0, len(score), len(score)) for _ in range(draws))
    figures = [figure(score[row], weak[row], strong[row]) for row in rows if strong[row].mean() > weak[row].mean()]
    low, high = np.quantile(figures, [0.025, 0.975])
    return float(low), float(high)


def _skill(apgr: float, gain: np.ndarray) -> float:
    share, recovered = curve(gain, gain)
    return (apgr - 0.5) / (float(np.trapezoid(recovered, share)) - 0.5)


def _cpt(share: np.ndarray, recovered: np.ndarray, level: float) -> float:
    at = int(np.argmax(recovered >= level))
    step = recovered[at] - recovered[at - 1]
    part = (level - recovered[at - 1]) / step if step > 0 else 1.0
    return 100 * float(share[at - 1] + (share[at] - share[at - 1]) * part)
