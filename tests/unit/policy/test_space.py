"""Combinations as sets: sizes, shares, boxes."""

from __future__ import annotations

from itertools import product

import pytest

from hybridinfer.policy.decide import decide, matches
from hybridinfer.policy.load import load
from hybridinfer.policy.model import Policy
from hybridinfer.policy.space import OTHER, Space, TooManyCombinations, partition


def policy(*whens: dict, boundaries: list[dict] | None = None) -> Policy:
    """One rule for each condition, and one for the rest."""
    rules = [{"name": f"r{i}", "when": when, "use": ["cloud", "sorry"]} for i, when in enumerate(whens)]
    return load(
        {
            "version": 1,
            "targets": {"cloud": {"kind": "openai", "model": "m"}, "sorry": {"kind": "canned", "text": "x"}},
            "boundaries": boundaries or [],
            "rules": [*rules, {"name": "rest", "use": ["cloud", "sorry"]}],
        }
    )


def test_only_what_conditions_test_is_told_apart():
    """Signals that no rule mentions multiply nothing."""
    assert Space(policy()).size == 1
    assert Space(policy({"privacy": "secret"})).size == 3
    assert Space(policy({"privacy": "secret"}, {"needs": "tools"}, {"tags": {"t": ["a", "b"]}})).size == 3 * 2 * 3


def test_a_tag_has_its_tested_values_and_any_other():
    """Values that no condition names behave alike."""
    space = Space(policy({"tags": {"team": "a"}}))
    assert space.describe(space.where(policy({"tags": {"team": "a"}}).rules[0].when)) == {"tag team": ("a",)}
    assert space.describe(space.shares(policy({"tags": {"team": "a"}}))[1]) == {"tag team": (OTHER,)}


def test_shares_are_disjoint_and_leave_the_unmatched():
    """First match wins; the last share is what no rule takes."""
    chosen = policy({"privacy": "secret"}, {"privacy": ["secret", "personal"]})
    chosen = chosen.model_copy(update={"rules": chosen.rules[:2]})
    space = Space(chosen)
    assert [space.describe(share) for share in space.shares(chosen)] == [
        {"privacy": ("secret",)},
        {"privacy": ("personal",)},
        {"privacy": ("public",)},
    ]


def test_a_point_is_an_example_of_its_set():
    """What `first` gives satisfies the condition."""
    when = {"privacy": "personal", "complexity": "high", "needs": ["vision"], "tags": {"team": "b"}}
    chosen = policy(when, {"tags": {"team": "a"}, "needs": "tools"})
    space = Space(chosen)
    point = space.first(space.where(chosen.rules[0].when))
    assert matches(chosen.rules[0].when, point.levels, point.needs, point.tags)
    assert set(point.levels) == set(chosen.signals)


def test_every_combination_is_decided_as_its_share_says():
    """The sets agree with the code that decides real requests, one combination at a time."""
    chosen = policy(
        {"privacy": "secret", "complexity": ["low", "high"]},
        {"needs": "tools", "tags": {"team": ["a", "b"]}},
        {"complexity": "high"},
        {"tags": {"team": "a", "plan": "trial"}},
        boundaries=[{"name": "b", "when": {"privacy": "personal", "needs": "vision"}, "cloud": "masked"}],
    )
    space = Space(chosen)
    outcomes = space.outcomes(chosen)
    for index in range(space.size):
        bit = 1 << index
        point = space.first(bit)
        decision = decide(chosen, point.levels, needs=point.needs, tags=point.tags)
        (outcome,) = (each for each in outcomes if each.bits & bit)
        assert chosen.rules[outcome.rule].name == decision.rule
        assert (outcome.ladder, outcome.masked) == (decision.ladder, decision.masked)
    assert sum(outcome.bits for outcome in outcomes) == space.everything


def test_boxes_are_disjoint_and_exact():
    """A set described as boxes holds exactly what the boxes hold."""
    chosen = policy({"privacy": "secret", "complexity": "low"}, {"needs": "tools", "size": ["short", "long"]})
    space = Space(chosen)
    for share in space.shares(chosen):
        rebuilt = 0
        for box in space.boxes(share):
            part = space.everything
            for name, values in box.items():
                kind, key = ("need", name.removeprefix("need ")) if name.startswith("need ") else ("signal", name)
                part &= space._any(kind, key, values)
            assert not rebuilt & part
            rebuilt |= part
        assert rebuilt == share


def test_too_many_combinations_are_refused_with_their_number():
    """Nothing is proved by trying for hours."""
    conditions = [{"tags": {f"t{i}": [f"v{j}" for j in range(9)]}} for i in range(6)]
    with pytest.raises(TooManyCombinations) as caught:
        Space(policy(*conditions))
    assert caught.value.count == 10**6


def test_a_partition_has_no_cut_inside_a_part():
    """Every part is wholly in or out of every cut, and nothing is lost."""
    whole, cuts = 0b11110110, [0b00110011, 0b01010101]
    parts = partition(whole, cuts)
    assert sum(parts) == whole
    assert all(part & cut in (0, part) for part, cut in product(parts, cuts))
    assert partition(0, cuts) == []


def test_two_policies_share_one_space():
    """Levels and values of both are told apart."""
    before = policy({"privacy": "secret"})
    after = policy({"complexity": "low", "tags": {"team": "a"}})
    assert Space(before, after).size == 3 * 3 * 2
