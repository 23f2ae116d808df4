"""One scenario against one router in real time: who asks when, when phases begin, what the breakers say meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from ..errors import RequestError
from .course import Sample, Served, moments, sample
from .lag import measured
from .traffic import Visit, options, prompt, visits

if TYPE_CHECKING:
    from ..async_router import AsyncRouter
    from ..receipt import Receipt
    from .scenario import PhaseBlock, Scenario


class Performance:
    """Runs `speed` times as fast as the scenario says. `tags` go on every request, beside the scenario's own."""

    def __init__(self, scenario: Scenario, *, speed: float = 1.0, tags: Mapping[str, str] | None = None) -> None:
        self.samples: list[Sample] = []
        self.late: list[float] = []
        """By how many real seconds the event loop was late, every few milliseconds."""
        self._scenario = scenario
        self._speed = speed
        self._tags = dict(tags or {})
        self._began = 0.0

    @property
    def now(self) -> float:
        """Seconds of the drill."""
        return (time.monotonic() - self._began) * self._speed

    async def run(
        self, router: AsyncRouter, *, seed: int, turn: Callable[[PhaseBlock], Awaitable[None]]
    ) -> tuple[Served, ...]:
        """All requests to their ends; `turn` is called at the beginning of each phase, at 0 s before any request."""
        cues: list[tuple[float, Callable[[], Awaitable[None]]]] = [
            (at, partial(self._sample, router)) for at in moments(self._scenario.duration)
        ]
        cues += [(phase.at, partial(turn, phase)) for phase in self._scenario.phases]
        self._began = time.monotonic()
        await self._conduct([cue for cue in cues if cue[0] == 0])
        self._began = time.monotonic()
        conducting = asyncio.create_task(self._conduct([cue for cue in cues if cue[0] > 0]))
        try:
            with measured() as self.late:
                return tuple(await asyncio.gather(*(self._ask(router, one) for one in visits(self._scenario, seed))))
        finally:
            conducting.cancel()
            await asyncio.gather(conducting, return_exceptions=True)

    async def _until(self, at: float) -> None:
        await asyncio.sleep(max((at - self.now) / self._speed, 0))

    async def _conduct(self, cues: list[tuple[float, Callable[[], Awaitable[None]]]]) -> None:
        for at, act in sorted(cues, key=lambda cue: cue[0]):
            await self._until(at)
            await act()

    async def _sample(self, router: AsyncRouter) -> None:
        self.samples.append(sample(self.now, router.health()))

    async def _ask(self, router: AsyncRouter, visit: Visit) -> Served:
        await self._until(visit.at)
        began, error = self.now, ""
        asked = options(self._scenario, visit.ask, self._tags)
        receipt: Receipt | None
        try:
            if visit.stream:
                async with router.stream(prompt(visit.ask), **asked) as stream:
                    async for _event in stream:
                        pass
                receipt = stream.receipt
            else:
                receipt = (await router.complete(prompt(visit.ask), **asked)).receipt
        except RequestError as failed:
            receipt, error = failed.receipt, type(failed).__name__
        assert receipt is not None
        return Served(ask=visit.ask.name, at=began, seconds=self.now - began, receipt=receipt, error=error)
