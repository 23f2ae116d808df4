"""Where windows begin and end, and which accounts a request is booked on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridinfer.budget.windows import Account, Window
from hybridinfer.policy.model import BudgetBlock

ZONES = ["UTC", "Europe/Berlin", "Asia/Kathmandu", "America/New_York", "Australia/Lord_Howe", "America/Santiago"]
LONGEST = {"minute": 60, "hour": 5400, "day": 90_000, "week": 694_800, "month": 2_682_000}


def account(now: float, tags: dict[str, str] | None = None, **fields: Any) -> Account:
    block = BudgetBlock.model_validate({"name": "b", "usd": 1, "per": "day", **fields})
    return Window(block).account(tags or {}, now)


def at(text: str, zone: str = "UTC", *, fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()


@pytest.mark.parametrize(
    ("per", "start", "until"),
    [
        ("minute", "2026-11-18T12:34:00", "2026-11-18T12:35:00"),
        ("hour", "2026-11-18T12:00:00", "2026-11-18T13:00:00"),
        ("day", "2026-11-18T00:00:00", "2026-11-19T00:00:00"),
        ("week", "2026-11-16T00:00:00", "2026-11-23T00:00:00"),
        ("month", "2026-11-01T00:00:00", "2026-12-01T00:00:00"),
    ],
)
@pytest.mark.parametrize("zone", ["UTC", "Asia/Kathmandu"])
def test_a_window_is_the_calendars(per: str, start: str, until: str, zone: str) -> None:
    """Minute, hour, day, ISO week and month of the budget's own time zone, even one that is 5:45 ahead."""
    found = account(at("2026-11-18T12:34:56.789", zone), per=per, time_zone=zone)
    assert (found.bucket, found.until, found.buckets) == (at(start, zone), at(until, zone), (at(start, zone),))


def test_a_day_with_25_hours_is_one_window() -> None:
    """Where clocks are put back, the day is an hour longer."""
    found = account(at("2026-10-25T12:00:00", "Europe/Berlin"), time_zone="Europe/Berlin")
    assert found.until - found.bucket == 25 * 3600


def test_the_hour_that_comes_twice_is_two_windows() -> None:
    """An hourly budget is whole again in the second 2 o'clock of the night when clocks are put back."""
    first = account(at("2026-10-25T02:30:00", "Europe/Berlin"), per="hour", time_zone="Europe/Berlin")
    second = account(at("2026-10-25T02:30:00", "Europe/Berlin", fold=1), per="hour", time_zone="Europe/Berlin")
    assert second.bucket - first.bucket == 3600


def test_a_midnight_that_does_not_exist_is_the_first_moment_of_the_day() -> None:
    """In Santiago clocks go from 23:59:59 to 01:00: the day begins there."""
    found = account(at("2026-09-06T12:00:00", "America/Santiago"), time_zone="America/Santiago")
    assert found.until - found.bucket == 23 * 3600


@given(
    per=st.sampled_from(sorted(LONGEST)),
    zone=st.sampled_from(ZONES),
    moment=st.datetimes(datetime(2024, 1, 1), datetime(2030, 1, 1)),  # noqa: DTZ001 - made aware below
    later=st.floats(0, 5_000_000),
)
def test_windows_follow_each_other_without_gap(per: str, zone: str, moment: datetime, later: float) -> None:
    """Every moment lies in its window, the next window begins where it ends, and none is overlong."""
    window = Window(BudgetBlock.model_validate({"name": "b", "usd": 1, "per": per, "time_zone": zone}))
    now = moment.replace(tzinfo=UTC).timestamp()
    for when in (now, now + later, now):  # back again: a clock that is set back finds its old window
        found = window.account({}, when)
        assert found.bucket <= when < found.until
        assert found.until - found.bucket <= LONGEST[per]
        assert 0 <= found.share < 1
        assert window.account({}, found.until).bucket == found.until
        assert window.account({}, found.until - 0.5).bucket == found.bucket


@given(
    per=st.sampled_from(sorted(LONGEST)),
    moment=st.floats(1.7e9, 1.9e9),
    age=st.floats(0, 1.2),
)
def test_a_rolling_window_covers_its_length(per: str, moment: float, age: float) -> None:
    """Whatever was booked within the length still counts; what is a sixtieth older no longer does."""
    length = {"minute": 60, "hour": 3600, "day": 86_400, "week": 604_800, "month": 2_592_000}[per]
    block = BudgetBlock.model_validate({"name": "b", "usd": 1, "per": per, "window": "rolling"})
    past = Window(block).account({}, moment - age * length)
    present = Window(block).account({}, moment)
    counted = past.bucket in present.buckets
    assert counted or age > 1
    assert not counted or age <= 1 + 1 / 60 + 1e-6
    assert counted == (moment < past.until)
    assert present.buckets[-1] == present.bucket


def test_accounts_of_different_budgets_stay_apart() -> None:
    """Changing a budget's period, kind or tag begins a new account; changing its limit does not."""
    now = at("2026-11-01T00:00:00")
    keys = [
        account(now).key,
        account(now, per="month").key,
        account(now, by="team").key,
        account(now, by="user").key,
        account(now, {"team": "a"}, by="team").key,
        account(now, window="rolling").key,
        account(now, name="c").key,
    ]
    assert len(set(keys)) == len(keys)
    assert account(now, usd=5).key == keys[0]


def test_keys_of_many_tag_values_are_not_kept_for_ever() -> None:
    """A service with a million users does not collect their names in memory."""
    window = Window(BudgetBlock.model_validate({"name": "b", "usd": 1, "per": "day", "by": "user"}))
    keys = {window.account({"user": str(number)}, 1.8e9).key for number in range(10_050)}
    assert len(keys) == 10_050
    assert len(window._keys) <= 10_000


def test_the_share_of_the_window_grows_with_the_clock() -> None:
    """At noon half of the day has passed."""
    assert account(at("2026-11-18T12:00:00")).share == 0.5
    assert account(at("2026-11-18T00:00:00") + timedelta(hours=18).total_seconds()).share == 0.75
