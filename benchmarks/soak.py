"""Soak: mixed faults at concurrency 64 against the loopback emulator; memory has to stay flat and nothing may be left.

    python -m benchmarks.soak [--seconds 600] [--concurrency 64]

The far side is the emulator in a process of its own; every fault it knows hits a share of the requests. Callers ask for
whole answers and streams, some leave midway, some drop a stream half read; who gets the canned reply or an error comes
back later. Exit code 1 when the mean resident memory of the last third is more than 5% above that of the middle third,
when a task, socket, descriptor or thread is left, or when fewer than half of the calls answered or of the requests met
a cloud that was not resting: circuits open when the machine is too busy to answer in time, but they must close again.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import random
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from hybridinfer import AsyncRouter, Receipt, RequestError

PROMPT = "Summarise in one sentence why the sky looks blue on a clear day, for a curious ten-year-old."
FLAT = 1.05
"""The last third may be so much of the middle one."""
HEALTHY = 0.5
"""Faults hit a quarter of the calls: at least so many answer all the same, and of the requests so many meet a cloud."""
LATER = 0.25
"""Seconds after which a caller comes back who was told so."""
SAMPLE = 0.5
"""Seconds between two looks at the memory."""
ON_INTERRUPT = ("error", "restart", "continue", "buffer")


def serve(pipe: Connection) -> None:
    """The far side: an emulator on which faults of every kind hit a quarter of the requests."""
    from hybridinfer.drill import faults
    from hybridinfer.drill.emulator import Emulator

    with Emulator(pace=0.002, seed=1) as emulator:
        for fault in (
            faults.Cut(),
            faults.Cut(after=3),
            faults.Empty(),
            faults.Hang(),
            faults.Malformed(),
            faults.MissingEnd(),
            faults.MissingEnd(after=2),
            faults.ResetConnection(),
            faults.ResetConnection(after=2),
            faults.Slow(seconds=0.3),
            faults.SlowFirstToken(seconds=0.3),
            faults.Stall(),
            faults.StreamError(),
            faults.Status(status=429, retry_after=0.1),
            faults.Status(status=500),
            faults.Status(status=503),
            faults.ContextTooLong(),
            faults.ContentFilter(),
        ):
            emulator.outage("*", fault, probability=0.015)
        pipe.send((emulator.base_url_openai, emulator.base_url_anthropic))
        while pipe.recv() != "stop":
            emulator.requests.clear()


def policy(openai_url: str, anthropic_url: str) -> dict[str, Any]:
    """Two clouds with limits and replicas, a hedge, budgets, a canned reply."""
    cloud = {
        "zone": "network",
        "price": {"input": 1, "output": 5},
        "max_tokens": 64,
        "timeout": "6s",
        "first_token": "3s",
        "stall": "2s",
        "continues": True,
    }
    one = {"kind": "openai", "model": "gpt-soak", "replicas": [{"base_url": openai_url}, {"base_url": openai_url}]}
    two = {"kind": "anthropic", "model": "claude-soak", "base_url": anthropic_url, "max_concurrency": 48, "queue": 16}
    return {
        "version": 1,
        "targets": {"one": cloud | one, "two": cloud | two, "sorry": {"kind": "canned", "text": "Later."}},
        "budgets": [{"name": "day", "usd": 100000, "per": "day"}],
        "boundaries": [{"name": "masked", "when": {"privacy": "personal"}, "cloud": "masked"}],
        "rules": [
            {
                "name": "hedged",
                "when": {"tags": {"hedge": "yes"}},
                "use": ["one", "two", "sorry"],
                "hedge": {"after": "50ms"},
            },
            {"name": "all", "use": ["two", "one", "sorry"]},
        ],
        "resilience": {
            "deadline": "15s",
            "retry": {"attempts": 2, "backoff": "20ms", "max_backoff": "50ms"},
            "circuit_breaker": {"failures": 50, "share": 0.8, "within": "5s", "cool_down": "1s"},
        },
    }


@dataclass
class Soak:
    """What happened."""

    ends: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    """Of attempts on the two clouds."""
    canned: int = 0
    """Requests that got the canned reply."""
    resident: list[float] = field(default_factory=list)
    """Bytes, sampled evenly."""
    tasks: int = 0
    """Left when the router was closed."""

    def on_receipt(self, receipt: Receipt) -> None:
        """Count how attempts ended; a hook of the router."""
        self.codes.update(str(attempt.code) for attempt in receipt.attempts if attempt.target != "sorry")
        self.canned += receipt.target == "sorry"

    def answering(self) -> float:
        """The share of calls of the clouds that answered, of those whose caller stayed."""
        calls = self.codes.total() - self.codes["cancelled"] - self.codes["circuit_open"]
        return (self.codes["ok"] + self.codes["truncated"]) / max(1, calls)

    def healthy(self) -> bool:
        """Circuits did their work, and no more than that."""
        return self.answering() >= HEALTHY and self.canned <= (1 - HEALTHY) * self.ends.total()

    def thirds(self) -> tuple[float, float, float]:
        """Mean resident memory of each third, in MB."""
        third = max(1, len(self.resident) // 3)
        parts = (self.resident[:third], self.resident[third : 2 * third], self.resident[2 * third :])
        first, middle, last = (statistics.fmean(part or [0.0]) / 1e6 for part in parts)
        return first, middle, last


async def ask(router: AsyncRouter, dice: random.Random, soak: Soak) -> None:
    """One caller, in one of many moods."""
    prompt = PROMPT if dice.random() < 0.9 else f"{PROMPT} Mail it to jane.doe{dice.randrange(1000)}@example.com."
    if dice.random() < 0.01:
        prompt = "word " * 6000 + prompt
    options: dict[str, Any] = {"max_tokens": 32, "on_interrupt": dice.choice(ON_INTERRUPT)}
    if dice.random() < 0.2:
        options["tags"] = {"hedge": "yes"}
    mood, target = dice.random(), None
    try:
        if mood < 0.4:
            target = (await router.complete(prompt, **options)).target
        elif mood < 0.5:
            with suppress(TimeoutError):
                async with asyncio.timeout(dice.uniform(0.0, 0.1)):
                    await router.complete(prompt, **options)
        else:
            leaves = dice.randrange(1, 6) if mood > 0.9 else None
            async with router.stream(prompt, **options) as stream:
                count = 0
                async for _ in stream:
                    count += 1
                    if count == leaves:
                        break
            target = stream.receipt.target if stream.receipt else None
        soak.ends["ended"] += 1
    except RequestError as error:
        soak.ends[type(error).__name__] += 1
        target = "sorry"
    if target == "sorry":
        await asyncio.sleep(LATER)


async def run(urls: tuple[str, str], seconds: float, concurrency: int, folder: Path, pipe: Connection) -> Soak:
    """Callers without a pause, and a look at the memory now and then."""
    soak, over = Soak(), time.monotonic() + seconds
    environ = {
        "OPENAI_API_KEY": "soak",
        "ANTHROPIC_API_KEY": "soak",
        "HYBRIDINFER_LEDGER": str(folder / "soak.sqlite3"),
    }
    router = AsyncRouter(policy(*urls), environ=environ, hooks=[soak])

    async def caller(seed: int) -> None:
        dice = random.Random(seed)
        while time.monotonic() < over:
            await ask(router, dice, soak)

    async def look() -> None:
        while True:
            await asyncio.sleep(SAMPLE)
            soak.resident.append(resident())
            pipe.send("clear")

    looking = asyncio.create_task(look())
    await asyncio.gather(*(caller(seed) for seed in range(concurrency)))
    looking.cancel()
    await asyncio.wait([looking])
    await router.aclose()
    await asyncio.sleep(0)
    soak.tasks = len(asyncio.all_tasks() - {asyncio.current_task()})
    return soak


def resident() -> float:
    """This process's resident memory in bytes (Linux)."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def held() -> Mapping[str, int]:
    """Descriptors, sockets among them, and threads of this process."""
    links = []
    for link in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # the listing's own
            links.append(str(link.readlink()))
    sockets = sum(link.startswith("socket:") for link in links)
    return {"descriptors": len(links), "sockets": sockets, "threads": threading.active_count()}


