"""Features and labels of answered requests, in a SQLite file of one's own. No text, no tag, no header is kept.

Of a request at the lowest privacy level, and only where the policy says `learning: {store: features}`: its receipt's
id, the time, whose answer it was, and the sixty numbers that the complexity score sees of the last user turn. Whoever
holds a text can tell whether its numbers are here; nobody gets a text out of them. The file is its user's alone.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from array import array
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from math import isnan, nan
from pathlib import Path
from typing import Any, Literal, TypeVar
from zlib import crc32

from ..errors import ConfigurationError
from ..signals.features import NAMES

T = TypeVar("T")
Side = Literal["local", "cloud"]
"""Whose answer a label judges: that of a target on the device or in the own network, or a cloud's."""
Source = Literal["feedback", "audit", "schema", "escalated", "rephrased"]
"""Who judged: the program by `router.feedback`, a cloud that was asked the same afterwards, the demanded format, a
check that the answer did not pass, or somebody who asked the same again in other words."""

TRUST: tuple[Source, ...] = ("feedback", "audit", "schema", "escalated", "rephrased")
"""Where several judged one answer, the first of these counts."""
FEATURES = crc32("\n".join(NAMES).encode())
"""Which features a row holds; rows with others are no use."""

_BUSY = 5.0  # seconds to wait for other processes
_SCHEMA = """
CREATE TABLE IF NOT EXISTS requests (id TEXT PRIMARY KEY, at REAL, side TEXT, kind INTEGER, features BLOB);
CREATE TABLE IF NOT EXISTS labels (id TEXT, side TEXT, source TEXT, at REAL, score REAL, PRIMARY KEY (id, side, source));
CREATE INDEX IF NOT EXISTS requests_at ON requests (at);
CREATE INDEX IF NOT EXISTS labels_at ON labels (at);
"""

