"""Leak bench over whole routers: canaries in every field, every fault, every path; what reached a sink, a log, a file.

    python -m benchmarks.leak_paths [--every 1] [--processes 2]

Each request goes through a real router with retries, a window budget in SQLite and all logs on, to clouds that look
through all they are given and then fail in one of the ways of `FAULTS`. The shapes of `SHAPES` bring in hedging, open
circuit breakers with their probes, second opinions, samples, judges, answers from here that a cloud checks, and audits
of answers from here. Requests run side by side, as in a server: a leak from one into another would be seen too. Behind
each router `hybridinfer health --probe` reads its ledger and asks its clouds. `--every N` takes each N-th combination.

A trace is a canary in any of the forms of `leak.traces`. Exit code 1 when there is one where it must not be, or when a
control fails: canaries must be seen where they may be, at the target on this machine and in the answers.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, get_args

from benchmarks.leak import CANARIES, requests, traces
from benchmarks.leak_probe import probe
from hybridinfer import AsyncRouter, Router
from hybridinfer.budget.ledger import open_ledger
from hybridinfer.errors import HybridinferError
from hybridinfer.policy.load import load
from hybridinfer.receipt import Code, OnInterrupt, Receipt, Zone
from hybridinfer.targets.base import Finish, TargetEvent, TargetFailed, TargetInfo
from hybridinfer.types import Request, TextDelta

FAULTS = (None, "cut", *(code for code in Code if code not in (Code.OK, Code.TRUNCATED, Code.CANCELLED, Code.UNSURE)))
"""How a cloud ends a call after it has read the request: well, cut short, or with a code."""

SHAPES: dict[str, list[Any]] = {
    "hedged": ["first", "second", "here", "sorry"],
    "probed": ["first", "second", "here", "sorry"],
    "checked": [{"target": "first", "accept": {"agree_with": "second"}}, "here", "sorry"],
    "sampled": [{"target": "first", "accept": {"samples": 2}}, "second", "here", "sorry"],
    "cascade": [
        {"target": "answers", "accept": {"agree_with": "first", "judge": "model", "by": "third", "deliver": "at_once"}},
        "second",
        "here",
        "sorry",
    ],
    "audited": ["answers", "first", "here", "sorry"],
    "judged": [{"agree": ["first", "second"], "judge": "model", "by": "third", "else": "here"}, "sorry"],
}
"""What `use` may say. `hedged` also retries; `probed` has a circuit breaker that opens at once and probes at once;
`cascade` shows an answer from here at once, has a cloud check it, and goes on to another; `audited` answers here, keeps
features and asks a cloud behind every answer that it may."""

ROUTERS = tuple(product(("never", "masked"), ("async", "sync"), SHAPES))
"""(boundary, face, shape)."""
WAYS = tuple(product(("complete", "stream"), get_args(OnInterrupt)))
"""(method, on_interrupt)."""
PATHS = tuple(product(ROUTERS, WAYS))
AT_ONCE = 32
"""Requests under way at a time."""


@dataclass(frozen=True, slots=True)
class Case:
    """One request of the bench."""

    kind: str
    canary: str
    place: int
    fault: Code | str | None
    method: str
    on_interrupt: str

    def __str__(self) -> str:
        where, _ = list(requests(self.canary))[self.place]
        return f"{self.kind} in {where}, {self.method}, on_interrupt {self.on_interrupt}, fault {self.fault}"

    def ask(self) -> tuple[Any, dict[str, Any]]:
        """The messages and options for a router."""
        _, request = list(requests(self.canary))[self.place]
        given = {
            "tools": request.tools,
            "metadata": request.metadata,
            "user": request.user,
            "extra_headers": request.extra_headers,
            "stop": request.stop,
        }
        return request.messages, {name: value for name, value in given.items() if value} | {
            "on_interrupt": self.on_interrupt
        }


_CASE: ContextVar[Case | None] = ContextVar("case", default=None)
"""The request for which code runs: tasks and threads inherit it."""


@dataclass(slots=True)
class Found:
    """The count of all runs."""

    requests: int = 0
    sent: int = 0
    """Calls that a cloud saw."""
    seen_here: int = 0
    """Calls in which a canary reached the target on this machine: the control that traces are found at all."""
    probed: int = 0
    """Requests of `health --probe`."""
    restored: int = 0
    """Answers of clouds in which a masked canary came back: the control that masking restores."""
    lines: int = 0
    """Log lines, receipts and errors looked through."""
    ends: Counter[str] = field(default_factory=Counter)
    """How the calls at clouds were told to end."""
    leaks: list[str] = field(default_factory=list)

    def add(self, other: Found) -> None:
        """Take in another router's count."""
        self.requests += other.requests
        self.sent += other.sent
        self.seen_here += other.seen_here
        self.restored += other.restored
        self.probed += other.probed
        self.lines += other.lines
        self.ends += other.ends
        self.leaks += other.leaks

    def look(self, text: str, where: str) -> None:
        """Note every trace of the present case's canary in `text`, and of any other's."""
        case = _CASE.get()
        found = {trace for canary in CANARIES.values() if case is None for trace in traces(canary, text)}
        if case is not None:
            found.update(traces(case.canary, text))
            found.update("another request's" for canary in CANARIES.values() if canary in text)
        self.leaks += (f"{case}: {trace} {where}" for trace in found)


