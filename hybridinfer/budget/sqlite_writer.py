"""One writer per process that works on one SQLite file: at once where nobody is in the way, else in a thread.

An event loop may spend the 50 microseconds that a transaction takes; it must not wait for a lock or a disk. So a
caller's work is tried on the spot, and takes with it whatever bookings were posted before. Where the file is busy,
slow or not open yet, the work is queued for the thread, which takes all that wait into one transaction: throughput
grows with load. SQLite forbids to carry a connection across fork(2): the connection is closed before each fork and
opened again by whoever needs it next, on either side.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import logging
import os
import threading
import time
from collections import defaultdict, deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from .book import LedgerDown
from .sqlite_file import File, Work, is_outage

T = TypeVar("T")

_BATCH = 256
_LINGER = 0.05  # seconds that bookings wait for company; a crash meanwhile leaves them spent as reserved
_OWED = 10_000  # bookings kept over an outage; beyond that they expire as spent
_AT_ONCE = 16  # works that a caller takes along; a longer queue is the thread's
_SLOW = 0.01  # seconds: a transaction that held up its event loop for so long sends the next ones to the thread ...
_REST = 1.0  # ... for so many seconds

logger = logging.getLogger("hybridinfer")


@dataclass(frozen=True, slots=True)
class _Item:
    work: Work[Any]
    writes: bool
    loop: asyncio.AbstractEventLoop | None = None
    future: asyncio.Future[Any] | None = None


class Writer:
    """The connection of one file, and the thread that waits for it. Get it from `writer_for`; close it as often."""

    def __init__(self, path: Path, prepare: Work[None]) -> None:
        self.path = path
        self.users = 0
        self._file = File(path, prepare)
        self._start_anew()

    def _start_anew(self) -> None:
        self._pid = os.getpid()
        self._waiting: deque[_Item | None] = deque()  # None: the thread ends here
        self._thread: threading.Thread | None = None
        self._there = threading.Event()
        self._urgent = threading.Event()
        self._not_before = 0.0
        self.connection_lock = threading.Lock()
        """Whoever has it may use the file, and take from the queue."""

    async def run(self, work: Work[T], *, writes: bool = True) -> T:
        """What `work` returns, once its transaction is committed. Raises LedgerDown.

        Cancelling the caller does not undo the work: queue its opposite with `post`, which runs after it.
        """
        item = _Item(work, writes)
        outcomes = self._at_once(item)
        if outcomes is not None:
            done: T = outcomes[-1]
            return done
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._put(_Item(work, writes, loop, future))
        self._urgent.set()
        return await future

    def post(self, work: Work[Any]) -> None:
        """Queue `work`; nobody waits for it. It is kept over an outage of the file and done as soon as that ends."""
        self._put(_Item(work, writes=True))

    def stop(self) -> None:
        """Finish what is queued, close the file and wait for it."""
        thread, self._thread = self._thread, None
        if thread is not None and self._pid == os.getpid():
            self._waiting.append(None)
            self._there.set()
            self._urgent.set()
            thread.join(10)  # it has seconds of work at most, and a program shall end

    def disconnect(self) -> None:
        """Close the connection; the next work opens it again. Holders of `connection_lock` only."""
        self._file.disconnect()

    def reset_in_child(self) -> None:
        """After fork(2): neither the thread nor what was queued came along."""
        self._start_anew()

    def _put(self, item: _Item) -> None:
        if self._pid != os.getpid():
            raise LedgerDown("this process was forked without Python's knowledge; build the Router after forking")
        self._waiting.append(item)
        if not self._there.is_set():
            self._there.set()
        if self._thread is None:
            with _REGISTRY_LOCK:
                if self._thread is None:
                    thread = threading.Thread(target=self._work, name="hybridinfer-ledger", daemon=True)
                    self._thread = thread
                    thread.start()

    def _at_once(self, item: _Item) -> list[Any] | None:
        """Do `item` here and now, after everything that waits; None where that would mean waiting."""
        begin = time.monotonic()
        if len(self._waiting) > _AT_ONCE or begin < self._not_before or self._pid != os.getpid():
            return None
        if not self.connection_lock.acquire(blocking=False):
            return None
        items, outcomes = self._take(_AT_ONCE), None
        try:
            if None not in items:
                works = [*(one.work for one in items if one is not None), item.work]
                outcomes = self._file.at_once(works, writes=item.writes or bool(items))
        finally:
            if outcomes is None:
                self._waiting.extendleft(reversed(items))
            self.connection_lock.release()
        if outcomes is None:
            return None
        if self._file.due:
            self._there.set()
        end = time.monotonic()
        if end - begin > _SLOW:
            self._not_before = end + _REST
        if items:
            _deliver([one for one in items if one is not None], outcomes[:-1])
        return outcomes

    def _take(self, most: int) -> list[_Item | None]:
        taken: list[_Item | None] = []
        while self._waiting and len(taken) < most:  # whoever holds the lock is the only one to take
            taken.append(self._waiting.popleft())
        return taken

    def _work(self) -> None:
        going = True
        while going:
            self._there.wait()
            self._urgent.wait(_LINGER)  # nobody waits for bookings: let them travel together, or with a caller
            self._there.clear()  # before the look at the queue: what comes later sets them again
            self._urgent.clear()
            with self.connection_lock:
                batch = self._take(_OWED + _BATCH)
                going = None not in batch
                items = [item for item in batch if item is not None]
                outcomes = self._in_turns(items)
                pairs = zip(items, outcomes, strict=True)
                owed = [item for item, outcome in pairs if item.future is None and is_outage(outcome)][:_OWED]
                if going:
                    self._waiting.extendleft(reversed(owed))
                if self._file.due or not going:
                    self._file.checkpoint()
                if not going:
                    self._file.disconnect()
            if owed:
                logger.warning("%d bookings wait for the ledger %s", len(owed), self.path)
            _deliver(items, outcomes)

    def _in_turns(self, items: list[_Item]) -> list[Any]:
        """All of them, in transactions that keep nobody else out for long; the first outage ends the attempt."""
        outcomes: list[Any] = []
        for start in range(0, len(items), _BATCH):
            batch = items[start : start + _BATCH]
            outcomes += self._file.transact([item.work for item in batch], writes=any(item.writes for item in batch))
            if is_outage(outcomes[-1]):
                return outcomes + [LedgerDown(str(outcomes[-1])) for _ in items[len(outcomes) :]]
        return outcomes


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
