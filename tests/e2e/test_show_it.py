"""The promises through the command line, with a real model in this process and real refused connections."""

from __future__ import annotations

import io
import json
import shutil
import socket
from pathlib import Path

import pytest

from hybridinfer.cli import main
from hybridinfer.edge.catalogue import find
from hybridinfer.edge.store import Store
from hybridinfer.errors import ModelNotFound

pytestmark = pytest.mark.model

POLICY = """
version: 1
targets:
  local:  {{kind: onnx, model: smollm2-135m, context_window: 512}}
  fast:   {{kind: anthropic, model: claude-haiku-5-5, base_url: "http://127.0.0.1:{port}", price: {{input: 1, output: 5}}}}
  strong: {{kind: openai, model: gpt-6-luna, base_url: "http://127.0.0.1:{port}/v1", price: {{input: 1, output: 5}}}}
  sorry:  {{kind: canned, text: "Please try again in a minute."}}
budgets:
  - {{name: day, usd: 5, per: day}}
boundaries:
  - {{name: private-stays-here, when: {{privacy: [personal, secret]}}, cloud: never}}
rules:
  - {{name: all, use: [strong, fast, local, sorry]}}
resilience:
  deadline: 120s
  last_rung: 60s
  retry: {{attempts: 2, backoff: 1ms, max_backoff: 2ms}}
"""
CARD = "my card is 4111 1111 1111 1111, is it valid?"


@pytest.fixture(scope="module")
def store() -> Store:
    """The developer's own store, so that the model is fetched once."""
    store = Store.default()
    try:
        store.pull(find("smollm2-135m"))
    except ModelNotFound as error:
        pytest.skip(f"SmolLM2 cannot be had here: {error}")
    return store


@pytest.fixture
def policy(tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both clouds refuse connections; the model is there."""
    monkeypatch.setenv("HYBRIDINFER_CACHE", str(store.root))
    monkeypatch.setenv("OPENAI_API_KEY", "test")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "test")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    file = tmp_path / "policy.yaml"
    file.write_text(POLICY.format(port=port))
    return str(file)


def ask(prompt: str, policy: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> dict:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(prompt.encode())))
    assert main(["ask", "-", "--json", "--policy", policy, "--max-tokens", "12"]) == 0
    told: dict = json.loads(capsys.readouterr().out)
    return told


def test_a_card_number_is_answered_on_the_device(policy, capsys, monkeypatch) -> None:
    """Every cloud is removed, the model on this machine answers, nothing is degraded."""
    told = ask(CARD, policy, capsys, monkeypatch)
    assert told["text"]
    assert (told["target"], told["zone"], told["degraded"]) == ("local", "device", False)
    assert {removal["target"] for removal in told["removed"]} == {"fast", "strong"}
    assert [attempt["target"] for attempt in told["attempts"]] == ["local"]


def test_with_both_clouds_refusing_connections_there_is_an_answer(policy, capsys, monkeypatch) -> None:
    """The model on this machine stands in, and says so."""
    told = ask("Why is the sky blue?", policy, capsys, monkeypatch)
    assert told["text"]
    assert (told["target"], told["rung"], told["degraded"]) == ("local", 3, True)
    codes = [(attempt["target"], attempt["code"]) for attempt in told["attempts"]]
    assert codes == [("strong", "unavailable")] * 2 + [("fast", "unavailable")] * 2 + [("local", told_code(told))]
    assert told["cost_usd"] == 0


def told_code(told: dict) -> str:
    """Twelve tokens are few: the answer may be a truncated one, and then it is said."""
    code = str(told["attempts"][-1]["code"])
    assert code in ("ok", "truncated")
    return code


def test_with_the_model_damaged_as_well_the_canned_text_comes(policy, store, tmp_path, capsys, monkeypatch) -> None:
    """One byte is wrong: the file is never loaded, the receipt says why, the exit code is 0."""
    cache = tmp_path / "cache"
    shutil.copytree(store.root / "models", cache / "models", ignore=lambda _folder, names: _others(store, names))
    shutil.copytree(store.root / "onnx", cache / "onnx", ignore=lambda folder, names: _others(store, names, folder))
    (file,) = (cache / "models").glob("*.gguf")
    with file.open("r+b") as opened:
        opened.seek(1_000_000)
        byte = opened.read(1)
        opened.seek(1_000_000)
        opened.write(bytes([byte[0] ^ 1]))
    monkeypatch.setenv("HYBRIDINFER_CACHE", str(cache))
    told = ask("Why is the sky blue?", policy, capsys, monkeypatch)
    assert told["text"] == "Please try again in a minute."
    assert (told["target"], told["rung"], told["degraded"]) == ("sorry", 4, True)
    local = next(attempt for attempt in told["attempts"] if attempt["target"] == "local")
    assert local["code"] == "unavailable"
    assert "damaged and was not loaded" in local["because"]


def _others(store: Store, names: list[str], folder: str = "") -> list[str]:
    """Files of other models, which need not be copied."""
    sha256 = find("smollm2-135m").sha256
    assert sha256 is not None
    if folder and Path(folder) != store.root / "onnx":
        return []
    return [name for name in names if not name.startswith(sha256)]
