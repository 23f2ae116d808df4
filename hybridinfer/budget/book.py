"""What a ledger is, and the one that every store shares: `Book` turns requests into accounts, a `Store` keeps them.

Life of money: reserve (worst case, before the call) -> settle (real cost) or release (nothing was spent).
A reservation whose process died is never free money: it stays in use, and becomes spent when it expires.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple, Protocol

from ..errors import HybridinferError
from ..quick import quick
from ..types import Standing
from .money import from_nano, to_nano
from .windows import windows

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from decimal import Decimal

    from ..policy.model import Policy
    from .windows import Account

_SHORTEST_HOLD = 900.0


class OverBudget(HybridinferError):
    """A reservation does not fit. `budget` names the tightest budget that refused it; nothing was booked."""

    def __init__(self, budget: str, because: str) -> None:
        super().__init__(because)
        self.budget = budget
        self.because = because


class LedgerDown(HybridinferError):
    """The book cannot be read or written: what is affordable is unknown. The message says what to do."""


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """Money set aside for one call of one target. Settle or release it once; repeating either does nothing."""

    id: str
    """Empty where there was nothing to reserve."""
    receipt_id: str
    target: str
    usd: Decimal
    tags: Mapping[str, str] = field(default_factory=dict[str, str])


class Ledger(Protocol):
    """The book of all money spent through one policy. Safe for many tasks, and as wide as its store."""

    async def standing(self, tags: Mapping[str, str]) -> Standing:
        """How far the tightest budget of a request with these tags is used. Never raises: unknown is `known=False`."""
        ...

    async def reserve(self, *, receipt_id: str, target: str, usd: Decimal, tags: Mapping[str, str]) -> Reservation:
        """Set `usd` aside in every budget that applies, or in none. Zero is always granted, without a look at the book.

        Raises OverBudget where a budget refuses, LedgerDown where the book cannot be reached. When the calling task
        is cancelled, the reservation is released by itself.
        """
        ...

    async def settle(self, reservation: Reservation, usd: Decimal, *, estimated: bool = False) -> None:
        """Book what the call really cost, even where that is more than was reserved.

        It may be written behind the caller, in order: this process reads what it wrote. What the book could not take
        (LedgerDown, where that is known in time) leaves the reservation, which expires into spent.
        """
        ...

    async def release(self, reservation: Reservation) -> None:
        """Give everything back: the call cost nothing. Written as settlements are."""
        ...

    async def aclose(self) -> None:
        """Write what is pending and let go of the store."""
        ...


def books_behind(ledger: Ledger) -> bool:
    """Whether `settle` and `release` only queue and never wait, which a ledger tells by an attribute `behind`."""
    return bool(getattr(ledger, "behind", False))


@dataclass(frozen=True, slots=True)
class Hold:
    """A reservation as a store sees it; all amounts in nano-dollars."""

    id: str
    receipt_id: str
    target: str
    amount: int
    accounts: tuple[Account, ...]
    now: int
    """Seconds since the epoch."""
    expires: int
    """When it becomes spent if nobody settles it."""
    forced: bool = False
    """Book it whatever the limits say: the money is gone already."""


class Refusal(NamedTuple):
    """Which of a hold's accounts had no room, and what it had in use, in nano-dollars."""

    account: int
    used: int


class Store(Protocol):
    """Where accounts are kept. Every method is atomic and raises LedgerDown, nothing else.

    An account has in use what is held plus what is spent in the buckets that count. Amounts are booked on the
    account's current bucket and stay there: a call that crosses midnight belongs to the day it was reserved on.
    """

    async def used(self, accounts: Sequence[Account]) -> tuple[int, ...]:
        """What each account has in use."""
        ...

    async def hold(self, hold: Hold) -> Refusal | None:
        """Book `hold` on all its accounts, or on none and say which one refused; once, even where the store tries twice."""
        ...

    async def settle(self, hold_id: str, amount: int, *, estimated: bool) -> None:
        """Replace a hold, expired or not, by what was spent. An unknown id changes nothing."""
        ...

    async def release(self, hold_id: str) -> None:
        """Remove a hold, expired or not. An unknown id changes nothing."""
        ...

    async def aclose(self) -> None:
        """Finish what was asked for and let go."""
        ...


