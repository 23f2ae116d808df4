"""The record of requests behind `hybridinfer usage`: who answered, tokens, money and time; never a word of content."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from .book import LedgerDown
from .ledger_sqlite import prepare
from .money import from_nano, to_nano
from .sqlite_writer import leave, writer_for

if TYPE_CHECKING:
    from ..receipt import Receipt
    from .sqlite_file import Work
    from .sqlite_writer import Writer

_KEPT = 400 * 86_400.0
_OLDER = "id, at, rule, target, zone, code, degraded, seconds, input_tokens, output_tokens, cost, estimated, tags"
_COLUMNS = f"{_OLDER}, attempts"


AUDIT = "(audit)"
"""The rule of rows that no caller asked for; see `audit_share`. They count as money, not as requests."""


class Tried(NamedTuple):
    """One attempt of a request."""

    target: str
    code: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One request that ended."""

    id: str
    at: float
    """Seconds since the epoch."""
    rule: str | None
    target: str | None
    """Who answered; None: nobody."""
    zone: str | None
    code: str | None
    degraded: bool
    seconds: float
    input_tokens: int
    """Of the answering attempt."""
    output_tokens: int
    cost_usd: Decimal
    """All attempts."""
    estimated_usd: Decimal
    tags: Mapping[str, str]
    attempts: tuple[Tried, ...] = ()
    """In their order; none in rows that an older version wrote."""


class RequestLog:
    """A hook that records every receipt in the ledger's file; rows are kept for 400 days.

    Recording never fails a request and never waits: rows are written behind it, by the ledger's own thread.
    """

    def __init__(self, path: str | Path, *, clock: Callable[[], float] = time.time) -> None:
        self.path = Path(path).expanduser().absolute()
        self._clock = clock
        self._writer: Writer | None = None

    def on_receipt(self, receipt: Receipt) -> None:
        """Queue one row. Raises LedgerDown only in a process that was forked behind Python's back."""
        now = self._clock()
        if self._writer is None:
            self._writer = writer_for(self.path, prepare)
            self._writer.post(_forgetting(now - _KEPT))
        self._writer.post(_recording(_row(receipt, now)))

    def close(self) -> None:
        """Write what is queued; blocks for as long as that takes."""
        writer, self._writer = self._writer, None
        if writer is not None:
            leave(writer)


def read(path: str | Path, *, since: float = 0.0) -> Iterator[Record]:
    """The records from `since` on, oldest first; none where there is no file. Raises LedgerDown for a bad file."""
    place = Path(path).expanduser().absolute()
    if not place.exists():
        return
    try:
        with closing(sqlite3.connect(f"{place.as_uri()}?mode=ro", uri=True)) as db:
            known = {row[1] for row in db.execute("PRAGMA table_info(requests)")}
            columns = _COLUMNS if "attempts" in known else f"{_OLDER}, '[]'"
            for row in db.execute(f"SELECT {columns} FROM requests WHERE at >= ? ORDER BY rowid", (since,)):  # noqa: S608
                yield _record(*row)
    except sqlite3.Error as error:
        raise LedgerDown(f"the ledger {place} cannot be read: {error}; check that it is one") from error


def _row(receipt: Receipt, now: float) -> tuple[Any, ...]:
    answered = [attempt for attempt in receipt.attempts if attempt.target == receipt.target][-1:]
    cost, estimated = receipt.cost_usd, sum((one.cost_usd for one in receipt.attempts if one.estimated), Decimal(0))
    return (
        receipt.id,
        now,
        AUDIT if receipt.kind == "audit" else receipt.decision.rule if receipt.decision else None,
        receipt.target,
        receipt.zone,
        receipt.code,
        int(receipt.degraded),
        receipt.seconds,
        sum(attempt.input_tokens for attempt in answered),
        sum(attempt.output_tokens for attempt in answered),
        to_nano(cost),
        to_nano(estimated),
        json.dumps(dict(receipt.tags)),
        json.dumps([[one.target, one.code, round(one.seconds, 3)] for one in receipt.attempts]),
    )


def _record(*row: Any) -> Record:
    names = [name.strip() for name in _COLUMNS.split(",")]
    fields = dict(zip(names, row, strict=True))
    cost, estimated = from_nano(fields.pop("cost")), from_nano(fields.pop("estimated"))
    tags, degraded = json.loads(fields.pop("tags")), bool(fields.pop("degraded"))
    attempts = tuple(Tried(*one) for one in json.loads(fields.pop("attempts")))
    return Record(**fields, degraded=degraded, cost_usd=cost, estimated_usd=estimated, tags=tags, attempts=attempts)


def _recording(row: tuple[Any, ...]) -> Work[None]:
    def record(db: sqlite3.Connection) -> None:
        db.execute(f"INSERT INTO requests ({_COLUMNS}) VALUES ({', '.join('?' * len(row))})", row)  # noqa: S608

    return record


def _forgetting(before: float) -> Work[None]:
    def forget(db: sqlite3.Connection) -> None:
        oldest = db.execute("SELECT at FROM requests ORDER BY rowid LIMIT 1").fetchone()
        if oldest is not None and oldest[0] < before:  # in the order of time, so this look suffices
            db.execute("DELETE FROM requests WHERE at < ?", (before,))

    return forget
