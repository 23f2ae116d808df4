"""GGUF to ONNX: the same numbers, at a place of its own, whole or not at all."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import numpy as np
import pytest

from benchmarks.reference import Reference
from hybridinfer.edge import checksum
from hybridinfer.edge.convert import Conversion
from hybridinfer.edge.gguf import GgufFile
from hybridinfer.edge.hyper import Hyper
from hybridinfer.edge.quantize import quantize
from hybridinfer.edge.session import Sequence, Session, Stop
from hybridinfer.errors import ModelCorrupt, ModelError
from tests import tiny

TOKENS = tuple(np.random.default_rng(0).integers(5, 250, 150).tolist())


@pytest.mark.parametrize(
    ("architecture", "tied"), [("llama", True), ("llama", False), ("qwen2", True)], ids=["llama", "untied", "qwen2"]
)
def test_the_graph_computes_what_the_plain_forward_pass_computes(tmp_path: Path, architecture: str, tied: bool) -> None:
    """The int8 graph's logits agree with float32 numpy at every position, over more than one prefill chunk."""
    file = tiny.write(tmp_path / "tiny.gguf", architecture, tied=tied)
    conversion = Conversion.of(tmp_path, checksum.sha256(file))
    conversion.make(file)
    got = Sequence(Session(conversion, threads=1)).feed_all(TOKENS, Stop())
    with GgufFile(file) as gguf:
        wanted = Reference(gguf).logits(TOKENS)
    assert np.linalg.norm(got - wanted) / np.linalg.norm(wanted) < 0.06  # int8 rounding; a wrong graph is off by 1
    assert (got.argmax(-1) == wanted.argmax(-1)).mean() > 0.9


def test_long_rotary_factors_are_honoured(tmp_path: Path) -> None:
    """Linear scaling by 4 puts position 4 where position 1 was."""
    file = tiny.write(tmp_path / "tiny.gguf", rope__scaling__type="linear", rope__scaling__factor=4.0)
    plain = tiny.write(tmp_path / "plain.gguf")
    with GgufFile(file) as scaled, GgufFile(plain) as unscaled:
        cos, _ = Hyper.of(scaled).rotary(scaled)
        base, _ = Hyper.of(unscaled).rotary(unscaled)
    np.testing.assert_allclose(cos[4], base[1], atol=1e-6)


