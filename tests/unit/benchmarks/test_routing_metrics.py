from __future__ import annotations

import numpy as np
import pytest

from benchmarks.routing_metrics import interval, quality, skill

WEAK = np.array([1.0, 0.0, 1.0, 0.0])
STRONG = np.array([1.0, 1.0, 1.0, 1.0])


def test_the_oracle_has_skill_one() -> None:
    """Half the prompts gain; the oracle sends those first."""
    figures = quality(STRONG - WEAK, WEAK, STRONG)
    assert figures.skill == pytest.approx(1.0)
    assert figures.apgr == pytest.approx(0.75)
    assert figures.cpt50 == pytest.approx(25.0)
    assert figures.cpt80 == pytest.approx(40.0)


def test_the_opposite_of_the_oracle_has_skill_minus_one() -> None:
    """The worst order loses what the best gains."""
    assert skill(WEAK - STRONG, WEAK, STRONG) == pytest.approx(-1.0)


def test_a_constant_score_is_random_routing() -> None:
    """Ties enter as one straight segment."""
    figures = quality(np.zeros(4), WEAK, STRONG)
    assert figures.apgr == pytest.approx(0.5)
    assert figures.skill == pytest.approx(0.0)
    assert figures.cpt50 == pytest.approx(50.0)


def test_only_the_order_counts() -> None:
    """A monotone map of the score changes nothing."""
    score = np.array([0.1, 0.7, 0.4, 0.2])
    assert quality(score, WEAK, STRONG) == quality(np.exp(9 * score), WEAK, STRONG)


def test_the_interval_holds_the_figure() -> None:
    """The bootstrap is seeded, and its interval surrounds the figure."""
    random = np.random.default_rng(1)
    weak = (random.random(400) < 0.5).astype(float)
    score = random.random(400) - 0.3 * weak
    strong = np.ones(400)
    low, high = interval(skill, score, weak, strong, draws=100)
    assert low < skill(score, weak, strong) < high
    assert (low, high) == interval(skill, score, weak, strong, draws=100)
