"""The ledger's file: who may read it, what breaks it, and what forking does to it."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from hybridinfer.budget import sqlite_file, sqlite_writer
from hybridinfer.budget.book import LedgerDown, OverBudget, Reservation
from hybridinfer.budget.contract import DAY, Clock, policy_with
from hybridinfer.budget.ledger_sqlite import SqliteLedger, prepare

POLICY = policy_with(DAY)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "ledger.sqlite3"


def reserve(ledger: SqliteLedger, usd: str = "0.25") -> Any:
    return ledger.reserve(receipt_id="r", target="cloud", usd=Decimal(usd), tags={})


async def once(path: Path, usd: str = "0.25") -> Reservation:
    """Open, reserve, close."""
    ledger = SqliteLedger(POLICY, path)
    try:
        one: Reservation = await reserve(ledger, usd)
        return one
    finally:
        await ledger.aclose()


async def used(path: Path) -> float:
    ledger = SqliteLedger(POLICY, path)
    standing = await ledger.standing({})
    await ledger.aclose()
    assert standing.known
    return standing.used


def test_the_file_is_this_users_alone(path: Path) -> None:
    """File and directory are made when first needed, and nobody else may read them."""
    ledger = SqliteLedger(POLICY, path)
    assert not path.parent.exists()
    asyncio.run(once(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    asyncio.run(ledger.aclose())


@pytest.mark.anyio
async def test_the_journal_beside_it_is_too(path: Path) -> None:
    """The write-ahead log holds the same data, so it has the same mode."""
    ledger = SqliteLedger(POLICY, path)
    await reserve(ledger)
    modes = {stat.S_IMODE(one.stat().st_mode) for one in path.parent.iterdir()}
    await ledger.aclose()
    assert modes == {0o600}


def _garbage(path: Path) -> None:
    path.write_bytes(b"not a database, but long enough to look at" * 100)


def _foreign(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE customers (id)")
    db.close()


def _newer(path: Path) -> None:
    asyncio.run(once(path))
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()


def _damaged(path: Path) -> None:
    asyncio.run(once(path))
    data = bytearray(path.read_bytes())
    data[1024:] = b"\xff" * len(data[1024:])
    path.write_bytes(data)


def _directory(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_garbage, "it is no ledger: move it away"),
        (_foreign, "belongs to another program"),
        (_newer, "newer hybridinfer; upgrade"),
        (_damaged, "damaged: move it away"),
        (_directory, "check that the file and its directory can be written"),
    ],
)
def test_a_file_that_is_no_ledger_is_refused(path: Path, spoil: Any, message: str) -> None:
    """The book is down, the message says what to do, the standing is unknown, and the file is left as it is."""
    path.parent.mkdir()
    spoil(path)
    before = path.read_bytes() if path.is_file() else b""

    async def attempt() -> None:
        ledger = SqliteLedger(POLICY, path)
        with pytest.raises(LedgerDown, match=message):
            await reserve(ledger)
        standing = await ledger.standing({})
        assert (standing.known, standing.used, standing.budget) == (False, 1.0, "day")
        await ledger.aclose()

    asyncio.run(attempt())
    assert (path.read_bytes() if path.is_file() else b"") == before


def test_a_file_that_another_process_is_making_a_ledger_is_no_strangers(path: Path) -> None:
    """Two processes that begin together on no file: whoever looks while the other one writes waits or agrees."""
    path.parent.mkdir()

    class Slow(sqlite3.Connection):
        """The other process writes right after our first look at the file."""

        looked = False

        def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
            cursor = super().execute(sql, *parameters)
            if sql == "PRAGMA application_id" and not self.looked:
                self.looked = True
                rows = cursor.fetchall()
                with closing(sqlite3.connect(path, timeout=0)) as other, suppress(sqlite3.OperationalError):
                    prepare(other)
                return super().execute(f"SELECT {rows[0][0]}")
            return cursor

    with closing(sqlite3.connect(path, factory=Slow, isolation_level=None)) as db:
        prepare(db)
    assert asyncio.run(used(path)) == 0


@pytest.mark.anyio
async def test_a_locked_file_is_down_until_it_is_free(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another program's lock is waited for, then named; when it is gone, the ledger goes on by itself."""
    monkeypatch.setattr(sqlite_file, "_BUSY", 0.01)
    await once(path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    ledger = SqliteLedger(POLICY, path)
    with pytest.raises(LedgerDown, match="another process holds it"):
        await reserve(ledger)
    other.execute("ROLLBACK")
    other.close()
    await reserve(ledger)
    assert (await ledger.standing({})).used == 0.5
    await ledger.aclose()


@pytest.mark.anyio
async def test_a_settlement_waits_for_a_locked_file(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What was spent during an outage is booked when it is over; until then a warning tells of it."""
    monkeypatch.setattr(sqlite_file, "_BUSY", 0.01)
    ledger = SqliteLedger(POLICY, path)
    one = await reserve(ledger)
    await ledger.aclose()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    await ledger.settle(one, Decimal("0.125"))
    with pytest.raises(LedgerDown):
        await reserve(ledger)
    assert "1 bookings wait for the ledger" in caplog.text
    other.execute("ROLLBACK")
    other.close()
    assert (await ledger.standing({})).used == 0.125
    await ledger.aclose()


@pytest.mark.anyio
async def test_a_full_disk_is_down_and_loses_nothing(path: Path) -> None:
    """What was booked stays booked; when there is room again, the ledger goes on by itself."""
    ledger = SqliteLedger(POLICY, path)
    await reserve(ledger)
    writer = ledger._store._writer  # type: ignore[attr-defined]

    def fill(db: sqlite3.Connection) -> None:
        pages = db.execute("PRAGMA page_count").fetchone()[0]
        db.execute(f"PRAGMA max_page_count = {pages}")

    await writer.run(fill)
    with pytest.raises(LedgerDown, match="the disk is full: make room"):
        await ledger.reserve(receipt_id="r" * 5000, target="cloud", usd=Decimal("0.25"), tags={})
    assert (await ledger.standing({})).used == 0.25
    await reserve(ledger)
    assert (await ledger.standing({})).used == 0.5
    await ledger.aclose()


@pytest.mark.anyio
async def test_a_removed_file_begins_anew(path: Path) -> None:
    """Whoever deletes the ledger resets it, for running processes too: none goes on in a file that is not there."""
    ledger = SqliteLedger(POLICY, path)
    await reserve(ledger, "1")
    for one in list(path.parent.iterdir()):
        one.unlink()
    await reserve(ledger, "0.5")
    assert (await ledger.standing({})).used == 0.5
    assert path.exists()  # noqa: ASYNC240
    await ledger.aclose()


@pytest.mark.anyio
async def test_a_bug_reaches_its_caller(path: Path) -> None:
    """An error that is not the database's is raised as it is, and the thread goes on."""
    ledger = SqliteLedger(POLICY, path)
    await reserve(ledger)
    writer = ledger._store._writer  # type: ignore[attr-defined]
    with pytest.raises(ZeroDivisionError):
        await writer.run(lambda _: 1 // 0)
    await reserve(ledger)
    assert (await ledger.standing({})).used == 0.5
    await ledger.aclose()


@pytest.mark.anyio
async def test_the_limit_is_read_under_the_lock_that_writes(path: Path) -> None:
    """No other process can book between the look at a budget and the booking; who only looks locks nobody out."""
    ledger = SqliteLedger(POLICY, path)
    await reserve(ledger)
    writer = ledger._store._writer  # type: ignore[attr-defined]

    def another_may_write(db: sqlite3.Connection) -> bool:
        db.execute("SELECT * FROM accounts").fetchall()
        other = sqlite3.connect(path, timeout=0, isolation_level=None)
        try:
            other.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        finally:
            other.close()
        return True

    assert not await writer.run(another_may_write)
    assert await writer.run(another_may_write, writes=False)
    await ledger.aclose()


@pytest.mark.anyio
async def test_work_that_can_never_be_done_is_not_repeated(path: Path) -> None:
    """A booking that the database itself refuses is given up, so that it cannot stop the others."""
    ledger = SqliteLedger(POLICY, path)
    await reserve(ledger)
    ledger._store._writer.post(lambda db: db.execute("INSERT INTO nowhere VALUES (1)"))  # type: ignore[attr-defined]
    await ledger._store._writer.run(lambda db: None)  # type: ignore[attr-defined]
    await reserve(ledger)
    assert (await ledger.standing({})).used == 0.5
    await ledger.aclose()


def test_one_file_serves_many_event_loops(path: Path) -> None:
    """Ledgers of several threads and loops share one writer and one limit."""
    results: list[bool] = []

    async def spend() -> None:
        ledger = SqliteLedger(POLICY, path)
        for _ in range(20):
            try:
                await reserve(ledger, "0.02")
                results.append(True)
            except OverBudget:
                results.append(False)
        await ledger.aclose()

    threads = [threading.Thread(target=lambda: asyncio.run(spend())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(results) == 50
    assert not sqlite_writer._WRITERS


def test_a_loop_that_ended_disturbs_nobody(path: Path) -> None:
    """Work whose caller's loop is closed is done all the same, and the writer lives on."""
    ledger = SqliteLedger(POLICY, path)
    loop = asyncio.new_event_loop()
    writer = sqlite_writer.writer_for(path.absolute(), lambda db: None)
    try:
        started = threading.Event()
        goes_on = threading.Event()

        def slow(db: sqlite3.Connection) -> None:
            started.set()
            goes_on.wait(30)

        task = loop.create_task(writer.run(slow))
        loop.run_until_complete(asyncio.sleep(0))
        started.wait(30)
        task.cancel()
        loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
        loop.close()
        goes_on.set()
        assert asyncio.run(writer.run(lambda db: "alive")) == "alive"
    finally:
        sqlite_writer.leave(writer)
        asyncio.run(ledger.aclose())


def test_expired_holds_and_old_buckets_are_swept(path: Path) -> None:
    """The file does not grow for ever: expired rows go, their money stays until its window is long past."""

    async def later() -> tuple[int, int]:
        clock = Clock()
        ledger = SqliteLedger(POLICY, path, clock=clock)
        await reserve(ledger)
        clock.now += 100 * 86_400
        await reserve(ledger)
        rows = await ledger._store._writer.run(  # type: ignore[attr-defined]
            lambda db: [db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("holds", "accounts")]
        )
        await ledger.aclose()
        return tuple(rows)

    assert asyncio.run(later()) == (1, 1)


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="Python warns of every fork with threads")
def test_both_sides_of_a_fork_keep_the_book(path: Path) -> None:
    """A process that forks with the ledger open goes on, and so does its child; each sees what the other spent."""
    loop = asyncio.new_event_loop()
    ledger = SqliteLedger(POLICY, path)
    loop.run_until_complete(reserve(ledger))

    def spend() -> None:
        own = asyncio.new_event_loop()
        own.run_until_complete(reserve(ledger, "0.5"))
        own.run_until_complete(ledger.aclose())
        own.close()

    child = multiprocessing.get_context("fork").Process(target=spend)
    child.start()
    child.join()
    assert child.exitcode == 0
    assert loop.run_until_complete(ledger.standing({})).used == 0.75
    loop.run_until_complete(ledger.aclose())
    loop.close()


@pytest.mark.anyio
async def test_a_fork_behind_pythons_back_is_noticed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that got the open file without knowing denies, rather than damage the book."""
    ledger = SqliteLedger(POLICY, path)
    await reserve(ledger)
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: -1)
        with pytest.raises(LedgerDown, match="build the Router after forking"):
            await reserve(ledger)
    await ledger.aclose()


def test_what_is_queued_at_exit_is_written(path: Path) -> None:
    """A program that ends without closing its router loses no settlement."""
    program = f"""
import asyncio
from decimal import Decimal
from hybridinfer.budget.contract import DAY, policy_with
from hybridinfer.budget.ledger_sqlite import SqliteLedger, prepare, _settling

async def main():
    ledger = SqliteLedger(policy_with(DAY), {str(path)!r})
    one = await ledger.reserve(receipt_id="r", target="t", usd=Decimal(1), tags={{}})
    ledger._store._writer.post(_settling(one.id, 125_000_000, estimated=False))

asyncio.run(main())
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=300)
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT booked FROM accounts").fetchall() == [(125_000_000,)]
    db.close()


def test_estimated_money_is_marked(path: Path) -> None:
    """The book tells what was counted from what was reported."""

    async def spend() -> list[tuple[int, int]]:
        ledger = SqliteLedger(POLICY, path)
        await ledger.settle(await reserve(ledger), Decimal("0.125"))
        await ledger.settle(await reserve(ledger), Decimal("0.25"), estimated=True)
        rows: list[tuple[int, int]] = await ledger._store._writer.run(  # type: ignore[attr-defined]
            lambda db: db.execute("SELECT booked, estimated FROM accounts").fetchall()
        )
        await ledger.aclose()
        return rows

    assert asyncio.run(spend()) == [(375_000_000, 250_000_000)]


@pytest.mark.anyio
async def test_the_end_of_a_program_ends_every_writer(path: Path) -> None:
    """What is queued is written, and no thread is left."""
    ledger = SqliteLedger(POLICY, path)
    await ledger.settle(await reserve(ledger), Decimal("0.125"))
    sqlite_writer._stop_all()
    assert not any(thread.name == "hybridinfer-ledger" for thread in threading.enumerate())
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT booked FROM accounts").fetchall() == [(125_000_000,)]
    await ledger.aclose()


def test_a_writer_without_work_makes_nothing(path: Path) -> None:
    """Neither file nor thread, from its beginning to its end."""
    sqlite_writer.leave(sqlite_writer.writer_for(path, lambda db: None))
    assert not path.parent.exists()


@pytest.mark.anyio
async def test_the_journal_is_carried_over_behind_the_callers(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When it has grown, the thread writes it into the file itself, so that it does not grow for ever."""
    ledger = SqliteLedger(POLICY, path)
    await reserve(ledger)
    carried, checkpoint = threading.Event(), sqlite_file.File.checkpoint

    def told(file: sqlite_file.File) -> None:
        checkpoint(file)
        carried.set()

    monkeypatch.setattr(sqlite_file.File, "checkpoint", told)
    monkeypatch.setattr(sqlite_file, "_CHECKPOINT", 1)
    await reserve(ledger)
    assert await asyncio.to_thread(carried.wait, 120)
    with closing(sqlite3.connect(f"{path.as_uri()}?immutable=1", uri=True)) as db:  # without a look at the journal
        assert db.execute("SELECT booked FROM accounts").fetchall() == [(500_000_000,)]
    await ledger.aclose()


HOLDER = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("BEGIN IMMEDIATE")
db.execute("UPDATE accounts SET booked = booked + 1")
print("it is mine", flush=True)
sys.stdin.read()
"""


@contextmanager
def held(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that is in the middle of a transaction."""
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "it is mine\n"
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.anyio
async def test_a_killed_writer_holds_nobody_up(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While another process writes, the ledger is down; killed midway, it leaves no lock and nothing of its own."""
    monkeypatch.setattr(sqlite_file, "_BUSY", 0.01)
    ledger = SqliteLedger(POLICY, path)
    await reserve(ledger)
    with held(path) as process:
        with pytest.raises(LedgerDown, match="another process holds it"):
            await reserve(ledger)
        process.kill()
        process.wait()
        await reserve(ledger)
    assert (await ledger.standing({})).used == 0.5
    await ledger.aclose()


@pytest.mark.anyio
async def test_an_interrupted_transaction_leaves_no_lock(path: Path) -> None:
    """Ctrl-C in the middle of a booking undoes it, and other processes can write at once."""
    ledger = SqliteLedger(POLICY, path)
    await reserve(ledger)
    writer = ledger._store._writer  # type: ignore[attr-defined]

    def interrupted(db: sqlite3.Connection) -> None:
        db.execute("UPDATE accounts SET booked = 0")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await writer.run(interrupted)
    with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert other.execute("SELECT booked FROM accounts").fetchall() == [(250_000_000,)]
    assert (await ledger.standing({})).used == 0.25
    await ledger.aclose()


@pytest.mark.anyio
async def test_a_connection_that_breaks_is_opened_afresh(path: Path) -> None:
    """Where not even a rollback is possible, the next work has a new connection."""
    ledger = SqliteLedger(POLICY, path)
    await reserve(ledger)
    connections: list[sqlite3.Connection] = []

    def breaking(db: sqlite3.Connection) -> None:
        connections.append(db)
        if len(connections) == 1:
            db.close()

    await ledger._store._writer.run(breaking)  # type: ignore[attr-defined]
    assert connections[0] is not connections[1]
    await reserve(ledger)
    assert (await ledger.standing({})).used == 0.5
    await ledger.aclose()


def test_going_over_to_a_journal_waits_for_others(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several processes open a new file at once: each waits until the others are done with it, but not for ever."""
    path.parent.mkdir()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("CREATE TABLE t (id)")
        other.execute("BEGIN IMMEDIATE")
        with closing(sqlite3.connect(path, timeout=0)) as db:
            monkeypatch.setattr(sqlite_file, "_BUSY", -1.0)
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                sqlite_file.use_wal(db)
            monkeypatch.setattr(sqlite_file, "_BUSY", 600.0)
            monkeypatch.setattr(time, "sleep", lambda _: other.execute("ROLLBACK"))
            sqlite_file.use_wal(db)
            assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


@pytest.mark.anyio
@pytest.mark.parametrize("window", [{"per": "minute", "window": "rolling"}, {"per": "hour", "window": "rolling"}, DAY])
async def test_a_clock_that_is_put_back_frees_no_money(path: Path, window: dict[str, Any]) -> None:
    """What was booked a moment ago is spent, even where that moment is still to come."""
    midnight = 1_764_028_800
    clock = Clock(midnight + 30)
    ledger = SqliteLedger(policy_with({"name": "day", "usd": 1, **window}), path, clock=clock)
    await reserve(ledger, "0.75")
    clock.now -= 45
    assert (await ledger.standing({})).used == 0.75
    with pytest.raises(OverBudget):
        await reserve(ledger, "0.5")
    await reserve(ledger, "0.25")
    await ledger.aclose()
