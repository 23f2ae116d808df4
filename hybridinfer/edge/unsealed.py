"""A sealed model at work: sealed from what a run needs, opened into memory and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ModelCorrupt
from .convert import GRAPH, HEADER, WEIGHTS
from .sealed import SealedFile, seal

if TYPE_CHECKING:
    from .catalogue import Model
    from .progress import Report
    from .store import Store


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Unsealed:
    """The parts of a sealed file. Drop it once a session was made of it: the runtime keeps its own copy."""

    name: str
    header: bytes
    """Of the GGUF file: metadata, vocabulary and chat template."""
    graph: bytes
    weights: memoryview

    @classmethod
    def read(cls, file: Path, key: bytes) -> Unsealed:
        """Open `file`. Raises `ModelCorrupt` where the key is another one, or a single byte differs."""
        parts = SealedFile(file).open(key)
        try:
            header, graph, weights = (parts[name] for name in (HEADER, GRAPH, WEIGHTS))
        except KeyError:
            raise _incomplete(file) from None
        return cls(name=file.name, header=bytes(header), graph=bytes(graph), weights=weights)

    def check_graph(self) -> None:
        """Nothing to do: every byte was proved when the file was opened."""

    def check_weights(self) -> None:
        """Nothing to do, either."""


def read_header(file: Path, key: bytes) -> bytes:
    """The GGUF header in the sealed `file`; the weights stay sealed. Raises as `Unsealed.read` does."""
    parts = SealedFile(file).open(key, only=HEADER)
    if HEADER not in parts:
        raise _incomplete(file)
    return bytes(parts[HEADER])


def encrypt(model: Model, store: Store, path: Path, key: bytes, report: Report) -> SealedFile:
    """Seal what a run of `model` needs into `path`; it is converted first where that was not done.

    Raises `ModelError` and `OSError`. The plain files stay where they are.
    """
    header, conversion = store.runnable(model, report)
    conversion.check_graph()
    conversion.check_weights()
    parts: dict[str, Path | bytes] = {HEADER: header, GRAPH: conversion.graph, WEIGHTS: conversion.directory / WEIGHTS}
    return seal(parts, path, key, model=Path(model.file).stem if model.path else model.id)


def _incomplete(file: Path) -> ModelCorrupt:
    return ModelCorrupt(f"{file.name} holds no model; seal it again: hybridinfer models encrypt")