class Cloud:
    """Looks through all it is given, repeats the beginning, and ends as the case says."""

    def __init__(self, name: str, found: Found, *, boundary: str, zone: Zone = "cloud") -> None:
        needs = frozenset({"tools", "vision", "files", "json"})
        self.info = TargetInfo(name=name, kind="own", zone=zone, supports=needs, continues=True)  # type: ignore[arg-type]
        self._found = found
        self._never = boundary == "never"

    async def stream(self, request: Request, *, stream: bool) -> AsyncIterator[TargetEvent]:
        """Look, then do as the fault says."""
        case, seen = _CASE.get(), f"{request} {stream}"
        fault: Code | str | None = case.fault if case is not None else None
        self._found.sent += 1
        self._found.ends[str(fault)] += 1
        if self._never:
            self._found.leaks.append(f"{case}: reached {self.info.name}")
        self._found.look(seen, f"at {self.info.name}")
        if isinstance(fault, Code):
            raise TargetFailed(fault, "drill")
        yield TextDelta(text=request.messages[0].text[:60] or "Well.")
        if fault is None:
            yield Finish(finish_reason="stop")

    def count_tokens(self, request: Request) -> int:
        """Something above nothing."""
        return len(request.messages) * 10

    async def warmup(self) -> None:
        """Nothing to load."""

    async def aclose(self) -> None:
        """Nothing to free."""


class Here(Cloud):
    """The target on this machine: it may see everything, and fails, so that the next rung is tried too."""

    async def stream(self, request: Request, *, stream: bool) -> AsyncIterator[TargetEvent]:
        """Count what it sees, then fail."""
        case = _CASE.get()
        self._found.seen_here += case is not None and bool(traces(case.canary, f"{request} {stream}"))
        nothing: tuple[TargetEvent, ...] = ()
        for event in nothing:
            yield event
        raise TargetFailed(Code.UNAVAILABLE, "drill")


class Answers(Here):
    """The target on this machine that answers, so that there is something to audit."""

    async def stream(self, request: Request, *, stream: bool) -> AsyncIterator[TargetEvent]:
        """Count what it sees, then repeat the beginning."""
        case = _CASE.get()
        self._found.seen_here += case is not None and bool(traces(case.canary, f"{request} {stream}"))
        yield TextDelta(text=request.messages[0].text[:60] or "Well.")
        yield Finish(finish_reason="stop")


