"""The GGUF reader gives what the writer wrote, and refuses the rest without reading beyond the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter, dequantize, quantize
from hypothesis import given
from hypothesis import strategies as st

from hybridinfer.edge.gguf import GgufFile
from hybridinfer.errors import ModelError
from tests import tiny


def test_metadata_and_tensors_equal_the_vendors_reader(tiny_gguf: Path) -> None:
    """Every key and every tensor reads as the gguf package reads it."""
    theirs = GGUFReader(tiny_gguf)
    with GgufFile(tiny_gguf) as ours:
        assert ours.metadata["tokenizer.ggml.merges"] == list(tiny.MERGES)
        for key, value in ours.metadata.items():
            assert theirs.fields[key].contents() == value
        assert list(ours.tensors) == [tensor.name for tensor in theirs.tensors]
        for tensor in theirs.tensors:
            np.testing.assert_array_equal(ours.floats(tensor.name).ravel(), np.asarray(tensor.data).ravel())


@pytest.mark.parametrize("kind", [GGMLQuantizationType.Q8_0, GGMLQuantizationType.Q4_1, GGMLQuantizationType.F16])
def test_quantised_tensors_come_out_as_floats(tmp_path: Path, kind: GGMLQuantizationType) -> None:
    """A quantised tensor dequantises to its row-major shape."""
    values = np.random.default_rng(0).standard_normal((4, 64)).astype(np.float32)
    packed = quantize(values, kind)
    writer = GGUFWriter(tmp_path / "x.gguf", "llama")
    writer.add_tensor("w", packed, raw_dtype=kind)
    for step in ("write_header_to_file", "write_kv_data_to_file", "write_tensors_to_file", "close"):
        getattr(writer, step)()
    with GgufFile(tmp_path / "x.gguf") as gguf:
        np.testing.assert_array_equal(gguf.floats("w"), dequantize(packed, kind))


def test_all_kinds_of_metadata_are_read(tmp_path: Path) -> None:
    """Numbers, truth values, texts and lists of each."""
    writer = GGUFWriter(tmp_path / "x.gguf", "llama")
    writer.add_bool("a", True)
    writer.add_int64("b", -5)
    writer.add_array("c", [1, 2, 3])
    writer.add_array("d", ["x", "é"])
    writer.add_float64("e", 0.5)
    for step in ("write_header_to_file", "write_kv_data_to_file", "write_tensors_to_file", "close"):
        getattr(writer, step)()
    metadata = GgufFile(tmp_path / "x.gguf").metadata
    assert [metadata[key] for key in "abcde"] == [True, -5, [1, 2, 3], ["x", "é"], 0.5]


@pytest.mark.parametrize("content", [b"", b"GG", b"NOPE" * 20, b"GGUF\x01\0\0\0" + bytes(60)])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    """Empty, short, foreign and outdated files are a ModelError that says to fetch again."""
    (tmp_path / "x.gguf").write_bytes(content)
    with pytest.raises(ModelError, match="fetch it again"):
        GgufFile(tmp_path / "x.gguf")


@given(data=st.data())
def test_no_damaged_header_does_more_than_raise(
    tiny_gguf: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Whatever bytes a header is overwritten with, reading ends in values or in a ModelError."""
    content = bytearray(tiny_gguf.read_bytes()[:8000])
    at = data.draw(st.integers(4, 7990))
    content[at : at + 8] = data.draw(st.binary(min_size=8, max_size=8))
    file = tmp_path_factory.getbasetemp() / "damaged.gguf"
    file.write_bytes(content[: data.draw(st.integers(100, 8000))])
    said = ""
    try:
        GgufFile(file).close()
    except ModelError as error:
        said = str(error)
    assert not said or "fetch it again" in said


def test_a_tensor_cut_off_is_refused(tmp_path: Path, tiny_gguf: Path) -> None:
    """A header may be whole while the weights are not."""
    content = tiny_gguf.read_bytes()
    (tmp_path / "x.gguf").write_bytes(content[: len(content) - 1000])
    with GgufFile(tmp_path / "x.gguf") as gguf, pytest.raises(ModelError, match="cannot be read"):
        gguf.floats(list(gguf.tensors)[-1])


def test_missing_things_are_named(tiny_gguf: Path) -> None:
    """An absent tensor or hyper-parameter is named in the error."""
    with GgufFile(tiny_gguf) as gguf:
        with pytest.raises(ModelError, match="lacks the tensor nope"):
            gguf.floats("nope")
        with pytest.raises(ModelError, match=r"lacks llama\.nope"):
            gguf.hyper("nope")
