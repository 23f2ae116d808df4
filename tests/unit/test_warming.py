"""After a warm-up the first request loads nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from hybridinfer import AsyncRouter
from hybridinfer.receipt import Receipt
from hybridinfer.testing import FakeTarget
from tests import tiny

ROOT = Path(__file__).parents[2]
FIRST_REQUEST = """
import json, sys
from hybridinfer import Router

loads, counting = [], False

def heard(event, arguments):
    if counting and event in ("import", "open"):
        loads.append(str(arguments[0]))

sys.addaudithook(heard)
with Router(json.loads(sys.argv[1])) as router:
    if sys.argv[2] == "warm":
        assert router.warmup() == {}, router.warmup()
    counting = True
    for text in ("hello", "My number is +49 170 1234567, my card is 4111 1111 1111 1111.", "hello", "A long one. " * 100):
        assert router.complete(text, max_tokens=2).target == "local"
    router.complete("hello", choices=["world", "hello"])
    counting = False
print(json.dumps(sorted(set(loads))))
"""
POLICY = {
    "version": 1,
    "targets": {"local": {"kind": "onnx", "options": {"threads": 1}}, "sorry": {"kind": "canned", "text": "Later."}},
    "signals": {
        "privacy": {"levels": {"public": 0, "secret": 0.8}},
        "complexity": {"levels": {"low": 0, "high": 0.5}},
        "size": {"levels": {"small": 0, "large": 0.5}},
        "budget": {"levels": {"calm": 0, "tight": 0.9}},
    },
    "budgets": [{"name": "daily", "usd": 5, "per": "day"}],
    "rules": [{"name": "all", "use": ["local", "sorry"]}],
}


def loaded_by_first_requests(tmp_path: Path, how: str) -> list[str]:
    """What a fresh process opens and imports for them."""
    file = tiny.write(tmp_path / "tiny.gguf", "qwen2", context_length=4096)
    local = POLICY["targets"]["local"] | {"model": str(file), "max_tokens": 8}
    policy = POLICY | {"targets": POLICY["targets"] | {"local": local}}
    environ = {
        "HYBRIDINFER_CACHE": str(tmp_path / "cache"),
        "HYBRIDINFER_STATE": str(tmp_path / "state"),
        "HYBRIDINFER_LEDGER": str(tmp_path / "ledger.sqlite"),
        "HOME": str(tmp_path),
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-c", FIRST_REQUEST, json.dumps(policy), how]
    ended = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=300)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def test_the_first_requests_after_a_warm_up_load_nothing(tmp_path: Path) -> None:
    """No file is opened and no module imported, whatever they hold; without a warm-up there is much to load."""
    assert loaded_by_first_requests(tmp_path, "warm") == []
    assert len(loaded_by_first_requests(tmp_path, "cold")) > 50


@pytest.mark.anyio
async def test_a_warm_up_leaves_no_trace() -> None:
    """No target is asked, and no hook hears of it."""
    receipts: list[Receipt] = []
    target = FakeTarget("local")
    policy = POLICY | {"targets": {"local": {"kind": "canned", "text": "-"}}, "budgets": []}
    policy["rules"] = [{"name": "all", "use": ["local"]}]
    async with AsyncRouter(policy, targets={"local": target}, hooks=(receipts.append,)) as router:
        assert await router.warmup() == {}
    assert target.requests == []
    assert receipts == []
