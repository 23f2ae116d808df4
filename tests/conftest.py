"""Fixtures for every test: one event-loop backend, no real keys, no user configuration."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

from hybridinfer.resilience import retry

settings.register_profile("untimed", deadline=None)  # a busy machine is no failure
settings.load_profile("untimed")


@pytest.fixture
def anyio_backend() -> str:
    """Async tests run on asyncio, as the product does."""
    return "asyncio"


@pytest.fixture(autouse=True)
def _own_retry_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test lives on the retries that the ones before it left over."""
    monkeypatch.setattr(retry, "PROCESS", retry.RetryBudget())


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test sees the developer's keys, policies or ledgers."""
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "HYBRIDINFER_POLICY", "HYBRIDINFER_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
