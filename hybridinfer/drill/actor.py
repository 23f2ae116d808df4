"""A target that plays a script in real time: what stands for a local model while others are called over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from random import Random

from ..policy.model import REMOTE
from ..targets.base import Finish, TargetEvent, TargetFailed, TargetInfo
from ..types import Request, TextDelta
from .world import Answers, Fails, Hangs, Step


class Actor:
    """Plays what `next_step` says for each request, `speed` times as fast; `received` holds what came."""

    def __init__(self, info: TargetInfo, next_step: Callable[[Request], Step], *, speed: float = 1.0) -> None:
        self.info = info
        self.received: list[Request] = []
        self._next_step = next_step
        self._speed = speed
        self._dice = Random(0)  # noqa: S311 - timing, not secrets

    async def stream(self, request: Request, *, stream: bool) -> AsyncIterator[TargetEvent]:  # noqa: ARG002 - the protocol's
        """Play the step for this request."""
        self.received.append(request)
        async with aclosing(self.play(self._next_step(request))) as events:
            async for event in events:
                yield event

    async def play(self, step: Step) -> AsyncGenerator[TargetEvent, None]:
        """One step."""
        match step:
            case Answers():
                factor = (1 + step.spread * (2 * self._dice.random() - 1)) / self._speed
                pieces = split(step.text, step.pieces)
                gap = max(step.seconds - step.first, 0.0) * factor / max(len(pieces) - 1, 1)
                await asyncio.sleep(step.first * factor)
                for number, piece in enumerate(pieces):
                    await asyncio.sleep(gap if number else 0)
                    yield TextDelta(text=piece)
                if step.finish is not None:
                    sure = None if self.info.kind in REMOTE else step.confidence
                    yield Finish(finish_reason=step.finish, usage=step.usage, model=self.info.model, confidence=sure)
            case Fails():
                await asyncio.sleep(step.seconds / 2 / self._speed)
                if step.said:
                    yield TextDelta(text=step.said)
                await asyncio.sleep(step.seconds / 2 / self._speed)
                raise TargetFailed(step.code, "the drill demands it", retry_after=step.retry_after, retry=step.retry)
            case Hangs():
                await asyncio.sleep(step.first / self._speed)
                if step.said:
                    yield TextDelta(text=step.said)
                await asyncio.Event().wait()

    def count_tokens(self, request: Request) -> int:
        """A third of the letters, which is enough for something that costs nothing."""
        return sum(len(message.text) for message in request.messages) // 3 + 8

    async def warmup(self) -> None:
        """Nothing to load."""

    async def aclose(self) -> None:
        """Nothing to free."""


def split(text: str, pieces: int) -> list[str]:
    """A text in so many pieces of one length."""
    size = max(1, -(-len(text) // max(pieces, 1)))
    return [text[i : i + size] for i in range(0, len(text), size)]
