"""How far a long piece of work has come."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Stage = Literal["fetch", "verify", "convert"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """`done` of `total` at one stage: bytes while fetching and verifying, weights while converting."""

    stage: Stage
    done: int
    total: int


Report = Callable[[Progress], None]
"""Called often, on the working thread; it must return quickly."""


def silent(_: Progress) -> None:
    """The report that nobody reads."""
