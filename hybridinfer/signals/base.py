"""What a signal is: it measures one thing of a request, 0..1, names the level and says why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ..quick import quick
from ..types import Request, Standing

__all__ = ["Signal", "SignalResult", "Standing"]


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class SignalResult:
    """A score, its level and the reasons. `because` never quotes the request."""

    score: float
    level: str
    because: tuple[str, ...] = ()
    measured: bool = True
    """False where the signal could not be asked, so that this is only the safe assumption."""


class Signal(Protocol):
    """One measurement. Synchronous and pure: no I/O, no network, bounded time on any input."""

    name: str

    def score(self, request: Request, standing: Standing) -> SignalResult:
        """Measure `request`. A signal that raises counts as its highest level."""
        ...
