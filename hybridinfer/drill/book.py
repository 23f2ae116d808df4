"""A ledger for drills: in memory, spent by others on command, and down on command."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING

from ..budget.allowance import Allowance, allowed
from ..budget.ledger import Ledger, LedgerDown, MemoryLedger, NullLedger, Reservation
from ..types import Standing

if TYPE_CHECKING:
    from ..policy.model import Policy

_SOMEBODY = Reservation(id="", receipt_id="somebody-else", target="", usd=Decimal(0), tags={})


class Frail:
    """`MemoryLedger`, except while `down` says yes: then it cannot be reached."""

    def __init__(self, policy: Policy, *, clock: Callable[[], float], down: Callable[[], bool]) -> None:
        self._book = MemoryLedger(policy, clock=clock)
        self._down = down

    async def standing(self, tags: Mapping[str, str]) -> Standing:
        """Unknown while it is down."""
        return Standing(used=1.0, known=False) if self._down() else await self._book.standing(tags)

    async def reserve(self, *, receipt_id: str, target: str, usd: Decimal, tags: Mapping[str, str]) -> Reservation:
        """Raises LedgerDown while it is down."""
        if self._down() and usd:
            raise LedgerDown("the drill took it down")
        return await self._book.reserve(receipt_id=receipt_id, target=target, usd=usd, tags=tags)

    async def settle(self, reservation: Reservation, usd: Decimal, *, estimated: bool = False) -> None:
        """Written behind the caller, as the real one does: it comes through in the end."""
        await self._book.settle(reservation, usd, estimated=estimated)

    async def release(self, reservation: Reservation) -> None:
        """As `settle`."""
        await self._book.release(reservation)

    async def spend(self, usd: Decimal) -> None:
        """Somebody else spends from every budget, whatever the limits say."""
        await self._book.settle(_SOMEBODY, usd)

    async def aclose(self) -> None:
        """Nothing to write."""


def for_drill(policy: Policy, *, clock: Callable[[], float], down: Callable[[], bool]) -> tuple[Ledger, Frail | None]:
    """The ledger that the policy needs, and the part of it that can be spent from; None: it has no window budgets."""
    if all(budget.per == "request" for budget in policy.budgets):
        return NullLedger(), None
    frail = Frail(policy, clock=clock, down=down)
    usd = allowed(policy)
    return (Allowance(frail, usd) if usd else frail), frail
