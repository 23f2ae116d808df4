"""The pytest plugin, as an application's tests use it."""

from __future__ import annotations

import json
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

@pytest.mark.parametrize("how", [503, "cut", "down", "dns", "tls", Empty()])
def test_the_other_cloud(hybridinfer_router, outage, how):
    router = hybridinfer_router("policy.yaml")
    outage("strong", how)
    assert router.complete("hello", max_tokens=20).target == "fast"

@pytest.mark.parametrize("how", [503, "down", "dns"])
def test_once(hybridinfer_router, outage, how):
    router = hybridinfer_router("policy.yaml")
    outage("strong", how, times=1)
    assert router.complete("hello", max_tokens=20).rung == 1

def test_no_address_for_anybody(hybridinfer_router, outage):
    router = hybridinfer_router("policy.yaml")
    outage("*", "dns")
    assert router.complete("hello", max_tokens=20).target == "local"

def test_no_address_until_it_ends(hybridinfer_router, outage):
    router = hybridinfer_router("policy.yaml")
    outage("strong", "tls").end()
    assert router.complete("hello", max_tokens=20).rung == 1

def test_what_happens_to_no_cloud(hybridinfer_router, outage):
    hybridinfer_router("policy.yaml")
    with pytest.raises(LookupError, match="no server can play 'nan_logits'"):
        outage("strong", "nan_logits")

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
    done.assert_outcomes(passed=17)


TWO = """
version: 1
targets:
  first: {kind: onnx, model: a, timeout: 10m, first_token: 10m, stall: 10m}
  second: {kind: onnx, model: b, timeout: 10m, first_token: 10m, stall: 10m}
rules: [{name: all, use: [first, second]}]
resilience: {deadline: 20m, retry: {attempts: 1}}
"""
COVERING = """
import pytest
from hybridinfer.receipt import Code
from hybridinfer.testing import FakeTarget, Outage

@pytest.mark.parametrize("code", [Code.EMPTY, Code.UNAVAILABLE])
def test_fallback(hybridinfer_router, code):
    first = FakeTarget("first", zone="device", script=[Outage(code)])
    router = hybridinfer_router("policy.yaml", targets={"first": first})
    assert router.complete("hello", timeout=600).target == "second"
"""


@pytest.fixture
def covered(pytester, monkeypatch):
    """Run two tests that walk two edges, with these options of pytest."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makefile(".yaml", policy=TWO)
    pytester.makepyfile(COVERING)

    def run(*options):
        return pytester.runpytest_subprocess("-p", "hybridinfer.drill.plugin", "-W", "error", *options)

    return run


def test_coverage_is_reported_and_written(covered, pytester):
    """The share and the missed edges on the terminal, all edges in the file."""
    done = covered("--hybridinfer-coverage=unit.json")
    done.assert_outcomes(passed=2)
    done.stdout.fnmatch_lines(["*fallback coverage of policy 'policy' (*2 of * edges walked", "written: unit.json"])
    (one,) = json.loads((pytester.path / "unit.json").read_text())["policies"]
    assert one["walked"] == [["first", "empty", "second"], ["first", "unavailable", "second"]]
    assert ["first", "timeout", "second"] in one["missed"]


def test_coverage_can_fail_the_run(covered):
    """Too little of it is a failed run, although every test passed."""
    done = covered("--hybridinfer-coverage", "--hybridinfer-coverage-fail-under=90")
    done.assert_outcomes(passed=2)
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    done.stdout.fnmatch_lines(["FAILED: the fallback coverage of policy 'policy' is *, less than 90%"])
    assert covered("--hybridinfer-coverage", "--hybridinfer-coverage-fail-under=1").ret == pytest.ExitCode.OK


def test_coverage_over_workers(covered, pytester):
    """Workers of pytest-xdist measure one edge each; the controller has both."""
    covered("-p", "xdist.plugin", "-n", "2", "--hybridinfer-coverage=unit.json").assert_outcomes(passed=2)
    (one,) = json.loads((pytester.path / "unit.json").read_text())["policies"]
    assert [code for _, code, _ in one["walked"]] == ["empty", "unavailable"]


ANY = """
from hybridinfer import AsyncRouter, Router
from hybridinfer.drill.run import run_drill
from hybridinfer.receipt import Code
from hybridinfer.testing import FakeTarget, Outage

