"""Every ledger against a plain model: a list of entries and a clock."""

from __future__ import annotations

import asyncio
import itertools
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from hybridinfer.budget.book import Book, Ledger, OverBudget, Reservation
from hybridinfer.budget.contract import NOON, Clock, policy_with
from hybridinfer.budget.ledger_memory import MemoryLedger
from hybridinfer.budget.ledger_redis import RedisStore
from hybridinfer.budget.ledger_sqlite import SqliteLedger
from hybridinfer.policy.model import Policy

BUDGETS: list[dict[str, Any]] = [
    {"name": "hour", "usd": 0.000003, "per": "hour"},
    {"name": "team-day", "usd": 0.000004, "per": "day", "by": "team"},
    {"name": "last-minute", "usd": 0.000002, "per": "minute", "window": "rolling"},
]
POLICY = policy_with(*BUDGETS)
MONEY = st.integers(0, 2500).map(lambda nano: Decimal(nano).scaleb(-9))
TEAMS = st.sampled_from(["a", "b", None])


@dataclass
class Entry:
    """Money in use: reserved and not ended, or spent."""

    at: datetime
    team: str
    usd: Decimal


class Model:
    """What the budgets above mean, said as plainly as can be."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def in_use(self, now: datetime, team: str) -> dict[str, Decimal]:
        hour = [e for e in self.entries if e.at.replace(minute=0, second=0) == now.replace(minute=0, second=0)]
        day = [e for e in self.entries if e.at.date() == now.date() and e.team == team]
        minute = [e for e in self.entries if 0 <= int(now.timestamp()) - int(e.at.timestamp()) <= 60]
        return {
            name: sum((e.usd for e in entries), Decimal(0))
            for name, entries in (("hour", hour), ("team-day", day), ("last-minute", minute))
        }


LIMITS = {str(budget["name"]): Decimal(str(budget["usd"])) for budget in BUDGETS}


class LedgerMachine(RuleBasedStateMachine):
    """Reserves, settles, releases and waits at random; the ledger must always say what the model says."""

    make: Callable[[Policy, Clock], Ledger]
    held = Bundle("held")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.clock = Clock(NOON)
        self.model = Model()

    @initialize()
    def begin(self) -> None:
        self.ledger = type(self).make(POLICY, self.clock)

    def teardown(self) -> None:
        if hasattr(self, "ledger"):
            self.runner.run(self.ledger.aclose())
        self.runner.close()

    @property
    def now(self) -> datetime:
        return datetime.fromtimestamp(self.clock.now, UTC)

    @rule(target=held, usd=MONEY, team=TEAMS)
    def reserve(self, usd: Decimal, team: str | None) -> tuple[Reservation, Entry] | None:
        tags = {} if team is None else {"team": team}
        used = self.model.in_use(self.now, team or "")
        refusing = [name for name, limit in LIMITS.items() if usd and used[name] + usd > limit]
        call = self.ledger.reserve(receipt_id="r", target="t", usd=usd, tags=tags)
        if refusing:
            with pytest.raises(OverBudget) as refused:
                self.runner.run(call)
            assert refused.value.budget in refusing
            return None
        one = self.runner.run(call)
        entry = Entry(self.now, team or "", usd)
        self.model.entries.append(entry)
        return one, entry

    @rule(one=consumes(held), usd=MONEY, twice=st.booleans())
    def settle(self, one: tuple[Reservation, Entry] | None, usd: Decimal, *, twice: bool) -> None:
        if one is None or not one[0].id or self._expired(one[1]):
            return
        for _ in range(1 + twice):
            self.runner.run(self.ledger.settle(one[0], usd))
        one[1].usd = usd

    @rule(one=consumes(held))
    def release(self, one: tuple[Reservation, Entry] | None) -> None:
        if one is None or self._expired(one[1]):
            return
        self.runner.run(self.ledger.release(one[0]))
        one[1].usd = Decimal(0)

    def _expired(self, entry: Entry) -> bool:
        """Nobody ends a call so late: its process died, and the money stays spent as reserved."""
        return self.clock.now - entry.at.timestamp() >= 900

    @rule(seconds=st.sampled_from([1, 7, 31, 60, 61, 599]))
    def wait(self, seconds: int) -> None:
        self.clock.now += seconds

    @precondition(lambda self: hasattr(self, "ledger"))
    @invariant()
    def the_standing_is_the_models(self) -> None:
        for team in ("a", "b", ""):
            used = self.model.in_use(self.now, team)
            share = max(float(used[name] / limit) for name, limit in LIMITS.items())
            standing = self.runner.run(self.ledger.standing({"team": team} if team else {}))
            assert abs(standing.used - min(share, 1.0)) < 1e-9
            assert float(used[standing.budget] / LIMITS[standing.budget]) == pytest.approx(share)


_books = itertools.count()


def _run(make: Callable[[Policy, Clock], Ledger], examples: int) -> int:
    """How many ledgers agreed with the model, each over a story of its own."""
    made: list[Ledger] = []

    def counted(policy: Policy, clock: Clock) -> Ledger:
        made.append(make(policy, clock))
        return made[-1]

    machine = type("Machine", (LedgerMachine,), {"make": staticmethod(counted)})
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
    return len(made)


def test_the_memory_ledger_is_the_model() -> None:
    """Every sequence of calls gives what plain sums give."""
    assert _run(lambda policy, clock: MemoryLedger(policy, clock=clock), 100) >= 100


def test_the_sqlite_ledger_is_the_model() -> None:
    """Every sequence of calls gives what plain sums give."""
    with tempfile.TemporaryDirectory() as place:
        assert _run(lambda policy, clock: SqliteLedger(policy, Path(place) / f"{next(_books)}", clock=clock), 15) >= 15


def test_the_redis_ledger_is_the_model(valkey: str) -> None:
    """Every sequence of calls gives what plain sums give."""

    def make(policy: Policy, clock: Clock) -> Ledger:
        return Book(policy, RedisStore(valkey, prefix=f"{{model-{next(_books)}}}"), clock=clock)

    assert _run(make, 15) >= 15
