"""Choose levels by recorded traffic: where they must begin so that a share of it goes to the cloud.

Pure: from decision records (`observe.records`), which hold scores and no content, to levels.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

from ..errors import ConfigurationError
from ..policy.decide import decide
from ..policy.model import zone_of
from ..policy.shares import Share, shares_of
from ..signals.bands import bands, level_of

if TYPE_CHECKING:
    from ..observe.records import Recorded
    from ..policy.model import Policy

ENOUGH = 200
"""Recorded requests with a score below which nothing is calibrated: the share would be off by 3 points and more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """Recorded scores of one signal, from the highest to the lowest, and where each request may go."""

    scores: tuple[float, ...]
    below: tuple[bool, ...]
    """Whether the request goes to a cloud first although it is at a level that others answer."""
    above: tuple[bool, ...]
    """Whether it does where it is at a level that a cloud answers; a boundary may forbid it."""
    boundary: str
    """The lowest level that a cloud answers."""

    def share(self, count: int) -> float:
        """The share of all requests that a cloud is asked for first, if the `count` highest scores are `boundary`."""
        return (sum(self.above[:count]) + sum(self.below[count:])) / len(self.scores)

    def counts(self) -> list[int]:
        """The numbers of highest scores that a boundary can part: never between equal ones."""
        scores = self.scores
        inner = [at for at in range(1, len(scores)) if scores[at] < scores[at - 1]]
        return [0, *inner, len(scores)]

    def count_for(self, cloud_share: float) -> int:
        """How many of the highest scores must be `boundary`, so that the cloud's share is as near as it gets."""
        ups, downs = [0, *accumulate(self.above)], [0, *accumulate(self.below)]
        total = len(self.scores)
        return min(self.counts(), key=lambda at: abs((ups[at] + downs[-1] - downs[at]) / total - cloud_share))


def traffic(policy: Policy, records: Sequence[Recorded], signal: str) -> Traffic:
    """What calibrating `signal` needs to know of the records.

    Raises ConfigurationError where they are too few, or where the signal does not part the cloud from the rest.
    """
    measured = sorted((record for record in records if signal in record.scores), key=lambda one: -one.scores[signal])
    if len(measured) < ENOUGH:
        raise ConfigurationError(
            f"{len(measured)} of {len(records)} records have a score of {signal}; at least {ENOUGH} are needed"
        )
    names = list(policy.signals[signal].levels)
    known = {name: bands(block) for name, block in policy.signals.items() if name != signal}
    seen: dict[tuple[object, ...], tuple[bool, ...]] = {}
    goes: list[tuple[bool, ...]] = []
    for record in measured:
        levels = {
            name: level_of(floors, record.scores[name]) if name in record.scores else list(floors)[-1]
            for name, floors in known.items()
        }
        key = (*levels.items(), *sorted(record.tags.items()))
        if key not in seen:
            seen[key] = tuple(_cloud_first(policy, {**levels, signal: name}, record.tags) for name in names)
        goes.append(seen[key])
    share = [sum(one[at] for one in goes) / len(goes) for at in range(len(names))]
    first = next((at for at in range(1, len(names)) if share[at] - share[at - 1] > 0.1), None)
    if first is None:
        shares = ", ".join(f"{name} {part:.0%}" for name, part in zip(names, share, strict=True))
        raise ConfigurationError(
            f"the levels of {signal} do not decide who is asked first (cloud at {shares}); the rules have to test them"
        )
    return Traffic(
        scores=tuple(record.scores[signal] for record in measured),
        below=tuple(one[first - 1] for one in goes),
        above=tuple(one[first] for one in goes),
        boundary=names[first],
    )


def levels_at(policy: Policy, signal: str, found: Traffic, count: int) -> dict[str, float]:
    """Levels whose boundary lies below the `count` highest scores; the levels on either side keep their proportions.

    As the policy writes them now: shares of this traffic, or numbers where each begins. Raises ConfigurationError
    where the scores are too much alike to tell so many levels apart.
    """
    block, rising = policy.signals[signal], found.scores[::-1]
    names, total = list(block.levels), len(rising)
    now = [level_of(bands(block), score) for score in rising]
    first = names.index(found.boundary)
    parts: list[float] = []
    for some, size in ((names[:first], total - count), (names[first:], count)):
        held = [now.count(name) for name in some]
        parts += [size / len(some) if not sum(held) else size * one / sum(held) for one in held]
    ends = [round(end) for end in accumulate(parts)][:-1]
    if shares_of(block.levels) is not None:
        percent = [round(100 * end / total) for end in ends]
        widths = [b - a for a, b in zip([0, *percent], [*percent, 100], strict=True)]
        if min(widths) <= 0:
            raise ConfigurationError(f"{names[widths.index(min(widths))]} would have less than 1%; remove that level")
        return {name: Share(width / 100) for name, width in zip(names, widths, strict=True)}
    floors = [0.0]
    for end in ends:
        floors.append(max(_between(rising, end), round(floors[-1] + 0.0001, 4)))
    if floors[-1] > 1:
        raise ConfigurationError(f"the scores of {signal} are too much alike to part {len(names)} levels")
    return dict(zip(names, floors, strict=True))


def _between(rising: Sequence[float], at: int) -> float:
    """A number that parts the first `at` scores from the rest; four digits, as records have."""
    if at >= len(rising):
        return round(rising[-1] + 0.0001, 4)
    start = bisect_left(rising, rising[at])
    return round((rising[start - 1] + rising[at]) / 2 + 0.00005, 4) if start else round(rising[at], 4)


def _cloud_first(policy: Policy, levels: Mapping[str, str], tags: Mapping[str, str]) -> bool:
    plan = decide(policy, levels, tags=tags).plan
    return bool(plan) and zone_of(policy.targets[plan[0]]) == "cloud"
