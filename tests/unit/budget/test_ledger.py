"""Which ledger a policy gets, and the one that does nothing."""

from __future__ import annotations

import importlib.metadata
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from hybridinfer.budget import ledger as module
from hybridinfer.budget.contract import DAY, policy_with
from hybridinfer.budget.ledger import MemoryLedger, NullLedger, default_path, open_ledger
from hybridinfer.budget.ledger_redis import RedisLedger
from hybridinfer.budget.ledger_sqlite import SqliteLedger
from hybridinfer.errors import ConfigurationError
from hybridinfer.types import Standing

ONE_REQUEST = {"name": "one", "usd": 0.02, "per": "request"}


@pytest.mark.anyio
async def test_without_window_budgets_nothing_is_written(tmp_path: Path) -> None:
    """A policy without budgets, or with a limit per request only, has a ledger that grants all and touches no disk."""
    for policy in (policy_with(), policy_with(ONE_REQUEST)):
        ledger = open_ledger(policy, tmp_path / "none")
        assert isinstance(ledger, NullLedger)
        assert await ledger.standing({}) == Standing()
        one = await ledger.reserve(receipt_id="r", target="t", usd=Decimal(10**6), tags={})
        await ledger.settle(one, Decimal(1))
        await ledger.release(one)
        await ledger.aclose()
    assert not list(tmp_path.iterdir())  # noqa: ASYNC240


@pytest.mark.anyio
async def test_a_book_without_windows_grants_everything() -> None:
    """A limit per request is the flow's: the book neither counts nor refuses."""
    ledger = MemoryLedger(policy_with(ONE_REQUEST))
    one = await ledger.reserve(receipt_id="r", target="t", usd=Decimal(5), tags={})
    await ledger.settle(one, Decimal(5))
    assert await ledger.standing({}) == Standing()


@pytest.mark.parametrize(
    ("place", "kind"),
    [
        ("memory:", MemoryLedger),
        ("redis://127.0.0.1:6379/0", RedisLedger),
        ("rediss://127.0.0.1:6379/0", RedisLedger),
        ("unix:///run/redis", RedisLedger),
        ("here/ledger.sqlite3", SqliteLedger),
        ("C:/ledger.sqlite3", SqliteLedger),
    ],
)
def test_the_place_chooses_the_store(place: str, kind: type) -> None:
    """An address chooses by its scheme, everything else is a file; the environment names it where nobody else does."""
    assert type(open_ledger(policy_with(DAY), place)) is kind
    assert type(open_ledger(policy_with(DAY), environ={"HYBRIDINFER_LEDGER": place})) is kind


def test_the_default_is_a_file_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without a word about it the ledger stands in the user's state directory, and is not made before its use."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.delenv("HYBRIDINFER_LEDGER", raising=False)
    assert isinstance(open_ledger(policy_with(DAY)), SqliteLedger)
    assert default_path().name == "ledger.sqlite3"
    assert not list(tmp_path.iterdir())


def test_an_argument_beats_the_environment(tmp_path: Path) -> None:
    """What the program says counts more than what its surroundings say."""
    assert isinstance(
        open_ledger(policy_with(DAY), tmp_path / "x", environ={"HYBRIDINFER_LEDGER": "memory:"}), SqliteLedger
    )


def test_an_unknown_scheme_is_refused() -> None:
    """A typing error never ends in a ledger somewhere else."""
    with pytest.raises(ConfigurationError, match="postgres: addresses; use a file's path or one of memory:"):
        open_ledger(policy_with(DAY), "postgres://db/ledger")


def test_a_package_can_bring_its_own_ledger(monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry point of `hybridinfer.ledgers` is found by its scheme and gets policy and address."""
    entry = importlib.metadata.EntryPoint(name="mine", value=f"{__name__}:_mine", group=module.ENTRY_POINTS)
    monkeypatch.setattr(entry.__class__, "load", lambda self: _mine)

    def found(*, group: str, name: str) -> list[Any]:
        return [entry] if (group, name) == ("hybridinfer.ledgers", "mine") else []

    monkeypatch.setattr(module, "entry_points", found)
    ledger = open_ledger(policy_with(DAY), "mine://there")
    assert isinstance(ledger, _Mine)
    assert ledger.url == "mine://there"


class _Mine(NullLedger):
    def __init__(self, url: str) -> None:
        self.url = url


def _mine(policy: Any, url: str) -> _Mine:
    return _Mine(url)
