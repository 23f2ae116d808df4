"""A plain float32 forward pass of llama and qwen2 models, straight from the GGUF: what the engine is measured by.

It shares nothing with the converter but the file reader: full attention over the whole sequence, no cache, and
rotary embeddings in the file's own layout (llama: neighbouring pairs; qwen2: halves).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from hybridinfer.edge.gguf import GgufFile

    Floats = NDArray[np.float32]


class Reference:
    """The dequantised weights of `gguf`, all in memory."""

    def __init__(self, gguf: GgufFile) -> None:
        self._weights = {name: gguf.floats(name) for name in gguf.tensors}
        self._layers = int(gguf.hyper("block_count"))
        self._heads = int(gguf.hyper("attention.head_count"))
        self._kv_heads = int(gguf.hyper("attention.head_count_kv"))
        self._size = int(gguf.hyper("embedding_length")) // self._heads
        self._epsilon = float(gguf.hyper("attention.layer_norm_rms_epsilon"))
        self._base = float(gguf.hyper("rope.freq_base", 10000.0))
        self._pairs = gguf.architecture == "llama"

    def logits(self, tokens: Sequence[int]) -> Floats:
        """The logits after each token, [len(tokens), vocabulary]."""
        weights = self._weights
        stream = weights["token_embd.weight"][list(tokens)]
        for layer in range(self._layers):
            block = f"blk.{layer}."
            stream = stream + self._attention(block, self._norm(stream, f"{block}attn_norm.weight"))
            normed = self._norm(stream, f"{block}ffn_norm.weight")
            gate = self._linear(f"{block}ffn_gate", normed)
            inner = gate / (1 + np.exp(-gate)) * self._linear(f"{block}ffn_up", normed)
            stream = stream + self._linear(f"{block}ffn_down", inner)
        head = weights.get("output.weight", weights["token_embd.weight"])
        return self._norm(stream, "output_norm.weight") @ head.T

    def greedy(self, tokens: Sequence[int], count: int, ends: frozenset[int]) -> list[int]:
        """Up to `count` tokens that continue `tokens`, the most likely each time; the end token is not included."""
        answer: list[int] = []
        while len(answer) < count:
            token = int(self.logits([*tokens, *answer])[-1].argmax())
            if token in ends:
                break
            answer.append(token)
        return answer

    def _attention(self, block: str, normed: Floats) -> Floats:
        count, group = len(normed), self._heads // self._kv_heads
        q, k, v = (self._linear(f"{block}attn_{name}", normed).reshape(count, -1, self._size) for name in "qkv")
        q, k = self._rotate(q), np.repeat(self._rotate(k), group, axis=1)
        scores = np.einsum("qhd,khd->hqk", q, k) / np.sqrt(np.float32(self._size))
        scores = np.where(np.tri(count, dtype=bool), scores, -np.inf)
        shares = np.exp(scores - scores.max(-1, keepdims=True))
        shares /= shares.sum(-1, keepdims=True)
        mixed = np.einsum("hqk,khd->qhd", shares, np.repeat(v, group, axis=1)).reshape(count, -1)
        return self._linear(f"{block}attn_output", mixed)

    def _rotate(self, heads: Floats) -> Floats:
        frequencies = self._base ** (-np.arange(0, self._size, 2) / self._size)
        angles = (np.arange(len(heads))[:, None] * frequencies)[:, None]
        cos, sin = np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)
        half = self._size // 2
        first, second = (heads[..., 0::2], heads[..., 1::2]) if self._pairs else (heads[..., :half], heads[..., half:])
        turned = (first * cos - second * sin, second * cos + first * sin)
        return np.stack(turned, -1).reshape(heads.shape) if self._pairs else np.concatenate(turned, -1)

    def _linear(self, name: str, values: Floats) -> Floats:
        product = values @ self._weights[f"{name}.weight"].T
        bias = self._weights.get(f"{name}.bias")
        return product if bias is None else product + bias

    def _norm(self, values: Floats, name: str) -> Floats:
        scale = np.sqrt((values**2).mean(-1, keepdims=True) + np.float32(self._epsilon))
        return values / scale * self._weights[name]
