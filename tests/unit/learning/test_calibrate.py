"""Levels by recorded traffic: shares, costs, qualities; and when there is too little to go by."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest

from hybridinfer.errors import ConfigurationError
from hybridinfer.learning.calibrate import Traffic, levels_at, traffic
from hybridinfer.learning.fit import Labels
from hybridinfer.learning.promise import promise
from hybridinfer.observe.records import Recorded
from hybridinfer.policy.load import load
from hybridinfer.policy.shares import Share
from hybridinfer.signals.bands import level_of
from hybridinfer.signals.complexity import load as load_scorer

BASE = {
    "version": 1,
    "targets": {
        "small": {"kind": "onnx", "model": "m"},
        "cloud": {"kind": "openai", "model": "m", "price": {"input": 1, "output": 1}},
    },
    "boundaries": [{"name": "private", "when": {"privacy": "secret"}, "cloud": "never"}],
    "rules": [
        {"name": "easy", "when": {"complexity": "low"}, "use": ["small", "cloud"]},
        {"name": "rest", "use": ["cloud", "small"]},
    ],
}
POLICY = load(BASE)


def record(score: float, *, privacy: float = 0.0) -> Recorded:
    return Recorded(
        at=0.0,
        seconds=1.0,
        levels={},
        scores={"complexity": score, "privacy": privacy, "size": 0.1, "budget": 0.0},
        target="small",
        zone="device",
        degraded=False,
        cost_usd=Decimal(0),
        tags={},
        attempts=(),
    )


RECORDS = [record(round(0.001 * number, 4)) for number in range(1000)]


def met(policy, levels, records):
    names = [level_of(levels, one.scores["complexity"]) for one in records]
    return sum(name != "low" for name in names) / len(names)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3, 0.77, 1.0])
def test_the_share_asked_is_the_share_met(share):
    """On the recorded traffic itself, to the request."""
    found = traffic(POLICY, RECORDS, "complexity")
    count = found.count_for(share)
    assert found.share(count) == pytest.approx(share)
    assert met(POLICY, levels_at(POLICY, "complexity", found, count), RECORDS) == pytest.approx(share, abs=0.002)


def test_the_other_levels_keep_their_proportions():
    """What is medium and what is high divides the cloud's part as before."""
    found = traffic(POLICY, RECORDS, "complexity")
    levels = levels_at(POLICY, "complexity", found, 300)
    names = [level_of(levels, one.scores["complexity"]) for one in RECORDS]
    assert list(levels) == ["low", "medium", "high"]
    assert names.count("high") / 300 == pytest.approx(250 / 600, abs=0.01)


def test_what_a_boundary_forbids_is_made_up_for_by_others():
    """The share is of all requests, and private ones cannot be part of it."""
    records = [record(one.scores["complexity"], privacy=0.95 * (at % 2)) for at, one in enumerate(RECORDS)]
    found = traffic(POLICY, records, "complexity")
    assert found.count_for(0.3) == pytest.approx(600, abs=2)
    assert found.share(found.count_for(0.9)) == pytest.approx(0.5)


def test_equal_scores_are_never_parted():
    """The nearest share that a boundary between different scores can give."""
    found = traffic(POLICY, [record(0.2)] * 150 + [record(0.8)] * 150, "complexity")
    assert found.counts() == [0, 150, 300]
    assert found.share(found.count_for(0.3)) in (0.5, 0.0)


def test_shares_stay_shares():
    """A policy that writes shares gets shares of this traffic."""
    policy = load(BASE | {"signals": {"complexity": {"levels": {"low": "60%", "high": "40%"}}}})
    found = traffic(policy, RECORDS, "complexity")
    assert levels_at(policy, "complexity", found, 250) == {"low": Share(0.75), "high": Share(0.25)}
    with pytest.raises(ConfigurationError, match="high would have less than 1%"):
        levels_at(policy, "complexity", found, 0)


def test_too_few_records_are_refused():
    """With the number that there is and the one that is needed."""
    with pytest.raises(ConfigurationError, match="199 of 199 records have a score of complexity; at least 200"):
        traffic(POLICY, RECORDS[:199], "complexity")


def test_a_signal_that_decides_nothing_is_refused():
    """Its levels could be anything."""
    policy = load(BASE | {"rules": [{"name": "all", "use": ["cloud", "small"]}]})
    with pytest.raises(ConfigurationError, match="do not decide who is asked first"):
        traffic(policy, RECORDS, "complexity")


def test_scores_that_are_all_the_same_at_the_top_part_no_levels():
    """Three levels cannot begin at or below 1 where every score is 1."""
    found = traffic(POLICY, [record(1.0)] * 300, "complexity")
    with pytest.raises(ConfigurationError, match="too much alike"):
        levels_at(POLICY, "complexity", found, 0)


class TestPromise:
    scorer = load_scorer()

    def labels(self, count=600, judged=False):
        """Local answers that fail with the score of their features."""
        random = np.random.default_rng(3)
        x = np.array(self.scorer.means) + random.normal(size=(count, 60)) * np.array(self.scorer.scales)
        z = np.clip((x - np.array(self.scorer.means)) / np.array(self.scorer.scales), -3, 3)
        points = self.scorer.intercept + z @ np.array(self.scorer.weights)
        score = 1 / (1 + np.exp(-self.scorer.slope * (points - self.scorer.centre)))
        local = (random.random(count) > score).astype(float)
        cloud = (random.random(count) < 0.9).astype(float) if judged else np.full(count, np.nan)
        return Labels(x=x, local=local, cloud=cloud)

    found: Traffic = traffic(POLICY, RECORDS, "complexity")

    def test_a_better_quality_takes_more_cloud(self):
        """And each is met by what the labels say, within its interval."""
        near, far = (promise(self.scorer, self.labels(), self.found, quality) for quality in (0.6, 0.9))
        assert 0 < near.count < far.count
        assert near.quality >= 0.6
        assert near.low <= near.quality <= near.high
        assert not near.judged

    def test_a_judged_cloud_is_taken_as_it_is(self):
        """It fails at times, so more than it has cannot be promised."""
        assert promise(self.scorer, self.labels(judged=True), self.found, 0.8).judged
        with pytest.raises(ConfigurationError, match=r"no cloud share gives a quality of 0.99"):
            promise(self.scorer, self.labels(judged=True), self.found, 0.99)

    def test_too_few_labels_promise_nothing(self):
        """A quality is a claim."""
        with pytest.raises(ConfigurationError, match="199 local answers are labelled"):
            promise(self.scorer, self.labels(199), self.found, 0.5)
