"""Which accounts a request is booked on, and how much of each may be in use.

A budget's account is named by the budget, its period, and the value of its `by` tag (a request without that tag
shares the account of the empty value: it is limited like any other). An account is a row of buckets. A calendar
window is one bucket: it starts with the minute, hour, day, ISO week (Monday) or month in the budget's time zone.
A rolling window is the last 60 buckets, the oldest in full, so no interval of its length is ever overspent.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from .money import to_nano

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..policy.model import BudgetBlock, Policy

_SECONDS = {"minute": 60, "hour": 3600, "day": 86_400, "week": 604_800, "month": 2_592_000}
_BUCKETS = 60
_LEEWAY = 0.02  # of the limit: what may be used at the start of a paced window; over as much the pressure rises
_AHEAD = 1.4
"""How far a paced budget runs ahead of the clock: the exponent of the share of time that is left.

Nobody knows the traffic to come. On an even line (1), a quiet end of the window, such as a night or a weekend, leaves
money over: 3.5% of a day's where traffic is worth three budgets. With 1.4 use is at most 13 points ahead, halfway, and
days and weeks of waxing and waning traffic worth 1.5 to 6 budgets all end within 2% (benchmarks/pacing.py).
"""


@dataclass(frozen=True, slots=True)
class Account:
    """One budget as it stands for one request."""

    budget: str
    """The budget's name in the policy."""
    key: str
    """The account in the book: JSON of budget, period, tag and the tag's value."""
    bucket: int
    """Where this request is booked: the bucket's start in seconds since the epoch."""
    buckets: tuple[int, ...]
    """The buckets that count against the limit, this one included."""
    limit: int
    """Nano-dollars."""
    share: float
    """Share of the window that has passed, 0..1."""
    until: int
    """When the current bucket no longer counts, in seconds since the epoch."""
    even: bool = False
    """The budget is paced: it is compared with the share of its window that has passed."""

    def pressure(self, used: int) -> float:
        """How urgent it is to save, with `used` nano-dollars in use: 0 not at all, from 1 on nothing is left.

        Unpaced: the share of the limit in use. Paced: use may run along a line from 2% of the limit at the window's
        start to all of it at its end, a little ahead of the clock; on or above it 1, two percent of the limit below 0.
        """
        share = used / self.limit
        if self.even and share < 1:
            line = 1 - (1 - _LEEWAY) * (1 - self.share) ** _AHEAD
            share = 1 - (line - share) / _LEEWAY
        return max(share, 0.0)


class Window:
    """The window of one budget. Its current bounds are kept until they pass."""

    def __init__(self, block: BudgetBlock) -> None:
        self._block = block
        self._limit = to_nano(block.usd)
        self._zone = ZoneInfo(block.time_zone)
        self._rolling = block.window == "rolling"
        self._bounds = (0, 0)
        self._keys: dict[str, str] = {}

    def account(self, tags: Mapping[str, str], now: float) -> Account:
        """The account of a request with `tags` at `now`, in seconds since the epoch."""
        start, end = self._bounds
        if not start <= now < end:
            self._bounds = start, end = self._slice(now) if self._rolling else self._calendar(now)
        block = self._block
        length = _SECONDS[block.per]
        step = length // _BUCKETS
        return Account(
            budget=block.name,
            key=self._key(tags.get(block.by, "") if block.by else ""),
            bucket=start,
            buckets=tuple(range(start - length, start + 1, step)) if self._rolling else (start,),
            limit=self._limit,
            share=1.0 if self._rolling else (now - start) / (end - start),
            until=end + length if self._rolling else end,
            even=block.pace == "even",
        )

    def _key(self, value: str) -> str:
        if value not in self._keys:
            if len(self._keys) >= 10_000:
                self._keys.clear()
            block = self._block
            self._keys[value] = json.dumps([block.name, block.per, block.window, block.by or "", value])
        return self._keys[value]

    def _slice(self, now: float) -> tuple[int, int]:
        step = _SECONDS[self._block.per] // _BUCKETS
        start = int(now // step) * step
        return start, start + step

    def _calendar(self, now: float) -> tuple[int, int]:
        local = datetime.fromtimestamp(now, self._zone)
        per = self._block.per
        if per in ("minute", "hour"):
            return self._on_the_clock(int(now), local)
        midnight = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
        if per == "day":
            first, following = midnight, midnight + timedelta(days=1)
        elif per == "week":
            first = midnight - timedelta(days=midnight.weekday())
            following = first + timedelta(days=7)
        else:
            first = midnight.replace(day=1)
            following = (first + timedelta(days=32)).replace(day=1)
        return int(first.timestamp()), int(following.timestamp())

    def _on_the_clock(self, now: int, local: datetime) -> tuple[int, int]:
        """A minute or an hour, in elapsed seconds and within one offset from UTC.

        Where clocks are put back, the hour that comes twice is two windows; an hour that half an hour's change cuts
        (Lord Howe) is two as well, whoever looks and whenever.
        """
        length, offset = _SECONDS[self._block.per], local.utcoffset()

        def changed(second: int) -> bool:
            return datetime.fromtimestamp(second, self._zone).utcoffset() != offset

        start = now - (local.minute * 60 + local.second) % length
        first = bisect_left(range(start, now), 1, key=lambda second: not changed(second))
        following = bisect_left(range(now + 1, start + length), 1, key=changed)
        return start + first, now + 1 + following


def windows(policy: Policy) -> tuple[Window, ...]:
    """The windows of a policy's budgets; `per: request` has none, the flow itself enforces it."""
    return tuple(Window(block) for block in policy.budgets if block.per != "request")
