"""Which fault meets one call: by target, by request, by chance, or by a script that each call takes on."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from .traffic import ASK

if TYPE_CHECKING:
    from ..types import Request
    from .failing import FaultBlock
    from .traffic import Timeline


@dataclass(frozen=True, slots=True, kw_only=True)
class Met:
    """A fault that one call meets. Never `ok`, never a script."""

    block: FaultBlock
    elapsed: float
    """Seconds since its phase began."""


class Aim:
    """Asks the timeline for every call; remembers how far each script is."""

    def __init__(self, timeline: Timeline, dice: Random) -> None:
        self._timeline = timeline
        self._dice = dice
        self._calls: Counter[tuple[int, str]] = Counter()

    def at(self, now: float, target: str, request: Request) -> Met | None:
        """What the call of `target` meets at `now` seconds of the drill; None: nothing."""
        number = self._timeline.phase(now)
        block = self._timeline.faults(now).get(target)
        if number is None or block is None:
            return None
        if block.requests and request.tags.get(ASK) not in block.requests:
            return None
        if block.share < 1 and self._dice.random() >= block.share:
            return None
        if block.script:
            turn = self._calls[number, target]
            self._calls[number, target] += 1
            if turn >= len(block.script):
                return None
            block = block.model_copy(update={"fault": block.script[turn], "script": ()})
        if block.fault == "ok":
            return None
        return Met(block=block, elapsed=now - self._timeline.phases[number].at)
