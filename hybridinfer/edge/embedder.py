"""What a text is about, as a vector of 384 numbers: MiniLM in this process. Off unless a policy asks for it.

all-MiniLM-L6-v2 (Reimers and Gurevych, Sentence-BERT, arXiv 1908.10084; weights of sentence-transformers, Apache-2.0):
six layers, mean of the last ones' states, scaled to length 1. It is not shipped here; `hybridinfer models pull
minilm-l6-v2` fetches it once, and nothing is sent anywhere afterwards.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

from ..errors import ModelError
from .catalogue import embedders
from .store import Store

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    Vector = NDArray[np.float32]

NAME = "minilm-l6-v2"
SIZE = 384
"""Numbers of a vector."""
WINDOW = 256
"""Pieces of words that it reads of a text, its two marks included; what comes after them does not count."""
_CHARACTERS = 4_000
"""Of a text that are looked at for so many pieces."""

_lock = threading.Lock()
_loaded: dict[str, Embedder] = {}


class Embedder:
    """The model in memory, some 100 MB. Any number of threads may ask it at once."""

    def __init__(self, graph: bytes, tokenizer: bytes) -> None:
        """Raises `ModelError` where these are no such model."""
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # it reads this at its import
        import onnxruntime
        from tokenizers import Tokenizer

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # a prompt is too short for more
        try:
            self._tokenizer = Tokenizer.from_buffer(tokenizer)
            self._session: Any = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # both raise types of their own, or bare ones
            raise ModelError(f"{NAME} cannot be loaded ({type(error).__name__})") from error
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()

    def vector(self, text: str, *, pieces: int = WINDOW) -> Vector:
        """The meaning of the first `pieces` of `text`: float32, (384,), of length 1."""
        import numpy as np

        *head, end = self._tokenizer.encode(text[:_CHARACTERS]).ids
        ids = np.array([[*head[: pieces - 1], end]], np.int64)
        feed = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        mean = self._session.run(None, feed)[0][0].mean(axis=0)
        vector: Vector = (mean / np.linalg.norm(mean)).astype(np.float32)
        return vector

    def reads_whole(self, text: str) -> bool:
        """Whether nothing of `text` lies beyond the window."""
        return len(text) <= _CHARACTERS and len(self._tokenizer.encode(text).ids) <= WINDOW


def load(environ: Mapping[str, str] | None = None) -> Embedder:
    """The one of this process, checked against its hash. Raises `ModelNotFound`, which says what to run, or `ModelError`."""
    store, model = Store.default(environ), embedders()[NAME]
    file = str(store.file(model))
    with _lock:
        if file not in _loaded:
            data = store.verified(model)[0].read_bytes()
            _loaded[file] = Embedder(data[: model.graph_bytes], data[model.graph_bytes :])
        return _loaded[file]


def check_here(environ: Mapping[str, str] | None = None) -> None:
    """Raise `ModelNotFound`, which says what to run, where the model is not on this machine. Loads nothing."""
    Store.default(environ).file(embedders()[NAME])
