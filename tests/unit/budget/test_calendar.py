"""Calendar windows against plain sums: two moments share a window where zoneinfo gives them the same name."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridinfer.budget.book import OverBudget
from hybridinfer.budget.contract import Clock, policy_with
from hybridinfer.budget.ledger_memory import MemoryLedger
from hybridinfer.budget.windows import Window
from hybridinfer.policy.model import BudgetBlock

CHANGES = {
    "Europe/Berlin": ("2026-03-29T01:00", "2026-10-25T01:00", "2028-02-29T23:00", "2026-12-31T23:00"),
    "America/New_York": ("2026-03-08T07:00", "2026-11-01T06:00"),
    "America/Santiago": ("2026-09-06T04:00", "2026-04-05T03:00"),  # at midnight
    "America/Havana": ("2026-11-01T05:00", "2026-03-08T05:00"),  # midnight comes twice, or not at all
    "Australia/Lord_Howe": ("2026-04-04T15:00", "2026-10-03T15:30"),  # by half an hour
    "Asia/Pyongyang": ("2018-05-04T15:00",),  # by half an hour, at half past
    "Asia/Kathmandu": ("2026-01-31T18:15",),  # 5:45 ahead
    "Pacific/Apia": ("2011-12-30T10:00",),  # 30 December 2011 was left out
    "UTC": ("2026-02-28T23:59", "2027-01-03T23:59"),
}
"""Moments (UTC) at which clocks are changed, or months, years and weeks end."""
PLACES = [
    (zone, datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp())
    for zone, moments in CHANGES.items()
    for moment in moments
]
PERIODS = ("minute", "hour", "day", "week", "month")
AWAY = st.one_of(
    st.integers(-90, 90),
    st.integers(-8000, 8000),
    st.integers(-200_000, 200_000),
    st.integers(-3_000_000, 3_000_000),
    st.sampled_from([0, -1, -1800, 1800, -3600, 3600, -86_400, 86_400]),
)


def name(now: float, zone: str, per: str) -> object:
    """The window of a moment in the words of a calendar; an hour that comes twice has two."""
    local = datetime.fromtimestamp(now, ZoneInfo(zone))
    if per == "minute":
        return local.strftime("%Y-%m-%d %H:%M"), local.utcoffset()
    if per == "hour":
        return local.strftime("%Y-%m-%d %H"), local.utcoffset()
    if per == "day":
        return local.date()
    return local.isocalendar()[:2] if per == "week" else (local.year, local.month)


@given(place=st.sampled_from(PLACES), per=st.sampled_from(PERIODS), steps=st.lists(AWAY, min_size=2, max_size=8))
def test_moments_share_a_window_where_the_calendar_says_so(
    place: tuple[str, float], per: str, steps: list[int]
) -> None:
    """On both sides of a change of clocks, in any order, for one process that looks again and for a new one."""
    zone, change = place
    block = BudgetBlock.model_validate({"name": "b", "usd": 1, "per": per, "time_zone": zone})
    window, buckets = Window(block), {}
    for now in (change + step for step in steps):
        found = window.account({}, now)
        assert found.bucket == Window(block).account({}, now).bucket, "two processes disagree"
        assert found.bucket <= now < found.until
        assert name(found.bucket, zone, per) == name(found.until - 1, zone, per) == name(now, zone, per)
        assert name(found.bucket - 1, zone, per) != name(now, zone, per) != name(found.until, zone, per)
        buckets[found.bucket] = name(now, zone, per)
    assert len(set(buckets.values())) == len(buckets)


CALL = st.tuples(AWAY, st.integers(1, 600), st.integers(0, 700), AWAY, st.booleans())


@given(place=st.sampled_from(PLACES), per=st.sampled_from(PERIODS), calls=st.lists(CALL, min_size=1, max_size=12))
def test_a_cost_belongs_to_the_window_of_its_reservation(
    place: tuple[str, float], per: str, calls: list[tuple[int, int, int, int, bool]]
) -> None:
    """Whenever it is settled: never lost, never in two windows, and each window is granted what plain sums allow."""
    zone, change = place
    clock, sums = Clock(change), defaultdict[object, int](int)
    ledger = MemoryLedger(policy_with({"name": "b", "usd": 0.000001, "per": per, "time_zone": zone}), clock=clock)

    async def play() -> None:
        open_calls = []
        for begin, worst, real, end, settles in calls:
            clock.now = change + begin
            window = name(clock.now, zone, per)
            request = ledger.reserve(receipt_id="r", target="t", usd=Decimal(worst).scaleb(-9), tags={})
            if sums[window] + worst > 1000:
                with pytest.raises(OverBudget):
                    await request
                continue
            open_calls.append((change + end, await request, window, worst, min(real, worst), settles))
            sums[window] += worst
        for moment, reservation, window, worst, real, settles in sorted(open_calls, key=lambda call: call[0]):
            clock.now = moment
            if settles:
                await ledger.settle(reservation, Decimal(real).scaleb(-9))
                sums[window] += real - worst
            else:
                await ledger.release(reservation)
                sums[window] -= worst
        for begin, *_ in calls:
            clock.now = change + begin
            used = (await ledger.standing({})).used
            assert used == pytest.approx(sums[name(clock.now, zone, per)] / 1000)
            assert used <= 1

    asyncio.run(play())
