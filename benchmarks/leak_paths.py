"""Leak bench over whole routers: canaries in every field, every fault, every path; what reached a sink, a log, a file.

    python -m benchmarks.leak_paths [--every 1]

Each request goes through a real router with retries, hedging, fallbacks, a window budget in SQLite and all logs on, to
two clouds that write down all they are given and then fail in one of the ways of `FAULTS`. `--every N` takes each N-th
combination. Exit code 1 when a single trace of a canary is found where it must not be.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks.leak import CANARIES, requests, traces
from hybridinfer import AsyncRouter, Router
from hybridinfer.budget.ledger import open_ledger
from hybridinfer.errors import HybridinferError
from hybridinfer.policy.load import load
from hybridinfer.receipt import Code, Receipt, Zone
from hybridinfer.targets.base import Finish, TargetEvent, TargetFailed, TargetInfo
from hybridinfer.types import Request, TextDelta

FAULTS = (None, "cut", *(code for code in Code if code not in (Code.OK, Code.TRUNCATED, Code.CANCELLED)))
"""How a cloud ends a call after it has read the request: well, cut short, or with a code."""

PATHS = tuple(product(("never", "masked"), ("async", "sync"), ("complete", "stream"), ("error", "restart", "buffer")))
"""(boundary, face, method, on_interrupt)."""


class FaultyCloud:
    """Writes down all it is given, says a word, fails as told."""

    def __init__(self, name: str, fault: Code | str | None, *, zone: Zone = "cloud") -> None:
        needs = frozenset({"tools", "vision", "files", "json"})
        self.info = TargetInfo(name=name, kind="own", zone=zone, supports=needs)  # type: ignore[arg-type]
        self.fault = fault
        self.seen: list[str] = []

    async def stream(self, request: Request, *, stream: bool) -> AsyncIterator[TargetEvent]:
        """Record, then do as the fault says."""
        self.seen.append(f"{request} {stream}")
        if isinstance(self.fault, Code):
            raise TargetFailed(self.fault, "drill")
        yield TextDelta(text=request.messages[0].text[:20])
        if self.fault is None:
            yield Finish(finish_reason="stop")

    def count_tokens(self, request: Request) -> int:
        """Something above nothing."""
        return len(request.messages) * 10

    async def warmup(self) -> None:
        """Nothing to load."""

    async def aclose(self) -> None:
        """Nothing to free."""


@dataclass(slots=True)
class Found:
    """The count of all runs."""

    requests: int = 0
    sent: int = 0
    seen_here: int = 0
    """Requests whose canary did reach the target on this machine: the control that traces are found at all."""
    leaks: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Watch(logging.Handler):
    """Keeps every log line and every receipt."""

    lines: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        logging.Handler.__init__(self, logging.DEBUG)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the line, with its arguments and its traceback."""
        self.lines.append(logging.Formatter().format(record))

    def on_receipt(self, receipt: Receipt) -> None:
        """Keep the receipt as it would be stored."""
        self.lines.append(json.dumps(receipt.to_dict()))

    __hash__ = object.__hash__


def policy(boundary: str) -> dict[str, Any]:
    """Two clouds, this machine, a canned reply; hedged, retried, budgeted."""
    cloud = {"kind": "own", "price": {"input": 1, "output": 1}}
    return {
        "version": 1,
        "targets": {
            "first": cloud | {"zone": "cloud"},
            "second": cloud | {"zone": "cloud"},
            "here": {"kind": "own", "zone": "device"},
            "sorry": {"kind": "canned", "text": "Later."},
        },
        "budgets": [{"name": "day", "usd": 100, "per": "day"}],
        "boundaries": [{"name": "private", "when": {"privacy": ["personal", "secret"]}, "cloud": boundary}],
        "rules": [{"name": "all", "use": ["first", "second", "here", "sorry"], "hedge": {"after": "1ms"}}],
        "resilience": {
            "retry": {"attempts": 2, "backoff": "1ms", "max_backoff": "1ms"},
            "circuit_breaker": {"failures": 1000},
        },
    }


def options(request: Request, on_interrupt: str) -> dict[str, Any]:
    """The keyword options that make `request`."""
    given = {
        "tools": request.tools,
        "metadata": request.metadata,
        "user": request.user,
        "extra_headers": request.extra_headers,
        "stop": request.stop,
    }
    return {name: value for name, value in given.items() if value} | {"on_interrupt": on_interrupt}


