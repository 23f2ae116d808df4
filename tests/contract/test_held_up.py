"""A program that holds its own event loop up, over real HTTP: what the vendor answered meanwhile is not taken for silence."""

from __future__ import annotations

import asyncio
import time

import pytest

from hybridinfer import AsyncRouter
from hybridinfer.drill.emulator import Emulator
from hybridinfer.receipt import Code

pytestmark = pytest.mark.anyio
LIMIT = 0.5


def policy(emulator):
    """One cloud with hardly any patience, and a canned reply."""
    patience = dict.fromkeys(("timeout", "first_token", "stall"), f"{LIMIT}s")
    url = {"openai": emulator.base_url_openai, "anthropic": emulator.base_url_anthropic}
    price = {"input": 1, "output": 1}
    clouds = {
        kind: {"kind": kind, "model": "m", "base_url": url[kind], "price": price, **patience}
        for kind in ("openai", "anthropic")
    }
    return {
        "version": 1,
        "targets": clouds | {"sorry": {"kind": "canned", "text": "later"}},
        "rules": [
            {"name": "openai", "when": {"tags": {"to": "openai"}}, "use": ["openai", "sorry"]},
            {"name": "anthropic", "use": ["anthropic", "sorry"]},
        ],
        "resilience": {"deadline": "60s", "retry": {"attempts": 1}, "circuit_breaker": {"failures": 1}},
    }


async def asked(router, kind, *, stream):
    """The receipt of one request."""
    if not stream:
        return (await router.complete("hello", tags={"to": kind})).receipt
    async with router.stream("hello", tags={"to": kind}) as answer:
        async for _ in answer:
            pass
    return answer.receipt


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("kind", ["openai", "anthropic"])
async def test_an_answer_that_waits_in_the_socket_is_read(kind, stream):
    """The loop stands still from the moment the request has arrived until long after every limit."""
    keys = {"OPENAI_API_KEY": "sk-openai", "ANTHROPIC_API_KEY": "sk-anthropic", "HYBRIDINFER_LEDGER": "memory:"}
    with Emulator() as emulator:
        async with AsyncRouter(policy(emulator), environ=keys) as router:
            await router.warmup()
            asking = asyncio.create_task(asked(router, kind, stream=stream))
            await asyncio.to_thread(emulator.arrived.wait, 60)
            time.sleep(3 * LIMIT)  # noqa: ASYNC251 - that is the fault
            receipt = await asking
            assert [(one.target, one.code) for one in receipt.attempts] == [(kind, Code.OK)]
            assert router.health()[kind].recent_failures == 0
