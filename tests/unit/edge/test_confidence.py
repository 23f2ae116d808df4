"""How sure a model was becomes the chance that it is right: maps, their fitting, and what they promise."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridinfer.edge.calibrate import LEAST, Labelled, Question, TooFewAnswers, auroc, fit, held_out, read
from hybridinfer.edge.catalogue import catalogue
from hybridinfer.edge.certainty import Certainty, Gauge
from hybridinfer.edge.confidence import KNOWN, features, find_map, own_file, parse, repetition
from hybridinfer.edge.risk import GRID, threshold, upper_bound
from hybridinfer.errors import ConfigurationError


def certainty(logprob=-0.1, entropy=0.2):
    gauge = Gauge()
    gauge.add(logprob, entropy)
    gauge.add(logprob * 2, entropy * 3)
    return gauge.done()


def answers(count=400, *, seed=1):
    """Answers that are right the more often, the likelier the model found them."""
    draw = random.Random(seed)
    made = []
    for _ in range(count):
        sure = draw.uniform(-3, 0)
        seen = features(certainty(sure, -sure), "word " * draw.randint(1, 9))
        made.append(Labelled(features=seen, right=draw.random() < 1 / (1 + 2.718 ** (-3 * (sure + 1)))))
    return made


def test_a_gauge_adds_up_tokens():
    """Means, extremes and the first; nothing without a token."""
    assert certainty() == Certainty(
        tokens=2,
        mean_logprob=pytest.approx(-0.15),
        min_logprob=-0.2,
        mean_entropy=pytest.approx(0.4),
        max_entropy=pytest.approx(0.6),
        first_entropy=0.2,
    )
    assert Gauge().done() is None


def test_what_an_answer_says_counts():
    """Refusals, hedges and repetitions are seen; all features are known ones."""
    seen = features(certainty(), "I'm sorry, perhaps it is so, maybe. " + "a b c d " * 9)
    assert tuple(seen) == KNOWN
    assert (seen["refuses"], seen["hedges"]) == (1.0, 2.0)
    assert 0.5 < seen["repeats"] < 1
    assert repetition("one two") == 0.0


def test_a_fitted_map_knows_more_than_chance():
    """On folds that it did not see; and the file it is written to gives it back."""
    made, worth = fit("mine", answers(), {"from": "a test"})
    assert worth.auroc > 0.7
    assert worth.brier < worth.right * (1 - worth.right)
    assert worth.ece < 0.1
    again = parse(made.to_json())
    assert again.provenance["from"] == "a test"
    sure, unsure = features(certainty(-0.01, 0.01), "yes"), features(certainty(-3, 3), "yes")
    assert again.confidence(sure) == pytest.approx(made.confidence(sure), abs=1e-4)
    assert 0 < made.confidence(unsure) < made.confidence(sure) < 1


def test_fitting_is_deterministic():
    """The same answers make the same file."""
    assert fit("m", answers(), {})[0].to_json() == fit("m", answers(), {})[0].to_json()


@pytest.mark.parametrize("few", [answers(LEAST - 1), [Labelled(features=a.features, right=True) for a in answers()]])
def test_too_few_answers_make_no_map(few):
    """Nor do answers that are all right."""
    with pytest.raises(TooFewAnswers, match="right and 25 wrong"):
        fit("m", few, {})


def test_order_is_all_that_auroc_sees():
    """1 for the right order, a half for none."""
    assert auroc([0.9, 0.8, 0.1], [True, True, False]) == 1.0
    assert auroc([0.5, 0.5], [True, False]) == 0.5


def test_the_catalogue_s_models_have_maps():
    """Every one of them; each says on what it was fitted, and is better than chance there."""
    for name in catalogue():
        one = find_map(name, {"HYBRIDINFER_STATE": "off"})
        assert one is not None, name
        assert one.provenance["held_out"]["auroc"] > 0.65
        assert one.provenance["questions"] >= LEAST
    assert find_map("nobody", {"HYBRIDINFER_STATE": "off"}) is None


def test_a_map_of_one_s_own_wins(tmp_path):
    """A broken one counts as none: nobody then knows."""
    environ = {"HYBRIDINFER_STATE": str(tmp_path)}
    file = own_file("qwen2.5-coder-0.5b", environ)
    file.parent.mkdir()
    file.write_text(fit("mine", answers(), {})[0].to_json())
    assert find_map("qwen2.5-coder-0.5b", environ).model == "mine"
    for broken in ("", "{}", json.dumps({"model": "m", "bias": 0, "provenance": {}, "features": {"new": {}}})):
        file.write_text(broken)
        assert find_map("qwen2.5-coder-0.5b", environ) is None
    with pytest.raises(ConfigurationError, match="HYBRIDINFER_STATE is off"):
        own_file("m", {"HYBRIDINFER_STATE": "off"})


@pytest.mark.parametrize(
    ("answer", "text", "right"),
    [
        ("Paris", "It is **Paris**.", True),
        ("Paris", "Parisian", False),
        ("22", "13 + 9 = 22", True),
        ("22", "22 is wrong, it is 23", False),
        ("1000", "There are 1,000 meters.", True),
        ("He", "he said so", False),
        ("He", "The symbol is He.", True),
        ("kitten", "Kittens, of course", True),
    ],
)
def test_answers_are_recognised(answer, text, right):
    """As whole words; of numbers the last one counts."""
    assert Question(ask="?", answers=(answer,)).is_answered_by(text) is right


def test_questions_are_read():
    """One answer or several; what is wrong is told by its number."""
    assert read({"questions": [{"ask": "a", "answers": 5}]}) == (Question(ask="a", answers=("5",)),)
    for tree, says in (([], "a list under"), ({"questions": "a"}, "a list under"), ({"questions": [{}]}, "question 1")):
        with pytest.raises(ValueError, match=says):
            read(tree)


def test_a_promise_needs_enough_answers():
    """The lowest threshold that keeps the risk; none where the data cannot say so."""
    sure = [0.96] * 300 + [0.55] * 100
    right = [True] * 300 + [False] * 60 + [True] * 40
    found = threshold(sure, right, risk=0.05)
    assert found.chosen is not None
    assert (found.chosen.threshold, found.chosen.accepted, found.chosen.wrong) == (0.6, 300, 0)
    assert threshold(sure[:50], right[:50], risk=0.05).chosen is None
    assert found.enough <= 300
    with pytest.raises(ValueError, match="between 0 and 1"):
        threshold(sure, right, risk=0)


@given(st.integers(1, 60), st.data())
def test_the_bound_is_exact(trials, data):
    """At the bound so few events have just the probability alpha (Clopper and Pearson)."""
    from math import comb

    events = data.draw(st.integers(0, trials - 1))
    bound = upper_bound(events, trials, 0.05)
    tail = sum(comb(trials, k) * bound**k * (1 - bound) ** (trials - k) for k in range(events + 1))
    assert tail == pytest.approx(0.05, abs=1e-6)
    assert upper_bound(trials, trials, 0.05) == 1.0


def test_held_out_confidences_promise_for_new_answers():
    """A threshold chosen on some answers keeps its risk on others of the same kind."""
    known = answers(800, seed=2)
    found = threshold(held_out(known), [one.right for one in known], risk=0.3)
    assert found.chosen is not None
    made, _ = fit("m", known, {})
    taken = [one.right for one in answers(2000, seed=3) if made.confidence(one.features) >= found.chosen.threshold]
    assert 1 - sum(taken) / len(taken) <= 0.3
    assert found.chosen.threshold in GRID
