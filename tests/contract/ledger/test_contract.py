"""Every ledger keeps the same contract."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from hybridinfer.budget.book import Book, Ledger
from hybridinfer.budget.contract import LedgerContract
from hybridinfer.budget.ledger_memory import MemoryLedger
from hybridinfer.budget.ledger_redis import RedisStore
from hybridinfer.budget.ledger_sqlite import SqliteLedger
from hybridinfer.policy.model import Policy

_books = itertools.count()


class TestMemoryLedger(LedgerContract):
    """The ledger of one process."""

    shares = False

    def make(self, policy: Policy, clock: Callable[[], float]) -> Ledger:
        return MemoryLedger(policy, clock=clock)


class TestSqliteLedger(LedgerContract):
    """The ledger in a file."""

    @pytest.fixture(autouse=True)
    def _place(self, tmp_path: Path) -> None:
        self.place = tmp_path / "ledger.sqlite3"

    def make(self, policy: Policy, clock: Callable[[], float]) -> Ledger:
        return SqliteLedger(policy, self.place, clock=clock)


class TestRedisLedger(LedgerContract):
    """The ledger on a server; each test has keys of its own."""

    @pytest.fixture(autouse=True)
    def _place(self, valkey: str) -> None:
        self.url, self.prefix = valkey, f"{{test-{next(_books)}}}"

    def make(self, policy: Policy, clock: Callable[[], float]) -> Ledger:
        return Book(policy, RedisStore(self.url, prefix=self.prefix), clock=clock)
