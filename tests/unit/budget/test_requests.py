"""What is recorded of a request, and how it is summed up."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from hybridinfer.budget.book import LedgerDown
from hybridinfer.budget.contract import DAY, NOON, Clock, policy_with
from hybridinfer.budget.ledger import default_path, open_log, records_path
from hybridinfer.budget.ledger_sqlite import SqliteLedger
from hybridinfer.budget.prices import PriceBook
from hybridinfer.budget.requests import Record, RequestLog, Tried, read
from hybridinfer.budget.usage import baseline, grouping, lines, total
from hybridinfer.policy.model import Policy
from hybridinfer.receipt import Attempt, Code, Decision, Receipt, Zone


def receipt(target: str | None = "cloud", zone: Zone | None = "cloud", *, usd: str = "0.25", **fields: Any) -> Receipt:
    attempts = (
        Attempt(target="cloud", number=1, code=Code.TIMEOUT, cost_usd=Decimal("0.5"), estimated=True, input_tokens=7),
        Attempt(target=target or "x", number=1, code=Code.OK, cost_usd=Decimal(usd), input_tokens=10, output_tokens=5),
    )
    decision = Decision(rule="easy", levels={}, ladder=(), plan=())
    about: dict[str, Any] = {
        "attempts": attempts,
        "decision": decision,
        "tags": {"team": "a"},
        "seconds": 1.5,
        **fields,
    }
    return Receipt(id="r-1", policy="p", target=target, zone=zone, **about)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite3"


def record(place: Path, *receipts: Receipt, clock: Clock | None = None) -> list[Record]:
    log = RequestLog(place, clock=clock or Clock())
    for one in receipts:
        log.on_receipt(one)
    log.close()
    log.close()
    return list(read(place))


def test_a_receipt_becomes_a_row(place: Path) -> None:
    """Who answered, all the money, the tokens of the answer, the time: and the row comes back as it was."""
    (row,) = record(place, receipt(degraded=True))
    assert row == Record(
        id="r-1",
        at=NOON,
        rule="easy",
        target="cloud",
        zone="cloud",
        code="ok",
        degraded=True,
        seconds=1.5,
        input_tokens=10,
        output_tokens=5,
        cost_usd=Decimal("0.75"),
        estimated_usd=Decimal("0.5"),
        tags={"team": "a"},
        attempts=(
            Tried(target="cloud", code="timeout", seconds=0.0),
            Tried(target="cloud", code="ok", seconds=0.0),
        ),
    )


def test_a_request_without_decision_or_answer_is_recorded_too(place: Path) -> None:
    """What failed early costs nothing and is counted all the same."""
    (row,) = record(place, receipt(None, None, attempts=(), decision=None))
    assert (row.target, row.rule, row.code, row.cost_usd, row.output_tokens) == (None, None, None, 0, 0)


def test_records_and_budgets_share_the_file(place: Path) -> None:
    """The ledger and the record of requests live side by side."""
    record(place, receipt())

    async def spend() -> float:
        ledger = SqliteLedger(policy_with(DAY), place)
        await ledger.reserve(receipt_id="r", target="t", usd=Decimal("0.25"), tags={})
        used = (await ledger.standing({})).used
        await ledger.aclose()
        return used

    assert asyncio.run(spend()) == 0.25
    assert len(record(place, receipt())) == 2


def test_old_rows_are_forgotten(place: Path) -> None:
    """After 400 days a row goes, the younger ones stay."""
    clock = Clock()
    record(place, receipt(), clock=clock)
    clock.now += 300 * 86_400
    record(place, receipt(), clock=clock)
    clock.now += 101 * 86_400
    assert len(record(place, receipt(), clock=clock)) == 2


def test_reading_starts_where_asked(place: Path) -> None:
    """`since` leaves out what is older."""
    clock = Clock()
    record(place, receipt(), clock=clock)
    clock.now += 10
    record(place, receipt(), clock=clock)
    assert len(list(read(place, since=NOON + 5))) == 1


def test_no_file_is_no_record_and_a_bad_file_is_an_error(place: Path) -> None:
    """Nothing was recorded yet, or something else lies there."""
    assert list(read(place)) == []
    place.write_bytes(b"hello" * 1000)
    with pytest.raises(LedgerDown, match="cannot be read"):
        list(read(place))


def test_a_file_that_cannot_be_written_costs_no_request(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Recording never raises at the caller; a warning tells of it."""
    with sqlite3.connect(place) as db:
        db.execute("CREATE TABLE other (x)")
    db.close()
    log = RequestLog(place)
    with caplog.at_level(logging.WARNING):
        log.on_receipt(receipt())
        log.close()
    assert "wait for the ledger" in caplog.text


