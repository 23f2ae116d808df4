"""How targets did, from recorded requests."""

from __future__ import annotations

import sqlite3
from decimal import Decimal

import pytest

from hybridinfer.budget.health import doings
from hybridinfer.budget.requests import Record, RequestLog, Tried, read
from hybridinfer.receipt import Attempt, Code, Receipt


def record(at, *attempts):
    return Record(
        id="r",
        at=at,
        rule="all",
        target=None,
        zone=None,
        code=None,
        degraded=False,
        seconds=1.0,
        input_tokens=0,
        output_tokens=0,
        cost_usd=Decimal(0),
        estimated_usd=Decimal(0),
        tags={},
        attempts=tuple(Tried(*one) for one in attempts),
    )


def test_each_target_is_judged_by_its_own_attempts():
    """A request may have several; the share counts what says something about the target."""
    seen = doings(
        [
            record(1.0, ("cloud", "unavailable", 0.1), ("cloud", "ok", 2.0)),
            record(2.0, ("cloud", "timeout", 9.0), ("local", "ok", 1.0)),
            record(3.0, ("cloud", "cancelled", 0.5), ("cloud", "truncated", 4.0), ("cloud", "invalid", 0.1)),
        ]
    )
    cloud = seen["cloud"]
    assert (cloud.attempts, cloud.answered, cloud.failed, cloud.share) == (6, 2, 2, 0.5)
    assert (cloud.p50_seconds, cloud.p95_seconds, cloud.last_failure) == (2.0, 4.0, 2.0)
    assert cloud.latest == ("invalid", "truncated", "cancelled", "timeout", "ok")
    assert (seen["local"].share, seen["local"].last_failure) == (1.0, None)


def test_rungs_that_were_passed_over_are_no_calls():
    """A resting circuit sent nothing, and proves nothing."""
    cloud = doings([record(1.0, ("cloud", "circuit_open", 0.0), ("cloud", "over_budget", 0.0))])["cloud"]
    assert (cloud.attempts, cloud.passed_over, cloud.share, cloud.p50_seconds) == (0, 2, None, None)


def test_a_receipt_comes_back_with_its_attempts(tmp_path):
    """Target, code and time; nothing else of them."""
    log = RequestLog(tmp_path / "ledger.sqlite3", clock=lambda: 7.0)
    attempts = (
        Attempt(target="cloud", number=1, code=Code.TIMEOUT, seconds=1.23456),
        Attempt(target="local", number=1, code=Code.OK, seconds=0.5),
    )
    log.on_receipt(Receipt(id="r", policy="p", attempts=attempts))
    log.close()
    (found,) = read(log.path)
    assert found.attempts == (("cloud", "timeout", 1.235), ("local", "ok", 0.5))


@pytest.mark.parametrize("upgraded", [False, True])
def test_a_file_of_an_older_version_is_read_and_written(tmp_path, upgraded):
    """Its rows have no attempts; the next writer adds the column."""
    log = RequestLog(tmp_path / "ledger.sqlite3")
    log.on_receipt(Receipt(id="old", policy="p", attempts=(Attempt(target="cloud", number=1, code=Code.OK),)))
    log.close()
    db = sqlite3.connect(log.path)
    db.execute("ALTER TABLE requests DROP COLUMN attempts")
    db.close()
    if upgraded:
        log.on_receipt(Receipt(id="new", policy="p", attempts=(Attempt(target="cloud", number=1, code=Code.OK),)))
        log.close()
    assert [len(found.attempts) for found in read(log.path)] == ([0, 1] if upgraded else [0])
