"""Four bits: what is written, and what a model made of it is worth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from gguf import GGMLQuantizationType, dequantize, quants

from benchmarks.reference import Reference
from hybridinfer.edge.bench import head_share, measure, median, read_per_token, resident
from hybridinfer.edge.convert import Conversion
from hybridinfer.edge.fidelity import Fidelity, compare, transcripts
from hybridinfer.edge.gguf import GgufFile
from hybridinfer.edge.precision import Precision
from hybridinfer.edge.quantize import Quantized, block_size, quantize
from hybridinfer.edge.session import Sequence, Session, Stop
from hybridinfer.edge.vocabulary import Vocabulary
from tests import tiny

TOKENS = tuple(np.random.default_rng(0).integers(5, 250, 80).tolist())


def halves(packed: np.ndarray, count: int) -> np.ndarray:
    return np.stack([packed & 15, packed >> 4], axis=-1).reshape(*packed.shape[:-1], -1)[..., :count]


def weights_of(found: Quantized, block: int) -> np.ndarray:
    assert found.zeros is not None
    codes, zeros = halves(found.codes, block), halves(found.zeros, found.scales.shape[1])
    return (codes.astype(np.float32) - zeros[..., None]) * found.scales[..., None]


@pytest.mark.parametrize(("columns", "block"), [(64, 32), (96, 32), (70, 32), (256, 128)])
def test_four_bits_are_the_nearest_of_sixteen_steps(columns: int, block: int) -> None:
    """Off by half a step of the block's span at most, as its own grid is no worse than the plain one."""
    weights = np.random.default_rng(0).standard_normal((5, columns)).astype(np.float32)
    found = quantize(weights, block, 4)
    back = weights_of(found, block).reshape(5, -1)[:, :columns]
    padded = np.pad(weights, ((0, 0), (0, -columns % block))).reshape(5, -1, block)
    span = np.maximum(padded.max(-1), 0) - np.minimum(padded.min(-1), 0)
    plain = np.sqrt(block) * span / 15  # of the root of a block's summed squares
    error = np.sqrt(np.square(np.pad(back - weights, ((0, 0), (0, -columns % block))).reshape(padded.shape)).sum(-1))
    assert (error <= plain).all()
    assert found.codes.shape == (5, padded.shape[1], block // 2)


def test_what_was_four_bits_already_comes_through_unchanged() -> None:
    """A Q4_0 tensor has the same grid."""
    random = np.random.default_rng(1).standard_normal((4, 128)).astype(np.float32)
    stored = dequantize(quants.quantize(random, GGMLQuantizationType.Q4_0), GGMLQuantizationType.Q4_0)
    assert np.allclose(weights_of(quantize(stored, 32, 4), 32).reshape(4, 128), stored, atol=1e-6)


def test_offsets_say_what_zero_points_said() -> None:
    """The weights are the same, for an odd number of blocks too."""
    found = quantize(np.random.default_rng(2).standard_normal((3, 96)).astype(np.float32), 32, 4)
    other = found.with_offsets()
    assert other.offsets is not None
    back = (halves(other.codes, 32).astype(np.float32) - 8) * other.scales[..., None] + other.offsets[..., None]
    np.testing.assert_allclose(back, weights_of(found, 32), atol=1e-5)


@pytest.mark.parametrize(
    ("architecture", "stored"),
    [("llama", {"": "Q4_1"}), ("qwen2", {"attn_v": "F32", "": "Q4_1"}), ("qwen2", {"": "Q4_0"})],
    ids=["all", "one of three is not", "symmetric"],
)
def test_four_bits_of_a_file_are_not_rounded_again(tmp_path: Path, architecture: str, stored: dict[str, str]) -> None:
    """Nearer to the file's own floats than the same file rounded to 4 bits with blocks of one's own."""
    file = tiny.write(tmp_path / "tiny.gguf", architecture, stored=stored)
    with GgufFile(file) as gguf:
        wanted = Reference(gguf).logits(TOKENS)
    off = []
    for number, block in enumerate((None, 32)):
        bundle = Conversion(tmp_path / f"{number}.bundle")
        bundle.make(file, precision=Precision.of(4, block))
        got = Sequence(Session(bundle, threads=1)).feed_all(TOKENS, Stop())
        off.append(float(np.linalg.norm(got - wanted) / np.linalg.norm(wanted)))
    assert off[0] < 0.08  # eight bits: up to 0.06
    assert off[0] < off[1] or stored == {"": "Q4_0"}


def test_a_block_of_zeros_stays_zero() -> None:
    """No division by nothing."""
    assert not weights_of(quantize(np.zeros((2, 64), np.float32), 32, 4), 32).any()


def test_blocks_of_four_bits_are_small() -> None:
    """Whatever the columns would allow."""
    assert (block_size([256, 512], 4), block_size([256, 512], 8)) == (32, 128)


@pytest.mark.parametrize("eight", [frozenset(), frozenset({"attention", "head"})])
def test_a_model_of_four_bits_runs_and_reads_less(
    tiny_gguf: Path, tiny_conversion: Conversion, tiny_session: Session, tmp_path: Path, eight: frozenset
) -> None:
    """Like its source, though not quite; it is a bundle with a vocabulary of its own."""
    bundle = Conversion(tmp_path / "m.bundle")
    bundle.make(tiny_gguf, precision=Precision.of(4, None, eight))
    bundle.check_header()
    session, vocabulary = Session(bundle, threads=1), Vocabulary.of(tiny_gguf)
    texts = transcripts(tiny_session, vocabulary, ["hello", "hello world", "wor"])
    found, same = compare(tiny_session, session, texts), compare(tiny_session, tiny_session, texts)
    assert (same.top1, same.ratio, same.faults) == (1.0, 1.0, ())
    assert 0 < found.top1 <= 1
    assert found.ratio == pytest.approx(1, abs=0.5)
    assert found.tokens == sum(map(len, texts)) - 3 * _common(texts)
    sizes = [read_per_token(one.graph.read_bytes()) for one in (bundle, tiny_conversion)]
    assert sizes[0] < sizes[1]


def _common(texts: list[tuple[int, ...]]) -> int:
    return next(n for n, column in enumerate(zip(*texts, strict=False)) if len(set(column)) > 1)


def test_one_text_is_compared_from_its_second_token(tiny_session: Session) -> None:
    """There is no common beginning to leave out."""
    assert compare(tiny_session, tiny_session, [(5, 6, 7, 8)]).tokens == 3


@pytest.mark.parametrize(
    ("perplexity", "top1", "faults"),
    [(10.4, 0.95, 0), (10.6, 0.95, 1), (10.0, 0.72, 1), (14.0, 0.72, 2), (float("nan"), 0.99, 1)],
)
def test_a_ruined_model_is_called_so(perplexity: float, top1: float, faults: int) -> None:
    """By perplexity, by first choices, and where the numbers broke."""
    found = Fidelity(tokens=100, reference_perplexity=10.0, perplexity=perplexity, top1=top1)
    assert len(found.faults) == faults


def test_speeds_are_measured_by_the_clock(tiny_session: Session) -> None:
    """128 tokens, then 48 steps; medians figure by figure."""
    now = iter((0.0, 2.0, 8.0))
    speed = measure(tiny_session, clock=lambda: next(now))
    assert (speed.prefill, speed.decode, speed.ttft) == (64.0, 8.0, 2.0)
    assert median([speed]) == speed


def test_what_a_token_reads_is_told_by_the_graph(tiny_conversion: Conversion) -> None:
    """All but the tables of which it reads one row; the output's matrix is a part of it."""
    graph = tiny_conversion.graph.read_bytes()
    whole = (tiny_conversion.directory / "weights.bin").stat().st_size
    assert 0 < read_per_token(graph) < whole
    assert 0 < head_share(graph) < 1
    assert resident() > 1 << 20
