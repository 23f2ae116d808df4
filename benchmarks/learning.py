"""Do asked shares hold on any traffic, and do a few labels of one's own help and never hurt? Two tables, one run.

    uv run --group bench python -m benchmarks.learning --data ../shared/data/routing [--draws 40]

Few labels: each family in turn is "your traffic". The weights are trained without it; then 50, 200, 435 and 1,500 of
its requests get labels (one draw of success or failure by the recorded rates), and the rest is judged by APGR: against
the recorded strong models where the cloud's answers were labelled, too, else against a cloud that always succeeds.
Beside ours stands the naive ridge, fitted to the same labels from nothing.

A few hundred requests judge with noise, too: "+-" is the standard error of the score without labels on them, "noise"
that of the change, both by a bootstrap of the same requests. A draw is "surely" worse where the 97.5% quantile of its
change is still below -.01; the other draws below it may be as good as before.

Shares: the shipped score on each family, on two that follow one another, on traffic that repeats one prompt, and on
traffic sorted by difficulty. The share of each upper level is counted from the first request on.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hybridinfer.learning.controller import Controller
from hybridinfer.learning.fit import Labels, fit, ranks, ridge, standardised
from hybridinfer.signals.complexity import Scorer
from hybridinfer.signals.complexity import load as load_scorer

from . import routing_data, train_complexity
from .routing_metrics import quality

COUNTS = (50, 200, 435, 1500)
LEAST_JUDGED = 400
"""Requests that must be left to judge by."""
NAIVE = 10.0
"""The naive ridge's strength, in labels."""
TOLERATED = 0.01
BOOTSTRAP = 200
"""Samples of the requests that judge."""
SHARES = ({"low": 0.9, "high": 0.1}, {"low": 0.7, "high": 0.3}, {"low": 0.6, "medium": 0.3, "high": 0.1})


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description="Few labels, and shares of the traffic.")
    parser.add_argument("--data", type=Path, default=routing_data.DEFAULT, help="folder with dev_prompts.parquet")
    parser.add_argument("--draws", type=int, default=40, help="samples of labels for each count")
    options = parser.parse_args(arguments)
    data = routing_data.load(options.data)
    x = train_complexity.matrix(data.prompts)
    few_labels(data, x, options.draws)
    shares(data, x)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One draw of labels, judged on the rest; APGR."""

    zero: float
    zero_error: float
    """Standard error of `zero`."""
    ours: float
    error: float
    """Standard error of `ours` less `zero`."""
    at_best: float
    """The 97.5% quantile of `ours` less `zero`."""
    naive: float
    taken: bool


def few_labels(data: routing_data.Outcomes, x: np.ndarray, draws: int) -> None:
    """The table of what labels bring."""
    print(f"Few labels, {draws} draws each: APGR on the rest of the family; change against no labels")
    print(
        f"  {'family':12} {'labels':>6} {'judged':6} {'none':>5} {'+-':>5}  {'ours':>6} {'worst':>6} {'noise':>5} "
        f"{'< -.01':>6} {'surely':>6} {'taken':>5}  {'naive':>6} {'worst':>6}"
    )
    everything: list[tuple[int, str, float, list[Trial]]] = []
    for family in sorted(set(data.family.tolist())):
        rows = data.family == family
        prior = _prior(x[~rows], 1 - data.weak[~rows])
        for count in COUNTS:
            if rows.sum() < count + LEAST_JUDGED:
                continue
            for judged in ("local", "both"):
                trials = trial(
                    prior, x[rows], data.weak[rows], data.strong[rows], count=count, judged=judged, draws=draws
                )
                zero = float(np.mean([one.zero for one in trials]))
                everything.append((count, judged, zero, trials))
                error = float(np.mean([one.zero_error for one in trials]))
                print(f"  {family:12} {count:6} {judged:6} {zero:5.3f} {error:5.3f}  {_row(trials)}", flush=True)
    for count in COUNTS:
        for judged in ("local", "both"):
            some = [trials for number, kind, _, trials in everything if (number, kind) == (count, judged)]
            if some:
                print(f"  {'all':12} {count:6} {judged:6} {'':11}  {_row([one for trials in some for one in trials])}")


def _row(trials: list[Trial]) -> str:
    ours = np.array([one.ours - one.zero for one in trials])
    naive = np.array([one.naive - one.zero for one in trials])
    return (
        f"{ours.mean():+6.3f} {ours.min():+6.3f} {np.mean([one.error for one in trials if one.taken] or [0.0]):5.3f} "
        f"{(ours < -TOLERATED).mean():6.1%} {np.mean([one.at_best < -TOLERATED for one in trials]):6.1%} "
        f"{np.mean([one.taken for one in trials]):5.0%}  {naive.mean():+6.3f} {naive.min():+6.3f}"
    )


def trial(
    prior: Scorer, x: np.ndarray, weak: np.ndarray, strong: np.ndarray, *, count: int, judged: str, draws: int
) -> list[Trial]:
    """Draws of `count` labels of the local answers, or of `both` sides."""
    random = np.random.default_rng(count)
    z = standardised(prior, x)
    shipped = z @ np.array(prior.weights)
    best = strong if judged == "both" else np.ones_like(strong)
    trials = []
    for _ in range(draws):
        order = random.permutation(len(x))
        some, rest = order[:count], order[count:]
        local = (random.random(count) < weak[some]).astype(float)
        cloud = (random.random(count) < strong[some]).astype(float)
        labels = Labels(x=x[some], local=local, cloud=cloud if judged == "both" else np.full(count, np.nan))
        learned = fit(prior, labels)
        naive = z @ ridge(z[some], labels, np.zeros(z.shape[1]), NAIVE)
        ours = shipped if learned is None else z @ np.array(learned.scorer.weights)
        apgr = [quality(score[rest], weak[rest], best[rest]).apgr for score in (shipped, ours, naive)]
        taken = learned is not None and learned.strength is not None
        gain = best[rest] - weak[rest]
        before, after = ranks(shipped[rest]), ranks(ours[rest])
        changes = bootstrap(after - before, gain)
        trials.append(
            Trial(
                zero=apgr[0],
                zero_error=float(bootstrap(before, gain).std()),
                ours=apgr[1],
                error=float(changes.std()),
                at_best=float(np.quantile(changes, 0.975)),
                naive=apgr[2],
                taken=taken,
            )
        )
    return trials


def bootstrap(rank: np.ndarray, gain: np.ndarray) -> np.ndarray:
    """APGR less 1/2 over samples of the requests, or its change where `rank` is one of ranks; the ranks stay as they are.

    It is the covariance of rank and gain over the mean gain.
    """
    counts = np.random.default_rng(0).multinomial(len(gain), np.full(len(gain), 1 / len(gain)), size=BOOTSTRAP)
    mean, both, mean_rank = (counts @ values / len(gain) for values in (gain, rank * gain, rank))
    values: np.ndarray = (both - mean_rank * mean) / mean
    return values


def _prior(x: np.ndarray, failed: np.ndarray) -> Scorer:
    model = train_complexity.fit(x, failed)
    shipped = load_scorer()
    return Scorer(
        intercept=model.intercept,
        means=tuple(model.means.tolist()),
        scales=tuple(model.scales.tolist()),
        weights=tuple(model.weights.tolist()),
        centre=shipped.centre,
        slope=shipped.slope,
        quantiles=shipped.quantiles,
    )


def shares(data: routing_data.Outcomes, x: np.ndarray) -> None:
    """The table of asked and met shares."""
    scorer = load_scorer()
    points = scorer.intercept + standardised(scorer, x) @ np.array(scorer.weights)
    scores = 1 / (1 + np.exp(-scorer.slope * (points - scorer.centre)))
    print("\nShares: percent of the requests above a boundary, less the percent asked")
    heads = [f"{name} {share:.0%}" for asked in SHARES for name, share in _above(asked).items()]
    print(f"  {'traffic':28} {'n':>5}  " + "  ".join(f"{head:>12}" for head in heads))
    worst = 0.0
    for name, stream in _streams(data.family, scores).items():
        off = [miss for asked in SHARES for miss in missed(asked, scorer.quantiles, stream)]
        worst = max(worst, *map(abs, off))
        print(f"  {name:28} {len(stream):5}  " + "  ".join(f"{miss:+12.1f}" for miss in off))
    print(f"  the worst is off by {worst:.1f} points")


def missed(asked: dict[str, float], prior: tuple[float, ...], stream: np.ndarray) -> list[float]:
    """Percentage points by which the share above each boundary misses the one asked, over the whole stream."""
    controller, above = Controller(asked, prior), dict.fromkeys(list(asked)[1:], 0)
    for score in stream.tolist():
        floors = controller.floors
        for name in above:
            above[name] += score >= floors[name]
        controller.count(score)
    wanted = _above(asked)
    return [100 * (above[name] / len(stream) - wanted[name]) for name in above]


def _above(asked: dict[str, float]) -> dict[str, float]:
    names, parts = list(asked), list(asked.values())
    return {names[at]: sum(parts[at:]) for at in range(1, len(names))}


def _streams(family: np.ndarray, scores: np.ndarray) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    mixed = {name: random.permutation(scores[family == name]) for name in sorted(set(family.tolist()))}
    one = float(np.median(scores))
    return {
        **mixed,
        "stem, then trivia": np.concatenate([mixed["stem"][:1500], mixed["trivia"]]),
        "trivia, then reasoninggym": np.concatenate([mixed["trivia"], mixed["reasoninggym"][:1500]]),
        "200 of each, one by one": np.concatenate([stream[:200] for stream in mixed.values()]),
        "one prompt, 1,000 times": np.full(1000, one),
        "one prompt, 80% of the time": np.where(random.random(1500) < 0.8, one, random.permutation(scores)[:1500]),
        "from easy to hard": np.sort(random.permutation(scores)[:2000]),
    }


if __name__ == "__main__":
    main(sys.argv[1:])
