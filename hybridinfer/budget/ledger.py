"""The ledger that a policy needs: none, a file on this machine, or a server that a fleet shares."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ConfigurationError
from ..types import Standing
from .allowance import Allowance, allowed, purse_for
from .book import Ledger, LedgerDown, OverBudget, Reservation, books_behind
from .ledger_memory import MemoryLedger

if TYPE_CHECKING:
    from decimal import Decimal

    from ..policy.model import Policy
    from .requests import RequestLog

__all__ = [
    "Ledger",
    "LedgerDown",
    "MemoryLedger",
    "NullLedger",
    "OverBudget",
    "Reservation",
    "books_behind",
    "default_path",
    "open_ledger",
    "open_log",
    "records_path",
]

ENVIRONMENT = "HYBRIDINFER_LEDGER"
"""Overrides where the ledger is: a path, or a URL such as redis://host:6379/0."""
ENTRY_POINTS = "hybridinfer.ledgers"
"""Packages register a `LedgerFactory` here, under the scheme of its URLs."""
LedgerFactory = Callable[["Policy", str], Ledger]
"""Makes the ledger of a policy from a URL. It opens nothing: the first use does."""

_URL = re.compile(r"([a-z][a-z0-9+.-]+):", re.ASCII)  # two letters at least, so that C:\ stays a path


class NullLedger:
    """The ledger of a policy without window budgets: grants everything, writes nothing."""

    behind = True

    async def standing(self, tags: Mapping[str, str]) -> Standing:  # noqa: ARG002 - the protocol's signature
        """Nothing is limited, so nothing is used."""
        return Standing()

    async def reserve(self, *, receipt_id: str, target: str, usd: Decimal, tags: Mapping[str, str]) -> Reservation:
        """Always granted."""
        return Reservation(id="", receipt_id=receipt_id, target=target, usd=usd, tags=tags)

    async def settle(self, reservation: Reservation, usd: Decimal, *, estimated: bool = False) -> None:
        """Nothing to write."""

    async def release(self, reservation: Reservation) -> None:
        """Nothing to give back."""

    async def aclose(self) -> None:
        """Nothing to close."""


def open_ledger(policy: Policy, path: str | Path | None = None, *, environ: Mapping[str, str] | None = None) -> Ledger:
    """The ledger for `policy`; no file or connection is opened before its first use.

    Without window budgets a `NullLedger`. Otherwise what `path`, or else HYBRIDINFER_LEDGER, says: a file, a URL
    (`memory:`, `redis://...`, `rediss://...`, `unix://...`, or a scheme that an installed package registers);
    without either, a file in the user's state directory. Where every budget says `on_ledger_down`, an `Allowance` is
    laid around it. Raises ConfigurationError for an unknown scheme.
    """
    if all(block.per == "request" for block in policy.budgets):
        return NullLedger()
    place = path or (os.environ if environ is None else environ).get(ENVIRONMENT) or default_path()
    scheme = None if isinstance(place, Path) else _URL.match(place)
    ledger = _sqlite(policy, str(place)) if scheme is None else _factory(scheme[1])(policy, str(place))
    usd = allowed(policy)
    if not usd or (scheme is not None and scheme[1] == "memory"):  # which never fails
        return ledger
    identity = str(Path(place).expanduser().resolve()) if scheme is None else str(place)
    return Allowance(ledger, usd, purse=purse_for(identity))


def records_path(path: str | Path | None = None, *, environ: Mapping[str, str] | None = None) -> Path:
    """Where requests are recorded: the ledger's file, or the default one where the ledger is no file."""
    place = path or (os.environ if environ is None else environ).get(ENVIRONMENT) or default_path()
    return default_path() if isinstance(place, str) and _URL.match(place) else Path(place)


def open_log(policy: Policy, *, environ: Mapping[str, str] | None = None) -> RequestLog | None:
    """The hook that records requests for `hybridinfer usage`; None without window budgets or with a ledger in memory.

    Whoever has no budgets has asked for no file; `RequestLog(path)` as a hook of the router records all the same.
    """
    place = (os.environ if environ is None else environ).get(ENVIRONMENT, "")
    if place.startswith("memory:") or all(block.per == "request" for block in policy.budgets):
        return None
    from .requests import RequestLog

    return RequestLog(records_path(environ=environ))


def default_path() -> Path:
    """The ledger's file in the user's state directory (XDG_STATE_HOME on Linux). Makes nothing."""
    import platformdirs

    return Path(platformdirs.user_state_dir("hybridinfer")) / "ledger.sqlite3"


def _factory(scheme: str) -> LedgerFactory:
    if scheme in _SCHEMES:
        return _SCHEMES[scheme]
    for entry in entry_points(group=ENTRY_POINTS, name=scheme):
        factory: LedgerFactory = entry.load()
        return factory
    known = ", ".join(f"{one}:" for one in sorted(_SCHEMES))
    raise ConfigurationError(
        f"no ledger is known for {scheme}: addresses; use a file's path or one of {known} "
        f"(packages add more by the entry-point group {ENTRY_POINTS})"
    )


def _memory(policy: Policy, url: str) -> Ledger:  # noqa: ARG001 - a LedgerFactory
    return MemoryLedger(policy)


def _sqlite(policy: Policy, path: str) -> Ledger:
    from .ledger_sqlite import SqliteLedger

    return SqliteLedger(policy, path)


def _redis(policy: Policy, url: str) -> Ledger:
    from .ledger_redis import RedisLedger

    return RedisLedger(policy, url)


_SCHEMES: Mapping[str, LedgerFactory] = {"memory": _memory, "redis": _redis, "rediss": _redis, "unix": _redis}
