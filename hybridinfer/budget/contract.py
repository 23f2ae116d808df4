"""What every ledger must keep, as tests: subclass `LedgerContract` in your test suite and implement `make`.

    from hybridinfer.budget.contract import LedgerContract

    class TestMyLedger(LedgerContract):
        @pytest.fixture(autouse=True)
        def _place(self, tmp_path):
            self.place = tmp_path / "book"

        def make(self, policy, clock):
            return MyLedger(policy, self.place, clock=clock)

Needs pytest; the tests run on asyncio through anyio's plugin, which comes with this package's dependencies.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, ClassVar

import pytest

from ..policy.model import Policy
from .book import Ledger, OverBudget, Reservation

NANO = Decimal("0.000000001")
NOON = datetime(2026, 11, 18, 12, 0, 30, tzinfo=UTC).timestamp()  # a Wednesday


class Clock:
    """Seconds since the epoch, moved by hand."""

    def __init__(self, now: float = NOON) -> None:
        self.now = now

    def __call__(self) -> float:
        """The time that was set."""
        return self.now


def policy_with(*budgets: Mapping[str, Any]) -> Policy:
    """A policy with these budgets, and one target that never costs anything."""
    return Policy.model_validate(
        {
            "version": 1,
            "targets": {"cloud": {"kind": "canned", "text": "-"}},
            "budgets": list(budgets),
            "rules": [{"name": "all", "use": ["cloud"]}],
        }
    )


DAY: Mapping[str, Any] = {"name": "day", "usd": 1, "per": "day"}
TEAM: Mapping[str, Any] = {"name": "team", "usd": 0.4, "per": "month", "by": "team"}


@pytest.mark.anyio
class LedgerContract(ABC):
    """One test for each promise of `hybridinfer.budget.book.Ledger`."""

    shares: ClassVar[bool] = True
    """Two ledgers made within one test keep one book."""

    @abstractmethod
    def make(self, policy: Policy, clock: Callable[[], float]) -> Ledger:
        """A ledger on the book of this test, which is empty at first."""

    @pytest.fixture
    def anyio_backend(self) -> str:
        """Ledgers run where the product runs: on asyncio."""
        return "asyncio"

    @asynccontextmanager
    async def _open(self, *budgets: Mapping[str, Any], clock: Clock | None = None) -> AsyncIterator[Ledger]:
        ledger = self.make(policy_with(*budgets), clock or Clock())
        try:
            yield ledger
        finally:
            await ledger.aclose()

    async def test_an_untouched_book_is_unused(self) -> None:
        """A new book stands at zero and is known."""
        async with self._open(DAY) as ledger:
            standing = await ledger.standing({})
            assert (standing.used, standing.budget, standing.known) == (0.0, "day", True)

    async def test_a_reservation_counts_at_once(self) -> None:
        """What is reserved is in use before it is spent."""
        async with self._open(DAY) as ledger:
            await _reserve(ledger, "0.25")
            assert (await ledger.standing({})).used == 0.25

    async def test_settling_books_the_real_cost(self) -> None:
        """After settlement only what was spent is in use."""
        async with self._open(DAY) as ledger:
            await ledger.settle(await _reserve(ledger, "0.9"), Decimal("0.125"))
            assert (await ledger.standing({})).used == 0.125

    async def test_an_estimated_settlement_counts_like_any_other(self) -> None:
        """Money that was counted instead of reported is money all the same."""
        async with self._open(DAY) as ledger:
            await ledger.settle(await _reserve(ledger, "0.9"), Decimal("0.5"), estimated=True)
            assert (await ledger.standing({})).used == 0.5

    async def test_releasing_gives_everything_back(self) -> None:
        """A released reservation leaves no trace in the budget."""
        async with self._open(DAY) as ledger:
            await ledger.release(await _reserve(ledger, "0.9"))
            assert (await ledger.standing({})).used == 0.0

    async def test_the_limit_itself_fits_and_nothing_more(self) -> None:
        """A budget can be used up to its last nano-dollar, and not one beyond."""
        async with self._open(DAY) as ledger:
            await _reserve(ledger, "1")
            with pytest.raises(OverBudget) as refused:
                await _reserve(ledger, NANO)
            assert refused.value.budget == "day"
            assert "0 USD left" in refused.value.because

    async def test_nano_dollars_add_up(self) -> None:
        """Amounts are exact: ten nano-dollars leave room for all but ten."""
        async with self._open(DAY) as ledger:
            for _ in range(10):
                await ledger.settle(await _reserve(ledger, NANO), NANO)
            with pytest.raises(OverBudget):
                await _reserve(ledger, 1 - 9 * NANO)
            await _reserve(ledger, 1 - 10 * NANO)

    async def test_the_largest_budget_is_exact(self) -> None:
        """Nine million dollars are counted to the last nano-dollar."""
        async with self._open({"name": "huge", "usd": 9_000_000, "per": "month"}) as ledger:
            await ledger.settle(await _reserve(ledger, 9_000_000 - NANO), 9_000_000 - NANO)
            with pytest.raises(OverBudget):
                await _reserve(ledger, 2 * NANO)
            await _reserve(ledger, NANO)

    async def test_all_budgets_or_none(self) -> None:
        """A reservation that one budget refuses takes nothing from the others."""
        async with self._open(DAY, TEAM) as ledger:
            with pytest.raises(OverBudget) as refused:
                await _reserve(ledger, "0.5", team="a")
            assert refused.value.budget == "team"
            assert (await ledger.standing({"team": "a"})).used == 0.0
            await _reserve(ledger, "0.4", team="a")

    async def test_the_tightest_budget_decides_the_standing(self) -> None:
        """The standing is that of the budget with the largest share in use."""
        async with self._open(DAY, TEAM) as ledger:
            await ledger.settle(await _reserve(ledger, "0.2", team="a"), Decimal("0.2"))
            tight = await ledger.standing({"team": "a"})
            other = await ledger.standing({"team": "b"})
            assert (tight.budget, tight.used, other.budget, other.used) == ("team", 0.5, "day", 0.2)

    async def test_each_tag_value_has_its_own_budget(self) -> None:
        """One team's spending leaves the other team's budget alone."""
        async with self._open(TEAM) as ledger:
            await _reserve(ledger, "0.4", team="a")
            await _reserve(ledger, "0.4", team="b")
            with pytest.raises(OverBudget):
                await _reserve(ledger, NANO, team="a")

    async def test_requests_without_the_tag_share_one_limit(self) -> None:
        """Leaving the tag out is no way around the budget."""
        async with self._open(TEAM) as ledger:
            await _reserve(ledger, "0.4")
            with pytest.raises(OverBudget):
                await _reserve(ledger, NANO)

    @pytest.mark.parametrize("value", ['"', "';--", "\x00", "zażółć 🐍", "\ud800", "a:b/c{d}", "x" * 5000])
    async def test_any_tag_value_is_an_account(self, value: str) -> None:
        """Whatever callers write into a tag, its budget holds and stays apart from others."""
        async with self._open(TEAM) as ledger:
            await _reserve(ledger, "0.4", team=value)
            with pytest.raises(OverBudget):
                await _reserve(ledger, NANO, team=value)
            await _reserve(ledger, "0.4", team=value + "!")

    @pytest.mark.parametrize(
        ("per", "last", "following"),
        [
            ("minute", "2026-11-18T12:00:59", "2026-11-18T12:01:00"),
            ("hour", "2026-11-18T12:59:59", "2026-11-18T13:00:00"),
            ("day", "2026-11-18T23:59:59", "2026-11-19T00:00:00"),
            ("week", "2026-11-22T23:59:59", "2026-11-23T00:00:00"),
            ("month", "2026-11-30T23:59:59", "2026-12-01T00:00:00"),
        ],
    )
    async def test_a_calendar_window_ends_with_its_calendar(self, per: str, last: str, following: str) -> None:
        """A spent budget is spent until the window's last second, and whole again in the next one."""
        clock = Clock()
        async with self._open({"name": "b", "usd": 1, "per": per}, clock=clock) as ledger:
            await _reserve(ledger, "1")
            clock.now = _seconds(last)
            with pytest.raises(OverBudget):
                await _reserve(ledger, NANO)
            clock.now = _seconds(following)
            await _reserve(ledger, "1")

    async def test_midnight_is_that_of_the_time_zone(self) -> None:
        """A day in Tokyo ends at 15:00 UTC."""
        clock = Clock(_seconds("2026-11-18T14:59:59"))
        async with self._open({**DAY, "time_zone": "Asia/Tokyo"}, clock=clock) as ledger:
            await _reserve(ledger, "1")
            clock.now = _seconds("2026-11-18T15:00:00")
            await _reserve(ledger, "1")

    async def test_a_rolling_window_forgets_after_its_length(self) -> None:
        """What was spent counts for at least the window's length, and for at most a sixtieth more."""
        clock = Clock()
        async with self._open({**DAY, "window": "rolling"}, clock=clock) as ledger:
            await _reserve(ledger, "0.6")
            clock.now += 43_200
            await _reserve(ledger, "0.4")
            clock.now = NOON + 86_400
            with pytest.raises(OverBudget):
                await _reserve(ledger, NANO)
            clock.now = NOON + 86_400 + 1440
            await _reserve(ledger, "0.6")
            with pytest.raises(OverBudget):
                await _reserve(ledger, NANO)

    async def test_a_call_belongs_to_the_window_it_was_reserved_in(self) -> None:
        """A call that crosses midnight is settled on its first day and leaves the second alone."""
        clock = Clock(_seconds("2026-11-18T23:59:59"))
        async with self._open(DAY, clock=clock) as ledger:
            reservation = await _reserve(ledger, "0.5")
            clock.now += 10
            await ledger.settle(reservation, Decimal("0.4"))
            assert (await ledger.standing({})).used == 0.0
            clock.now -= 10
            assert (await ledger.standing({})).used == 0.4

    async def test_a_dearer_call_is_booked_in_full(self) -> None:
        """Money that is gone is in the book, even beyond the limit; then nothing more is granted."""
        async with self._open(DAY) as ledger:
            await ledger.settle(await _reserve(ledger, "0.5"), Decimal("1.5"))
            assert (await ledger.standing({})).used == 1.0
            with pytest.raises(OverBudget):
                await _reserve(ledger, NANO)

    @pytest.mark.parametrize("first", ["settle", "release"])
    @pytest.mark.parametrize("second", ["settle", "release"])
    async def test_the_first_end_of_a_reservation_is_final(self, first: str, second: str) -> None:
        """Settling or releasing again changes nothing, so callers may repeat what they are unsure of."""
        async with self._open(DAY) as ledger:
            reservation = await _reserve(ledger, "0.5")
            await _end(ledger, reservation, first, "0.25")
            before = (await ledger.standing({})).used
            await _end(ledger, reservation, second, "0.75")
            assert (await ledger.standing({})).used == before

    async def test_zero_is_always_granted(self) -> None:
        """What costs nothing goes on when the budget is spent."""
        async with self._open(DAY) as ledger:
            await _reserve(ledger, "1")
            free = await _reserve(ledger, "0")
            await ledger.settle(free, Decimal(0))
            await ledger.release(free)
            assert (await ledger.standing({})).used == 1.0

    async def test_a_free_call_that_cost_money_is_booked(self) -> None:
        """A wrong estimate of zero hides nothing."""
        async with self._open(DAY) as ledger:
            await ledger.settle(await _reserve(ledger, "0"), Decimal("0.5"))
            assert (await ledger.standing({})).used == 0.5

    async def test_an_expired_reservation_becomes_spent(self) -> None:
        """A call that nobody ends (its process died) is spent as reserved, not free again."""
        clock = Clock()
        async with self._open(DAY, clock=clock) as ledger:
            await _reserve(ledger, "0.75")
            clock.now += 7200
            await _reserve(ledger, "0.25")
            assert (await ledger.standing({})).used == 1.0

    async def test_a_race_never_overspends(self) -> None:
        """Of 64 callers at once, exactly as many are served as the budget can pay for."""
        async with self._open(DAY) as ledger:
            results = await asyncio.gather(*(_reserve(ledger, "0.03") for _ in range(64)), return_exceptions=True)
            granted = [one for one in results if isinstance(one, Reservation)]
            assert len(granted) == 33
            assert all(isinstance(one, (Reservation, OverBudget)) for one in results)
            await asyncio.gather(*(ledger.settle(one, Decimal("0.01")) for one in granted))
            assert (await ledger.standing({})).used == 0.33

    async def test_a_cancelled_caller_leaves_no_reservation(self) -> None:
        """A reservation that nobody received is released behind the caller, whenever the cancellation came."""
        async with self._open(DAY) as ledger:
            for steps in range(6):
                task = asyncio.create_task(_reserve(ledger, "0.5"))
                for _ in range(steps):
                    await asyncio.sleep(0)
                task.cancel()
                for one in await asyncio.gather(task, return_exceptions=True):
                    if isinstance(one, Reservation):
                        await ledger.release(one)
            await _until(ledger, 0.0)

    async def test_a_settlement_outlives_its_caller(self) -> None:
        """Cancelling the task that settles does not lose the money."""
        async with self._open(DAY) as ledger:
            reservation = await _reserve(ledger, "0.5")
            task = asyncio.create_task(ledger.settle(reservation, Decimal("0.25")))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await _until(ledger, 0.25)

    async def test_two_ledgers_share_the_book(self) -> None:
        """What one process reserves, another cannot spend, and either may end it."""
        if not self.shares:
            pytest.skip("this ledger keeps a book of its own")
        async with self._open(DAY) as one, self._open(DAY) as other:
            reservation = await _reserve(one, "0.75")
            with pytest.raises(OverBudget):
                await _reserve(other, "0.5")
            await other.settle(reservation, Decimal("0.5"))
            assert (await one.standing({})).used == 0.5

    async def test_the_book_outlives_the_ledger(self) -> None:
        """A ledger that is closed and opened again knows what was spent and what is reserved."""
        if not self.shares:
            pytest.skip("this ledger keeps a book of its own")
        async with self._open(DAY) as first:
            await first.settle(await _reserve(first, "0.5"), Decimal("0.25"))
            held = await _reserve(first, "0.5")
        async with self._open(DAY) as second:
            assert (await second.standing({})).used == 0.75
            await second.release(held)
            assert (await second.standing({})).used == 0.25

    async def test_closing_twice_is_harmless(self) -> None:
        """Nothing happens when a closed ledger is closed again."""
        async with self._open(DAY) as ledger:
            await _reserve(ledger, "0.5")
            await ledger.aclose()


async def _reserve(ledger: Ledger, usd: str | Decimal, **tags: str) -> Reservation:
    return await ledger.reserve(receipt_id="r-1", target="cloud", usd=Decimal(usd), tags=tags)


async def _end(ledger: Ledger, reservation: Reservation, how: str, usd: str) -> None:
    if how == "settle":
        await ledger.settle(reservation, Decimal(usd))
    else:
        await ledger.release(reservation)


async def _until(ledger: Ledger, used: float) -> None:
    async with asyncio.timeout(30):  # a guard: what was queued before is through much earlier
        while (await ledger.standing({})).used != used:  # noqa: ASYNC110 - a ledger announces nothing
            await asyncio.sleep(0)


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp()
