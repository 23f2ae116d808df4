from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import routing_data, train_complexity
from hybridinfer.edge import embedder
from hybridinfer.signals.complexity import parse
from hybridinfer.signals.features import NAMES
from tests import tiny_embedder


@pytest.mark.slow
def test_training_recreates_the_shipped_weights_byte_for_byte(tmp_path: Path) -> None:
    """One command makes the very file that ships."""
    pytest.importorskip("pyarrow", reason="needs the dependency group `bench`")
    if not (routing_data.DEFAULT / "dev_prompts.parquet").exists():
        pytest.skip("needs the routing data beside the checkout (../shared/data/routing)")
    output = tmp_path / "complexity.json"
    train_complexity.main(["--output", str(output)])
    assert output.read_bytes() == train_complexity.OUTPUT.read_bytes()


def _data(rows: int = 400) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    x = random.normal(size=(rows, len(NAMES)))
    x[: rows // 4, 1] = np.nan
    return x, 0.5 + 0.1 * x[:, 0]


def test_fit_finds_the_feature_that_matters() -> None:
    """On data where one feature decides, it carries the weight; missing values count as average."""
    fit = train_complexity.fit(*_data())
    assert fit.weights[0] > 0.07
    assert np.abs(fit.weights[1:]).max() < 0.02


def test_a_feature_without_evidence_weighs_nothing() -> None:
    """A feature that never varies in the data moves no score, however large it is in a prompt."""
    x, failed = _data()
    x[:, 5] = 0.0
    fit = train_complexity.fit(x, failed)
    assert fit.weights[5] == 0.0


def test_the_average_prompt_gets_about_the_average_failure() -> None:
    """Predictions are centred on what was recorded."""
    x, failed = _data()
    assert train_complexity.fit(x, failed).predict(x).mean() == pytest.approx(failed.mean())


def test_with_an_embedding_the_same_command_makes_the_other_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From every third prompt; what it writes is read as a scorer of both, and the same data gives the same bytes."""
    made = tiny_embedder.write(tmp_path / "cache")
    monkeypatch.setattr(embedder, "embedders", lambda: {embedder.NAME: made})
    monkeypatch.setenv("HYBRIDINFER_CACHE", str(tmp_path / "cache"))
    weak = np.tile([1.0, 1.0, 1.0, 0.0, 0.0, 0.0], 20)
    prompts = [f"{'How are the cats' if good else 'How are the dogs'} {at}?" for at, good in enumerate(weak)]
    names = np.array(["a", "b"] * 60)
    data = routing_data.Outcomes(
        prompts=prompts, family=names, source=names, weak=weak, strong=np.ones(120), sha256="0" * 64
    )
    monkeypatch.setattr(routing_data, "load", lambda _folder: data)
    outputs = [tmp_path / "one.json", tmp_path / "two.json"]
    for output in outputs:
        train_complexity.main(["--embedding", "--output", str(output)])
    assert "444 weights from 40 prompts" in capsys.readouterr().out
    assert outputs[0].read_bytes() == outputs[1].read_bytes()
    scorer = parse(outputs[0].read_text("utf-8"))
    assert scorer.judge("How are the dogs?")[0] > scorer.judge("How are the cats?")[0] + 0.2
