"""What computes: onnxruntime's execution providers, by short names.

The kernels of the graph (MatMulNBits, GroupQueryAttention) are tested on the CPU only.
"""

from __future__ import annotations

import difflib
import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

KNOWN = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "directml": "DmlExecutionProvider",
    "migraphx": "MIGraphXExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "webgpu": "WebGpuExecutionProvider",
}
"""Our name and onnxruntime's."""

_logger = logging.getLogger("hybridinfer.edge")


def known(name: str) -> str:
    """`name`, if it is one of ours. Raises `ValueError` with the nearest one otherwise."""
    if name in KNOWN:
        return name
    near = difflib.get_close_matches(name.lower(), KNOWN, n=1)
    hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(KNOWN)}"
    raise ValueError(f"no provider is called {name!r}; {hint}")


def choose(wanted: Sequence[str], available: Collection[str]) -> str:
    """The first of `wanted` that is among onnxruntime's `available`, else cpu. Says so once where it is not the first."""
    chosen = next((name for name in wanted if KNOWN[name] in available), "cpu")
    if wanted and chosen != wanted[0]:
        _logger.warning("this onnxruntime has no %s; the model runs on %s", wanted[0], chosen)
    return chosen


def here(available: Collection[str]) -> list[str]:
    """Our names of what onnxruntime offers on this machine."""
    return [name for name, theirs in KNOWN.items() if theirs in available]
