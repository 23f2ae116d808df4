"""The ledger in a file: shared by every process of this machine, and it survives their deaths at any moment."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from .book import Book, Hold, LedgerDown, Refusal
from .sqlite_file import use_wal
from .sqlite_writer import leave, writer_for

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..policy.model import Policy
    from .sqlite_file import Work
    from .sqlite_writer import Writer
    from .windows import Account

_APPLICATION = 0x68796272  # "hybr": tells our files from others
_VERSION = 1
# Split at each semicolon: none stands in a comment.
_SCHEMA = """
CREATE TABLE accounts (
    account   TEXT NOT NULL,     -- JSON: budget, period, window, tag, the tag's value
    bucket    INTEGER NOT NULL,  -- start, in seconds since the epoch
    until     INTEGER NOT NULL,  -- when it no longer counts
    booked    INTEGER NOT NULL,  -- nano-dollars: held and spent
    estimated INTEGER NOT NULL DEFAULT 0,  -- of them, settled from counted tokens
    PRIMARY KEY (account, bucket)
) WITHOUT ROWID, STRICT;
CREATE TABLE holds (
    id      TEXT PRIMARY KEY,
    receipt TEXT NOT NULL,
    target  TEXT NOT NULL,
    amount  INTEGER NOT NULL,  -- nano-dollars
    expires INTEGER NOT NULL,  -- then the row goes and its amount stays booked
    buckets TEXT NOT NULL      -- JSON: [[account, bucket], ...]
) WITHOUT ROWID, STRICT;
CREATE TABLE requests (            -- one row a request, by `RequestLog`, in the order of time
    id            TEXT NOT NULL,
    at            REAL NOT NULL,   -- when it ended, in seconds since the epoch
    rule          TEXT,
    target        TEXT,            -- who answered, NULL: nobody
    zone          TEXT,
    code          TEXT,
    degraded      INTEGER NOT NULL,
    seconds       REAL NOT NULL,
    input_tokens  INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    cost          INTEGER NOT NULL,  -- nano-dollars, failed attempts included
    estimated     INTEGER NOT NULL,  -- of them, from counted tokens
    tags          TEXT NOT NULL,     -- JSON
    attempts      TEXT NOT NULL DEFAULT '[]'  -- JSON: [[target, code, seconds], ...]
) STRICT;
"""
_KEPT = 35 * 86_400  # seconds that a bucket is kept after it stopped to count
_SWEEP = 60  # seconds between two sweeps


class SqliteStore:
    """Accounts in one SQLite file (WAL). Every change is one atomic transaction; amounts are whole nano-dollars."""

    behind = True

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser().absolute()
        self._writer: Writer | None = None
        self._swept = 0

    async def used(self, accounts: Sequence[Account]) -> tuple[int, ...]:
        """See `Store.used`."""
        return await self._open().run(lambda db: tuple(_used(db, account) for account in accounts), writes=False)

    async def hold(self, hold: Hold) -> Refusal | None:
        """See `Store.hold`. A cancelled caller's hold is released behind it."""
        writer = self._open()
        if hold.now - self._swept >= _SWEEP:
            self._swept = hold.now
            writer.post(_sweeping(hold.now))
        try:
            return await writer.run(lambda db: _hold(db, hold))
        except asyncio.CancelledError:
            writer.post(_settling(hold.id, 0, estimated=False))
            raise

    async def settle(self, hold_id: str, amount: int, *, estimated: bool) -> None:
        """See `Store.settle`. It is queued and done behind the caller, after whatever the caller asked before."""
        self._open().post(_settling(hold_id, amount, estimated=estimated))

    async def release(self, hold_id: str) -> None:
        """See `Store.release`. It is queued and done behind the caller."""
        self._open().post(_settling(hold_id, 0, estimated=False))

    async def aclose(self) -> None:
        """Wait until all is written; the last ledger of a file in this process closes it."""
        writer, self._writer = self._writer, None
        if writer is not None:
            await asyncio.to_thread(leave, writer)

    def _open(self) -> Writer:
        if self._writer is None:
            self._writer = writer_for(self.path, prepare)
        return self._writer