def run(every: int = 1) -> Found:
    """All combinations, or each `every`-th of them."""
    found = Found()
    cases = list(product(CANARIES.items(), range(len(list(requests("x")))), FAULTS))
    with tempfile.TemporaryDirectory() as folder:
        for number, path in enumerate(PATHS):
            chosen = cases[number % every :: every]
            _run_path(path, chosen, Path(folder) / f"{number}.sqlite3", found)
    return found


def _run_path(path: tuple[str, ...], cases: list[Any], book: Path, found: Found) -> None:
    boundary, face, method, on_interrupt = path
    watch = Watch()
    root = logging.getLogger()
    level = root.level
    root.addHandler(watch)
    root.setLevel(logging.DEBUG)
    clouds = [FaultyCloud("first", None), FaultyCloud("second", None)]
    here = FaultyCloud("here", Code.UNAVAILABLE, zone="device")
    things = Things(clouds, here, watch, book, boundary, found)
    loaded = load(policy(boundary))
    setup: dict[str, Any] = {
        "targets": {target.info.name: target for target in (*clouds, here)},
        "ledger": open_ledger(loaded, book),
        "hooks": [watch],
    }
    try:
        asks = _asks(cases, on_interrupt)
        if face == "sync":
            with Router(loaded, **setup) as router:
                for what, canary, fault, messages, given in asks:
                    _aim(clouds, fault)
                    _ask(router, method, messages, given, watch)
                    things.look(what, canary)
        else:
            asyncio.run(_all_async(loaded, setup, asks, method, things))
    finally:
        root.removeHandler(watch)
        root.setLevel(level)


async def _all_async(loaded: Any, setup: dict[str, Any], asks: Any, method: str, things: Things) -> None:
    async with AsyncRouter(loaded, **setup) as router:
        for what, canary, fault, messages, given in asks:
            _aim(things.clouds, fault)
            try:
                if method == "complete":
                    await router.complete(messages, **given)
                else:
                    async with router.stream(messages, **given) as stream:
                        async for _event in stream:
                            pass
            except HybridinferError as error:
                things.watch.lines.append(f"{error!r} {error}")
            things.look(what, canary)


def _asks(cases: list[Any], on_interrupt: str) -> Iterator[tuple[str, str, Any, Any, dict[str, Any]]]:
    for (kind, canary), place, fault in cases:
        where, request = list(requests(canary))[place]
        yield f"{kind} in {where}, fault {fault}", canary, fault, request.messages, options(request, on_interrupt)


def _ask(router: Router, method: str, messages: Any, given: dict[str, Any], watch: Watch) -> None:
    try:
        if method == "complete":
            router.complete(messages, **given)
        else:
            with router.stream(messages, **given) as stream:
                for _event in stream:
                    pass
    except HybridinferError as error:
        watch.lines.append(f"{error!r} {error}")


def _aim(clouds: list[FaultyCloud], fault: Any) -> None:
    for cloud in clouds:
        cloud.fault = fault


@dataclass(slots=True)
class Things:
    """Everywhere that something could come out."""

    clouds: list[FaultyCloud]
    here: FaultyCloud
    watch: Watch
    book: Path
    boundary: str
    found: Found

    def look(self, what: str, canary: str) -> None:
        """Search all that came out of one request, then forget it."""
        found = self.found
        found.requests += 1
        for cloud in self.clouds:
            found.sent += len(cloud.seen)
            if cloud.seen and self.boundary == "never":
                found.leaks.append(f"{what}: reached {cloud.info.name}")
            for seen in cloud.seen:
                found.leaks += (f"{what}: {trace} at {cloud.info.name}" for trace in traces(canary, seen))
            cloud.seen.clear()
        found.seen_here += any(traces(canary, seen) for seen in self.here.seen)
        self.here.seen.clear()
        for line in self.watch.lines:
            found.leaks += (f"{what}: {trace} in a log, receipt or error" for trace in traces(canary, line))
        self.watch.lines.clear()
        for file in self.book.parent.glob(f"{self.book.name}*"):
            content = file.read_bytes().decode("latin-1")
            found.leaks += (f"{what}: {trace} in {file.suffix}" for trace in traces(canary, content))


def main() -> int:
    """Print the count, and every leak."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=1)
    found = run(parser.parse_args().every)
    print(
        f"{len(PATHS)} paths, {found.requests} requests, {found.sent} calls that left masked, {len(found.leaks)} leaks"
    )
    for line in found.leaks:
        print(f"  {line}")
    return int(bool(found.leaks))


if __name__ == "__main__":
    sys.exit(main())
