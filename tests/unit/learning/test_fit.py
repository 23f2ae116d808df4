"""Refitting: labels that say something are used, labels that say nothing change nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hybridinfer.learning.fit import ENOUGH, Labels, fit, labels_of, ranks, ridge, standardised
from hybridinfer.learning.forecast import curve, forecast
from hybridinfer.learning.journal import Labelled
from hybridinfer.learning.study import study
from hybridinfer.signals.complexity import load, parse
from hybridinfer.signals.features import NAMES

PRIOR = load()
COLUMN = NAMES.index("log_numbers")


def traffic(count: int, *, tells: float, seed: int = 1, cloud: bool = False) -> Labels:
    """Requests whose local answers fail the more often, the more numbers they hold; `tells` is how clearly."""
    random = np.random.default_rng(seed)
    means, scales = np.array(PRIOR.means), np.array(PRIOR.scales)
    z = random.normal(size=(count, len(NAMES)))
    failure = 1 / (1 + np.exp(-tells * z[:, COLUMN]))
    return Labels(
        x=means + z * scales,
        local=(random.random(count) > failure).astype(float),
        cloud=(random.random(count) < 0.9).astype(float) if cloud else np.full(count, np.nan),
    )


def rows_of(labels: Labels) -> list[Labelled]:
    return [
        Labelled(
            id=f"r{number}",
            at=1000.0 + number,
            features=tuple(x.tolist()),
            local=None if np.isnan(local) else float(local),
            cloud=None if np.isnan(cloud) else float(cloud),
            sources=frozenset({"feedback"}),
        )
        for number, (x, local, cloud) in enumerate(zip(labels.x, labels.local, labels.cloud, strict=True))
    ]


def test_too_few_labels_teach_nothing():
    """Below 200 local labels there is no fit at all."""
    assert fit(PRIOR, traffic(ENOUGH - 1, tells=3.0)) is None


def test_labels_without_a_message_leave_the_shipped_weights():
    """Coin flips prove nothing, so nothing changes."""
    learned = fit(PRIOR, traffic(300, tells=0.0, seed=4))
    assert learned.strength is None
    assert learned.scorer is PRIOR


def test_clear_labels_are_learned():
    """What decides on this traffic ranks new requests of it better than the shipped weights do."""
    learned, fresh = fit(PRIOR, traffic(400, tells=2.0)), traffic(2000, tells=2.0, seed=2)
    z = standardised(PRIOR, fresh.x)
    new = np.corrcoef(z @ np.array(learned.scorer.weights), 1 - fresh.local)[0, 1]
    old = np.corrcoef(z @ np.array(PRIOR.weights), 1 - fresh.local)[0, 1]
    assert learned.against == "ideal"
    assert new > old + 0.2


def test_levels_keep_their_meaning():
    """The labelled requests keep the mean and the spread of their points."""
    labels = traffic(400, tells=2.0)
    z = standardised(PRIOR, labels.x)
    before = z @ np.array(PRIOR.weights) + PRIOR.intercept
    scorer = fit(PRIOR, labels).scorer
    after = z @ np.array(scorer.weights) + scorer.intercept
    assert after.mean() == pytest.approx(before.mean(), abs=1e-3)
    assert after.std() == pytest.approx(before.std(), rel=1e-2)
    assert list(scorer.quantiles) == sorted(scorer.quantiles)


def test_the_clouds_labels_count_once_there_are_enough():
    """With 200 of them, the gain over the local answer is learned, not its failure alone."""
    labels = traffic(400, tells=2.0, cloud=True)
    assert fit(PRIOR, labels).against == "cloud"
    few = replace(labels, cloud=np.where(np.arange(400) < ENOUGH - 1, labels.cloud, np.nan))
    assert fit(PRIOR, few).against == "ideal"


def test_a_request_both_judged_is_the_ridge_on_the_difference():
    """The two fits add up to the one on the gain."""
    labels = traffic(300, tells=1.0, cloud=True)
    z, start = standardised(PRIOR, labels.x), np.array(PRIOR.weights)
    gain = labels.cloud - labels.local
    centred = z - z.mean(axis=0)
    left = gain - gain.mean() - centred @ start
    whole = start + np.linalg.solve(centred.T @ centred + 50 * np.eye(len(start)), centred.T @ left)
    assert ridge(z, labels, start, 50.0) == pytest.approx(whole)


def test_the_stronger_the_pull_the_nearer_the_shipped_weights():
    """In the end nothing moves."""
    labels = traffic(300, tells=2.0)
    z, start = standardised(PRIOR, labels.x), np.array(PRIOR.weights)
    far = [np.abs(ridge(z, labels, start, strength) - start).sum() for strength in (10.0, 1e3, 1e9)]
    assert far[0] > far[1] > far[2]
    assert far[2] == pytest.approx(0, abs=1e-4)


def test_equal_scores_share_a_rank():
    """No order is made up."""
    assert ranks(np.array([0.1, 0.5, 0.5, 0.9])).tolist() == [0.125, 0.5, 0.5, 0.875]


def test_the_curve_runs_from_all_local_to_all_cloud():
    """Its ends are the two means; unjudged answers are left out of their side."""
    local = np.array([1.0, 0.0] * 100)
    cloud = np.where(np.arange(200) % 4 == 0, 1.0, np.nan)
    line = curve(ranks(np.arange(200.0)), local, cloud)
    assert (line[0], line[-1]) == (0.5, 1.0)
    assert line[50] == pytest.approx(0.75)


def test_a_forecast_says_what_is_certain():
    """On clear labels the gain is certain; the interval holds the figure."""
    labels = traffic(800, tells=2.5)
    expected = forecast(fit(PRIOR, labels), labels, 0.3)
    assert expected.better.low <= expected.better.value <= expected.better.high
    assert expected.better.certain
    assert expected.saved.value > 0


def test_a_study_writes_weights_that_can_be_read():
    """With their provenance, and the same bytes each time."""
    rows = rows_of(traffic(400, tells=2.0))
    result, again = study(PRIOR, rows, 0.3), study(PRIOR, rows, 0.3)
    assert result.text == again.text
    scorer = parse(result.text)
    assert scorer.means == PRIOR.means
    assert scorer.weights != PRIOR.weights
    assert '"local": 400' in result.text


def test_a_study_says_why_not():
    """Too few labels, or none that prove anything."""
    few = study(PRIOR, rows_of(traffic(50, tells=2.0)), 0.3)
    assert few.text is None
    assert "at least 200 labels" in few.why
    nothing = study(PRIOR, rows_of(traffic(300, tells=0.0, seed=4)), 0.3)
    assert nothing.text is None
    assert "do not prove" in nothing.why


def test_missing_features_count_as_average():
    """As in the score itself."""
    row = rows_of(traffic(1, tells=1.0))[0]
    empty = Labelled(id="r", at=0.0, features=(None,) * len(NAMES), local=1.0, cloud=None, sources=row.sources)
    assert not standardised(PRIOR, labels_of([empty]).x).any()