class SqliteLedger(Book):
    """A `Ledger` in a file; `path` and its directory are made when first needed, readable by this user alone."""

    def __init__(self, policy: Policy, path: str | Path, *, clock: Callable[[], float] = time.time) -> None:
        super().__init__(policy, SqliteStore(path), clock=clock)


def _used(db: sqlite3.Connection, account: Account) -> int:
    # No upper end: where the machine's clock was put back, what was booked before lies ahead, and is spent all the same.
    row = db.execute(
        "SELECT coalesce(sum(booked), 0) FROM accounts WHERE account = ? AND bucket >= ?",
        (account.key, account.buckets[0]),
    ).fetchone()
    return int(row[0])


def _hold(db: sqlite3.Connection, hold: Hold) -> Refusal | None:
    if not hold.forced:
        for index, account in enumerate(hold.accounts):
            used = _used(db, account)
            if used + hold.amount > account.limit:
                return Refusal(index, used)
    buckets = _buckets(*[(account.key, account.bucket) for account in hold.accounts])
    db.execute(
        "INSERT INTO holds (id, receipt, target, amount, expires, buckets) VALUES (?, ?, ?, ?, ?, ?)",
        (hold.id, hold.receipt_id, hold.target, hold.amount, hold.expires, buckets),
    )
    db.executemany(
        "INSERT INTO accounts (account, bucket, until, booked) VALUES (?, ?, ?, ?)"
        " ON CONFLICT DO UPDATE SET booked = booked + excluded.booked",
        [(account.key, account.bucket, account.until, hold.amount) for account in hold.accounts],
    )
    return None


@lru_cache(maxsize=1024)
def _buckets(*pairs: tuple[str, int]) -> str:
    """What a hold is booked on, in its row; the same for all holds of a window."""
    return json.dumps(pairs)


@lru_cache(maxsize=1024)
def _pairs(buckets: str) -> tuple[tuple[str, int], ...]:
    """The opposite of `_buckets`."""
    return tuple((account, bucket) for account, bucket in json.loads(buckets))


def _settling(hold_id: str, amount: int, *, estimated: bool) -> Work[None]:
    def settle(db: sqlite3.Connection) -> None:
        row = db.execute("DELETE FROM holds WHERE id = ? RETURNING amount, buckets", (hold_id,)).fetchone()
        if row is None:
            return
        held, buckets = row
        db.executemany(
            "UPDATE accounts SET booked = booked + ?, estimated = estimated + ? WHERE account = ? AND bucket = ?",
            [(amount - held, amount if estimated else 0, account, bucket) for account, bucket in _pairs(buckets)],
        )

    return settle


def _sweeping(now: int) -> Work[None]:
    def sweep(db: sqlite3.Connection) -> None:
        # An expired hold loses its row; its amount stays booked: spent as reserved, never free money.
        db.execute("DELETE FROM holds WHERE expires <= ?", (now,))
        db.execute("DELETE FROM accounts WHERE until < ?", (now - _KEPT,))

    return sweep


def prepare(db: sqlite3.Connection) -> None:
    """Make a new connection's file a ledger, or raise LedgerDown where it is something else."""
    db.execute("BEGIN")  # one look: another process may be making the file a ledger right now
    application = db.execute("PRAGMA application_id").fetchone()[0]
    if application != _APPLICATION and db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
        raise LedgerDown("the ledger's file belongs to another program; give another path")
    if db.execute("PRAGMA user_version").fetchone()[0] > _VERSION:
        raise LedgerDown("the ledger was written by a newer hybridinfer; upgrade this one or give another path")
    db.execute("COMMIT")
    use_wal(db)
    db.execute("BEGIN IMMEDIATE")
    if db.execute("PRAGMA application_id").fetchone()[0] != _APPLICATION:  # nobody else made it meanwhile
        for statement in _SCHEMA.split(";"):
            db.execute(statement)
        db.execute(f"PRAGMA application_id = {_APPLICATION}")
        db.execute(f"PRAGMA user_version = {_VERSION}")
    elif "attempts" not in {row[1] for row in db.execute("PRAGMA table_info(requests)")}:
        db.execute("ALTER TABLE requests ADD COLUMN attempts TEXT NOT NULL DEFAULT '[]'")  # older versions name theirs
    db.execute("COMMIT")
