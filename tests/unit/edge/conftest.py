"""Tiny models, converted once for all tests of the engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from hybridinfer.edge import checksum
from hybridinfer.edge.convert import Conversion
from hybridinfer.edge.gguf import GgufFile
from hybridinfer.edge.lexicon import Lexicon
from hybridinfer.edge.session import Session
from hybridinfer.edge.tokenizer import Tokenizer
from tests import tiny


@pytest.fixture(scope="session")
def tiny_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A llama file."""
    return tiny.write(tmp_path_factory.mktemp("tiny") / "tiny.gguf")


@pytest.fixture(scope="session")
def tiny_conversion(tiny_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Conversion:
    """Its conversion; read only."""
    conversion = Conversion.of(tmp_path_factory.mktemp("cache"), checksum.sha256(tiny_gguf))
    conversion.make(tiny_gguf)
    return conversion


@pytest.fixture(scope="session")
def tiny_session(tiny_conversion: Conversion) -> Session:
    """It, loaded on one thread."""
    return Session(tiny_conversion, threads=1)


@pytest.fixture(scope="session")
def tokenizer(tiny_gguf: Path) -> Tokenizer:
    """Its tokenizer."""
    with GgufFile(tiny_gguf) as gguf:
        return Tokenizer(Lexicon.of(gguf.metadata))
