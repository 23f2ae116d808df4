"""How fast a loaded model is on this machine, and how much of the machine's memory bandwidth that takes."""

from __future__ import annotations

import mmap
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .session import Sequence, Stop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .session import Session

PREFILL, DECODE = 128, 48
"""Tokens of the prompt, and steps behind it."""
_COPY_BYTES, _COPY_ROUNDS = 256 << 20, 5
_NOT_READ_WHOLE = ("embedding.", "cos_cache", "sin_cache")  # a token reads one row of each


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """One round. `prefill` and `decode` in tokens per second, `ttft` in seconds for a prompt of 128 tokens."""

    prefill: float
    decode: float
    ttft: float


def measure(session: Session, clock: Callable[[], float] = time.perf_counter) -> Speed:
    """Run a prompt and some steps alone in `session`."""
    sequence, stop = Sequence(session), Stop()
    prompt = [(37 * number) % (session.vocabulary - 1) for number in range(PREFILL)]
    sequence.reserve(PREFILL + DECODE)
    start = clock()
    sequence.feed(prompt, stop)
    middle = clock()
    for token in prompt[:DECODE]:
        sequence.feed((token,), stop)
    seconds = clock() - middle
    return Speed(prefill=PREFILL / (middle - start), decode=DECODE / seconds, ttft=middle - start)


def median(rounds: Iterable[Speed]) -> Speed:
    """Of each figure by itself."""
    listed = list(rounds)
    return Speed(
        prefill=statistics.median(one.prefill for one in listed),
        decode=statistics.median(one.decode for one in listed),
        ttft=statistics.median(one.ttft for one in listed),
    )


def bandwidth(threads: int, clock: Callable[[], float] = time.perf_counter) -> float:
    """Bytes per second that `threads` together read from memory: the best of several sums over 256 MiB."""
    import numpy as np

    whole = np.ones(_COPY_BYTES // 8, np.uint64)
    parts = np.array_split(whole, threads)
    best = 0.0
    with ThreadPoolExecutor(max_workers=threads, thread_name_prefix="bandwidth") as pool:
        for _ in range(_COPY_ROUNDS):
            start = clock()
            list(pool.map(np.add.reduce, parts))
            best = max(best, whole.nbytes / (clock() - start))
    return best


def read_per_token(graph: bytes) -> int:
    """Bytes of weights that one decoded token reads, by the `graph`'s own list of tensors.

    The keys and values come on top; for a short prompt they are nothing beside the weights.
    """
    import onnx

    total = 0
    for tensor in onnx.load_model_from_string(graph).graph.initializer:
        if not tensor.name.startswith(_NOT_READ_WHOLE):
            place = {entry.key: entry.value for entry in tensor.external_data}
            total += int(place.get("length", len(tensor.raw_data)))
    return total


def head_share(graph: bytes) -> float:
    """The share of `read_per_token` that goes into the output's matrix: what a smaller vocabulary could save."""
    import onnx

    tensors = [one for one in onnx.load_model_from_string(graph).graph.initializer if one.name.startswith("logits.")]
    lengths = [int(entry.value) for one in tensors for entry in one.external_data if entry.key == "length"]
    return sum(lengths) / read_per_token(graph)


def resident() -> int:
    """Bytes of memory that this process holds now; 0 where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * mmap.PAGESIZE
