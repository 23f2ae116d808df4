"""One thread per process that works on one SQLite file, in transactions that carry many callers at once.

Callers queue functions; the thread takes all that wait and runs them in one transaction, so throughput grows with
load and the event loop never touches the disk. SQLite forbids to carry a connection across fork(2): the connection
is closed before each fork and opened again by whoever needs it next, on either side.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import logging
import os
import queue
import sqlite3
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from .book import LedgerDown

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]
"""Runs inside the transaction; it must not begin or end one."""

_BUSY = 2.0  # seconds to wait for other processes
_BATCH = 256
_LINGER = 0.02  # seconds that bookings wait for company; a crash meanwhile leaves them spent as reserved
_OWED = 10_000  # bookings kept over an outage; beyond that they expire as spent

logger = logging.getLogger("hybridinfer")


@dataclass(frozen=True, slots=True)
class _Item:
    work: Work[Any]
    writes: bool
    loop: asyncio.AbstractEventLoop | None = None
    future: asyncio.Future[Any] | None = None


class Writer:
    """The thread and the connection of one file. Get it from `writer_for`; close it as often as you got it."""

    def __init__(self, path: Path, prepare: Work[None]) -> None:
        self.path = path
        self.users = 0
        self._prepare = prepare
        self._db: sqlite3.Connection | None = None
        self._inode: tuple[int, int] | None = None
        self._start_anew()

    def _start_anew(self) -> None:
        self._pid = os.getpid()
        self._queue: queue.SimpleQueue[_Item | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._owed: list[_Item] = []
        self.connection_lock = threading.Lock()

    async def run(self, work: Work[T], *, writes: bool = True) -> T:
        """What `work` returns, once its transaction is committed. Raises LedgerDown.

        Cancelling the caller does not undo the work: queue its opposite with `post`, which runs after it.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._put(_Item(work, writes, loop, future))
        return await future

    def post(self, work: Work[Any]) -> None:
        """Queue `work`; nobody waits for it. It is kept over an outage of the file and done as soon as that ends."""
        self._put(_Item(work, writes=True))

    def stop(self) -> None:
        """Finish what is queued, close the file and wait for it."""
        thread, self._thread = self._thread, None
        if thread is not None and self._pid == os.getpid():
            self._queue.put(None)
            thread.join(10)  # it has seconds of work at most, and a program shall end

    def disconnect(self) -> None:
        """Close the connection; the next work opens it again. Holders of `connection_lock` only."""
        db, self._db = self._db, None
        if db is not None:
            with contextlib.suppress(sqlite3.Error):
                db.close()

    def reset_in_child(self) -> None:
        """After fork(2): neither the thread nor what was queued came along."""
        self._start_anew()

    def _put(self, item: _Item) -> None:
        if self._pid != os.getpid():
            raise LedgerDown("this process was forked without Python's knowledge; build the Router after forking")
        self._queue.put(item)
        if self._thread is None:
            with _REGISTRY_LOCK:
                if self._thread is None:
                    thread = threading.Thread(target=self._work, name="hybridinfer-ledger", daemon=True)
                    self._thread = thread
                    thread.start()

    def _work(self) -> None:
        waiting: queue.SimpleQueue[_Item | None] = self._queue
        going = True
        while going:
            batch = [waiting.get()]
            with contextlib.suppress(queue.Empty):
                while batch[-1] is not None and batch[-1].future is None and len(batch) < _BATCH:
                    batch.append(waiting.get(timeout=_LINGER))  # nobody waits for these: let them travel together
                while len(batch) < _BATCH:
                    batch.append(waiting.get_nowait())
            going = None not in batch
            items = [*self._owed, *(item for item in batch if item is not None)]
            with self.connection_lock:
                outcomes = self._transact(items)
                if not going:
                    self.disconnect()
            pairs = zip(items, outcomes, strict=True)
            self._owed = [item for item, outcome in pairs if item.future is None and _is_outage(outcome)][:_OWED]
            if self._owed:
                logger.warning("%d bookings wait for the ledger %s", len(self._owed), self.path)
            _deliver(items, outcomes)

    def _transact(self, items: list[_Item]) -> list[Any]:
        if not items:
            return []
        try:
            db = self._connected()
            db.execute("BEGIN IMMEDIATE" if any(item.writes for item in items) else "BEGIN")
            outcomes = [item.work(db) for item in items]
            db.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to the callers: they must not wait for ever
            self.disconnect()  # rolls back, and looks at the file afresh next time
            failure = _failure(error, self.path)
            if len(items) > 1 and not _is_outage(failure):  # one of them is at fault: the others shall not pay for it
                return [outcome for item in items for outcome in self._transact([item])]
            return [_failure(error, self.path) for _ in items]
        return outcomes

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


