"""Many processes on one budget, killed at any moment: never overspent, nothing lost, exact to the last nano-dollar."""

from __future__ import annotations

import json
import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import pytest

_FOR_EVER = 10**9
WORKER = Path(__file__).with_name("worker.py")
ROOT = WORKER.parents[3]


@dataclass
class Contents:
    """What a book holds: nano-dollars per account, and the holds that nobody ended."""

    accounts: dict[str, int]
    holds: dict[str, int]


Look = Callable[[], Contents]


@pytest.fixture(params=["sqlite", "redis"])
def book(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Look]]:
    """A place for workers, and a way to look into the book from outside."""
    if request.param == "sqlite":
        path = tmp_path / "ledger.sqlite3"
        yield str(path), lambda: _look_into_file(path)
    else:
        url = request.getfixturevalue("valkey")
        redis = pytest.importorskip("redis")
        with closing(redis.Redis.from_url(url, decode_responses=True)) as client:
            client.flushdb()
            yield url, lambda: _look_into_server(client)
            client.flushdb()


def test_a_killed_process_leaves_an_exact_book(book: tuple[str, Look]) -> None:
    """kill -9 at a random call, a few times: the book opens and holds what was announced."""
    assert _kill_again_and_again(*book, rounds=4)


@pytest.mark.slow
def test_a_process_killed_sixty_times_leaves_an_exact_book(book: tuple[str, Look]) -> None:
    """kill -9 at a random call, sixty times."""
    assert _kill_again_and_again(*book, rounds=60)


def test_processes_that_share_a_budget_never_overspend_it(book: tuple[str, Look]) -> None:
    """Three processes of 16 coroutines each, one of them killed."""
    assert _hammer(*book, processes=3, coroutines=16, calls=20, kills=1) <= 0.25


@pytest.mark.slow
def test_eight_processes_never_overspend_a_dollar(book: tuple[str, Look]) -> None:
    """Eight processes of 64 coroutines each, three of them killed, with random costs, failures and cancellations."""
    assert _hammer(*book, processes=8, coroutines=64, calls=60, kills=3) <= 1


def _kill_again_and_again(place: str, look: Look, *, rounds: int) -> dict[str, int]:
    """What was announced before each kill, all of it found in the book again."""
    chance = random.Random(6)
    ended: dict[str, int] = {}
    for seed in range(rounds):
        with _worker(place, seed, coroutines=8, calls=_FOR_EVER, usd=1000) as process:
            early = _lines(process, chance.randrange(1, 300))
            process.kill()
            ended |= _announced(process, early)
            assert process.wait() == -signal.SIGKILL
        _check(look(), ended, limit=1000)
    return ended


def _hammer(place: str, look: Look, *, processes: int, coroutines: int, calls: int, kills: int) -> float:
    """The USD booked, of a limit that was asked for about twice over."""
    usd = 1.0 if calls * processes * coroutines > 2000 else 0.25  # such that about half of the calls are refused
    with ExitStack() as stack:
        # Victims would go on for ever, so that each one is killed at work; the others end by themselves.
        running = [
            stack.enter_context(_worker(place, seed, coroutines, _FOR_EVER if seed < kills else calls, usd))
            for seed in range(processes)
        ]
        for process in running:
            stack.callback(process.kill)  # where an assertion fails; before the waiting of the lines above
        ended: dict[str, int] = {}
        for number, process in enumerate(running):
            early = _lines(process, 50 if number < kills else 1)
            if number < kills:
                process.kill()
            ended |= _announced(process, early)
            assert process.wait() == (-signal.SIGKILL if number < kills else 0)
    contents = look()
    _check(contents, ended, limit=usd)
    booked = contents.accounts['["all", "month", "calendar", "", ""]']
    assert booked > 0.9 * usd * 10**9
    return booked / 10**9


def _worker(place: str, seed: int, coroutines: int, calls: int, usd: float) -> subprocess.Popen[str]:
    arguments = [sys.executable, str(WORKER), place, *map(str, (seed, coroutines, calls, usd))]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=None)


def _lines(process: subprocess.Popen[str], count: int) -> list[str]:
    assert process.stdout is not None
    return [process.stdout.readline() for _ in range(count)]


def _announced(process: subprocess.Popen[str], early: list[str]) -> dict[str, int]:
    assert process.stdout is not None
    lines = [line.split() for line in [*early, *process.stdout]]
    return {line[0]: int(line[1]) for line in lines if len(line) == 2}


def _check(contents: Contents, ended: dict[str, int], *, limit: float) -> None:
    """Every account is below its limit, and the whole is what is held plus what was announced and came through."""
    total, teams = 0, 0
    for account, booked in contents.accounts.items():
        assert 0 <= booked <= limit * 10**9
        if json.loads(account)[0] == "all":
            total += booked
        else:
            teams += booked
    spent = sum(nano for one, nano in ended.items() if one not in contents.holds)
    assert total == teams == spent + sum(contents.holds.values())


def _look_into_file(path: Path) -> Contents:
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return Contents(
            accounts=dict(db.execute("SELECT account, booked FROM accounts").fetchall()),
            holds=dict(db.execute("SELECT id, amount FROM holds").fetchall()),
        )


def _look_into_server(client: object) -> Contents:
    keys = list(client.scan_iter("*", count=1000))  # type: ignore[attr-defined]
    get = client.hget  # type: ignore[attr-defined]
    return Contents(
        accounts={k.split(":", 3)[3]: int(get(k, "booked")) for k in keys if ":account:" in k},
        holds={k.rsplit(":", 1)[1]: int(get(k, "amount")) for k in keys if ":hold:" in k},
    )