def targets(code):
    first = FakeTarget("first", zone="device", script=[Outage(code)])
    return {"first": first, "second": FakeTarget("second", zone="device")}

def test_a_router_of_its_own():
    with Router("policy.yaml", targets=targets(Code.EMPTY)) as router:
        assert router.complete("hello", timeout=600).target == "second"

def test_an_async_one():
    import asyncio

    async def go():
        async with AsyncRouter("policy.yaml", targets=targets(Code.UNAVAILABLE)) as router:
            assert (await router.complete("hello", timeout=600)).target == "second"

    asyncio.run(go())

SCENARIO = {
    "version": 1,
    "name": "one",
    "duration": "2s",
    "load": {"rate": 2, "requests": [{"name": "hello", "levels": {"complexity": "low"}}]},
    "phases": [{"at": "0s", "faults": {"first": "context_too_long"}}],
    "expect": {"answered_by": "second"},
}

def test_a_drill():
    assert run_drill(SCENARIO, "policy.yaml").passed

def test_a_drill_over_http():
    assert run_drill(SCENARIO, "policy.yaml", against="emulator").passed
"""


def test_coverage_of_every_router(pytester, monkeypatch):
    """Whoever made it, synchronous or not; drills count under the digest of the very same policy."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makefile(".yaml", policy=TWO)
    pytester.makepyfile(ANY)
    done = pytester.runpytest_subprocess("-p", "hybridinfer.drill.plugin", "--hybridinfer-coverage=unit.json")
    done.assert_outcomes(passed=4)
    (one,) = json.loads((pytester.path / "unit.json").read_text())["policies"]
    assert [code for _, code, _ in one["walked"]] == ["context_too_long", "empty", "unavailable"]


def test_coverage_without_a_router(covered, pytester):
    """Nothing to measure is said, and is no failure."""
    pytester.makepyfile("def test_nothing(): pass")
    done = covered("--hybridinfer-coverage", "-k", "nothing")
    done.stdout.fnmatch_lines(["no test made a router"])
    assert done.ret == pytest.ExitCode.OK


def test_no_coverage_unless_asked_for(covered):
    """The plugin is silent by default."""
    assert "fallback coverage" not in covered().stdout.str()


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


CASSETTE = """
import pytest
from hybridinfer import Router

POLICY = {
    "version": 1,
    "targets": {"cloud": {"kind": "openai", "model": "m", "base_url": "URL", "price": {"input": 1, "output": 1}}},
    "rules": [{"name": "all", "use": ["cloud"]}],
}


@pytest.mark.hybridinfer_cassette(keep_content=True)
def test_greeting(hybridinfer_cassette):
    with Router(POLICY, environ={"OPENAI_API_KEY": "sk-record-me-not"}) as router:
        assert "Hello" in router.complete("hello").text
"""


def test_a_cassette(pytester, monkeypatch):
    """Recorded once against a server, replayed without it, beside the test and under its name."""
    from hybridinfer.drill.emulator import Emulator

    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("HYBRIDINFER_RECORD", "1")
    with Emulator() as emulator:
        pytester.makepyfile(CASSETTE.replace("URL", emulator.base_url_openai))
        pytester.runpytest_subprocess("-p", "hybridinfer.drill.plugin", "-W", "error").assert_outcomes(passed=1)
    monkeypatch.delenv("HYBRIDINFER_RECORD")
    pytester.runpytest_subprocess("-p", "hybridinfer.drill.plugin", "-W", "error").assert_outcomes(passed=1)
    [file] = (pytester.path / "cassettes").iterdir()
    assert file.name == "test_greeting.yaml"
    assert "sk-record-me-not" not in file.read_text()