def writer_for(path: Path, prepare: Work[None]) -> Writer:
    """The writer of a file, one per process. `prepare` runs on each new connection: checks, `use_wal`, schema."""
    with _REGISTRY_LOCK:
        writer = _WRITERS.setdefault(str(path), Writer(path, prepare))
        writer.users += 1
        return writer


def leave(writer: Writer) -> None:
    """The opposite of `writer_for`: the last user stops the thread."""
    with _REGISTRY_LOCK:
        writer.users -= 1
        last = writer.users == 0
        if last:
            del _WRITERS[str(writer.path)]
    if last:
        writer.stop()


def use_wal(db: sqlite3.Connection) -> None:
    """Give a new connection, before its first transaction, a write-ahead log that survives the process's death."""
    # Going over to WAL does not wait for other connections as other statements do: several may try at once.
    deadline = time.monotonic() + _BUSY
    db.execute("PRAGMA page_size = 1024")  # of a new file: a commit writes whole pages, and ours touches few bytes
    db.execute("PRAGMA wal_autocheckpoint = 8192")  # pages
    while db.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            db.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.005)
    db.execute(
        "PRAGMA synchronous = NORMAL"
    )  # survives every crash of the process; a power cut may cost the last moments


def _is_outage(outcome: object) -> bool:
    """Whether it is the file that failed, which somebody can mend, and not the work."""
    if not isinstance(outcome, LedgerDown):
        return False
    return not isinstance(outcome.__cause__, sqlite3.Error) or _code(outcome.__cause__) in _OUTAGES


def _deliver(items: list[_Item], outcomes: list[Any]) -> None:
    per_loop: defaultdict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Any]]] = defaultdict(list)
    for item, outcome in zip(items, outcomes, strict=True):
        if item.loop is not None and item.future is not None:
            per_loop[item.loop].append((item.future, outcome))
    for loop, results in per_loop.items():
        with contextlib.suppress(RuntimeError):  # the loop was closed: nobody waits there any more
            loop.call_soon_threadsafe(_resolve, results)


def _resolve(results: list[tuple[asyncio.Future[Any], Any]]) -> None:
    for future, outcome in results:
        if future.done():
            continue
        if isinstance(outcome, BaseException):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)


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
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


_WRITERS: dict[str, Writer] = {}
_REGISTRY_LOCK = threading.RLock()
_forking: list[Writer] = []


def _before_fork() -> None:
    _REGISTRY_LOCK.acquire()
    _forking[:] = _WRITERS.values()
    for writer in _forking:
        writer.connection_lock.acquire()
        writer.disconnect()


def _after_fork_in_parent() -> None:
    for writer in _forking:
        writer.connection_lock.release()
    _forking.clear()
    _REGISTRY_LOCK.release()


def _after_fork_in_child() -> None:
    for writer in _forking:
        writer.reset_in_child()
    _forking.clear()
    _REGISTRY_LOCK.release()


def _stop_all() -> None:
    for writer in list(_WRITERS.values()):
        writer.stop()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
atexit.register(_stop_all)
