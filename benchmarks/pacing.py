"""What `pace: even` leaves of a day's and a week's money, and how the cloud's share follows; docs/pacing.svg.

    python benchmarks/pacing.py [--write]

Traffic is generated: a day waxes and wanes ninefold between midnight and noon, and a week has such days with a third
of the traffic at its end. Costs are random; in all the requests would spend 1.5 to 6 times the budget. The rules are
those of docs/set-a-budget.md: the easier half of the requests stays here while the budget is tight (0.8), all of them
do while it is spent (1). Time is simulated; the ledger, its windows and its signal are the real ones.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from hybridinfer.budget.book import OverBudget
from hybridinfer.budget.contract import Clock, policy_with
from hybridinfer.budget.ledger import MemoryLedger

USD = 10
MEAN = 0.005
"""USD a request."""
TIGHT = 0.8
PICTURE = Path(__file__).parents[1] / "docs" / "pacing.svg"
MONDAY = 4 * 86_400.0


@dataclass(frozen=True)
class Curve:
    """Traffic over one window."""

    per: str
    seconds: int
    slots: int
    """Into how many the figures are cut."""
    wave: Callable[[float], float]
    """How busy it is, at a share of the window; about 1 on average."""


def _day(share: float) -> float:
    return 1 - 0.8 * math.cos(share * 2 * math.pi)


def _week(share: float) -> float:
    return _day(share * 7 % 1) * (1.23 if share < 5 / 7 else 0.43)


CURVES = (Curve("day", 86_400, 48, _day), Curve("week", 604_800, 84, _week))


@dataclass(frozen=True)
class Course:
    """How one window went, slot by slot."""

    spent: list[float]
    """USD, in all."""
    asked: list[int]
    cloud: list[float]
    """The share of requests that went to the cloud."""


async def play(curve: Curve, worth: float, seed: int, *, paced: bool) -> Course:
    """One window with traffic `worth` so many budgets."""
    clock, chance = Clock(MONDAY), random.Random(seed)
    budget = {"name": "b", "usd": USD, "per": curve.per} | ({"pace": "even"} if paced else {})
    ledger = MemoryLedger(policy_with(budget), clock=clock)
    spent, asked, served = [0.0] * curve.slots, [0] * curve.slots, [0] * curve.slots
    rate = worth * USD / MEAN / curve.seconds
    while True:
        clock.now += chance.expovariate(curve.wave((clock.now - MONDAY) / curve.seconds) * rate)
        share = (clock.now - MONDAY) / curve.seconds
        if share >= 1:
            break
        slot = int(share * curve.slots)
        asked[slot] += 1
        if (await ledger.standing({})).used >= (TIGHT if chance.random() < 0.5 else 1):
            continue
        try:
            one = await ledger.reserve(receipt_id="r", target="cloud", usd=Decimal("0.012"), tags={})
        except OverBudget:
            continue
        real = Decimal(chance.randrange(1, int(2e6 * MEAN))).scaleb(-6)
        await ledger.settle(one, real)
        served[slot] += 1
        spent[slot] += float(real)
    sums = [sum(spent[: slot + 1]) for slot in range(curve.slots)]
    return Course(sums, asked, [yes / max(1, every) for yes, every in zip(served, asked, strict=True)])


def draw(worth: float) -> str:
    """For a day and a week: traffic and money spent above, the cloud's share below."""
    parts = []
    for column, curve in enumerate(CURVES):
        left = 60 + column * 350
        paced, plain = (asyncio.run(play(curve, worth, 0, paced=paced)) for paced in (True, False))
        busiest = max(paced.asked)
        bars = "".join(
            f'<rect x="{left + n / curve.slots * 300:.1f}" y="{190 - count / busiest * 60:.1f}" '
            f'width="{300 / curve.slots:.2f}" height="{count / busiest * 60:.1f}" fill="#e4e4e4"/>'
            for n, count in enumerate(paced.asked)
        )
        parts += [
            bars,
            _panel(left, 190, f"a {curve.per}: spent of {USD} USD", str(USD)),
            _line(plain.spent, USD, left, 190, "#e08020"),
            _line(paced.spent, USD, left, 190, "#2060c0"),
            _panel(left, 400, "share of requests that went to the cloud", "1"),
            _line(plain.cloud, 1, left, 400, "#e08020"),
            _line(paced.cloud, 1, left, 400, "#2060c0"),
        ]
        ticks = (
            [f"{hour}h" for hour in range(0, 25, 6)]
            if curve.per == "day"
            else ["Mo", "Tu", "We", "Th", "Fr", "Sa", "Su"]
        )
        steps = len(ticks) - 1 if curve.per == "day" else len(ticks)
        parts += [
            f'<text x="{left + n / steps * 300:.0f}" y="418" text-anchor="middle">{tick}</text>'
            for n, tick in enumerate(ticks)
        ]
    legend = (
        '<text x="60" y="450"><tspan fill="#2060c0">pace: even</tspan>, <tspan fill="#e08020">without</tspan>; '
        f"grey: traffic, worth {worth:g} budgets</text>"
    )
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 740 465" font-family="sans-serif" font-size="12">'
        '<rect width="740" height="465" fill="#fff"/>' + "".join(parts) + legend + "</svg>\n"
    )


def _largest_step(course: Course) -> float:
    """Of the cloud's share from one slot to the next, where there are requests enough to speak of one."""
    shares = [share for share, count in zip(course.cloud, course.asked, strict=True) if count >= 25]
    return max(abs(after - before) for before, after in itertools.pairwise(shares))


def _line(values: list[float], top: float, left: float, floor: float, colour: str) -> str:
    points = " ".join(
        f"{left + (slot + 1) / len(values) * 300:.1f},{floor - value / top * 150:.1f}"
        for slot, value in enumerate(values)
    )
    return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'


def _panel(left: float, floor: float, title: str, top: str) -> str:
    return (
        f'<path d="M{left} {floor - 150}V{floor}H{left + 300}" fill="none" stroke="#888"/>'
        f'<text x="{left}" y="{floor - 160}">{title}</text>'
        f'<text x="{left - 6}" y="{floor - 142}" text-anchor="end">{top}</text>'
        f'<text x="{left - 6}" y="{floor}" text-anchor="end">0</text>'
    )


def main() -> None:
    """Print the ends; draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write docs/pacing.svg")
    write = parser.parse_args().write
    print("window  traffic   spent of 10 USD   largest step of the cloud's share   unpaced money lasts")
    for curve in CURVES:
        for worth in (1.5, 2, 3, 6):
            courses = [asyncio.run(play(curve, worth, seed, paced=True)) for seed in range(3)]
            ends = [course.spent[-1] for course in courses]
            step = max(_largest_step(one) for one in courses)
            plain = asyncio.run(play(curve, worth, 0, paced=False)).spent
            lasts = sum(total < 0.995 * USD for total in plain) / curve.slots
            print(
                f"{curve.per:6}  {worth:4g} x   {min(ends):.3f} to {max(ends):.3f}   {step:20.2f}   {lasts:30.0%} of it"
            )
    if write:
        PICTURE.write_text(draw(3), encoding="utf-8")


if __name__ == "__main__":
    main()