class Watch(logging.Handler):
    """Looks through every log line, with its arguments and its traceback, and every receipt."""

    def __init__(self, found: Found) -> None:
        super().__init__(logging.DEBUG)
        self._found = found
        self.setFormatter(logging.Formatter("%(name)s %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Look at the line as it would be written."""
        self.look(f"{self.format(record)} {record.args}", "in a log")

    def on_receipt(self, receipt: Receipt) -> None:
        """Look at the receipt as it would be stored."""
        self.look(json.dumps(receipt.to_dict()), "in a receipt")

    def look(self, text: str, where: str) -> None:
        """Count and search."""
        self._found.lines += 1
        self._found.look(text, where)


def policy(boundary: str, shape: str) -> dict[str, Any]:
    """Clouds, this machine, a canned reply; retried, budgeted, and `shape`."""
    cloud = {"kind": "own", "price": {"input": 1, "output": 1}, "zone": "cloud"}
    breaker = {"failures": 1, "within": "60s", "cool_down": "1ms"} if shape == "probed" else {"failures": 1000}
    hedge = {"hedge": {"after": "1ms"}} if shape == "hedged" else {}
    targets = {
        "first": cloud,
        "second": cloud,
        "third": cloud,
        "here": {"kind": "own", "zone": "device"},
        "answers": {"kind": "own", "zone": "device"},
        "sorry": {"kind": "canned", "text": "Later."},
    }
    unused = {"judged": {"answers"}, "audited": {"second", "third"}, "cascade": set[str]()}.get(
        shape, {"third", "answers"}
    )
    learning = {"learning": {"store": "features", "audit_share": "100%"}} if shape == "audited" else {}
    return {
        "version": 1,
        "targets": {name: block for name, block in targets.items() if name not in unused},
        "budgets": [{"name": "day", "usd": 100, "per": "day"}],
        "boundaries": [{"name": "private", "when": {"privacy": ["personal", "secret"]}, "cloud": boundary}],
        "rules": [{"name": "all", "use": SHAPES[shape], **hedge}],
        **learning,
        "resilience": {
            "deadline": "60s",
            "retry": {"attempts": 2, "backoff": "1ms", "max_backoff": "1ms"},
            "circuit_breaker": breaker,
        },
    }


def cases() -> list[Case]:
    """All of them: canary x place x fault x way to ask."""
    places = range(len(list(requests("x"))))
    return [
        Case(kind=kind, canary=canary, place=place, fault=fault, method=method, on_interrupt=wish)
        for (kind, canary), place, fault, (method, wish) in product(CANARIES.items(), places, FAULTS, WAYS)
    ]


def run(every: int = 1, processes: int = 1) -> Found:
    """All combinations, or each `every`-th of them, over so many processes."""
    found = Found()
    jobs = [(router, number, every) for number, router in enumerate(ROUTERS)]
    if processes == 1:
        for job in jobs:
            found.add(_run_router(job))
        return found
    with ProcessPoolExecutor(processes) as pool:
        for one in pool.map(_run_router, jobs):
            found.add(one)
    return found


def _run_router(job: tuple[tuple[str, str, str], int, int]) -> Found:
    (boundary, face, shape), number, every = job
    found = Found()
    watch = Watch(found)
    loaded = load(policy(boundary, shape))
    asks = cases()[number % every :: every]
    targets: list[Any] = [
        Cloud(name, found, boundary=boundary) for name, block in loaded.targets.items() if block.zone == "cloud"
    ]
    targets.append(Here("here", found, boundary=boundary, zone="device"))
    if "answers" in loaded.targets:
        targets.append(Answers("answers", found, boundary=boundary, zone="device"))
    root = logging.getLogger()
    level = root.level
    root.addHandler(watch)
    root.setLevel(logging.DEBUG)
    try:
        with tempfile.TemporaryDirectory() as folder:
            book = Path(folder) / "ledger.sqlite3"
            setup: dict[str, Any] = {
                "targets": {target.info.name: target for target in targets},
                "ledger": open_ledger(loaded, book),
                "hooks": [watch],
                "environ": {"HYBRIDINFER_STATE": folder},
            }
            if face == "sync":
                _all_sync(Router(loaded, **setup), asks, watch, found)
            else:
                asyncio.run(_all_async(AsyncRouter(loaded, **setup), asks, watch, found))
            _CASE.set(None)
            seen, printed = probe([target.info.name for target in targets if target.info.zone == "cloud"], book)
            found.probed += len(seen)
            for request in seen:
                found.look(request, "in a probe")
            watch.look(printed, "in what `health --probe` printed")
            for file in book.parent.iterdir():
                found.look(file.read_bytes().decode("latin-1"), f"in a file: {file.name}")
    finally:
        root.removeHandler(watch)
        root.setLevel(level)
    return found


def _all_sync(router: Router, asks: list[Case], watch: Watch, found: Found) -> None:
    def ask(case: Case) -> None:
        _CASE.set(case)
        messages, given = case.ask()
        try:
            if case.method == "complete":
                text = router.complete(messages, **given).text
            else:
                with router.stream(messages, **given) as stream:
                    text = "".join(getattr(event, "text", "") for event in stream)
            _answered(case, text, found)
        except HybridinferError as error:
            watch.look(f"{error!r} {error} {error.__cause__!r}", "in an error")

    with router, ThreadPoolExecutor(AT_ONCE // 2) as pool:
        router.warmup()
        for _ in pool.map(ask, asks):
            found.requests += 1
        router.health()


async def _all_async(router: AsyncRouter, asks: list[Case], watch: Watch, found: Found) -> None:
    waiting: Iterator[Case] = iter(asks)

    async def ask_all() -> None:
        for case in waiting:
            _CASE.set(case)
            messages, given = case.ask()
            try:
                if case.method == "complete":
                    text = (await router.complete(messages, **given)).text
                else:
                    async with router.stream(messages, **given) as stream:
                        text = "".join([getattr(event, "text", "") async for event in stream])
                _answered(case, text, found)
            except HybridinferError as error:
                watch.look(f"{error!r} {error} {error.__cause__!r}", "in an error")
            found.requests += 1

    async with router:
        await router.warmup()
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(ask_all())
        router.health()


def _answered(case: Case, text: str, found: Found) -> None:
    found.restored += bool(traces(case.canary, text))


def controls(found: Found) -> Iterator[str]:
    """What has to be seen for the figure to mean anything."""
    if found.seen_here * 4 < found.requests:
        yield "too few canaries were seen on this machine, where they may be"
    if not found.sent or not found.restored:
        yield "no masked request left, or no answer was restored"
    if not found.probed:
        yield "no probe left"
    if missing := {str(fault) for fault in FAULTS} - set(found.ends):
        yield f"faults that no cloud ran into: {', '.join(sorted(missing))}"


def main() -> int:
    """Print the count, and every leak."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=1, help="take each N-th combination only")
    parser.add_argument("--processes", type=int, default=1)
    options = parser.parse_args()
    found = run(options.every, options.processes)
    print(
        f"{len(PATHS)} paths x {len(FAULTS)} faults, {found.requests} requests: {found.sent} calls left masked, "
        f"{found.probed} probes of `health --probe`, {found.lines} log lines, receipts and errors looked through, {len(found.leaks)} leaks"
    )
    print(f"controls: {found.seen_here} calls on this machine saw a canary, {found.restored} answers brought one back")
    for line in (*found.leaks[:50], *(failed := list(controls(found)))):
        print(f"  {line}")
    return int(bool(found.leaks or failed))


if __name__ == "__main__":
    sys.exit(main())
