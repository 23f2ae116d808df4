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
PACED = {"name": "day", "usd": 10, "per": "day", "pace": "even"}


@pytest.mark.parametrize(
    ("hours", "used", "pressure"),
    [
        (0, 0.0, 0.0),
        (0, 0.01, 0.5),
        (0, 0.02, 1.0),
        (12, 0.49, 0.0),
        (12, 0.50, 0.5),
        (12, 0.51, 1.0),
        (12, 0.9, 1.0),
        (12, 0.1, 0.0),
        (23.999, 1.0, 1.0),
        (23.999, 1.2, 1.0),
    ],
)
def test_pressure_is_the_distance_to_the_line(hours: float, used: float, pressure: float) -> None:
    """On the line it is 1, two percent of the limit below it 0, in between it rises evenly."""
    account = Window(BudgetBlock.model_validate(PACED)).account({}, MIDNIGHT + hours * 3600)
    assert min(account.pressure(int(used * account.limit)), 1.0) == pytest.approx(pressure, abs=1e-3)


@pytest.mark.anyio
@pytest.mark.parametrize("seed", range(3))
async def test_a_paced_budget_lasts_its_day(seed: int) -> None:
    """A day of waxing and waning traffic, worth six budgets, ends within 2% of the budget and never above it."""
    chance, clock = random.Random(seed), Clock(MIDNIGHT)
    ledger = MemoryLedger(policy_with(PACED), clock=clock)
    spent, quarters = Decimal(0), [0.0] * 4
    while clock.now < MIDNIGHT + 86_400:
        wave = 1 + 0.8 * math.sin((clock.now - MIDNIGHT) / 86_400 * 2 * math.pi - math.pi / 2)
        clock.now += chance.expovariate(wave * 12_000 / 86_400)
        if clock.now >= MIDNIGHT + 86_400 or (await ledger.standing({})).used >= 1:
            continue
        try:
            one = await ledger.reserve(receipt_id="r", target="t", usd=Decimal("0.012"), tags={})
        except OverBudget:  # the last cents of the day
            continue
        real = Decimal(chance.randrange(1, 10_000)).scaleb(-6)
        await ledger.settle(one, real)
        spent += real
        quarters[int((clock.now - MIDNIGHT) // 21_600)] += float(real)
    assert Decimal("9.8") <= spent <= 10
    assert all(1.5 < quarter < 3.5 for quarter in quarters), quarters