class Book:
    """The `Ledger` of a policy's window budgets, kept in a `Store`."""

    def __init__(self, policy: Policy, store: Store, *, clock: Callable[[], float] = time.time) -> None:
        self._windows = windows(policy)
        self._store = store
        self._clock = clock
        longest = max(policy.resilience.deadline, *(block.timeout for block in policy.targets.values()))
        self._patience = int(max(_SHORTEST_HOLD, 2 * longest))
        self.behind = bool(getattr(store, "behind", False))
        """Bookings never wait: see `books_behind`."""

    async def standing(self, tags: Mapping[str, str]) -> Standing:
        """The budget that presses most (see `Account.pressure`); `known=False` where the store cannot be reached."""
        if not self._windows:
            return Standing()
        accounts = self._accounts(tags, self._clock())
        try:
            used = await self._store.used(accounts)
        except LedgerDown:
            return Standing(used=1.0, budget=accounts[0].budget, known=False)
        pressures = [(account.pressure(amount), account.budget) for account, amount in zip(accounts, used, strict=True)]
        pressure, budget = max(pressures)
        return Standing(used=min(pressure, 1.0), budget=budget)

    async def reserve(self, *, receipt_id: str, target: str, usd: Decimal, tags: Mapping[str, str]) -> Reservation:
        """See `Ledger.reserve`."""
        amount = to_nano(usd)
        if not amount or not self._windows:
            return Reservation(id="", receipt_id=receipt_id, target=target, usd=usd, tags=tags)
        hold = self._hold(receipt_id, target, amount, tags)
        refusal = await self._store.hold(hold)
        if refusal is not None:
            account = hold.accounts[refusal.account]
            raise OverBudget(account.budget, _because(account, refusal.used, amount))
        return Reservation(id=hold.id, receipt_id=receipt_id, target=target, usd=usd, tags=tags)

    async def settle(self, reservation: Reservation, usd: Decimal, *, estimated: bool = False) -> None:
        """See `Ledger.settle`."""
        amount = to_nano(usd)
        if not reservation.id:
            if not amount or not self._windows:
                return
            # Nothing was thought to be spent, yet it was: it is booked all the same, for honesty is not optional.
            hold = self._hold(reservation.receipt_id, reservation.target, amount, reservation.tags, forced=True)
            await self._store.hold(hold)
            with contextlib.suppress(LedgerDown):  # it is booked: a caller who tried again would book it twice
                await self._store.settle(hold.id, amount, estimated=estimated)
            return
        await self._store.settle(reservation.id, amount, estimated=estimated)

    async def release(self, reservation: Reservation) -> None:
        """See `Ledger.release`."""
        if reservation.id:
            await self._store.release(reservation.id)

    async def aclose(self) -> None:
        """See `Ledger.aclose`."""
        await self._store.aclose()

    def _accounts(self, tags: Mapping[str, str], now: float) -> tuple[Account, ...]:
        return tuple(window.account(tags, now) for window in self._windows)

    def _hold(
        self, receipt_id: str, target: str, amount: int, tags: Mapping[str, str], *, forced: bool = False
    ) -> Hold:
        now = self._clock()
        return Hold(
            id=os.urandom(12).hex(),
            receipt_id=receipt_id,
            target=target,
            amount=amount,
            accounts=self._accounts(tags, now),
            now=int(now),
            expires=int(now) + self._patience,
            forced=forced,
        )


def _because(account: Account, used: int, amount: int) -> str:
    left = from_nano(max(0, account.limit - used)).normalize()
    until = datetime.fromtimestamp(account.until, UTC).isoformat().replace("+00:00", "Z")
    wanted = from_nano(amount).normalize()
    return f"budget {account.budget!r} has {left:f} USD left until {until}; this call may cost {wanted:f} USD"
