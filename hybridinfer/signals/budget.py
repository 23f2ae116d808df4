"""The budget signal: how much of the tightest budget is used, as the ledger told it before the request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .base import SignalResult

if TYPE_CHECKING:
    from ..policy.model import SignalBlock
    from ..types import Request, Standing


class BudgetSignal:
    """Scores the `Standing`, never the request: 0 is untouched, 1 is spent.

    A ledger that could not be reached scores 1: unknown money is denied. A policy without budgets scores 0.
    """

    name = "budget"

    def __init__(self, block: SignalBlock) -> None:
        self._block = block

    def score(self, request: Request, standing: Standing) -> SignalResult:  # noqa: ARG002 - the protocol's signature
        """The share used, 0..1, and the level it falls into."""
        because: tuple[str, ...]
        if not standing.known:
            score, because = 1.0, ("the ledger cannot be reached, so nothing is known to be affordable",)
        elif not standing.asked:
            score, because = 0.0, ("not asked of the ledger: no rule or boundary tests it",)
        elif not standing.budget:
            score, because = 0.0, ()
        else:
            score = min(max(standing.used, 0.0), 1.0)
            because = (f"budget {standing.budget!r} is used to {score:.0%}",)
        return SignalResult(score=score, level=self._block.level_of(score), because=because)
