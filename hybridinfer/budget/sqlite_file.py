"""One SQLite file and the connection to it: opened when needed, looked at afresh after every failure.

Whoever calls holds the lock that guards the connection; see `sqlite_writer`.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from .book import LedgerDown

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]
"""Runs inside the transaction; it must not begin or end one, and bears repetition when that was rolled back."""

_BUSY = 2.0  # seconds to wait for other processes
_CHECKPOINT = 2_000  # transactions between two; each writes a handful of pages of 1 kB


class File:
    """A file and its connection. Use it from any thread, one at a time. `prepare` runs on each new connection."""

    def __init__(self, path: Path, prepare: Work[None]) -> None:
        self.path = path
        self._prepare = prepare
        self._db: sqlite3.Connection | None = None
        self._inode: tuple[int, int] | None = None
        self._since_checkpoint = 0

    @property
    def due(self) -> bool:
        """The write-ahead log has grown: somebody who may wait for the disk should call `checkpoint`."""
        return self._since_checkpoint >= _CHECKPOINT

    def at_once(self, works: Sequence[Work[Any]], *, writes: bool) -> list[Any] | None:
        """What `works` return, committed, if that needs no waiting; else None, and nothing was done.

        Some 50 microseconds: a commit goes to the system's cache, not to the disk.
        """
        db = self._db
        if db is None or self._inode != _inode(self.path):
            return None
        try:
            db.execute("BEGIN IMMEDIATE" if writes else "BEGIN")
        except sqlite3.Error:  # locked, as a rule
            return None
        try:
            outcomes = [work(db) for work in works]
            db.execute("COMMIT")
        except Exception:  # noqa: BLE001 - whoever does it again in peace finds out what it was, and whose
            self._undo()
            return None
        except BaseException:  # interrupted: the lock must not outlive it
            self.disconnect()
            raise
        self._since_checkpoint += writes
        return outcomes

    def transact(self, works: Sequence[Work[Any]], *, writes: bool) -> list[Any]:
        """What `works` return, or raise, in one transaction; waits for other processes. Failures of the file are LedgerDown."""
        try:
            db = self._connected()
            db.execute(f"PRAGMA busy_timeout = {int(_BUSY * 1000)}")
            db.execute("BEGIN IMMEDIATE" if writes else "BEGIN")
            outcomes = [work(db) for work in works]
            db.execute("COMMIT")
            db.execute("PRAGMA busy_timeout = 0")
        except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to the callers: they must not wait for ever
            self.disconnect()  # rolls back, and looks at the file afresh next time
            failure = _failure(error, self.path)
            if len(works) > 1 and not is_outage(failure):  # one of them is at fault: the others shall not pay for it
                return [outcome for work in works for outcome in self.transact([work], writes=writes)]
            return [_failure(error, self.path) for _ in works]
        self._since_checkpoint += writes
        return outcomes

    def checkpoint(self) -> None:
        """Carry the write-ahead log over into the file. Waits for the disk, for nobody else."""
        self._since_checkpoint = 0
        if self._db is None:
            return
        with contextlib.suppress(sqlite3.Error):  # whatever is wrong, the next transaction meets it
            self._db.execute("PRAGMA wal_checkpoint(PASSIVE)")
            # The first commit into a log that begins anew waits for the disk once: that is this one, not a caller's.
            self._db.execute(f"PRAGMA user_version = {self._db.execute('PRAGMA user_version').fetchone()[0]}")

    def disconnect(self) -> None:
        """Close the connection; the next `transact` opens it again."""
        db, self._db = self._db, None
        if db is not None:
            with contextlib.suppress(sqlite3.Error):
                db.close()

    def _undo(self) -> None:
        """End a transaction that failed, and keep the connection if that is possible."""
        try:
            if self._db is not None and self._db.in_transaction:
                self._db.rollback()
        except sqlite3.Error:
            self.disconnect()

    def _connected(self) -> sqlite3.Connection:
        if self._db is not None and self._inode != _inode(self.path):
            self.disconnect()  # somebody removed or replaced the file: the book is the one that is there now
        if self._db is None:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
            self._db = sqlite3.connect(self.path, timeout=_BUSY, isolation_level=None, check_same_thread=False)
            self._inode = _inode(self.path)
            self._prepare(self._db)
        return self._db


def use_wal(db: sqlite3.Connection) -> None:
    """Give a new connection, before its first transaction, a write-ahead log that survives the process's death."""
    # Going over to WAL does not wait for other connections as other statements do: several may try at once.
    deadline = time.monotonic() + _BUSY
    db.execute("PRAGMA page_size = 1024")  # of a new file: a commit writes whole pages, and ours touches few bytes
    db.execute("PRAGMA wal_autocheckpoint = 0")  # see `File.checkpoint`
    while db.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            db.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.005)
    # Survives every crash of the process; a power cut may cost the last moments.
    db.execute("PRAGMA synchronous = NORMAL")


def is_outage(outcome: object) -> bool:
    """Whether it is the file that failed, which somebody can mend, and not the work."""
    if not isinstance(outcome, LedgerDown):
        return False
    return not isinstance(outcome.__cause__, sqlite3.Error) or _code(outcome.__cause__) in _OUTAGES


def _failure(error: Exception, path: Path) -> Exception:
    if isinstance(error, LedgerDown):
        return LedgerDown(str(error))
    if not isinstance(error, (sqlite3.Error, OSError)):
        return error
    advice = _ADVICE.get(_code(error), "check that the file and its directory can be written")
    down = LedgerDown(f"the ledger {path} cannot be used: {error}; {advice}")
    down.__cause__ = error
    return down


def _code(error: Exception) -> int:
    """SQLite's primary result code; 0 where it was none of its errors."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


_OUTAGES = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
}
_ADVICE = {
    sqlite3.SQLITE_BUSY: "another process holds it: find and end that process",
    sqlite3.SQLITE_LOCKED: "another process holds it: find and end that process",
    sqlite3.SQLITE_FULL: "the disk is full: make room",
    sqlite3.SQLITE_CORRUPT: "the file is damaged: move it away, and a new one begins at zero",
    sqlite3.SQLITE_NOTADB: "it is no ledger: move it away or give another path",
}


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        status = os.stat(path)  # noqa: PTH116 - the same, without a detour, once per transaction
    except OSError:
        return None
    return status.st_dev, status.st_ino
