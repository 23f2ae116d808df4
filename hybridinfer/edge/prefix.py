"""Keys and values of prompts' beginnings, kept for whoever begins the same way and may know it.

A block of 64 tokens is named by a hash over its scope, everything before it, and itself. So two scopes (tenant and
privacy class) never meet, and a block fits only behind the very prefix it was computed behind. Only prompts are
kept, never generated tokens: a cached beginning equals a computed one bit for bit.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from .memory import Memory
    from .prefix_disk import PrefixDisk

    Block = NDArray[np.float32]
    """Keys and values of 64 positions, [tensors, heads, 64, head_size]."""

BLOCK = 64
"""Tokens: small enough that little of a shared beginning is computed again, large enough to be copied at once."""
_REST = 2  # tokens left to run: at least one gives the logits, and a single one takes another kernel; see session.py


def keys(scope: str, tokens: Sequence[int]) -> tuple[bytes, ...]:
    """The names of the whole blocks of `tokens` that may come from a cache."""
    return tuple(_keys(scope, tokens))


def _keys(scope: str, tokens: Sequence[int]) -> Iterator[bytes]:
    name = hashlib.sha256(scope.encode()).digest()
    for end in range(BLOCK, len(tokens) - _REST + 1, BLOCK):
        name = hashlib.sha256(name + array("q", tokens[end - BLOCK : end]).tobytes()).digest()
        yield name


class PrefixCache:
    """Blocks by name; the least recently used leaves first. Not thread-safe."""

    def __init__(self, memory: Memory, limit: int, disk: PrefixDisk | None = None) -> None:
        """Takes at most `limit` bytes of `memory`, and only what nobody else needs. `disk` keeps the blocks as well."""
        self._memory = memory
        self._limit = limit
        self._disk = disk
        self._blocks: OrderedDict[bytes, Block] = OrderedDict()
        self.bytes = 0

    def __contains__(self, name: bytes) -> bool:
        return name in self._blocks

    def match(self, names: Sequence[bytes]) -> Iterator[Block]:
        """The blocks of the longest beginning of `names` that is here, now the most recently used.

        One after the other: those from the disk are counted as the cache's memory only, so let go of each in turn.
        """
        found = 0
        for name in names:
            block = self._blocks.get(name)
            if block is None and self._disk is not None and (block := self._disk.load(name)) is not None:
                self._keep(name, block)
            if block is None:
                break
            found += 1
            yield block
        for name in reversed(names[:found]):  # a prefix outlives what stands behind it
            if name in self._blocks:
                self._blocks.move_to_end(name)

    def known(self, names: Sequence[bytes]) -> int:
        """How many blocks `match` would give; nothing is touched."""
        return next((count for count, name in enumerate(names) if not self._has(name)), len(names))

    def _has(self, name: bytes) -> bool:
        return name in self._blocks or (self._disk is not None and name in self._disk)

    def add(self, name: bytes, block: Block) -> None:
        """Keep `block`, which belongs to the cache from now on, if there is room or older ones can leave."""
        if self._disk is not None and name not in self._blocks:
            self._disk.save(name, block)
        self._keep(name, block)

    def _keep(self, name: bytes, block: Block) -> None:
        size = block.nbytes
        if name in self._blocks or size > self._limit:
            return
        self._evict(self.bytes + size - self._limit)
        self._evict(size - self._memory.free)
        if self._memory.take(size):
            self._blocks[name] = block
            self.bytes += size

    def make_room(self, size: int) -> bool:
        """Let blocks go until `size` bytes of the memory are free; False where even all of them do not suffice."""
        if self._memory.free + self.bytes < size:
            return False
        self._evict(size - self._memory.free)
        return True

    def _evict(self, size: int) -> None:
        freed = 0
        while freed < size and self._blocks:
            _, block = self._blocks.popitem(last=False)
            freed += block.nbytes
            self.bytes -= block.nbytes
            self._memory.give(block.nbytes)
