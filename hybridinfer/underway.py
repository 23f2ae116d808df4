"""The requests of one router that are not done yet: closing refuses new ones and waits for these."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Protocol

from .errors import ConfigurationError

IDLE = 1.0
"""Seconds after which a stream that nobody reads counts as left behind while its router closes."""

GRACE = 0.5
"""Seconds past its deadline that a request has for its last bookings while its router closes."""


class Pending(Protocol):
    """One request. Times are the event loop's."""

    until: float
    """Its deadline."""
    idle_since: float | None
    """When its caller stopped asking for more; None while somebody waits for it."""

    async def aclose(self) -> None:
        """Stop it. RuntimeError where somebody is just waiting for it."""
        ...


class UnderWay:
    """A router's open requests."""

    def __init__(self) -> None:
        self.closed = False
        self._open: set[Pending] = set()
        self._changed: asyncio.Event | None = None
        self._awaited: list[tuple[set[Pending], asyncio.Event]] = []

    def enter(self, one: Pending) -> None:
        """A request begins. Raises ConfigurationError when the router is closed."""
        if self.closed:
            raise ConfigurationError("this router is closed; make a new one, or close it later")
        self._open.add(one)

    def leave(self, one: Pending) -> None:
        """It is done, one way or the other."""
        self._open.discard(one)
        if self._changed is not None:
            self._changed.set()
        for some, over in self._awaited:
            some.discard(one)
            if not some:
                over.set()

    async def present_gone(self) -> None:
        """Wait until every request that is open now is done. Later ones do not count."""
        if not self._open:
            return
        some, over = set(self._open), asyncio.Event()
        self._awaited.append((some, over))
        try:
            await over.wait()
        finally:
            self._awaited.remove((some, over))

    async def drain(self) -> None:
        """Let no new request in; wait until each one is done, at most to its deadline; stop the ones left behind."""
        self.closed = True
        self._changed = asyncio.Event()
        while self._open:
            now = asyncio.get_running_loop().time()
            waits = []
            for one in list(self._open):
                left = one.until + GRACE - now
                if one.idle_since is not None:
                    left = min(left, one.idle_since + IDLE - now)
                if left <= 0:
                    self._open.discard(one)
                    with suppress(RuntimeError):
                        await one.aclose()
                    self.leave(one)
                else:
                    waits.append(left)
            if waits:
                self._changed.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(min(*waits, IDLE)):
                        await self._changed.wait()
