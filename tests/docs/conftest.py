"""An emulator in the place of the clouds, a canned text in the place of the local model."""

from __future__ import annotations

import re

import pytest

from hybridinfer.drill.emulator import Emulator


@pytest.fixture(scope="session")
def emulator():
    """One for all documents."""
    with Emulator() as emulator:
        yield emulator


@pytest.fixture
def without_network(emulator, monkeypatch):
    """Turn a policy's text into one that calls nobody but this machine; keys for the emulator are set."""
    monkeypatch.setenv("OPENAI_API_KEY", "emulator")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "emulator")
    monkeypatch.setenv("HYBRIDINFER_LEDGER", "memory:")
    price = "price: {input: 1, output: 4}"

    def rewrite(text):
        text = re.sub(r"\{kind: onnx[^}]*\}", '{kind: canned, text: "From here."}', text)
        text = re.sub(
            r"\{kind: openai, model: ([\w.-]+)",
            rf'{{kind: openai, model: \1, base_url: "{emulator.base_url_openai}", {price}',
            text,
        )
        return re.sub(
            r"\{kind: anthropic, model: ([\w.-]+)",
            rf'{{kind: anthropic, model: \1, base_url: "{emulator.base_url_anthropic}", {price}',
            text,
        )

    return rewrite
