"""What a policy may allow while its ledger cannot be reached."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from hybridinfer.budget.allowance import Allowance, Purse, allowed
from hybridinfer.budget.book import Book, LedgerDown, OverBudget, Reservation
from hybridinfer.budget.contract import DAY, TEAM, Clock, policy_with
from hybridinfer.budget.ledger import MemoryLedger, open_ledger
from hybridinfer.budget.ledger_memory import MemoryStore
from hybridinfer.budget.ledger_sqlite import SqliteLedger
from hybridinfer.types import Standing

HALF = {"on_ledger_down": {"allow_up_to": 0.5}}


class Fragile(MemoryLedger):
    """A ledger that can be switched off."""

    down = False

    async def standing(self, tags: Mapping[str, str]) -> Standing:
        return Standing(used=1.0, budget="day", known=False) if self.down else await super().standing(tags)

    async def reserve(self, **about: Any) -> Reservation:
        self._check()
        return await super().reserve(**about)

    async def settle(self, reservation: Reservation, usd: Decimal, *, estimated: bool = False) -> None:
        self._check()
        await super().settle(reservation, usd, estimated=estimated)

    def _check(self) -> None:
        if self.down:
            raise LedgerDown("off")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def fragile(clock: Clock) -> Fragile:
    return Fragile(policy_with(DAY), clock=clock)


@pytest.fixture
def ledger(fragile: Fragile) -> Allowance:
    return Allowance(fragile, Decimal("0.5"))


def reserve(ledger: Allowance, usd: str) -> Any:
    return ledger.reserve(receipt_id="r", target="t", usd=Decimal(usd), tags={})


def test_every_budget_must_allow_it(tmp_path: Path) -> None:
    """The smallest sum counts, and one budget that allows nothing is enough to allow nothing."""
    assert allowed(policy_with({**DAY, **HALF}, {**TEAM, "on_ledger_down": {"allow_up_to": 0.2}})) == Decimal("0.2")
    assert allowed(policy_with({**DAY, **HALF}, TEAM)) == 0
    assert allowed(policy_with({**DAY, **HALF}, {"name": "one", "usd": 1, "per": "request"})) == Decimal("0.5")
    assert isinstance(open_ledger(policy_with({**DAY, **HALF}), tmp_path / "book"), Allowance)
    assert isinstance(open_ledger(policy_with({**DAY, **HALF}, TEAM), tmp_path / "book"), SqliteLedger)


def test_a_ledger_that_never_fails_needs_none() -> None:
    """A book in this process is always in reach, and keeps what is spent when the policy is loaded again."""
    assert isinstance(open_ledger(policy_with({**DAY, **HALF}), "memory:"), MemoryLedger)


@pytest.mark.anyio
async def test_a_ledger_in_reach_is_used_as_it_is(ledger: Allowance, fragile: Fragile) -> None:
    """Without an outage the allowance is not there."""
    await ledger.settle(await reserve(ledger, "0.9"), Decimal("0.25"))
    await ledger.release(await reserve(ledger, "0.5"))
    assert (await ledger.standing({})).used == (await fragile.standing({})).used == 0.25
    with pytest.raises(OverBudget, match="'day'"):
        await reserve(ledger, "0.9")
    await ledger.aclose()


@pytest.mark.anyio
async def test_an_outage_has_its_own_limit(ledger: Allowance, fragile: Fragile) -> None:
    """Up to the allowance calls are granted, open and spent ones counted; then the refusal says why."""
    fragile.down = True
    one, two = await reserve(ledger, "0.3"), await reserve(ledger, "0.2")
    with pytest.raises(OverBudget, match=r"0(\.0)? USD are left"):
        await reserve(ledger, "0.000000001")
    await ledger.release(one)
    await ledger.settle(two, Decimal("0.1"))
    standing = await ledger.standing({})
    assert (standing.known, standing.used) == (True, 0.2)
    await reserve(ledger, "0.4")


@pytest.mark.anyio
async def test_what_an_outage_cost_is_booked_afterwards(ledger: Allowance, fragile: Fragile) -> None:
    """When the ledger is back the money is in its book, once, and the allowance is whole again."""
    fragile.down = True
    one = await reserve(ledger, "0.5")
    await ledger.settle(one, Decimal("0.5"))
    await ledger.settle(one, Decimal("0.5"))
    with pytest.raises(OverBudget):
        await reserve(ledger, "0.25")
    fragile.down = False
    await reserve(ledger, "0.25")
    assert (await fragile.standing({})).used == 0.75
    fragile.down = True
    await reserve(ledger, "0.5")


@pytest.mark.anyio
async def test_a_debt_is_booked_once_even_where_the_ledger_goes_midway(clock: Clock) -> None:
    """A server that takes the debt and is gone before it was told the rest has all of the money already."""

    class Midway(MemoryStore):
        async def settle(self, hold_id: str, amount: int, *, estimated: bool) -> None:
            raise LedgerDown("off")

    book = Book(policy_with(DAY), Midway(), clock=clock)
    owed = Reservation(id="", receipt_id="r", target="t", usd=Decimal("0.5"), tags={})
    await book.settle(owed, Decimal("0.25"))
    assert (await book.standing({})).used == 0.25


@pytest.mark.anyio
async def test_closing_books_what_is_owed(ledger: Allowance, fragile: Fragile) -> None:
    """A program that ends right after the outage leaves no debt behind."""
    fragile.down = True
    await ledger.settle(await reserve(ledger, "0.5"), Decimal("0.25"))
    fragile.down = False
    await ledger.aclose()
    assert (await fragile.standing({})).used == 0.25


@pytest.mark.anyio
async def test_a_debt_that_cannot_be_booked_is_told(
    ledger: Allowance, fragile: Fragile, caplog: pytest.LogCaptureFixture
) -> None:
    """Closing during the outage says in the log what is missing in the book."""
    fragile.down = True
    await ledger.settle(await reserve(ledger, "0.5"), Decimal("0.25"))
    await ledger.aclose()
    assert "0.25 USD were spent during an outage" in caplog.text


@pytest.mark.anyio
async def test_a_ledger_that_comes_and_goes_grants_no_more(ledger: Allowance, fragile: Fragile, clock: Clock) -> None:
    """However often it goes, a budget is passed by the allowance at most; its next window makes the allowance whole."""
    await ledger.settle(await reserve(ledger, "0.9"), Decimal("0.9"))
    spent = Decimal("0.9")
    for _ in range(20):
        fragile.down = True
        try:
            one = await reserve(ledger, "0.3")
        except OverBudget:
            pass
        else:
            await ledger.settle(one, Decimal("0.2"))
            spent += Decimal("0.2")
        fragile.down = False
        with pytest.raises(OverBudget):
            await reserve(ledger, "0.2")
    assert Decimal(1) < spent <= Decimal("1.5")
    clock.now += 86_400
    for left in ("0.8", "0.6"):  # of one debt after the other
        await ledger.release(await reserve(ledger, left))
    fragile.down = True
    await reserve(ledger, "0.5")


@pytest.mark.anyio
async def test_calls_that_outlive_the_outage_are_still_in_use(ledger: Allowance, fragile: Fragile) -> None:
    """The allowance is no larger in a second outage while calls of the first one run."""
    fragile.down = True
    one = await reserve(ledger, "0.5")
    fragile.down = False
    await reserve(ledger, "0.1")
    fragile.down = True
    with pytest.raises(OverBudget):
        await reserve(ledger, "0.1")
    await ledger.settle(one, Decimal("0.5"))
    with pytest.raises(OverBudget):
        await reserve(ledger, "0.1")


@pytest.mark.anyio
async def test_a_dearer_call_takes_more_of_the_allowance(ledger: Allowance, fragile: Fragile) -> None:
    """What was really spent counts, not what was set aside."""
    fragile.down = True
    await ledger.settle(await reserve(ledger, "0.1"), Decimal("0.4"))
    with pytest.raises(OverBudget, match=r"0\.1 USD are left"):
        await reserve(ledger, "0.2")


@pytest.mark.anyio
async def test_the_allowance_is_the_processes(tmp_path: Path) -> None:
    """All routers of one ledger share it, however its path is written; those of another one have their own."""
    (tmp_path / "down").mkdir()
    (tmp_path / "other").mkdir()
    policy = policy_with({**DAY, **HALF})
    one, two = open_ledger(policy, tmp_path / "down"), open_ledger(policy, str(tmp_path / "other" / ".." / "down"))
    first = await one.reserve(receipt_id="r", target="t", usd=Decimal("0.3"), tags={})
    with pytest.raises(OverBudget, match=r"0\.2 USD are left"):
        await two.reserve(receipt_id="r", target="t", usd=Decimal("0.3"), tags={})
    other = open_ledger(policy, tmp_path / "other")
    await other.reserve(receipt_id="r", target="t", usd=Decimal("0.5"), tags={})
    await one.release(first)
    await two.reserve(receipt_id="r", target="t", usd=Decimal("0.5"), tags={})
    for ledger in (one, two, other):
        await ledger.aclose()


def test_a_purse_is_safe_for_threads() -> None:
    """Of many threads that take at once, as many get something as there is money."""
    purse = Purse()
    with ThreadPoolExecutor(8) as pool:
        granted = list(pool.map(lambda _: purse.take(Decimal("0.01"), Decimal("0.5")), range(400)))
    assert sum(granted) == 50
