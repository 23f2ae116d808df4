"""A call of a target that is anybody's code, in a task of its own: whatever it does when it is broken off, nobody waits.

A generator that is cancelled may await for as long as it likes before it ends. In the caller's own task that would hold
the caller up past the deadline; here the call is left behind, and is tracked until it ends.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Self

from .patience import TURNS
from .receipt import Code
from .targets.base import TargetEvent, TargetFailed

logger = logging.getLogger("hybridinfer")

TIDYING = 0.02
"""Seconds more that whoever breaks a call off waits for its end."""

LINGERING = 5.0
"""Seconds after which a call that was left behind is cancelled again."""

Said = TargetEvent | Exception | None
Behind = set[asyncio.Task[None]]
"""The calls that have not ended, whether somebody waits for them or not."""


class Apart:
    """The events of one call. One reader at a time; `aclose` returns soon, whatever the target does."""

    def __init__(self, events: AsyncIterator[TargetEvent], behind: Behind, *, target: str) -> None:
        self._events = events
        self._behind = behind
        self._target = target
        self._task: asyncio.Task[None] | None = None
        self._reply: asyncio.Future[Said] | None = None
        self._wanted = asyncio.Event()
        self._given_up = False
        self._why: str | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> TargetEvent:
        reply: asyncio.Future[Said] = asyncio.get_running_loop().create_future()
        self._reply = reply
        if self._task is None:
            self._begin()
        elif self._task.done():
            raise StopAsyncIteration
        self._wanted.set()
        try:
            said = await reply
        except asyncio.CancelledError as error:
            self._why = error.args[0] if error.args else None  # whoever counts silence down there wants to know
            raise
        if said is None:
            raise StopAsyncIteration
        if isinstance(said, Exception):
            raise said
        return said

    async def aclose(self) -> None:
        """Break the call off, and wait a moment for its end. What it still does then it does behind our back."""
        self._given_up = True
        task = self._task or self._begin()
        if task.done():
            return
        task.cancel(self._why)
        for _ in range(TURNS):  # a call that waits for nothing has ended by then, however slow the machine is
            await asyncio.sleep(0)
            if task.done():
                return
        await asyncio.wait([task], timeout=TIDYING)
        if not task.done():
            logger.warning("target %s: a call that was broken off goes on; nobody waits for it", self._target)
            self._later(task)

    def _begin(self) -> asyncio.Task[None]:
        task = self._task = asyncio.get_running_loop().create_task(self._read())
        self._behind.add(task)
        task.add_done_callback(self._behind.discard)
        return task

    def _later(self, task: asyncio.Task[None]) -> None:
        def again() -> None:
            if not task.done():
                task.cancel()
                self._later(task)

        handle = asyncio.get_running_loop().call_later(LINGERING, again)
        task.add_done_callback(lambda _: handle.cancel())

    async def _read(self) -> None:
        """The call itself, from its first step to its last."""
        try:
            if not self._given_up:
                async for event in self._events:
                    self._wanted.clear()
                    self._say(event)
                    if self._given_up:  # it took no notice of being cancelled
                        break
                    await self._wanted.wait()
            self._say(None)
        except asyncio.CancelledError:
            # Unless it was us, something within the target was cancelled: that is its failure, not our caller's wish.
            self._say(TargetFailed(Code.UNAVAILABLE, "its work was cancelled", retry=False))
        except Exception as error:  # noqa: BLE001 - raised again where the events are read
            self._say(error)
        finally:
            closing = getattr(self._events, "aclose", None)
            if closing is not None:
                try:
                    await closing()
                except Exception as error:  # noqa: BLE001 - it changes no outcome
                    logger.warning("target %s: closing a call raised %s", self._target, type(error).__name__)

    def _say(self, what: Said) -> None:
        if self._reply is not None and not self._reply.done():
            self._reply.set_result(what)


async def drain(behind: Behind) -> None:
    """Wait until all of them have ended, for `LINGERING` seconds; then cancel them once more, and say who stays."""
    if not behind:
        return
    _, staying = await asyncio.wait(set(behind), timeout=LINGERING)
    for task in staying:
        task.cancel()
    if staying:
        _, staying = await asyncio.wait(staying, timeout=TIDYING)
    if staying:
        logger.error("%d calls of targets go on although they were cancelled again and again", len(staying))
