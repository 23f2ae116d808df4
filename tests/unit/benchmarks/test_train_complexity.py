from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import routing_data, train_complexity
from hybridinfer.signals.features import NAMES


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
