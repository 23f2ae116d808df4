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


def _data(rows: int = 400) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    x = random.normal(size=(rows, len(NAMES)))
    x[: rows // 4, 1] = np.nan
    family = np.where(np.arange(rows) < rows // 10, "small", "large")
    return x, 0.5 + 0.1 * x[:, 0], family


def test_fit_finds_the_feature_that_matters() -> None:
    """On data where one feature decides, it carries the weight; missing values count as average."""
    x, failed, family = _data()
    x[:, [name in train_complexity.PRIOR for name in NAMES]] = 0.0
    weights = dict(zip(NAMES, train_complexity.fit(x, failed, family).weights, strict=True))
    assert weights["log_length"] > 0.07
    assert all(
        abs(weights[name]) < 0.02 for name in NAMES if name not in train_complexity.PRIOR and name != "log_length"
    )


def test_weights_without_evidence_keep_their_prior() -> None:
    """A feature that never varies keeps what the prior says."""
    x, failed, family = _data()
    column = NAMES.index("asks_prove")
    x[:, column] = 0.0
    fit = train_complexity.fit(x, failed, family)
    assert fit.weights[column] / fit.scales[column] == pytest.approx(train_complexity.PRIOR["asks_prove"])


def test_families_weigh_the_same() -> None:
    """The average failure is the mean of the families' means, whatever their sizes."""
    x, _, family = _data()
    failed = np.where(family == "small", 1.0, 0.0)
    fit = train_complexity.fit(np.zeros_like(x), failed, family)
    assert fit.predict(np.zeros((1, len(NAMES))))[0] == pytest.approx(0.5)
