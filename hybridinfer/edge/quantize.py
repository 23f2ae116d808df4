"""Weights to integers of 8 or 4 bits, one float scale for each block of a row."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .nibbles import BLOCK, ZERO

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from .nibbles import Nibbles

    Floats = NDArray[np.float32]

_ROOM = 1 << 22  # weights looked at together
_STEPS = (15.0, 14.5, 14.0, 13.0)  # of a block's span: a finer grid that cuts its ends off may be nearer on the whole


class Quantized(NamedTuple):
    """`codes` uint8 [rows, blocks, block * bits / 8], the lower half of a byte first; `scales` float32 [rows, blocks].

    weight = (code - zero) * scale + offset. `zeros` uint8 [rows, ceil(blocks / 2)] holds 4-bit zero points in the same
    way; None: half of the range, 128 or 8. `offsets` float32 [rows, blocks]; None: no block has one.
    """

    codes: NDArray[np.uint8]
    scales: Floats
    zeros: NDArray[np.uint8] | None = None
    offsets: Floats | None = None

    def ordered(self, order: NDArray[np.int64] | None) -> Quantized:
        """Its rows in another order; None: as they are."""
        if order is None:
            return self
        zeros = None if self.zeros is None else self.zeros[order]
        offsets = None if self.offsets is None else self.offsets[order]
        return Quantized(self.codes[order], self.scales[order], zeros, offsets)

    def with_offsets(self) -> Quantized:
        """The same 4-bit weights with an offset for each block in the place of its zero point."""
        import numpy as np

        assert self.zeros is not None
        zeros = np.stack([self.zeros & 15, self.zeros >> 4], axis=-1).reshape(len(self.zeros), -1)
        offsets = (np.float32(ZERO) - zeros[:, : self.scales.shape[1]]) * self.scales
        return Quantized(self.codes, self.scales, offsets=offsets.astype(np.float32))


def quantize(weights: Floats, block: int, bits: int = 8) -> Quantized:
    """Round `weights` [rows, columns] to integers of 8 or 4 `bits`; the last block is padded with zeros."""
    import numpy as np

    rows, columns = weights.shape
    if padding := -columns % block:
        weights = np.concatenate([weights, np.zeros((rows, padding), np.float32)], axis=1)
    blocks = weights.reshape(rows, -1, block)
    return _eight(blocks) if bits == 8 else _four(blocks)


def stored(nibbles: Nibbles) -> Quantized:
    """The blocks of a file, not rounded again."""
    rows, count = nibbles.scales.shape
    codes = _packed(nibbles.codes.reshape(rows, count, -1))
    return Quantized(codes=codes, scales=nibbles.scales, offsets=nibbles.offsets)


def block_size(columns: list[int], bits: int = 8) -> int:
    """128 where it divides every count of columns, else 32; always 32 for 4 bits.

    Activations are rounded per block, too: at 0.5 billion weights and more that costs nothing measurable, while
    SmolLM2 (whose width only 64 and 32 divide) keeps 96.9% of its first choices with 32, and 94.5% with 64.
    """
    if bits == 4:
        return BLOCK
    return 128 if all(count % 128 == 0 for count in columns) else 32


def _eight(blocks: Floats) -> Quantized:
    """The nearest of 255 steps, symmetric around 128."""
    import numpy as np

    scales = np.maximum(blocks.max(-1), -blocks.min(-1)) / np.float32(127)
    np.maximum(scales, np.finfo(np.float32).tiny, out=scales)
    codes = blocks / scales[..., None]
    np.rint(codes, out=codes)
    codes += 128
    return Quantized(codes=codes.astype(np.uint8), scales=scales.astype(np.float32))


def _four(blocks: Floats) -> Quantized:
    """For each block the scale and zero point that leave the least squared error, of a few candidates."""
    import numpy as np

    rows, count, block = blocks.shape
    codes, scales = np.empty(blocks.shape, np.uint8), np.empty((rows, count), np.float32)
    zeros = np.empty((rows, count), np.uint8)
    step = max(1, _ROOM // (count * block))
    for start in range(0, rows, step):
        part = slice(start, start + step)
        codes[part], scales[part], zeros[part] = _nearest(blocks[part])
    return Quantized(codes=_packed(codes), scales=scales, zeros=_packed(zeros))


def _nearest(blocks: Floats) -> tuple[NDArray[np.uint8], Floats, NDArray[np.uint8]]:
    import numpy as np

    best = np.full(blocks.shape[:-1], np.inf, np.float32)
    codes, scales = np.zeros(blocks.shape, np.uint8), np.ones_like(best)
    zeros = np.zeros(best.shape, np.uint8)
    for scale, zero in _candidates(blocks):
        found = np.rint(blocks / scale[..., None])
        found += zero[..., None]
        np.clip(found, 0, 15, out=found)
        error = np.square(blocks - (found - zero[..., None]) * scale[..., None]).sum(-1)
        better = error < best
        codes[better], scales[better], zeros[better] = found[better], scale[better], zero[better]
        best[better] = error[better]
    return codes, scales, zeros


def _candidates(blocks: Floats) -> Iterator[tuple[Floats, Floats]]:
    """Scales and zero points, one each for every block."""
    import numpy as np

    tiny = np.finfo(np.float32).tiny
    largest = np.take_along_axis(blocks, np.abs(blocks).argmax(-1, keepdims=True), -1)[..., 0]
    scale = largest / np.float32(-8)  # as Q4_0 has it: what was stored so comes through unchanged
    yield np.where(np.abs(scale) < tiny, np.float32(1), scale), np.full(scale.shape, 8, np.float32)
    low, high = np.minimum(blocks.min(-1), 0), np.maximum(blocks.max(-1), 0)
    for steps in _STEPS:
        scale = np.maximum((high - low) / np.float32(steps), tiny)
        yield scale, np.clip(np.rint(-low / scale), 0, 15)


def _packed(codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Two to a byte along the last axis, which gets a zero where it is odd."""
    import numpy as np

    if codes.shape[-1] % 2:
        codes = np.concatenate([codes, np.zeros((*codes.shape[:-1], 1), np.uint8)], axis=-1)
    return codes[..., ::2] | (codes[..., 1::2] << np.uint8(4))
