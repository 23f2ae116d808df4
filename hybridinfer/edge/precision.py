"""How many bits each part of a converted model keeps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Bits = Literal[4, 8]
PartName = Literal["attention", "ffn", "head"]
PARTS: tuple[PartName, ...] = get_args(PartName)
"""What is multiplied for each token: attention's projections, the feed-forward matrices, and the output's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grain:
    """Bits of a weight, and the weights that share a scale; None: the largest block that costs nothing."""

    bits: Bits = 8
    block: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Precision:
    """One grain for each part. The embedding, of which a token reads one row, always has 8 bits."""

    attention: Grain = Grain()
    ffn: Grain = Grain()
    head: Grain = Grain()

    @classmethod
    def of(cls, bits: Bits, block: int | None, eight: frozenset[PartName] = frozenset()) -> Precision:
        """All parts with `bits`, but for those in `eight`."""
        return cls(**{part: Grain() if part in eight else Grain(bits=bits, block=block) for part in PARTS})

    def __str__(self) -> str:
        grains = (getattr(self, part) for part in PARTS)
        return ", ".join(
            f"{part} {grain.bits} bits{f' in blocks of {grain.block}' if grain.block else ''}"
            for part, grain in zip(PARTS, grains, strict=True)
        )
