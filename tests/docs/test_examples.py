"""Every program in examples/ runs as its own docstring says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
POLICY = """
version: 1
targets:
  local: {kind: onnx, model: any}
  cloud: {kind: openai, model: gpt-6-luna}
  sorry: {kind: canned, text: "Please try again."}
boundaries:
  - {name: private-stays-here, when: {privacy: [personal, secret]}, cloud: never}
rules:
  - {name: sensitive, when: {privacy: [personal, secret]}, use: [local, cloud, sorry]}
  - {name: otherwise, use: [cloud, sorry]}
"""
SAYS = {
    "quickstart.py": ["A: From here.", "not cloud:", "A: This is the loopback emulator", "cloud (cloud), rung 1"],
    "async_streaming.py": ["cloud answered 'Name three rivers.'", "cloud answered 'Name three mountains.'"],
    "tools.py": ["cloud called opening_hours(", "The tool told me: 09:00-18:00"],
    "choices.py": ["-> praise (cloud)", "example 1 (cloud)"],
    "verified.py": ["42 (cheap, rung 1)", "cheap unsure 1 of 3 samples say the same", "(dear, rung 2)"],
    "continued.py": [
        "This is the loopback ... and from here on this machine goes on.",
        "['cloud interrupted', 'local ok']",
        "The draft was handed on: True",
    ],
    "structured_output.py": ["example, 31.01.2026 (cloud)"],
    "pydantic_ai_app.py": ["09:00-18:00", "rung 1"],
    "learn_from_traffic.py": [
        "hybridinfer calibrate",
        "written: ",
        "local and ",
        "of the answers were good",
        "weights/complexity-0001.json",
    ],
    "own_signal.py": ["calm -> faq", "angry -> team"],
    "own_target.py": ["Canberra. (facts, rung 1)", "I do not know that one. (sorry, rung 2)"],
}


@pytest.fixture
def environment(tmp_path, without_network):
    """What a user would have set: a policy and a key; both lead to this machine only."""
    policy = tmp_path / "policy.yaml"
    policy.write_text(without_network(POLICY), encoding="utf-8")
    return {**os.environ, "HYBRIDINFER_POLICY": str(policy)}


@pytest.mark.parametrize("name", sorted(SAYS))
def test_the_example_runs(name, environment, tmp_path):
    """It exits with 0, keeps quiet on stderr, and prints what it promises."""
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / name)],
        env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    for text in SAYS[name]:
        assert text in done.stdout


def test_the_web_service_answers(environment, monkeypatch):
    """Whole answers, streams and the caller's own privacy label work over HTTP."""
    from fastapi.testclient import TestClient

    monkeypatch.setenv("HYBRIDINFER_POLICY", environment["HYBRIDINFER_POLICY"])
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import fastapi_app

    with TestClient(fastapi_app.app) as client:
        assert client.post("/ask", json={"question": "What is HTTP 429?"}).json()["target"] == "cloud"
        assert client.post("/ask", json={"question": "Hi", "private": True}).json()["target"] == "local"
        assert "loopback emulator" in client.post("/stream", json={"question": "Why?"}).text


def test_every_example_is_tested():
    """A new program in examples/ needs its line here."""
    assert {file.name for file in EXAMPLES.glob("*.py")} == {*SAYS, "fastapi_app.py"}


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.py")), ids=lambda file: file.name)
def test_examples_are_short(file):
    """An example fits a screen: 60 lines."""
    assert len(file.read_text(encoding="utf-8").splitlines()) <= 60