def test_only_window_budgets_ask_for_a_record(tmp_path: Path) -> None:
    """A policy that needs no ledger gets no file."""
    environ = {"HYBRIDINFER_LEDGER": str(tmp_path / "here")}
    assert open_log(policy_with(), environ=environ) is None
    assert open_log(policy_with({"name": "one", "usd": 1, "per": "request"}), environ=environ) is None
    log = open_log(policy_with(DAY), environ=environ)
    assert log is not None
    assert log.path == tmp_path / "here"
    assert records_path(environ={"HYBRIDINFER_LEDGER": "redis://somewhere"}) == default_path()


ROWS = [
    Record(
        id=str(number),
        at=NOON + number * 40_000,
        rule="easy" if number % 2 else None,
        target="local" if number % 4 else "cloud",
        zone="device" if number % 4 else "cloud",
        code="ok",
        degraded=number == 3,
        seconds=float(number + 1),
        input_tokens=1_000_000,
        output_tokens=0,
        cost_usd=Decimal("0.01") if number % 4 else Decimal(2),
        estimated_usd=Decimal(0),
        tags={"team": "a"} if number else {},
    )
    for number in range(8)
]


def test_sums_and_shares(place: Path) -> None:
    """Counts, tokens, money, shares and latencies of all rows."""
    line = total(ROWS)
    assert (line.requests, line.input_tokens, line.cost_usd) == (8, 8_000_000, Decimal("4.06"))
    assert (line.cloud_share, line.degraded_share, line.p50_seconds, line.p95_seconds) == (0.25, 0.125, 4.0, 8.0)
    assert (total([]).requests, total([]).p95_seconds, total([]).cloud_share) == (0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("by", "keys"),
    [
        ("target", {"cloud": 2, "local": 6}),
        ("rule", {"(nobody)": 4, "easy": 4}),
        ("day", {"2026-11-18": 2, "2026-11-19": 2, "2026-11-20": 2, "2026-11-21": 2}),
        ("tag:team", {"": 1, "a": 7}),
        ("tag:user", {"": 8}),
    ],
)
def test_rows_are_grouped(by: str, keys: dict[str, int]) -> None:
    """By target, rule, day or the value of a tag, in order."""
    assert {line.key: line.requests for line in lines(ROWS, by)} == keys
    assert list(keys) == sorted(keys)


@pytest.mark.parametrize("by", ["tag:", "month", ""])
def test_an_unknown_grouping_is_an_error(by: str) -> None:
    """A typing error is told with what there is."""
    with pytest.raises(ValueError, match="target, rule, day or tag:NAME"):
        grouping(by)


def test_what_was_saved_is_counted_against_dumb_routings() -> None:
    """All cloud, a coin with the same share, all local: for the same tokens."""
    policy = Policy.model_validate(
        {
            "version": 1,
            "targets": {"cloud": {"kind": "openai", "model": "x", "price": {"input": 3, "output": 1}}},
            "rules": [{"name": "r", "use": ["cloud"]}],
        }
    )
    compared = baseline(ROWS, PriceBook(policy), "cloud")
    assert compared.always_cloud_usd == 24
    assert compared.random_usd == Decimal("6.06")  # a quarter of 24, and three quarters of the 0.08 below
    assert compared.always_local_usd == Decimal("0.08")
    assert compared.saved_usd == Decimal("19.94")
