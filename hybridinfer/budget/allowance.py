"""What may be spent while the ledger cannot be reached: nothing, or a small sum that the policy names."""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

from ..types import Standing
from .book import Ledger, LedgerDown, OverBudget, Reservation, books_behind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..policy.model import Policy

logger = logging.getLogger("hybridinfer")

_OFFLINE = "offline:"


def allowed(policy: Policy) -> Decimal:
    """USD that every window budget allows during an outage: the smallest `allow_up_to`, zero where one names none."""
    budgets = [budget for budget in policy.budgets if budget.per != "request"]
    sums = [budget.on_ledger_down.allow_up_to if budget.on_ledger_down else Decimal(0) for budget in budgets]
    return min(sums, default=Decimal(0))


class Allowance:
    """A `Ledger` that grants up to `usd` per outage by itself, and books what was spent when the outage is over.

    The sum is per process: a fleet of ten may spend ten times as much during an outage.
    """

    def __init__(self, ledger: Ledger, usd: Decimal) -> None:
        self._ledger = ledger
        self.behind = books_behind(ledger)
        self._limit = usd
        self._open: dict[str, Decimal] = {}
        self._spent: deque[tuple[Reservation, Decimal, bool]] = deque()
        self._unbooked = Decimal(0)
        self._count = 0

    async def standing(self, tags: Mapping[str, str]) -> Standing:
        """The ledger's; during an outage the share of the allowance in use."""
        standing = await self._ledger.standing(tags)
        if standing.known:
            return standing
        return Standing(used=float(min(self._in_use / self._limit, Decimal(1))), budget=standing.budget)

    async def reserve(self, *, receipt_id: str, target: str, usd: Decimal, tags: Mapping[str, str]) -> Reservation:
        """The ledger's; during an outage from the allowance. Raises OverBudget where that is not enough."""
        try:
            await self._pay()
            return await self._ledger.reserve(receipt_id=receipt_id, target=target, usd=usd, tags=tags)
        except LedgerDown:
            if self._in_use + usd > self._limit:
                left = max(self._limit - self._in_use, Decimal(0))
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
        elif self._open.pop(reservation.id, None) is not None and usd:
            self._unbooked += usd
            self._spent.append((replace(reservation, id=""), usd, estimated))

    async def release(self, reservation: Reservation) -> None:
        """The ledger's, or back to the allowance."""
        if reservation.id.startswith(_OFFLINE):
            self._open.pop(reservation.id, None)
        else:
            await self._ledger.release(reservation)

    async def aclose(self) -> None:
        """Book what can be booked, then close the ledger."""
        try:
            await self._pay()
        except LedgerDown:
            logger.exception("%s USD were spent during an outage of the ledger and could not be booked", self._unbooked)
        await self._ledger.aclose()

    @property
    def _in_use(self) -> Decimal:
        return sum(self._open.values(), self._unbooked)

    async def _pay(self) -> None:
        while self._spent:
            debt = self._spent.popleft()  # nobody else pays it meanwhile; it counts until it is booked
            reservation, usd, estimated = debt
            try:
                await self._ledger.settle(reservation, usd, estimated=estimated)
            except BaseException:  # whatever it is, the debt stays
                self._spent.appendleft(debt)
                raise
            self._unbooked -= usd