def test_frequency_factors_in_the_file_are_honoured(tmp_path: Path) -> None:
    """Files of Llama 3 divide each frequency by a factor of its own: by 4 here, as linear scaling by 4 does."""
    factors = np.full(tiny.WIDTH // tiny.HEADS // 2, 4, np.float32)
    file = tiny.write(tmp_path / "tiny.gguf", extra={"rope_freqs.weight": factors})
    plain = tiny.write(tmp_path / "plain.gguf")
    with GgufFile(file) as scaled, GgufFile(plain) as unscaled:
        _, sin = Hyper.of(scaled).rotary(scaled)
        _, base = Hyper.of(unscaled).rotary(unscaled)
    np.testing.assert_allclose(sin[8], base[2], atol=1e-6)


@pytest.mark.parametrize(("rows", "columns", "block"), [(3, 64, 32), (2, 70, 32), (1, 128, 128)])
def test_rounding_is_off_by_half_a_step_at_most(rows: int, columns: int, block: int) -> None:
    """Each weight comes back within half of its block's scale; a short last block is padded with zeros."""
    weights = np.random.default_rng(0).standard_normal((rows, columns)).astype(np.float32)
    found = quantize(weights, block)
    codes, scales = found.codes, found.scales
    back = (codes.astype(np.float32) - 128) * scales[..., None]
    flat = back.reshape(rows, -1)
    assert (np.abs(flat[:, :columns] - weights) <= np.repeat(scales, block, 1)[:, :columns] * 0.501).all()
    assert not flat[:, columns:].any()


def test_a_block_of_zeros_stays_zero() -> None:
    """Its scale must not become a division by nothing."""
    found = quantize(np.zeros((1, 32), np.float32), 32)
    assert ((found.codes.astype(np.float32) - 128) * found.scales[..., None] == 0).all()


@pytest.mark.parametrize(
    ("changes", "because"),
    [
        ({"architecture": "gemma"}, "architecture gemma"),
        ({"rope__scaling__type": "yarn"}, "yarn rotary scaling"),
        ({"expert_count": 8}, "mixture of experts"),
        ({"attention__head_count": [4, 2]}, "layers of different shapes"),
        ({"rope__dimension_count": 8}, "part of each head"),
        ({"block_count": None}, "lacks llama.block_count"),
        ({"without": "token_embd.weight"}, "lacks the tensor token_embd"),
        ({"block_count": 3}, "lacks the tensor blk.2"),
    ],
)
def test_a_model_that_would_run_wrongly_is_refused(tmp_path: Path, changes: dict, because: str) -> None:
    """Each unsupported feature has its own message, and leaves nothing behind."""
    architecture = changes.pop("architecture", "llama")
    file = tiny.write(tmp_path / "tiny.gguf", architecture, **changes)
    conversion = Conversion.of(tmp_path / "cache", "0")
    with pytest.raises(ModelError, match=because):
        conversion.make(file)
    assert not conversion.exists
    assert [entry.name for entry in (tmp_path / "cache/onnx").iterdir() if entry.is_dir()] == []


@pytest.mark.parametrize("name", ["model.onnx", "weights.bin", "manifest.json"])
def test_one_damaged_byte_is_caught_before_loading(tmp_path: Path, tiny_gguf: Path, name: str) -> None:
    """A single flipped byte anywhere in the converted model is a ModelCorrupt, and no session comes of it."""
    conversion = Conversion(tmp_path / "converted")
    conversion.make(tiny_gguf)
    file = conversion.directory / name
    data = bytearray(file.read_bytes())
    data[data.index(b'": ["') + 9 if name == "manifest.json" else len(data) // 2] ^= 1  # of the graph's hash
    file.write_bytes(data)
    with pytest.raises(ModelCorrupt, match="damaged"):
        Session(conversion, threads=1)


def test_leftovers_of_a_crash_are_swept_away(tmp_path: Path, tiny_gguf: Path) -> None:
    """A directory that a killed conversion left behind goes with the next one."""
    conversion = Conversion(tmp_path / "converted")
    leftover = tmp_path / ".converted-abc"
    leftover.mkdir()
    conversion.make(tiny_gguf)
    assert conversion.exists
    assert not leftover.exists()


def test_converting_again_changes_nothing(tmp_path: Path, tiny_gguf: Path) -> None:
    """A finished conversion is taken as it is."""
    conversion = Conversion(tmp_path / "converted")
    conversion.make(tiny_gguf)
    before = conversion.graph.stat().st_mtime_ns
    conversion.make(tiny_gguf)
    assert conversion.graph.stat().st_mtime_ns == before
    assert conversion.bytes > 100_000


def test_progress_reaches_the_whole(tmp_path: Path, tiny_gguf: Path) -> None:
    """The report rises and ends at its total."""
    seen = []
    Conversion(tmp_path / "converted").make(tiny_gguf, seen.append)
    done = [progress.done for progress in seen]
    assert done == sorted(done)
    assert {progress.stage for progress in seen} == {"convert"}
    assert 0.9 < done[-1] / seen[-1].total <= 1


def _convert(directory: Path, source: Path, results: multiprocessing.Queue) -> None:
    made: list[object] = []
    Conversion(directory).make(source, made.append)
    results.put((os.getpid(), bool(made)))


def test_two_processes_convert_once(tmp_path: Path, tiny_gguf: Path) -> None:
    """Of several processes that want the same model, one converts and all find it whole."""
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    children = [context.Process(target=_convert, args=(tmp_path / "converted", tiny_gguf, results)) for _ in range(3)]
    for child in children:
        child.start()
    worked = [results.get(timeout=300)[1] for _ in children]
    for child in children:
        child.join(60)
    assert sorted(worked) == [False, False, True]
    Conversion(tmp_path / "converted").check_weights()


def test_an_unwritable_cache_says_what_to_set(tmp_path: Path, tiny_gguf: Path) -> None:
    """A cache below a file cannot be made: the message names the variable."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match="HYBRIDINFER_CACHE"):
        Conversion(tmp_path / "file" / "converted").make(tiny_gguf)
