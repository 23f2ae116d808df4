"""Keys and values of several sequences side by side, so that one run of the model serves them all.

Slot i of every tensor is row i of an array [slots, heads, capacity, head_size] in one private mapping: the system
gives memory page by page as positions are filled, so a row grows without anybody copying it, and takes the pages
back when the row ends. Tensors are bound once for each number of rows; binding 120 of them costs 5 ms.
"""

from __future__ import annotations

import mmap
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from .session import runtime

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from .session import Logits, Session, Stop

_LEAST_CAPACITY = 1024
_PAGE_POSITIONS = 16  # positions of one head in a page of 4 KiB, at head size 64


class Slots:
    """Room for `count` sequences. Rows in use stand first, so that a step runs over slots 0..n. Not thread-safe."""

    def __init__(self, session: Session, count: int) -> None:
        import numpy as np

        self.count = count
        self.lengths = np.zeros(count, np.int32)
        """Positions filled, by slot."""
        self.capacity = 0
        self._session = session
        self._arrays: list[NDArray[np.float32]] = []
        self._mapping: Any = None
        self._prefills: dict[int, Any] = {}
        self._steps: dict[int, _Step] = {}
        self._logits = np.zeros((count, 1, session.vocabulary), np.float32)
        self._first = np.zeros((1, 1, session.vocabulary), np.float32)
        self._last_logits = runtime().OrtValue.ortvalue_from_numpy(self._first)

    def bytes_for(self, positions: int) -> int:
        """What a row of so many positions takes at most."""
        return -(-positions // _PAGE_POSITIONS) * _PAGE_POSITIONS * self._session.position_bytes

    def reserve(self, positions: int) -> None:
        """Be able to hold rows of so many positions. Raises `MemoryError` where the system has no addresses left."""
        if positions <= self.capacity:
            return
        capacity = max(self.capacity, _LEAST_CAPACITY)
        while capacity < positions:
            capacity *= 2
        old, (self._mapping, self._arrays) = self._arrays, _map(self._session, self.count, capacity)
        for before, after in zip(old, self._arrays, strict=False):
            for slot, length in enumerate(self.lengths):
                after[slot, :, :length] = before[slot, :, :length]
        self.capacity = capacity
        self._prefills.clear()
        self._steps.clear()

    def prefill(self, slot: int, tokens: Sequence[int], stop: Stop, *, logits: bool) -> Logits | None:
        """Append `tokens` to one slot; returns the logits [vocabulary] after the last one where they are wanted.

        They are valid until the next call. Raises `Stopped` or `ModelError`; the slot is then as before.
        """
        import numpy as np

        session, value = self._session, runtime().OrtValue.ortvalue_from_numpy
        binding = self._prefills.get(slot)
        if binding is None:
            binding = self._prefills[slot] = self._bound(slot, slot + 1)
        last = int(self.lengths[slot]) + len(tokens) - 1
        inputs = {
            "input_ids": np.asarray(tokens, np.int64)[None],
            "seqlens_k": np.array([last], np.int32),
            "total_seq": np.array(last + 1, np.int32),
            "logits_idx": np.array([len(tokens) - 1] if logits else [], np.int64),
        }
        for name, array in inputs.items():
            binding.bind_ortvalue_input(name, value(array))
        out = self._last_logits if logits else value(np.zeros((1, 0, session.vocabulary), np.float32))
        binding.bind_ortvalue_output("logits", out)
        session.run(binding, stop)
        self.lengths[slot] += len(tokens)
        return self._first[0, 0] if logits else None

    def step(self, tokens: Sequence[int], stop: Stop) -> Logits:
        """Append one token to each of the first slots; returns their logits [len(tokens), vocabulary].

        They are valid until the next call. Raises `Stopped` or `ModelError`.
        """
        count = len(tokens)
        step = self._steps.get(count)
        if step is None:
            step = self._steps[count] = _Step(self._bound(0, count), self._logits[:count])
        step.ids[:, 0] = tokens
        step.lengths[:] = self.lengths[:count]
        step.total[...] = step.lengths.max() + 1
        self._session.run(step.binding, stop)
        self.lengths[:count] += 1
        logits: Logits = self._logits[:count, 0]
        return logits

    def move(self, source: int, target: int) -> None:
        """Put the row of `source` into `target`, whose own is forgotten; `source` is empty afterwards."""
        self.clear(target)
        length = self.lengths[target] = self.lengths[source]
        for array in self._arrays:
            array[target, :, :length] = array[source, :, :length]
        self.clear(source)

    def swap(self, one: int, other: int) -> None:
        """Exchange two rows."""
        lengths = self.lengths
        length = max(int(lengths[one]), int(lengths[other]))
        for array in self._arrays:
            kept = array[one, :, :length].copy()
            array[one, :, :length] = array[other, :, :length]
            array[other, :, :length] = kept
        lengths[one], lengths[other] = int(lengths[other]), int(lengths[one])

    def clear(self, slot: int) -> None:
        """Forget a row and give its pages back to the system."""
        filled, self.lengths[slot] = int(self.lengths[slot]), 0
        if filled and sys.platform == "linux":  # elsewhere the call means something else
            size = self._arrays[0][0].nbytes
            for number in range(len(self._arrays)):
                with suppress(OSError, ValueError):  # pages larger than a row: they stay
                    self._mapping.madvise(mmap.MADV_DONTNEED, (number * self.count + slot) * size, size)

    def read(self, slot: int, start: int, end: int) -> NDArray[np.float32]:
        """A copy of the keys and values of positions `start`..`end`, [tensors, heads, end - start, head_size]."""
        import numpy as np

        return np.stack([array[slot, :, start:end] for array in self._arrays])

    def append(self, slot: int, block: NDArray[np.float32]) -> None:
        """Append keys and values that `read` gave."""
        start = int(self.lengths[slot])
        end = start + block.shape[2]
        for array, part in zip(self._arrays, block, strict=True):
            array[slot, :, start:end] = part
        self.lengths[slot] = end

    def _bound(self, low: int, high: int) -> Any:
        binding, value = self._session.onnx.io_binding(), runtime().OrtValue.ortvalue_from_numpy
        for name, array in zip(self._session.past, self._arrays, strict=True):
            shared = value(array[low:high])
            binding.bind_ortvalue_input(name, shared)
            binding.bind_ortvalue_output(name.replace("past_key_values", "present"), shared)
        return binding


class _Step:
    """The binding of a step over a number of rows, with its inputs, which are changed in place."""

    def __init__(self, binding: Any, logits: Logits) -> None:
        import numpy as np

        count, value = len(logits), runtime().OrtValue.ortvalue_from_numpy
        self.binding = binding
        self.ids = np.zeros((count, 1), np.int64)
        self.lengths = np.zeros(count, np.int32)
        self.total = np.zeros((), np.int32)
        self._wanted = np.zeros(1, np.int64)
        inputs = (("input_ids", self.ids), ("seqlens_k", self.lengths), ("total_seq", self.total))
        for name, array in (*inputs, ("logits_idx", self._wanted)):
            binding.bind_ortvalue_input(name, value(array))
        binding.bind_ortvalue_output("logits", value(logits))


def _map(session: Session, slots: int, capacity: int) -> tuple[Any, list[NDArray[np.float32]]]:
    """A fresh mapping and, for each tensor, its part of it."""
    import numpy as np

    shape = (slots, session.heads, capacity, session.head_size)
    size = slots * capacity * session.position_bytes
    try:
        if sys.platform == "win32":
            mapping = mmap.mmap(-1, size)
        else:
            mapping = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError as error:
        raise MemoryError from error
    if hasattr(mmap, "MADV_NOHUGEPAGE"):
        with suppress(OSError):  # a kernel without huge pages
            mapping.madvise(mmap.MADV_NOHUGEPAGE)  # 2 MiB for a row's first token would make the accounts a lie
    whole = np.frombuffer(mapping, np.float32).reshape(len(session.past), *shape)
    return mapping, list(whole)
