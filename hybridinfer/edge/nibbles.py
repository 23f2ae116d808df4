"""The 4-bit blocks of a GGUF tensor, taken over as they are: rounding them again would lose what the file still knows.

Layouts: https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h, block_q4_0, block_q4_1 and block_q4_K.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Bytes = NDArray[np.uint8]
    Floats = NDArray[np.float32]

BLOCK = 32
"""Weights that share a scale, in all three."""
ZERO = 8
"""Half of the range of codes: what the runtime takes off a code where it is told nothing else."""
KINDS = {2: "Q4_0", 3: "Q4_1", 12: "Q4_K"}
"""By ggml's number of the type."""
_BYTES = {2: 18, 3: 20, 12: 144}  # of a block, of 32 weights or, the last one, of 256


class Nibbles(NamedTuple):
    """weight = (code - 8) * scale + offset.

    `codes` uint8 [rows, columns] of 0..15; `scales` and `offsets` float32 [rows, columns / 32]. `offsets` is None
    where all of them are zero.
    """

    codes: NDArray[np.uint8]
    scales: Floats
    offsets: Floats | None


def bytes_of(ggml_type: int, columns: int) -> int:
    """What a row of so many weights takes in the file."""
    return columns // (256 if KINDS[ggml_type] == "Q4_K" else BLOCK) * _BYTES[ggml_type]


def unpack(raw: Bytes, ggml_type: int) -> Nibbles:
    """The blocks in `raw` [rows, bytes of a row], which are of a type in `KINDS`."""
    import numpy as np

    rows = len(raw)
    blocks = raw.reshape(-1, _BYTES[ggml_type])
    offsets: Floats | None = None
    if KINDS[ggml_type] == "Q4_K":
        scale, least = (_halves(blocks[:, at : at + 2]) for at in (0, 2))
        factors, shifts = _six_bits(blocks[:, 4:16])
        scales = scale * factors
        offsets = (scales * np.float32(ZERO) - least * shifts).astype(np.float32)
        # 64 weights to 32 bytes: first all lower halves, then all upper ones
        codes = _spread(blocks[:, 16:].reshape(-1, 32))
    else:
        scales = _halves(blocks[:, :2])
        if KINDS[ggml_type] == "Q4_1":
            offsets = (scales * np.float32(ZERO) + _halves(blocks[:, 2:4])).astype(np.float32)
        codes = _spread(blocks[:, -16:])
    return Nibbles(
        codes=codes.reshape(rows, -1),
        scales=scales.reshape(rows, -1),
        offsets=None if offsets is None else offsets.reshape(rows, -1),
    )


def _spread(packed: Bytes) -> Bytes:
    import numpy as np

    return np.concatenate([packed & np.uint8(15), packed >> np.uint8(4)], axis=-1)


def _halves(raw: Bytes) -> Floats:
    import numpy as np

    return np.ascontiguousarray(raw).view("<f2").astype(np.float32)


def _six_bits(raw: Bytes) -> tuple[Bytes, Bytes]:
    """Eight factors and eight shifts of 6 bits out of 12 bytes: the last four of each lend bits of the first ones."""
    import numpy as np

    first, second, mixed = raw[:, :4], raw[:, 4:8], raw[:, 8:]
    factors = np.concatenate([first & 63, (mixed & 15) | ((first >> 2) & 48)], axis=-1)
    shifts = np.concatenate([second & 63, (mixed >> 4) | ((second >> 2) & 48)], axis=-1)
    return factors.astype(np.uint8), shifts.astype(np.uint8)
