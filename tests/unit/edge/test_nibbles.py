"""Four-bit blocks, taken out of a GGUF file as they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFWriter, dequantize

from hybridinfer.edge import nibbles
from hybridinfer.edge.gguf import GgufFile
from hybridinfer.errors import ModelError

ROWS, COLUMNS = 5, 512


def packed(kind: GGMLQuantizationType) -> np.ndarray:
    """Blocks of random codes and factors, with scales that are numbers."""
    block, size = GGML_QUANT_SIZES[kind]
    random = np.random.default_rng(3)
    raw = random.integers(0, 256, (ROWS * COLUMNS // block, size), dtype=np.uint8)
    halves = random.standard_normal((len(raw), 2)).astype("<f2").view(np.uint8)
    heads = 2 if kind is GGMLQuantizationType.Q4_0 else 4
    raw[:, :heads] = halves[:, :heads]
    return raw.reshape(ROWS, -1)


def write(path: Path, kind: GGMLQuantizationType, raw: np.ndarray) -> Path:
    writer = GGUFWriter(path, "llama")
    writer.add_tensor("w", raw, raw_dtype=kind)
    for step in ("write_header_to_file", "write_kv_data_to_file", "write_tensors_to_file", "close"):
        getattr(writer, step)()
    return path


@pytest.mark.parametrize("name", sorted(nibbles.KINDS.values()))
def test_codes_scales_and_offsets_make_the_vendors_floats(tmp_path: Path, name: str) -> None:
    """(code - 8) * scale + offset is what the gguf package computes, weight by weight."""
    kind = GGMLQuantizationType[name]
    raw = packed(kind)
    with GgufFile(write(tmp_path / "x.gguf", kind, raw)) as gguf:
        found = gguf.nibbles("w")
    assert found is not None
    assert found.codes.shape == (ROWS, COLUMNS)
    assert found.codes.max() == 15
    back = (found.codes.reshape(ROWS, -1, nibbles.BLOCK).astype(np.float32) - 8) * found.scales[..., None]
    if found.offsets is not None:
        back += found.offsets[..., None]
    assert (found.offsets is None) == (name == "Q4_0")
    np.testing.assert_allclose(back.reshape(ROWS, COLUMNS), dequantize(raw, kind), rtol=1e-5, atol=1e-4)


def test_a_tensor_of_another_kind_has_none(tiny_gguf: Path) -> None:
    """Floats are no 4-bit blocks."""
    with GgufFile(tiny_gguf) as gguf:
        assert gguf.nibbles("blk.0.attn_q.weight") is None


def test_blocks_cut_off_are_refused(tmp_path: Path) -> None:
    """A header may be whole while the weights are not."""
    kind = GGMLQuantizationType.Q4_1
    file = write(tmp_path / "x.gguf", kind, packed(kind))
    file.write_bytes(file.read_bytes()[:-100])
    with GgufFile(file) as gguf, pytest.raises(ModelError, match="cannot be read"):
        gguf.nibbles("w")
