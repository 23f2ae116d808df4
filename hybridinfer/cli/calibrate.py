"""`hybridinfer calibrate`: choose the levels by recorded traffic."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from .arguments import part
from .terminal import UsageError, print_json, talk, usd
from .traffic import recorded

if TYPE_CHECKING:
    from ..drill.replay import Picture, Replay
    from ..learning.calibrate import Traffic
    from ..learning.promise import Promise
    from ..observe.records import Recorded
    from ..policy.model import Policy

STEPS = 64
"""How finely a cost is met: in so many steps from no cloud to all."""
Flag = Annotated[bool, Parameter(negative="")]


def calibrate(
    *,
    traffic: Path,
    cloud_share: str | None = None,
    max_cost: Decimal | None = None,
    min_quality: float | None = None,
    policy: Path | None = None,
    signal: str = "complexity",
    write: Flag = False,
    json: Flag = False,
) -> int:
    """Choose the levels by recorded traffic, so that a share of it goes to the cloud. Nobody is called.

    `hybridinfer.observe.records.RecordFile` records it, without content. Prints the levels, and share, cost and latency
    of the recorded requests before and after. Exit code 0: chosen. 1: too little data, or it cannot be had.

    Args:
        traffic: The recorded requests, one JSON line each.
        cloud_share: The share that shall go to the cloud first, such as 30%.
        max_cost: What all the recorded requests together may cost, in USD; as many as possible go to the cloud.
        min_quality: How good answers shall be, 0 to 1, by the labels of `router.feedback`; as few as possible go.
        policy: The policy's file; otherwise it is looked for.
        signal: The signal whose levels are chosen.
        write: Write the levels into the policy's file, in one step; its comments stay.
        json: Print {signal, levels, before, after, quality} as JSON.
    """
    from dataclasses import asdict

    from ..assembly import discover
    from ..learning.calibrate import levels_at
    from ..learning.calibrate import traffic as known
    from ..learning.levels import write_whole
    from ..policy.load import load, read_text
    from ..policy.rewrite import with_levels
    from ..policy.shares import as_written

    if sum(one is not None for one in (cloud_share, max_cost, min_quality)) != 1:
        raise UsageError("say what you want: --cloud-share 30%, --max-cost USD or --min-quality 0.9, one of them")
    share = None if cloud_share is None else part(cloud_share)
    place = policy or discover(os.environ)
    loaded = load(place)
    if signal not in loaded.signals:
        raise UsageError(f"--signal {signal}: the policy has {', '.join(loaded.signals)}")
    records = recorded(traffic)
    found = known(loaded, records, signal)
    promised: Promise | None = None
    if share is not None:
        count = found.count_for(share)
    elif max_cost is not None:
        count = _affordable(loaded, records, signal, found, max_cost)
    else:
        promised = _promised(loaded, signal, found, min_quality or 0.0)
        count = promised.count
    levels = levels_at(loaded, signal, found, count)
    result = _replay(loaded, records, signal, levels)
    if json:
        picture = {"signal": signal, "levels": as_written(levels)}
        quality = asdict(promised) if promised else None
        print_json({**picture, "before": asdict(result.before), "after": asdict(result.after), "quality": quality})
    else:
        print("\n".join(_lines(signal, as_written(levels), result, promised)))
    if write:
        write_whole(place, with_levels(read_text(place), signal, levels))
        talk(f"written: {place}")
    return 0


def _with(policy: Policy, signal: str, levels: Mapping[str, float]) -> Policy:
    block = policy.signals[signal].model_copy(update={"levels": dict(levels)})
    return policy.model_copy(update={"signals": {**policy.signals, signal: block}})


def _replay(policy: Policy, records: Sequence[Recorded], signal: str, levels: Mapping[str, float]) -> Replay:
    """The records under these levels, as numbers: shares would begin with the training prompts."""
    from ..drill.replay import replay
    from ..policy.shares import shares_of

    shares = shares_of(levels)
    if shares is None:
        return replay(_with(policy, signal, levels), records)
    rising = sorted(record.scores[signal] for record in records if signal in record.scores)
    floors, below = dict[str, float](), 0.0
    for name, share in shares.items():
        floors[name] = rising[min(len(rising) - 1, round(below * len(rising)))] if below else 0.0
        below += share
    return replay(_with(policy, signal, floors), records)


def _affordable(policy: Policy, records: Sequence[Recorded], signal: str, found: Traffic, most: Decimal) -> int:
    """The largest count of requests above the boundary whose replay costs no more."""
    from ..errors import ConfigurationError
    from ..learning.calibrate import levels_at

    counts = found.counts()
    counts = counts[:: max(1, len(counts) // STEPS)]  # each step replays the whole traffic

    def cost(count: int) -> Decimal:
        return _replay(policy, records, signal, levels_at(policy, signal, found, count)).after.cost_usd

    best = last_that(lambda at: cost(counts[at]) <= most, len(counts))
    if best is None:
        raise ConfigurationError(f"even without the {found.boundary} ones the records cost more than {usd(most)}")
    return counts[best]


def last_that(holds: Callable[[int], bool], length: int) -> int | None:
    """The last of 0..length-1 for which a condition holds that holds up to some point and then no more."""
    if not holds(0):
        return None
    low, high = 0, length
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def _promised(policy: Policy, signal: str, found: Traffic, quality: float) -> Promise:
    from ..errors import ConfigurationError
    from ..learning.fit import labels_of
    from ..learning.journal import read
    from ..learning.memory import JOURNAL
    from ..learning.promise import promise
    from ..signals.weights import scorer_of, state_folder

    if policy.signals[signal].model is not None:
        raise ConfigurationError(f"labels hold no embeddings, so {signal} with a model cannot be promised a quality")
    rows = tuple(read(state_folder() / JOURNAL))
    return promise(scorer_of(policy.signals[signal])[0], labels_of(rows), found, quality)


def _lines(signal: str, levels: Mapping[str, object], result: Replay, promised: Promise | None) -> list[str]:
    written = ", ".join(f"{name}: {level}" for name, level in levels.items())
    rows = [f"{signal}: {{levels: {{{written}}}}}", "", f"{'':<20}{'before':>12}{'after':>12}"]
    cells: tuple[tuple[str, Callable[[Picture], str]], ...] = (
        ("cloud share", lambda one: f"{one.cloud_share:.1%}"),
        ("cost", lambda one: usd(one.cost_usd)),
        ("cost of 1,000", lambda one: usd(round(one.cost_usd * 1000 / one.requests, 4))),
        ("p50", lambda one: f"{one.p50_seconds:.2f} s"),
        ("p95", lambda one: f"{one.p95_seconds:.2f} s"),
    )
    rows += [f"{name:<20}{cell(result.before):>12}{cell(result.after):>12}" for name, cell in cells]
    if promised is not None:
        cloud = "as it was judged" if promised.judged else "taken to succeed always, as too few were judged"
        rows += [
            "",
            f"quality {promised.quality:.3f} (95%: {promised.low:.3f} to {promised.high:.3f}); the cloud is {cloud}",
        ]
    if result.guessed:
        rows += ["", f"no history of {', '.join(result.guessed)}: its times are guessed as half of its timeout"]
    return rows
