"""Every cent: what the receipts say, what the ledger has booked, and what a vendor counted who knows neither of them."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest

from hybridinfer import AsyncRouter
from hybridinfer.budget.money import from_nano
from hybridinfer.budget.requests import read
from hybridinfer.drill.emulator import Emulator
from hybridinfer.drill.faults import Cut, Fault, Hang, Stall, Status, Unsure
from hybridinfer.drill.replies import count, reply
from hybridinfer.drill.serve import VENDORS
from hybridinfer.types import TextDelta

pytestmark = pytest.mark.anyio

PATIENCE = 240
"""Seconds: nothing here waits for them to pass, on however busy a machine."""
PICO = {"input": 37_100, "output": 113_700}
"""USD x 10^12 a token: most bills end between two nano-dollars."""
TOLD = (type(None), Status, Unsure)
"""Requests whose usage the vendor told, or did not bill; of all others at least as much is booked."""


@dataclass(frozen=True)
class Path:
    """One way through a policy. Faults are for the calls of a target in turn; `codes` prove that the way was gone."""

    use: Any
    faults: dict[str, list[Fault | None]]
    codes: list[tuple[str, str]]
    how: str = "whole"
    policy: dict[str, Any] = field(default_factory=dict)
    rule: dict[str, Any] = field(default_factory=dict)


BY_C = {"judge": "model", "by": "c"}
PATHS = {
    "retry": Path("a", {"a": [Status(status=503)]}, [("a", "unavailable"), ("a", "ok")]),
    "fallback": Path(["a", "b"], {"a": [Cut(), Cut()]}, [("a", "interrupted"), ("a", "interrupted"), ("b", "ok")]),
    "hedge": Path(["a", "b"], {"a": [Hang()]}, [("a", "cancelled"), ("b", "ok")], rule={"hedge": {"after": "50ms"}}),
    "hedged stream": Path(
        ["a", "b"], {"a": [Hang()]}, [("a", "cancelled"), ("b", "ok")], "stream", rule={"hedge": {"after": "50ms"}}
    ),
    "cascade": Path(
        [{"target": "a", "accept": {"samples": 3}}, "b"],
        {"a": [Unsure()] * 3},
        [("a", "unsure"), ("a", "ok"), ("a", "ok"), ("b", "ok")],
    ),
    "second opinion": Path(
        [{"target": "a", "accept": {"agree_with": "b", **BY_C}}, "d"],
        {"b": [Unsure()]},
        [("a", "unsure"), ("b", "ok"), ("c", "ok"), ("d", "ok")],
    ),
    "agreement": Path(
        [{"agree": ["a", "b"], "else": "d", **BY_C}],
        {"b": [Unsure()]},
        [("a", "unsure"), ("b", "unsure"), ("c", "ok"), ("d", "ok")],
    ),
    "continue": Path(
        ["a", "b"],
        {"a": [Cut(after=3)]},
        [("a", "interrupted"), ("b", "ok")],
        "stream",
        {"resilience": {"on_interrupt": "continue"}},
    ),
    "restart": Path(
        ["a", "b"],
        {"a": [Cut(after=3)]},
        [("a", "interrupted"), ("b", "ok")],
        "stream",
        {"resilience": {"on_interrupt": "restart"}},
    ),
    "audit": Path(
        ["near", "b"],
        {"near": [Unsure()]},
        [("near", "ok"), ("b", "ok"), ("b", "ok")],
        policy={"learning": {"store": "features", "audit_share": "100%"}},
    ),
    "left midway": Path("a", {"a": [Stall(after=2)]}, [("a", "cancelled")], "leave midway"),
    "left waiting": Path("a", {"a": [Hang()]}, [("a", "cancelled")], "leave waiting"),
}


def policy(path: Path, kind: str, url: str) -> dict[str, Any]:
    """The path's policy; every target is a model of the one emulator."""
    price = {name: Decimal(pico) / 10**6 for name, pico in PICO.items()}
    patience = dict.fromkeys(("timeout", "first_token", "stall"), f"{PATIENCE}s")
    target = {"kind": kind, "base_url": url, "price": price, "max_tokens": 300, **patience}
    tree: dict[str, Any] = {
        "version": 1,
        "targets": {name: target | {"model": name, "continues": True} for name in "abcd"},
        "rules": [{"name": "all", "use": path.use, **path.rule}],
        "budgets": [{"name": "day", "usd": 1, "per": "day"}],
    }
    tree["targets"]["near"] = target | {"model": "near", "zone": "network"}
    tree |= path.policy
    return tree | {"resilience": {"deadline": f"{PATIENCE}s", **tree.get("resilience", {})}}


