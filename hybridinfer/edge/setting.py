"""How a model is loaded, beside which model it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .signature import Signature


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Engines are shared only where all of it is the same: whoever asks for a signature never gets an unsigned one."""

    providers: tuple[str, ...] = ("cpu",)
    """What shall compute, by the names of `providers.KNOWN`: the first that this machine has."""
    spinning: bool = True
    """Whether waiting threads keep their core busy: faster answers for more electricity."""
    signature: Signature | None = None
    """What must vouch for the model before it is loaded."""
    prefix_disk: int = 0
    """Bytes on the disk for beginnings of prompts; 0: none is ever written there."""
