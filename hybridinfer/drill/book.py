"""A ledger for drills: spent by others on command, and broken on command."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING

from ..budget.allowance import Allowance, allowed
from ..budget.ledger import Ledger, LedgerDown, MemoryLedger, NullLedger, Reservation
from ..policy.money import LARGEST_BUDGET
from ..types import Standing

if TYPE_CHECKING:
    from ..policy.model import Policy
    from .failing import FaultName

_SOMEBODY = Reservation(id="", receipt_id="somebody-else", target="", usd=Decimal(0), tags={})


READABLE = frozenset({"disk_full"})
"""What leaves the book readable: nothing can be written, but what is spent is known."""


class Frail:
    """A ledger, except while `wrong` names what is wrong with it."""

    def __init__(self, book: Ledger, *, wrong: Callable[[], FaultName | None]) -> None:
        self._book = book
        self._wrong = wrong

    async def standing(self, tags: Mapping[str, str]) -> Standing:
        """Unknown while nobody can read it."""
        wrong = self._wrong()
        if wrong is not None and wrong not in READABLE:
            return Standing(used=1.0, known=False)
        return await self._book.standing(tags)

    async def reserve(self, *, receipt_id: str, target: str, usd: Decimal, tags: Mapping[str, str]) -> Reservation:
        """Raises LedgerDown while anything is wrong."""
        if usd and (wrong := self._wrong()) is not None:
            raise LedgerDown(f"the drill demands it: {wrong}")
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
        """Close the book behind it."""
        await self._book.aclose()


def for_drill(
    policy: Policy, *, clock: Callable[[], float], wrong: Callable[[], FaultName | None]
) -> tuple[Ledger, Frail | None]:
    """The ledger that the policy needs, and the part of it that can be spent from; None: it has no window budgets."""
    if all(budget.per == "request" for budget in policy.budgets):
        return NullLedger(), None
    frail = Frail(MemoryLedger(policy, clock=clock), wrong=wrong)
    usd = allowed(policy)
    return (Allowance(frail, usd) if usd else frail), frail


def ample(policy: Policy) -> Policy:
    """The policy with a thousand times its budgets for windows of time: for drills that are not about money."""
    budgets = tuple(
        one if one.per == "request" else one.model_copy(update={"usd": min(one.usd * 1000, LARGEST_BUDGET)})
        for one in policy.budgets
    )
    return policy.model_copy(update={"budgets": budgets})
