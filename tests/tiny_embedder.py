"""An embedder of a few words with the shape of the real one, for tests that must not fetch anything."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from hybridinfer.edge.catalogue import Model
from hybridinfer.edge.embedder import NAME, SIZE

WORDS = ("[CLS]", "[SEP]", "[UNK]", "bigger", "larger", "smaller", "cats", "dogs")
"""`bigger` and `larger` are near; all others are far from each other."""


def table() -> np.ndarray:
    """One row for each of `WORDS`; the two marks and unknown words are nearly nothing."""
    rows = np.random.default_rng(7).normal(size=(len(WORDS), SIZE)).astype(np.float32)
    rows[:3] *= 1e-3
    rows[4] = rows[3] + 0.1 * rows[4]
    return rows


def write(cache: Path) -> Model:
    """Lay it where a store with this cache finds it; the model that pins it."""
    graph, tokenizer = _graph(), _tokenizer()
    model = Model(
        id=NAME,
        title="Tiny",
        sha256=hashlib.sha256(graph + tokenizer).hexdigest(),
        bytes=len(graph) + len(tokenizer),
        licence="CC0",
        graph_bytes=len(graph),
    )
    place = cache / "models" / f"{model.sha256}.embedder"
    place.parent.mkdir(parents=True)
    place.write_bytes(graph + tokenizer)
    return model


def _graph() -> bytes:
    from onnx import TensorProto, helper, numpy_helper

    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "sequence"])
        for name in ("input_ids", "attention_mask", "token_type_ids")
    ]
    output = helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, ["batch", "sequence", SIZE])
    node = helper.make_node("Gather", ["table", "input_ids"], ["last_hidden_state"])
    graph = helper.make_graph([node], "tiny", inputs, [output], [numpy_helper.from_array(table(), "table")])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    data: bytes = made.SerializeToString()
    return data


def _tokenizer() -> bytes:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    made = Tokenizer(models.WordLevel({word: at for at, word in enumerate(WORDS)}, unk_token="[UNK]"))
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 0), ("[SEP]", 1)]
    )
    text: str = made.to_str()
    return text.encode()
