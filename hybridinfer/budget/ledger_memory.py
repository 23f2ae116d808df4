"""The ledger of one process, forgotten when it ends: for tests, simulations and throwaway programs."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from typing import TYPE_CHECKING

from .book import Book, Hold, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..policy.model import Policy
    from .windows import Account

_Bucket = tuple[str, int]


class MemoryStore:
    """Accounts in dictionaries, behind one lock."""

    behind = True

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._booked: defaultdict[_Bucket, int] = defaultdict(int)
        self._holds: dict[str, tuple[int, tuple[_Bucket, ...]]] = {}

    async def used(self, accounts: Sequence[Account]) -> tuple[int, ...]:
        """See `Store.used`."""
        with self._lock:
            return tuple(self._used(account) for account in accounts)

    async def hold(self, hold: Hold) -> Refusal | None:
        """See `Store.hold`. An expired hold stays booked as it is: in use either way."""
        with self._lock:
            for index, account in enumerate(hold.accounts):
                used = self._used(account)
                if not hold.forced and used + hold.amount > account.limit:
                    return Refusal(index, used)
            buckets = tuple((account.key, account.bucket) for account in hold.accounts)
            self._holds[hold.id] = (hold.amount, buckets)
            self._book(buckets, hold.amount)
            return None

    async def settle(self, hold_id: str, amount: int, *, estimated: bool) -> None:  # noqa: ARG002 - kept by no store in memory
        """See `Store.settle`."""
        with self._lock:
            held, buckets = self._holds.pop(hold_id, (0, ()))
            self._book(buckets, amount - held)

    async def release(self, hold_id: str) -> None:
        """See `Store.release`."""
        await self.settle(hold_id, 0, estimated=False)

    async def aclose(self) -> None:
        """Nothing to let go of: the book can be read on."""

    def _used(self, account: Account) -> int:
        return sum(self._booked.get((account.key, bucket), 0) for bucket in account.buckets)

    def _book(self, buckets: Sequence[_Bucket], amount: int) -> None:
        for bucket in buckets:
            self._booked[bucket] += amount


class MemoryLedger(Book):
    """A `Ledger` that lives and dies with this object."""

    def __init__(
        self, policy: Policy, *, clock: Callable[[], float] = time.time, store: MemoryStore | None = None
    ) -> None:
        super().__init__(policy, store or MemoryStore(), clock=clock)

    def under(self, policy: Policy) -> MemoryLedger:
        """The same accounts under the budgets of `policy`: a budget that keeps its name keeps what is spent."""
        assert isinstance(self._store, MemoryStore)
        return MemoryLedger(policy, clock=self._clock, store=self._store)
