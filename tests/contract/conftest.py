"""The loopback emulator and targets that talk to it through the vendors' real SDKs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from hybridinfer.drill.emulator import Emulator
from hybridinfer.policy.model import TargetBlock
from hybridinfer.targets.anthropic import AnthropicTarget
from hybridinfer.targets.base import TargetContext
from hybridinfer.targets.openai import OpenAITarget
from hybridinfer.targets.vendor import VendorTarget

KEYS = {"OPENAI_API_KEY": "sk-drill-openai", "ANTHROPIC_API_KEY": "sk-drill-anthropic"}
Make = Callable[..., VendorTarget]


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    """A vendor on this machine, on the test's own loop."""
    async with Emulator() as running:
        yield running


@pytest.fixture
async def make(emulator: Emulator) -> AsyncIterator[Make]:
    """`make("openai", timeout="5s", ...)`: a target that talks to the emulator; closed after the test."""
    made: list[VendorTarget] = []

    def build(kind: str, *, environ: dict[str, str] | None = None, **fields: Any) -> VendorTarget:
        url = emulator.base_url_openai if kind == "openai" else emulator.base_url_anthropic
        block = TargetBlock(**{"kind": kind, "model": f"{kind}-model", "base_url": url, "timeout": "20s", **fields})
        context = TargetContext(name=f"the-{kind}", environ=KEYS if environ is None else environ)
        target = (OpenAITarget if kind == "openai" else AnthropicTarget)(block, context)
        made.append(target)
        return target

    yield build
    for target in made:
        await target.aclose()
