"""A day's money with and without `pace: even`: what is left at the end, and the picture in docs/pacing.svg.

    python benchmarks/pacing.py [--write]

Traffic is generated: 12,000 requests on a wave that is nine times higher at noon than at midnight, with random costs
that would spend six times the budget. A request goes to the cloud while the budget signal is below 1 and the ledger
grants it. Time is simulated; the ledger, its windows and its signal are the real ones.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import random
from decimal import Decimal
from pathlib import Path
from typing import Any

from hybridinfer.budget.book import OverBudget
from hybridinfer.budget.contract import Clock, policy_with
from hybridinfer.budget.ledger import MemoryLedger

DAY = 86_400
USD = 10
REQUESTS = 12_000
PICTURE = Path(__file__).parents[1] / "docs" / "pacing.svg"
SLOTS = 48


async def day(budget: dict[str, Any], seed: int) -> tuple[list[float], list[float]]:
    """USD spent, and the share of requests that went to the cloud, at the end of each half hour."""
    clock, chance = Clock(0.0), random.Random(seed)
    ledger = MemoryLedger(policy_with(budget), clock=clock)
    spent, asked, served = [0.0] * SLOTS, [0] * SLOTS, [0] * SLOTS
    while True:
        wave = 1 - 0.8 * math.cos(clock.now / DAY * 2 * math.pi)
        clock.now += chance.expovariate(wave * REQUESTS / DAY)
        if clock.now >= DAY:
            break
        slot = int(clock.now / DAY * SLOTS)
        asked[slot] += 1
        if (await ledger.standing({})).used >= 1:
            continue
        try:
            one = await ledger.reserve(receipt_id="r", target="cloud", usd=Decimal("0.012"), tags={})
        except OverBudget:
            continue
        real = Decimal(chance.randrange(1, 10_000)).scaleb(-6)
        await ledger.settle(one, real)
        served[slot] += 1
        spent[slot] += float(real)
    sums = [sum(spent[: slot + 1]) for slot in range(SLOTS)]
    return sums, [yes / max(1, every) for yes, every in zip(served, asked, strict=True)]


def draw(paced: tuple[list[float], list[float]], plain: tuple[list[float], list[float]]) -> str:
    """Two panels over one day: money spent, and the cloud's share."""

    def line(values: list[float], top: float, floor: float, colour: str) -> str:
        points = " ".join(
            f"{60 + (slot + 1) / SLOTS * 560:.1f},{floor - value / top * 150:.1f}" for slot, value in enumerate(values)
        )
        return f'<polyline points="60,{floor} {points}" fill="none" stroke="{colour}" stroke-width="2"/>'

    def panel(floor: float, title: str, top: str) -> str:
        return (
            f'<path d="M60 {floor - 150}V{floor}H620" fill="none" stroke="#888"/>'
            f'<text x="60" y="{floor - 160}">{title}</text><text x="52" y="{floor - 145}" text-anchor="end">{top}</text>'
            f'<text x="52" y="{floor}" text-anchor="end">0</text>'
        )

    hours = "".join(
        f'<text x="{60 + hour / 24 * 560:.0f}" y="418" text-anchor="middle">{hour}h</text>' for hour in range(0, 25, 6)
    )
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 680 430" font-family="sans-serif" font-size="12">'
        '<rect width="680" height="430" fill="#fff"/>'
        + panel(190, f"spent of {USD} USD (blue: pace even, orange: without)", f"{USD}")
        + panel(400, "share of requests that went to the cloud", "1")
        + line(plain[0], USD, 190, "#e08020")
        + line(paced[0], USD, 190, "#2060c0")
        + line(plain[1], 1, 400, "#e08020")
        + line(paced[1], 1, 400, "#2060c0")
        + hours
        + "</svg>\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--write", action="store_true", help="write docs/pacing.svg")
    budget = {"name": "day", "usd": USD, "per": "day"}
    ends = [asyncio.run(day({**budget, "pace": "even"}, seed))[0][-1] for seed in range(5)]
    paced, plain = asyncio.run(day({**budget, "pace": "even"}, 0)), asyncio.run(day(budget, 0))
    empty = sum(total < 0.995 * USD for total in plain[0]) / SLOTS * 24
    print(
        f"paced: {min(ends):.3f} to {max(ends):.3f} of {USD} USD spent over 5 days; unpaced: spent after {empty:.1f} h"
    )
    if parser.parse_args().write:
        PICTURE.write_text(draw(paced, plain))


if __name__ == "__main__":
    main()