class Receipts(list):
    """As a hook: all receipts, audits too."""

    def on_receipt(self, receipt):
        self.append(receipt)


async def go(path, router, emulator):
    """One request, as its caller makes it."""
    prompt = "Which way did the money go, and who has counted it?"
    if path.how == "whole":
        await router.complete(prompt)
    elif path.how == "leave waiting":
        caller = asyncio.create_task(router.complete(prompt))
        await asyncio.to_thread(emulator.arrived.wait, PATIENCE)
        caller.cancel()
        await asyncio.wait([caller])
    else:
        async with router.stream(prompt) as stream:
            pieces = 0
            async for event in stream:
                pieces += isinstance(event, TextDelta)
                if path.how == "leave midway" and pieces == 2:
                    break


def witnessed(path: Path, emulator: Emulator) -> tuple[int, bool]:
    """Nano-dollars that the vendor bills for what arrived, and whether it has told all of them."""
    nano, told, calls = 0, True, Counter[str]()
    for seen in emulator.requests:
        fault = dict(enumerate(path.faults.get(seen.model, []))).get(calls[seen.model])
        calls[seen.model] += 1
        told &= isinstance(fault, TOLD)
        if isinstance(fault, Status):
            continue
        said = reply(next(vendor for vendor in VENDORS if vendor.path == seen.path).read(seen.body))
        cut = seen.body.get("stream") and getattr(fault, "after", None)
        output = count("".join(said.pieces[:cut])) if cut else said.output_tokens
        nano += -((said.input_tokens * PICO["input"] + output * PICO["output"]) // -1000)
    return nano, told


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
@pytest.mark.parametrize("name", PATHS)
async def test_every_cent_is_on_a_receipt_and_in_the_book(name, kind, tmp_path):
    """Receipts, ledger and records agree to the nano-dollar, and with the vendor's bill where the vendor told it."""
    path, receipts, book = PATHS[name], Receipts(), tmp_path / "ledger.sqlite3"
    environ = {"OPENAI_API_KEY": "sk-o", "ANTHROPIC_API_KEY": "sk-a", "HYBRIDINFER_LEDGER": str(book)}
    with Emulator() as emulator:
        for model, faults in path.faults.items():
            emulator.script(model, faults)
        url = emulator.base_url_openai if kind == "openai" else emulator.base_url_anthropic
        environ["HYBRIDINFER_STATE"] = str(tmp_path)
        async with AsyncRouter(policy(path, kind, url), environ=environ, hooks=[receipts]) as router:
            await go(path, router, emulator)
            if audits := [one.task for one in router._auditor._open]:
                await asyncio.wait(audits)
    attempts = [attempt for receipt in receipts for attempt in receipt.attempts]
    assert sorted((one.target, str(one.code)) for one in attempts) == sorted(path.codes)
    assert len(emulator.requests) == len(attempts)

    on_receipts = sum((one.cost_usd for one in attempts), Decimal(0))
    with closing(sqlite3.connect(book)) as db:
        (booked,) = db.execute("SELECT sum(booked) FROM accounts").fetchone()
        assert db.execute("SELECT count(*) FROM holds").fetchone() == (0,)
    assert from_nano(booked) == on_receipts == sum((one.cost_usd for one in read(book)), Decimal(0))

    bill, told = witnessed(path, emulator)
    assert told == (not any(one.estimated for one in attempts))
    assert booked == bill if told else booked >= bill > 0
