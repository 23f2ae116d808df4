"""Shares of a stream of scores: met on whatever comes, forgotten slowly, kept over restarts."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridinfer.learning.controller import MEMORY, STEP, Controller

PRIOR = [number / 100 for number in range(101)]
THREE = {"low": 0.6, "medium": 0.3, "high": 0.1}


def counted(controller: Controller, scores: list[float]) -> dict[str, float]:
    """The share of `scores` at or above each level's beginning, as they came."""
    above = dict.fromkeys(controller.shares, 0)
    for score in scores:
        for name, floor in controller.floors.items():
            above[name] += score >= floor
        controller.count(score)
    return {name: count / len(scores) for name, count in above.items()}


def test_it_begins_with_the_prior():
    """Before any traffic, the levels begin where the training prompts put them."""
    floors = Controller(THREE, PRIOR).floors
    assert floors["low"] == -inf
    assert floors["medium"] == pytest.approx(0.6, abs=0.02)
    assert floors["high"] == pytest.approx(0.9, abs=0.02)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=400))
def test_the_bound_holds_for_any_scores(scores: list[float]):
    """Gibbs and Candes: no sequence takes the share further off than (1 + STEP) / (T * STEP)."""
    share = counted(Controller({"low": 0.7, "high": 0.3}, PRIOR), scores)["high"]
    assert abs(share - 0.3) <= (1 + STEP) / (len(scores) * STEP) + 1e-9


@pytest.mark.parametrize(
    "scores",
    [
        [0.42] * 1000,
        [0.001 * (number % 50) for number in range(1000)],
        [0.9 + 0.001 * (number % 50) for number in range(1000)],
        [0.2 + 0.001 * (number * 7 % 97) for number in range(1000)]
        + [0.7 + 0.001 * (number * 7 % 97) for number in range(1000)],
    ],
    ids=["one prompt repeated", "all easy", "all hard", "drift in the middle"],
)
def test_the_shares_are_met_within_three_points(scores: list[float]):
    """Also where all scores are equal, far from the prior, or move at half time."""
    above = counted(Controller(THREE, PRIOR), scores)
    assert above["medium"] == pytest.approx(0.4, abs=0.03)
    assert above["high"] == pytest.approx(0.1, abs=0.03)


def test_equal_scores_take_turns():
    """With a share of 30%, any hundred in a row hold some 30: no half-day of one level."""
    controller = Controller({"low": 0.7, "high": 0.3}, PRIOR)
    high = []
    for _ in range(400):
        high.append(controller.floors["high"] <= 0.42)
        controller.count(0.42)
    windows = [sum(high[at : at + 100]) for at in range(100, 300)]
    assert 22 <= min(windows) <= max(windows) <= 38


def test_levels_never_cross():
    """A higher level begins no lower than the one below it."""
    controller = Controller(THREE, PRIOR)
    for number in range(500):
        controller.count((number * 0.37) % 1)
        floors = list(controller.floors.values())
        assert floors == sorted(floors)


def test_old_scores_are_forgotten():
    """After several memories of new traffic, the sketch holds nothing of the old."""
    controller = Controller({"low": 0.5, "high": 0.5}, PRIOR)
    for number in range(8 * MEMORY):
        controller.count(0.1 + 0.0001 * (number * 37 % 100))
    assert controller.floors["high"] < 0.2


def test_a_long_life_keeps_numbers_small():
    """Weights are scaled down before they grow without bound."""
    controller = Controller({"low": 0.5, "high": 0.5}, PRIOR)
    for number in range(20 * MEMORY):
        controller.count((number * 0.37) % 1)
    assert controller._weight < 1e7
    assert controller.floors["high"] == pytest.approx(0.5, abs=0.1)


def test_it_goes_on_where_it_stopped():
    """A restart changes neither the bands nor the count."""
    controller = Controller(THREE, PRIOR)
    for number in range(300):
        controller.count((number * 0.37) % 0.5)
    again = Controller(THREE, PRIOR)
    again.restore(controller.state())
    assert again.seen == 300
    assert again.floors["medium"] == pytest.approx(controller.floors["medium"], abs=1e-3)


def test_other_shares_keep_only_the_scores():
    """What was asked changed: the correction begins anew, the distribution stays."""
    controller = Controller(THREE, PRIOR)
    for _ in range(2000):
        controller.count(0.3)
    again = Controller({"low": 0.5, "medium": 0.3, "high": 0.2}, PRIOR)
    again.restore(controller.state())
    assert again.floors["high"] == pytest.approx(0.3, abs=0.05)


@pytest.mark.parametrize(
    "broken",
    [
        {"centroids": []},
        {"centroids": [[2.0, 1.0]]},
        {"centroids": [[0.5, -1.0]]},
        {"centroids": [[0.5, inf]]},
        {"ranks": [1e9, 0.1]},
    ],
)
def test_a_garbled_state_is_refused(broken: dict[str, object]):
    """Nothing but a sketch of scores is taken for one."""
    controller = Controller(THREE, PRIOR)
    with pytest.raises(ValueError, match="not"):
        controller.restore(controller.state() | broken)
