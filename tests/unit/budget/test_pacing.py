"""`pace: even`: the signal follows the clock, and a budget lasts its window."""

from __future__ import annotations

import math
import random
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from hybridinfer.budget.book import OverBudget
from hybridinfer.budget.contract import Clock, policy_with
from hybridinfer.budget.ledger import MemoryLedger
from hybridinfer.budget.windows import Window
from hybridinfer.policy.model import BudgetBlock

MIDNIGHT = datetime(2026, 11, 18, tzinfo=UTC).timestamp()
MONDAY = datetime(2026, 11, 16, tzinfo=UTC).timestamp()
PACED = {"name": "day", "usd": 10, "per": "day", "pace": "even"}


@pytest.mark.parametrize(
    ("hours", "used", "pressure"),
    [
        (0, 0.0, 0.0),
        (0, 0.01, 0.5),
        (0, 0.02, 1.0),
        (12, 0.608, 0.0),
        (12, 0.6186, 0.5),
        (12, 0.63, 1.0),
        (12, 0.9, 1.0),
        (12, 0.1, 0.0),
        (23.999, 1.0, 1.0),
        (23.999, 1.2, 1.0),
    ],
)
def test_pressure_is_the_distance_to_the_line(hours: float, used: float, pressure: float) -> None:
    """On the line it is 1, two percent of the limit below it 0, in between it rises evenly."""
    account = Window(BudgetBlock.model_validate(PACED)).account({}, MIDNIGHT + hours * 3600)
    assert min(account.pressure(int(used * account.limit)), 1.0) == pytest.approx(pressure, abs=1e-2)


def test_the_line_runs_ahead_of_the_clock_by_a_little() -> None:
    """Never behind the share of time that has passed, never more than 15 points ahead of it."""
    window = Window(BudgetBlock.model_validate(PACED))
    for hour in range(24):
        account = window.account({}, MIDNIGHT + hour * 3600)
        assert account.pressure(int((hour / 24) * account.limit)) < 1
        assert account.pressure(int(min(hour / 24 + 0.15, 1) * account.limit)) >= 1


async def _window(per: str, seconds: int, worth: float, seed: int) -> tuple[Decimal, list[float]]:
    """What is spent of 10 USD, in all and in each quarter of the window, by traffic `worth` so many budgets."""
    chance, clock = random.Random(seed), Clock(MONDAY)
    ledger = MemoryLedger(policy_with({**PACED, "per": per}), clock=clock)
    spent, quarters = Decimal(0), [0.0] * 4
    while (share := (clock.now - MONDAY) / seconds) < 1:
        days = share * seconds / 86_400
        wave = (1 - 0.8 * math.cos(days * 2 * math.pi)) * (0.43 if days >= 5 else 1.23 if per == "week" else 1)
        clock.now += chance.expovariate(wave * worth * 2000 / seconds)
        if clock.now >= MONDAY + seconds or (await ledger.standing({})).used >= 1:
            continue
        try:
            one = await ledger.reserve(receipt_id="r", target="t", usd=Decimal("0.012"), tags={})
        except OverBudget:  # the last cents of the window
            continue
        real = Decimal(chance.randrange(1, 10_000)).scaleb(-6)
        await ledger.settle(one, real)
        spent += real
        quarters[int((clock.now - MONDAY) / seconds * 4)] += float(real)
    return spent, quarters


@pytest.mark.anyio
@pytest.mark.parametrize(("per", "seconds"), [("day", 86_400), ("week", 604_800)])
@pytest.mark.parametrize("worth", [2, 3, 6])
async def test_a_paced_budget_lasts_its_window(per: str, seconds: int, worth: float) -> None:
    """Waxing and waning traffic, busy or not, with quiet nights and days: within 2% of the budget, never above it."""
    spent, quarters = await _window(per, seconds, worth, seed=6)
    assert Decimal("9.8") <= spent <= 10
    assert all(0.9 < quarter < 4.5 for quarter in quarters), quarters


@pytest.mark.anyio
async def test_traffic_that_the_budget_can_pay_is_all_served() -> None:
    """Pacing holds nothing back where the money would suffice anyway, evenly asked for."""
    spent, _ = await _window("day", 86_400, 0.5, seed=6)
    assert Decimal("4.6") <= spent <= Decimal("5.4")
