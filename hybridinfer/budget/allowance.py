"""What may be spent while the ledger cannot be reached: nothing, or a small sum that the policy names."""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import replace
from decimal import Decimal
from threading import Lock
from typing import TYPE_CHECKING

from ..types import Standing
from .book import Ledger, LedgerDown, OverBudget, Reservation, books_behind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..policy.model import Policy

logger = logging.getLogger("hybridinfer")

_OFFLINE = "offline:"


def allowed(policy: Policy) -> Decimal:
    """USD that every window budget allows while the ledger is down: the smallest `allow_up_to`, zero where one names none."""
    budgets = [budget for budget in policy.budgets if budget.per != "request"]
    sums = [budget.on_ledger_down.allow_up_to if budget.on_ledger_down else Decimal(0) for budget in budgets]
    return min(sums, default=Decimal(0))


class Purse:
    """What a process has in use of what it may spend without a ledger, in USD. Safe for many threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self.in_use = Decimal(0)

    def take(self, usd: Decimal, limit: Decimal) -> bool:
        """Take `usd`, unless more than `limit` would be in use."""
        with self._lock:
            fits = self.in_use + usd <= limit
            if fits:
                self.in_use += usd
            return fits

    def give_back(self, usd: Decimal) -> None:
        """The opposite; below zero where a call cost more than was taken for it."""
        with self._lock:
            self.in_use -= usd


def purse_for(place: str) -> Purse:
    """The one purse of this process for the ledger at `place`."""
    return _PURSES.setdefault(place, Purse())


class Allowance:
    """A `Ledger` that grants up to `usd` by itself while the real one is down, and books what was spent afterwards.

    The sum is per process (`purse`; None: this object's own): a fleet of ten may spend ten times as much. What was
    spent is in use until the ledger has booked it and its budgets have room again, so a ledger that comes and goes
    grants no more than one that stays away.
    """

    def __init__(self, ledger: Ledger, usd: Decimal, *, purse: Purse | None = None) -> None:
        self._ledger = ledger
        self.behind = books_behind(ledger)
        self._limit = usd
        self._purse = purse or Purse()
        self._open: dict[str, Decimal] = {}
        self._spent: deque[tuple[Reservation, Decimal, bool]] = deque()
        self._overdrawn: dict[frozenset[tuple[str, str]], Decimal] = {}
        """Booked beyond a budget's limit, by the tags of the requests."""
        self._count = 0

    async def standing(self, tags: Mapping[str, str]) -> Standing:
        """The ledger's; during an outage the share of the allowance in use."""
        standing = await self._ledger.standing(tags)
        if standing.known:
            return standing
        return Standing(used=float(min(self._purse.in_use / self._limit, Decimal(1))), budget=standing.budget)

    async def reserve(self, *, receipt_id: str, target: str, usd: Decimal, tags: Mapping[str, str]) -> Reservation:
        """The ledger's; during an outage from the allowance. Raises OverBudget where that is not enough."""
        try:
            await self._pay()
            return await self._ledger.reserve(receipt_id=receipt_id, target=target, usd=usd, tags=tags)
        except LedgerDown:
            if not self._purse.take(usd, self._limit):
                left = max(self._limit - self._purse.in_use, Decimal(0))
                raise OverBudget(
                    "on_ledger_down",
                    f"the ledger cannot be reached, and of what is allowed meanwhile {left:f} USD are left",
                ) from None
        self._count += 1
        name = f"{_OFFLINE}{self._count}"
        self._open[name] = usd
        logger.warning("the ledger cannot be reached; a call was granted from the allowance")
        return Reservation(id=name, receipt_id=receipt_id, target=target, usd=usd, tags=tags)

    async def settle(self, reservation: Reservation, usd: Decimal, *, estimated: bool = False) -> None:
        """The ledger's; what came from the allowance is booked as soon as the ledger is back."""
        if not reservation.id.startswith(_OFFLINE):
            await self._ledger.settle(reservation, usd, estimated=estimated)
        elif (taken := self._open.pop(reservation.id, None)) is not None:
            self._purse.give_back(taken - usd)
            if usd:
                self._spent.append((replace(reservation, id=""), usd, estimated))

    async def release(self, reservation: Reservation) -> None:
        """The ledger's, or back to the allowance."""
        if reservation.id.startswith(_OFFLINE):
            self._purse.give_back(self._open.pop(reservation.id, Decimal(0)))
        else:
            await self._ledger.release(reservation)

    async def aclose(self) -> None:
        """Book what can be booked, then close the ledger."""
        try:
            await self._pay()
        except LedgerDown:
            owed = sum((usd for _, usd, _ in self._spent), Decimal(0))
            logger.exception("%s USD were spent during an outage of the ledger and could not be booked", owed)
        await self._ledger.aclose()

    async def _pay(self) -> None:
        """Book what was spent, then look whether a budget that it overdrew has room again: one for each call."""
        while self._spent:
            debt = self._spent.popleft()  # nobody else pays it meanwhile; it counts until it is booked
            reservation, usd, estimated = debt
            try:
                await self._ledger.settle(reservation, usd, estimated=estimated)
            except BaseException:  # whatever it is, the debt stays
                self._spent.appendleft(debt)
                raise
            tags = frozenset(reservation.tags.items())
            self._overdrawn[tags] = self._overdrawn.get(tags, Decimal(0)) + usd
            await self._forgive(tags)
        if self._overdrawn:
            await self._forgive(next(iter(self._overdrawn)))

    async def _forgive(self, tags: frozenset[tuple[str, str]]) -> None:
        usd = self._overdrawn.pop(tags, Decimal(0))
        has_room = False
        try:
            standing = await self._ledger.standing(dict(tags))
            has_room = standing.known and standing.used < 1
        finally:
            if has_room:
                self._purse.give_back(usd)
            elif usd:
                self._overdrawn[tags] = self._overdrawn.get(tags, Decimal(0)) + usd  # behind the others


_PURSES: dict[str, Purse] = {}
