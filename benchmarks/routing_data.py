"""Read the recorded outcomes that the complexity scorer is trained and judged on. They are never shipped."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

DEFAULT = Path(__file__).parent.parent.parent / "shared" / "data" / "routing"
"""Where the data lies beside a checkout, if it is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """Prompts with the mean success, 0..1, of a group of small models (weak) and of frontier models (strong)."""

    prompts: list[str]
    family: np.ndarray
    source: np.ndarray
    weak: np.ndarray
    strong: np.ndarray
    sha256: str
    """Of the file they came from."""

    def every(self, step: int) -> Outcomes:
        """The first prompt, and each that stands `step` places after the last."""
        rows = slice(None, None, step)
        return replace(
            self,
            prompts=self.prompts[rows],
            family=self.family[rows],
            source=self.source[rows],
            weak=self.weak[rows],
            strong=self.strong[rows],
        )


def load(folder: Path) -> Outcomes:
    """Outcomes of `dev_prompts.parquet` in `folder`, in the order of the file."""
    from pyarrow import parquet

    file = folder / "dev_prompts.parquet"
    columns = parquet.read_table(file, columns=["prompt", "group", "source", "weak", "strong"]).to_pydict()
    return Outcomes(
        prompts=columns["prompt"],
        family=np.array(columns["group"]),
        source=np.array(columns["source"]),
        weak=np.array(columns["weak"], dtype=float),
        strong=np.array(columns["strong"], dtype=float),
        sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
    )
