"""The measures of a model that can run here, and why another one cannot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import ModelError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .gguf import GgufFile

ARCHITECTURES = frozenset({"llama", "qwen2"})
MAX_CONTEXT = 32768
"""Positions that a converted graph holds rotary angles for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hyper:
    """Sizes and constants of a llama- or qwen2-architecture decoder."""

    architecture: str
    layers: int
    width: int
    inner: int
    heads: int
    kv_heads: int
    head_size: int
    vocabulary: int
    context: int
    epsilon: float
    rope_base: float
    rope_scale: float

    @classmethod
    def of(cls, gguf: GgufFile) -> Hyper:
        """Read them from `gguf`. Raises `ModelError` for whatever this engine would run wrongly."""
        architecture = gguf.architecture
        if architecture not in ARCHITECTURES:
            raise ModelError(
                f"{gguf.path.name} is of the architecture {architecture or '(none)'}; "
                f"this engine runs {' and '.join(sorted(ARCHITECTURES))}"
            )
        _refuse_what_would_run_wrongly(gguf)
        heads, width = int(gguf.hyper("attention.head_count")), int(gguf.hyper("embedding_length"))
        if "token_embd.weight" not in gguf.tensors:
            raise ModelError(f"{gguf.path.name} lacks the tensor token_embd.weight; use a complete GGUF file")
        return cls(
            architecture=architecture,
            layers=int(gguf.hyper("block_count")),
            width=width,
            inner=int(gguf.hyper("feed_forward_length")),
            heads=heads,
            kv_heads=int(gguf.hyper("attention.head_count_kv", heads)),
            head_size=int(gguf.hyper("attention.key_length", width // heads)),
            vocabulary=gguf.tensors["token_embd.weight"].shape[0],
            context=min(int(gguf.hyper("context_length")), MAX_CONTEXT),
            epsilon=float(gguf.hyper("attention.layer_norm_rms_epsilon")),
            rope_base=float(gguf.hyper("rope.freq_base", 10000.0)),
            rope_scale=float(gguf.hyper("rope.scaling.factor", 1.0)),
        )

    @property
    def permuted(self) -> bool:
        """Whether the rows of Q and K lie in pairs: llama files yes, qwen2 files no."""
        return self.architecture == "llama"

    def unpermute(self, heads: int) -> NDArray[np.int64]:
        """The row order that turns a llama file's Q or K back into halves, as the rotary kernel wants them."""
        import numpy as np

        rows = np.arange(heads * self.head_size)
        return rows.reshape(heads, self.head_size // 2, 2).swapaxes(1, 2).reshape(-1)

    def rotary(self, gguf: GgufFile) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Cosines and sines, each [context, head_size / 2]; angles are computed in float64."""
        import numpy as np

        inverse = self.rope_base ** (-np.arange(0, self.head_size, 2, dtype=np.float64) / self.head_size)
        if "rope_freqs.weight" in gguf.tensors:
            inverse = inverse / gguf.floats("rope_freqs.weight").astype(np.float64)
        angles = np.arange(self.context)[:, None] * inverse[None] / self.rope_scale
        return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)


def _refuse_what_would_run_wrongly(gguf: GgufFile) -> None:
    name = gguf.path.name
    scaling: Any = gguf.hyper("rope.scaling.type", "none")
    if scaling not in {"none", "linear"}:
        raise ModelError(f"{name} wants {scaling} rotary scaling; this engine knows none and linear")
    if int(gguf.hyper("expert_count", 0)) > 0:
        raise ModelError(f"{name} is a mixture of experts; this engine runs dense models")
    if isinstance(gguf.hyper("attention.head_count"), list):
        raise ModelError(f"{name} has layers of different shapes; this engine runs uniform ones")
    heads = int(gguf.hyper("attention.head_count"))
    size = int(gguf.hyper("attention.key_length", int(gguf.hyper("embedding_length")) // heads))
    if int(gguf.hyper("rope.dimension_count", size)) != size:
        raise ModelError(f"{name} turns only a part of each head; this engine turns whole heads")