def soak(seconds: float, concurrency: int) -> tuple[Soak, Mapping[str, int]]:
    """The whole run, and what is left of it: descriptors, sockets and threads above those before, and tasks."""
    near, far = get_context("spawn").Pipe()
    process = get_context("spawn").Process(target=serve, args=(far,), daemon=True)
    process.start()
    urls = near.recv()
    try:
        with tempfile.TemporaryDirectory() as folder:
            # Imports, caches and the like are no leak: the first second does not count.
            asyncio.run(run(urls, 1.0, concurrency, Path(folder), near))
            gc.collect()
            before = held()
            done = asyncio.run(run(urls, seconds, concurrency, Path(folder), near))
            gc.collect()
            after = held()
    finally:
        near.send("stop")
        process.join()
    return done, {name: after[name] - before[name] for name in after} | {"tasks": done.tasks}


def main() -> int:
    """Run it and print what it found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--concurrency", type=int, default=64)
    arguments = parser.parse_args()
    done, left = soak(arguments.seconds, arguments.concurrency)
    first, middle, last = done.thirds()
    total = sum(done.ends.values())
    print(f"{total:,} requests in {arguments.seconds:.0f} s at concurrency {arguments.concurrency}: {dict(done.ends)}")
    attempts = ", ".join(f"{count} {code}" for code, count in done.codes.most_common())
    print(f"attempts on the clouds: {attempts} (answering {done.answering():.0%}); {done.canned} canned replies")
    print(f"resident memory by thirds: {first:.1f}, {middle:.1f}, {last:.1f} MB (last / middle {last / middle:.3f})")
    print("left behind: " + ", ".join(f"{count} {name}" for name, count in left.items()))
    return 0 if last <= FLAT * middle and not any(left.values()) and done.healthy() else 1


if __name__ == "__main__":
    sys.exit(main())
