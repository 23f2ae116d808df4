"""What drills say of models, ledgers and policy files is so: each fault made for real ends as the simulated one."""

from __future__ import annotations

import json
import sqlite3
import threading
from decimal import Decimal

import numpy as np
import pytest

from hybridinfer.async_router import AsyncRouter
from hybridinfer.budget import sqlite_file
from hybridinfer.budget.ledger import LedgerDown
from hybridinfer.budget.ledger_redis import RedisLedger
from hybridinfer.budget.ledger_sqlite import SqliteLedger
from hybridinfer.drill.book import READABLE
from hybridinfer.drill.failing import OF_A_MODEL, OF_THE_LEDGER
from hybridinfer.drill.run import run_drill
from hybridinfer.drill.simulated import broken
from hybridinfer.edge import batch, pool
from hybridinfer.errors import StreamInterrupted
from hybridinfer.policy.load import load
from hybridinfer.testing import FakeTarget
from tests import tiny

pytestmark = pytest.mark.anyio
FAST = {"timeout": "20s", "first_token": "20s", "stall": "20s"}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A tiny model, and a cache beside it."""
    root = tmp_path_factory.mktemp("models")
    return tiny.write(root / "tiny.gguf", "qwen2"), root / "cache"


def policy(path="m", **limits):
    """A local model, and a canned reply behind it."""
    return {
        "version": 1,
        "targets": {
            "local": {"kind": "onnx", "model": str(path), "options": {"threads": 1}, **FAST, **limits},
            "sorry": {"kind": "canned", "text": "later"},
        },
        "rules": [{"name": "all", "use": ["local", "sorry"]}],
        "resilience": {"retry": {"attempts": 1}, "deadline": "30s"},
    }


def simulated(key, word, tree):
    """How the first request of a drill goes: the codes of its attempts, and who answers."""
    asks = [{"name": "a", "prompt": "hello"}]
    drill = {
        "version": 1,
        "name": "d",
        "duration": "1s",
        "load": {"rate": 50, "stream": 1.0, "requests": asks},
        "phases": [{"at": "0s", "faults": {key: {"fault": word, "delay": "25s"} if key == "local" else word}}],
        "expect": {"answered_share": "0%"},
    }
    receipt = run_drill(drill, tree).course.served[0].receipt
    return [str(attempt.code) for attempt in receipt.attempts], receipt.target


async def ask(tree, cache):
    """The same for the real model."""
    async with AsyncRouter(tree, environ={"HYBRIDINFER_CACHE": str(cache)}) as router, router.stream("hello") as stream:
        async for _ in stream:
            pass
    receipt = stream.receipt
    return [str(attempt.code) for attempt in receipt.attempts], receipt.target


async def drained(router):
    """A stream, read to its end."""
    async with router.stream("hello") as stream:
        async for _ in stream:
            pass


def _missing(path, _):
    return path.with_name("nobody.gguf"), {}


def _checksum(path, _):
    return path, {"sha256": "0" * 64}


def _memory(path, patch):
    def refuse(*_, **__):
        raise MemoryError("bad allocation")

    patch.setattr(pool, "Session", refuse)
    return path, {}


def _nan(path, _):
    numbers = np.full(tiny.WIDTH, np.nan, dtype=np.float32)
    changed = {"without": "output_norm.weight", "extra": {"output_norm.weight": numbers}}
    return tiny.write(path.with_name("nan.gguf"), "qwen2", **changed), {}


@pytest.mark.parametrize(
    ("word", "spoil"),
    [("model_missing", _missing), ("checksum_wrong", _checksum), ("out_of_memory", _memory), ("nan_logits", _nan)],
)
async def test_a_model_that_is_broken(word, spoil, model, monkeypatch):
    """It is unavailable, nobody retries it, and the next rung answers."""
    path, options = spoil(model[0], monkeypatch)
    tree = policy(path)
    tree["targets"]["local"]["options"] |= options
    assert await ask(tree, model[1]) == simulated("local", word, policy()) == (["unavailable", "ok"], "sorry")


async def test_a_model_that_loads_slowly(model, monkeypatch):
    """Whoever has no patience for it goes on, and once it is loaded it answers."""
    gate, real = threading.Event(), pool.load

    def slow(*args, **kwargs):
        gate.wait()
        return real(*args, **kwargs)

    monkeypatch.setattr(pool, "load", slow)
    tree = policy(model[0], first_token="50ms")
    environ = {"HYBRIDINFER_CACHE": str(model[1])}
    async with AsyncRouter(tree, environ=environ) as router:
        async with router.stream("hello") as stream:
            async for _ in stream:
                pass
        met = [str(attempt.code) for attempt in stream.receipt.attempts], stream.receipt.target
        gate.set()
        assert (await router.complete("hello", max_tokens=4)).target == "local"
    assert met == simulated("local", "slow_load", policy(first_token="50ms")) == (["stalled", "ok"], "sorry")


async def test_a_model_that_stops_in_the_middle(model, monkeypatch):
    """The caller holds a piece, so nobody else may answer: the stream is interrupted, as in the simulation."""
    gate, real, steps = threading.Event(), batch.Batch._step, iter(range(1000))

    def stuck(self):
        if next(steps) >= 3:
            gate.wait()
        real(self)

    monkeypatch.setattr(batch.Batch, "_step", stuck)
    environ = {"HYBRIDINFER_CACHE": str(model[1])}
    async with AsyncRouter(policy(model[0], stall="50ms"), environ=environ) as router:
        with pytest.raises(StreamInterrupted) as interrupted:
            await drained(router)
        gate.set()
    codes = [str(attempt.code) for attempt in interrupted.value.receipt.attempts]
    assert codes == simulated("local", "stall", policy(stall="50ms"))[0] == ["stalled"]


def test_every_word_of_a_model_is_here():
    """So that a new one is not forgotten."""
    assert {"model_missing", "checksum_wrong", "out_of_memory", "nan_logits", "slow_load"} == OF_A_MODEL


def buying():
    """A cloud with a budget, a model, and a rule for the time when nobody knows what is spent."""
    return {
        "version": 1,
        "targets": {
            "cloud": {"kind": "openai", "model": "m", "price": {"input": 1, "output": 1}},
            "local": {"kind": "onnx", "model": "m"},
        },
        "budgets": [{"name": "day", "usd": 5, "per": "day"}],
        "rules": [
            {"name": "spent", "when": {"budget": "spent"}, "use": ["local"]},
            {"name": "all", "use": ["cloud", "local"]},
        ],
    }


async def walk(ledger):
    """How a request goes with this ledger, and whether the ledger knows where it stands."""
    fakes = {"cloud": FakeTarget("cloud"), "local": FakeTarget("local", zone="device")}
    async with AsyncRouter(buying(), targets=fakes, ledger=ledger) as router:
        receipt = (await router.complete("hello")).receipt
    return receipt.decision.rule, [str(attempt.code) for attempt in receipt.attempts], receipt.target


def expected(word):
    """The same, simulated."""
    asks = [{"name": "a", "prompt": "hello"}]
    drill = {
        "version": 1,
        "name": "d",
        "duration": "1s",
        "load": {"rate": 50, "requests": asks},
        "phases": [{"at": "0s", "faults": {"ledger": word}}],
        "expect": {"answered_share": "100%"},
    }
    receipt = run_drill(drill, buying()).course.served[0].receipt
    return receipt.decision.rule, [str(attempt.code) for attempt in receipt.attempts], receipt.target


@pytest.fixture
def place(tmp_path):
    """Where the ledger lies."""
    return tmp_path / "ledger.sqlite3"


async def _once(place):
    ledger = SqliteLedger(load(buying()), place)
    await ledger.reserve(receipt_id="r", target="cloud", usd=Decimal("0.01"), tags={})
    await ledger.aclose()


async def test_a_ledger_that_somebody_locks(place, monkeypatch):
    """A real lock of another program's on a real file."""
    monkeypatch.setattr(sqlite_file, "_BUSY", 0.01)
    await _once(place)
    other = sqlite3.connect(place, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        assert await walk(SqliteLedger(load(buying()), place)) == expected("locked")
    finally:
        other.execute("ROLLBACK")
        other.close()


async def test_a_disk_without_room(place):
    """SQLite's own answer to a full disk: what is spent can be read, and nothing can be bought."""
    ledger = SqliteLedger(load(buying()), place)
    await ledger.reserve(receipt_id="r", target="cloud", usd=Decimal("0.01"), tags={})
    writer = ledger._store._writer

    def fill(db):
        pages = db.execute("PRAGMA page_count").fetchone()[0]
        db.execute(f"PRAGMA max_page_count = {pages}")

    await writer.run(fill)
    with pytest.raises(LedgerDown, match="the disk is full"):
        await ledger.reserve(receipt_id="r" * 9000, target="cloud", usd=Decimal("0.01"), tags={})
    assert (await ledger.standing({})).known
    await ledger.aclose()
    assert expected("disk_full") == ("all", ["over_budget", "ok"], "local")
    assert {"disk_full"} == READABLE


async def test_a_redis_that_is_gone():
    """Nobody at the address."""
    assert await walk(RedisLedger(load(buying()), "redis://127.0.0.1:1/0")) == expected("redis_gone")
    assert {"ok", "down", "locked", "disk_full", "redis_gone"} == OF_THE_LEDGER


async def test_a_policy_that_is_replaced_by_a_broken_one(tmp_path):
    """Through the real file and the real reload: it is refused, and requests go on under the last good one."""
    file = tmp_path / "policy.yaml"
    good = load(buying())
    file.write_text(json.dumps(good.model_dump(mode="json")))
    fakes = {"cloud": FakeTarget("cloud"), "local": FakeTarget("local", zone="device")}
    async with AsyncRouter(file, targets=fakes, environ={"HYBRIDINFER_LEDGER": "memory:"}) as router:
        before = (await router.complete("hello")).receipt
        file.write_text(json.dumps(broken(good)))
        assert not await router.reload()
        assert "typing-mistake" in str(router.policy_error)
        after = (await router.complete("hello")).receipt
    assert (after.policy_digest, after.target) == (before.policy_digest, before.target)


@pytest.mark.parametrize("against", ["simulated", "emulator"])
def test_a_drill_breaks_the_policy_and_nothing_happens(against):
    """In a simulation the broken file is read and refused; over HTTP a running router refuses it."""
    drill = {
        "version": 1,
        "name": "d",
        "duration": "3s",
        "load": {"rate": 10, "requests": [{"name": "a", "prompt": "hello"}]},
        "phases": [{"at": "1s", "faults": {"policy": "broken"}}, {"at": "2s"}],
        "expect": {"answered_share": "100%", "answered_by": "cloud", "max_attempts": 1},
    }
    tree = buying() | {"resilience": {"deadline": "20m"}}
    tree["targets"]["cloud"] |= dict.fromkeys(("timeout", "first_token", "stall"), "10m")  # the machine may be busy
    assert run_drill(drill, tree, against=against).passed
