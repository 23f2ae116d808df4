"""A process that spends from a shared budget as wildly as it can; run by test_crash.py, killed at any moment.

    worker.py PLACE SEED COROUTINES CALLS LIMIT

Every end of a reservation is announced on standard output (`ID NANO`, one unbuffered write) before it is asked for,
so that a reader can tell to the last nano-dollar what a book must hold, wherever the process was killed.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from decimal import Decimal

from hybridinfer.budget.book import Ledger, OverBudget, Reservation
from hybridinfer.budget.contract import policy_with
from hybridinfer.budget.ledger import open_ledger


def announce(one: Reservation, nano: int) -> None:
    os.write(1, f"{one.id} {nano}\n".encode())


async def spend(ledger: Ledger, chance: random.Random, calls: int) -> None:
    for _ in range(calls):
        nano = chance.randrange(1, 2_000_000)
        tags = {"team": chance.choice("ab")}
        call = asyncio.create_task(ledger.reserve(receipt_id="r", target="t", usd=Decimal(nano).scaleb(-9), tags=tags))
        if chance.random() < 0.1:  # the caller goes away
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)
            call.cancel()
        try:
            one = await call
        except OverBudget:
            os.write(1, b"refused\n")  # a sign of life when the budget is spent
            continue
        except asyncio.CancelledError:
            continue
        await asyncio.sleep(0)
        outcome = chance.random()
        if outcome < 0.2:
            announce(one, 0)
            await ledger.release(one)
        elif outcome < 0.95:
            real = chance.randrange(nano + 1)
            announce(one, real)
            end = asyncio.create_task(ledger.settle(one, Decimal(real).scaleb(-9)))
            if chance.random() < 0.1:
                await asyncio.sleep(0)
                end.cancel()
            await asyncio.gather(end, return_exceptions=True)
        # else: the call is lost and its reservation stays


async def main(place: str, seed: int, coroutines: int, calls: int, usd: float) -> None:
    policy = policy_with(
        {"name": "all", "usd": usd, "per": "month"},
        {"name": "team", "usd": usd, "per": "month", "by": "team"},
    )
    ledger = open_ledger(policy, place)
    chance = random.Random(seed)
    os.write(1, b"ready\n")
    await asyncio.gather(*(spend(ledger, chance, calls) for _ in range(coroutines)))
    await ledger.aclose()
    os.write(1, b"done\n")


if __name__ == "__main__":
    place, *numbers = sys.argv[1:]
    seed, coroutines, calls, usd = map(float, numbers)
    asyncio.run(main(place, int(seed), int(coroutines), int(calls), usd))
