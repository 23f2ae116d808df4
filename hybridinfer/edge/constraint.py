"""What an answer must keep to while it is written: the hook for guided output."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Logits = NDArray[np.float32]


class Constraint(Protocol):
    """The state of one answer. Called on the engine's thread between two steps, so a call has well under 1 ms.

    Rows with and without one share a batch. An exception ends its own row only.
    """

    @property
    def done(self) -> bool:
        """The answer is complete: nothing more is generated, and it counts as stopped."""
        ...

    def mask(self, logits: Logits) -> None:
        """Set what may not come next to -inf, in place; `logits` is [vocabulary], end tokens included."""
        ...

    def accept(self, token: int) -> None:
        """`token` was chosen. End tokens are not told."""
        ...
