"""The pytest plugin, as an application's tests use it."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

POLICY = """
version: 1
targets:
  strong: {kind: openai, model: gpt-6-luna}
  fast: {kind: anthropic, model: claude-haiku-5-5}
  local: {kind: onnx, model: qwen2.5-coder-0.5b}
  sorry: {kind: canned, text: "Later."}
rules: [{name: all, use: [strong, fast, local, sorry]}]
budgets: [{name: day, usd: 5, per: day}]
resilience: {retry: {attempts: 2, backoff: 1ms}}
"""
TESTS = """
import pytest
from hybridinfer.drill.faults import Empty

def test_the_first_choice(hybridinfer_router, hybridinfer_staging):
    answer = hybridinfer_router("policy.yaml").complete("hello", max_tokens=20)
    assert answer.target == "strong" and answer.cost_usd > 0
    assert len(hybridinfer_staging.emulators["strong"].requests) == 1

@pytest.mark.parametrize("how", [503, "cut", "down", Empty()])
def test_the_other_cloud(hybridinfer_router, outage, how):
    router = hybridinfer_router("policy.yaml")
    outage("strong", how)
    assert router.complete("hello", max_tokens=20).target == "fast"

@pytest.mark.parametrize("how", [503, "down"])
def test_once(hybridinfer_router, outage, how):
    router = hybridinfer_router("policy.yaml")
    outage("strong", how, times=1)
    assert router.complete("hello", max_tokens=20).rung == 1

def test_no_cloud_at_all(hybridinfer_router, outage):
    router = hybridinfer_router("policy.yaml")
    outage("*", 529)
    assert router.complete("hello", max_tokens=20).target == "local"

def test_an_outage_ends(hybridinfer_router, outage):
    router = hybridinfer_router("policy.yaml")
    outage("strong", 401).end()
    assert router.complete("hello", max_tokens=20).rung == 1

def test_a_typing_mistake(hybridinfer_router, outage):
    with pytest.raises(LookupError, match="none yet"):
        outage("strong", 503)
    hybridinfer_router("policy.yaml")
    with pytest.raises(LookupError, match="there are strong, fast"):
        outage("storng", 503)

def test_the_bare_emulator(hybridinfer_emulator):
    assert hybridinfer_emulator.base_url_openai.startswith("http://127.0.0.1:")
"""


def test_fixtures(pytester, monkeypatch):
    """Routers, emulators and outages work in somebody else's tests, and end with them."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makefile(".yaml", policy=POLICY)
    pytester.makepyfile(TESTS)
    done = pytester.runpytest_subprocess("-p", "hybridinfer.drill.plugin", "-W", "error")
    done.assert_outcomes(passed=11)


def test_it_is_light():
    """Loading the plugin imports neither the SDKs nor pydantic: a test run of somebody else pays nothing."""
    program = "import hybridinfer.drill.plugin, sys; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    heavy = {"anthropic", "httpx2", "numpy", "onnxruntime", "openai", "pydantic", "rich", "tiktoken", "yaml"}
    assert heavy.isdisjoint(done.stdout.split())


def test_it_is_registered():
    """Under the group that pytest reads."""
    tree = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())
    assert tree["project"]["entry-points"]["pytest11"] == {"hybridinfer": "hybridinfer.drill.plugin"}


@pytest.mark.parametrize(
    ("code", "times", "kind"), [(503, None, "Status"), ("down", None, "Refuse"), ("down", 1, "ResetConnection")]
)
def test_words_and_numbers_are_faults(code, times, kind):
    """A closed socket cannot be closed for one request."""
    from hybridinfer.drill.plugin import _fault

    assert type(_fault(code, times)).__name__ == kind
