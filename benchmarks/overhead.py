"""What routing costs: CPU and wall time of a request through `AsyncRouter`, against a bare POST and the vendors' SDKs.

    python -m benchmarks.overhead [--rounds 15] [--requests 40] [--concurrency 32]

Everything is on: scores, boundary, breaker, deadline, a window budget in SQLite, receipts. The far side is the loopback
emulator in a process of its own. Rounds are interleaved, so that a noisy machine disturbs all contenders alike; each
figure is the median over rounds, the ratios are against the bare httpx2 POST.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from itertools import product
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

PROMPT = "Summarise in one sentence why the sky looks blue on a clear day, for a curious ten-year-old."
BODY = {"model": "gpt-bench", "max_completion_tokens": 64, "messages": [{"role": "user", "content": PROMPT}]}
BUDGETS = [{"name": "day", "usd": 1000, "per": "day"}, {"name": "each", "usd": 0.1, "per": "request"}]
Ask = Callable[[], Awaitable[object]]


def serve(pipe: Connection) -> None:
    """The far side."""
    from hybridinfer.drill.emulator import Emulator

    with Emulator() as emulator:
        pipe.send((emulator.base_url_openai, emulator.base_url_anthropic))
        while pipe.recv() != "stop":
            emulator.requests.clear()


def policy(openai_url: str, anthropic_url: str, kind: str) -> dict[str, Any]:
    """Everything on, one cloud target."""
    price = {"input": 1, "output": 5}
    urls = {"openai": openai_url, "anthropic": anthropic_url}
    cloud = {"kind": kind, "model": "gpt-bench", "base_url": urls[kind], "zone": "network", "price": price}
    return {
        "version": 1,
        "targets": {"cloud": cloud | {"max_tokens": 64}, "sorry": {"kind": "canned", "text": "Later."}},
        "budgets": BUDGETS,
        "boundaries": [{"name": "secrets", "when": {"privacy": "secret"}, "zones": ["device"]}],
        "rules": [{"name": "all", "use": ["cloud", "sorry"]}],
    }


async def contenders(stack: AsyncExitStack, openai_url: str, anthropic_url: str, folder: Path) -> dict[str, Ask]:
    """Name -> one request."""
    import httpx2
    from anthropic import AsyncAnthropic
    from openai import AsyncOpenAI

    from hybridinfer import AsyncRouter
    from hybridinfer.budget.ledger import open_ledger
    from hybridinfer.policy.load import load

    bare = await stack.enter_async_context(httpx2.AsyncClient())
    openai = await stack.enter_async_context(AsyncOpenAI(api_key="bench", base_url=openai_url, max_retries=0))
    anthropic = await stack.enter_async_context(AsyncAnthropic(api_key="bench", base_url=anthropic_url, max_retries=0))
    environ = {"OPENAI_API_KEY": "bench", "ANTHROPIC_API_KEY": "bench"}
    asks: dict[str, Ask] = {}

    async def post() -> object:
        answer = await bare.post(f"{openai_url}/chat/completions", json=BODY, headers={"authorization": "Bearer bench"})
        return answer.json()

    asks["bare httpx2 POST"] = post
    asks["openai SDK"] = lambda: openai.chat.completions.create(**BODY)  # type: ignore[call-overload]
    messages: Any = BODY["messages"]
    asks["anthropic SDK"] = lambda: anthropic.messages.create(model="gpt-bench", max_tokens=64, messages=messages)
    for kind, window in product(("openai", "anthropic"), (True, False)):
        tree = policy(openai_url, anthropic_url, kind)
        loaded = load(tree if window else tree | {"budgets": [BUDGETS[1]]})
        ledger = open_ledger(loaded, folder / f"{kind}.sqlite3")
        router = await stack.enter_async_context(AsyncRouter(loaded, environ=environ, ledger=ledger))
        name = f"AsyncRouter -> {kind}" + ("" if window else ", no day's budget")
        asks[name] = lambda router=router: router.complete(PROMPT, max_tokens=64)
    return asks


async def measure(ask: Ask, requests: int, concurrency: int) -> tuple[float, float]:
    """(CPU seconds, wall seconds) per request."""
    left = iter(range(requests))

    async def worker() -> None:
        for _ in left:
            await ask()

    cpu, wall = time.process_time(), time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(concurrency)))
    return (time.process_time() - cpu) / requests, (time.perf_counter() - wall) / requests


async def run(arguments: argparse.Namespace, pipe: Connection) -> None:
    """All rounds, then the tables."""
    with tempfile.TemporaryDirectory() as folder:
        async with AsyncExitStack() as stack:
            asks = await contenders(stack, *pipe.recv(), Path(folder))
            for ask in asks.values():
                for _ in range(5):
                    await ask()
            for concurrency in (1, arguments.concurrency):
                times: dict[str, list[tuple[float, float]]] = {name: [] for name in asks}
                for _ in range(arguments.rounds):
                    for name, ask in asks.items():
                        times[name].append(await measure(ask, arguments.requests, concurrency))
                    pipe.send("forget")
                show(times, concurrency)


def show(times: dict[str, list[tuple[float, float]]], concurrency: int) -> None:
    """One table."""
    title = "one at a time" if concurrency == 1 else f"{concurrency} at a time"
    print(f"\n{title:38} {'CPU us':>8} {'ratio':>6} {'wall us':>8} {'ratio':>6}")
    base = [statistics.median(column) for column in zip(*times["bare httpx2 POST"], strict=True)]
    for name, rows in times.items():
        cpu, wall = (statistics.median(column) for column in zip(*rows, strict=True))
        print(f"{name:38} {cpu * 1e6:8.0f} {cpu / base[0]:6.2f} {wall * 1e6:8.0f} {wall / base[1]:6.2f}")


def main() -> None:
    """Parse, serve, measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--requests", type=int, default=40)
    parser.add_argument("--concurrency", type=int, default=32)
    arguments = parser.parse_args()
    here, there = get_context("spawn").Pipe()
    server = get_context("spawn").Process(target=serve, args=(there,), daemon=True)
    server.start()
    try:
        asyncio.run(run(arguments, here))
    finally:
        here.send("stop")
        server.join()


if __name__ == "__main__":
    sys.exit(main())