logger = logging.getLogger("hybridinfer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """One request with what is known of its answers, 0 useless to 1 good; None: nobody judged that side."""

    id: str
    at: float
    """Seconds since the epoch."""
    features: tuple[float | None, ...]
    local: float | None
    cloud: float | None
    sources: frozenset[str]


class Journal:
    """Writes behind the requests, on a thread of its own, all that is queued at once. `keep`: seconds until a row is forgotten."""

    def __init__(self, path: str | Path, *, keep: float, clock: Callable[[], float] = time.time) -> None:
        self.path = Path(path).expanduser().absolute()
        self._keep = keep
        self._clock = clock
        self._lock = threading.Lock()
        self._thread: ThreadPoolExecutor | None = None
        self._pid = 0
        self._queue: deque[tuple[Callable[[sqlite3.Connection], Any], Future[Any]]] = deque()
        self._tidied = False

    def remember(
        self,
        receipt_id: str,
        features: Sequence[float | None],
        *,
        side: Side | None,
        bad: Sequence[tuple[Side, Source]] = (),
    ) -> None:
        """Keep a request's features. `side`: who answered; None: nobody that counts. `bad`: answers that failed by themselves."""
        blob = array("f", (nan if value is None else value for value in features)).tobytes()
        now = self._clock()

        def write(db: sqlite3.Connection) -> None:
            db.execute(
                "INSERT OR REPLACE INTO requests VALUES (?, ?, ?, ?, ?)", (receipt_id, now, side, FEATURES, blob)
            )
            rows = [(receipt_id, whose, source, now, 0.0) for whose, source in bad]
            db.executemany("INSERT OR REPLACE INTO labels VALUES (?, ?, ?, ?, ?)", rows)

        self._submit(write).add_done_callback(_complain)

    def label(self, receipt_id: str, score: float, *, source: Source = "feedback") -> Future[bool]:
        """Keep how good the answer was, 0..1. False where no features of this request are kept."""
        now = self._clock()

        def write(db: sqlite3.Connection) -> bool:
            row = db.execute("SELECT side FROM requests WHERE id = ? AND side IS NOT NULL", (receipt_id,)).fetchone()
            if row is not None:
                db.execute(
                    "INSERT OR REPLACE INTO labels VALUES (?, ?, ?, ?, ?)", (receipt_id, row[0], source, now, score)
                )
            return row is not None

        return self._submit(write)

    def note(self, receipt_id: str, score: float, *, source: Source) -> None:
        """`label` for what nobody waits for; a failure is one log line."""
        self.label(receipt_id, score, source=source).add_done_callback(_complain)

    def close(self) -> None:
        """Write what is queued; blocks for as long as that takes."""
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is not None and self._pid == os.getpid():
            thread.shutdown()

    def _submit(self, work: Callable[[sqlite3.Connection], T]) -> Future[T]:
        done: Future[T] = Future()
        with self._lock:
            if self._thread is None or self._pid != os.getpid():  # a fork leaves the thread behind
                self._thread = ThreadPoolExecutor(1, thread_name_prefix="hybridinfer-journal")
                if self._pid != os.getpid():
                    self._queue.clear()  # the parent writes it
                self._pid = os.getpid()
            self._queue.append((work, done))
            self._thread.submit(self._write)
        return done

    def _write(self) -> None:
        """Everything that is queued, in one transaction."""
        with self._lock:
            queued = [(work, done) for work, done in self._queue if done.set_running_or_notify_cancel()]
            self._queue.clear()
        if not queued:
            return
        try:
            results = self._written([work for work, _ in queued])
        except (sqlite3.Error, OSError) as error:
            for _, done in queued:
                done.set_exception(error)
            return
        for (_, done), result in zip(queued, results, strict=True):
            done.set_result(result)

    def _written(self, works: Sequence[Callable[[sqlite3.Connection], Any]]) -> list[Any]:
        if not self.path.exists():
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.close(os.open(self.path, os.O_CREAT | os.O_WRONLY, 0o600))
        with _open(f"{self.path.as_uri()}?mode=rw") as db:
            db.executescript(_SCHEMA)
            with db:
                results = [work(db) for work in works]
                if not self._tidied:
                    db.execute("DELETE FROM requests WHERE at < ?", (self._clock() - self._keep,))
                    db.execute("DELETE FROM labels WHERE at < ?", (self._clock() - self._keep,))
                    self._tidied = True
            return results


def read(path: str | Path) -> Iterator[Labelled]:
    """The labelled requests, oldest first; none where there is no file. Raises ConfigurationError for a bad file."""
    place = Path(path).expanduser().absolute()
    if not place.exists():
        return
    try:
        with _open(f"{place.as_uri()}?mode=ro") as db:
            rows = db.execute(
                "SELECT id, requests.at, features, labels.side, source, score FROM requests JOIN labels USING (id) "
                "WHERE kind = ? ORDER BY requests.at, id",
                (FEATURES,),
            ).fetchall()
    except sqlite3.Error as error:
        raise ConfigurationError(f"{place} cannot be read ({error}); is it a journal of hybridinfer?") from error
    grouped: dict[str, list[tuple[float, bytes, str, str, float]]] = {}
    for id_, *row in rows:
        grouped.setdefault(id_, []).append((row[0], row[1], row[2], row[3], row[4]))
    for id_, labels in grouped.items():
        values = array("f")
        values.frombytes(labels[0][1])
        known = {(side, source): score for _, _, side, source, score in labels}
        yield Labelled(
            id=id_,
            at=labels[0][0],
            features=tuple(None if isnan(value) else value for value in values),
            local=_best(known, "local"),
            cloud=_best(known, "cloud"),
            sources=frozenset(source for _, source in known),
        )


def _best(known: dict[tuple[str, str], float], side: Side) -> float | None:
    return next((known[side, source] for source in TRUST if (side, source) in known), None)


@contextmanager
def _open(uri: str) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(uri, uri=True, timeout=_BUSY)) as db:
        yield db


def _complain(done: Future[Any]) -> None:
    error = done.exception()
    if error is not None:
        logger.warning("features were not kept (%s)", type(error).__name__)
