"""Carries out audits behind the answers: a sampled share, a few at a time, stopped when the router closes."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from .auditing import Audited, candidate, run
from .driver import Drive

if TYPE_CHECKING:
    from .underway import UnderWay

logger = logging.getLogger("hybridinfer")

AT_ONCE = 2
"""Audits of one router under way at a time; what is drawn while so many are is not audited."""


class Auditor:
    """The audits of one router. They count as requests under way: closing waits a second for them, then stops them."""

    def __init__(self, under_way: UnderWay) -> None:
        self._under_way = under_way
        self._open: set[_Audit] = set()

    def consider(self, drive: Drive) -> None:
        """Begin an audit of an answered request, if it is drawn and may be audited. Waits for nothing."""
        runtime, result = drive.equipment.runtime, drive.result
        share = runtime.policy.learning.audit_share
        if not share or result is None or not drive.noted or self._under_way.closed or len(self._open) >= AT_ONCE:
            return
        target = candidate(drive.request, result, runtime)
        if target is None or runtime.random() >= share:
            return
        path = run(drive.request, result, target, runtime)
        memory = drive.equipment.memory
        assert memory is not None, "it has taken the note"
        audit = Drive(replace(drive.equipment, memory=None), drive.request, hold=True, path=path)

        async def carried_out() -> None:
            end = await audit.complete()
            assert isinstance(end, Audited)
            if end.label is not None:
                await memory.audited(result.receipt.id, end.label)

        self._begin(_Audit(asyncio.create_task(carried_out()), runtime.policy.resilience.deadline))

    def _begin(self, one: _Audit) -> None:
        self._open.add(one)
        self._under_way.enter(one)
        one.task.add_done_callback(lambda _: self._done(one))

    def _done(self, one: _Audit) -> None:
        self._open.discard(one)
        self._under_way.leave(one)
        if not one.task.cancelled() and (error := one.task.exception()) is not None:
            logger.error("an audit raised %s", type(error).__name__)


class _Audit:
    """One audit under way; see `underway.Pending`. Nobody waits for it, so it is idle from its beginning."""

    def __init__(self, task: asyncio.Task[None], seconds: float) -> None:
        now = asyncio.get_running_loop().time()
        self.task = task
        self.until = now + seconds
        self.idle_since: float | None = now

    async def aclose(self) -> None:
        """Stop it; what is owed is booked."""
        self.task.cancel()
        with suppress(asyncio.CancelledError):
            await self.task
