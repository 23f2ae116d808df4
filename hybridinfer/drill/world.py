"""What a simulation plays in: a virtual clock, and targets that follow scripts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from random import Random
from typing import TYPE_CHECKING

from ..receipt import Code
from ..signals.base import SignalResult
from ..types import FinishReason, Usage

if TYPE_CHECKING:
    from ..commands import Call
    from ..policy.model import SignalBlock

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Answers:
    """A target that answers: the first piece after `first` seconds, the last of `pieces` after `seconds`."""

    text: str = "ok"
    first: float = 0.3
    seconds: float = 1.0
    pieces: int = 1
    finish: FinishReason | None = "stop"
    """None: the stream ends without its terminal event."""
    usage: Usage | None = Usage(input_tokens=10, output_tokens=2)  # noqa: RUF009 - frozen
    spread: float = 0.0
    """Times vary at random by this share, up and down."""
    confidence: float | None = 1.0
    """How sure the target says it is, where its kind says so at all."""


@dataclass(frozen=True, slots=True)
class Fails:
    """A target that fails with `code` after `seconds`, having said `said` half-way."""

    code: Code
    seconds: float = 0.05
    said: str = ""
    retry_after: float | None = None
    retry: bool | None = None
    usage: Usage | None = None


@dataclass(frozen=True, slots=True)
class Hangs:
    """A target that says `said` after `first` seconds, and then nothing more for ever."""

    said: str = ""
    first: float = 0.3


Step = Answers | Fails | Hangs
"""What one call does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Downtime:
    """From `start` to `end` (seconds of the simulation) every call that `target` gets does `does`."""

    target: str
    start: float
    end: float
    does: Step


class World:
    """Everything outside the router: a clock, and what the targets do.

    `scripts`: for each target, a step for all calls, or steps one after the other (the last one stays); a target
    without a script answers. `levels`: what the signals say. `seed` feeds everything that is random.
    """

    def __init__(
        self,
        *,
        scripts: Mapping[str, Step | Sequence[Step]] | None = None,
        outages: Iterable[Downtime] = (),
        levels: Mapping[str, str] | None = None,
        seed: int = 0,
        epoch: datetime = EPOCH,
    ) -> None:
        self.now = 0.0
        self.levels = dict(levels or {})
        self.calls: list[tuple[float, str]] = []
        """(when, target) of each call that was made."""
        self.random = Random(seed)  # noqa: S311 - a simulation has to be repeatable
        self._epoch = epoch
        self._zero = epoch.timestamp()
        self._signals: Mapping[str, SignalBlock] = {}
        self._said: Mapping[str, str] = {}  # the levels when the scores were made
        self._scores: Mapping[str, SignalResult] = {}
        self._scripts = {
            name: [does] if isinstance(does, (Answers, Fails, Hangs)) else list(does)
            for name, does in (scripts or {}).items()
        }
        self._outages = tuple(outages)
        self._numbers = count(1)

    def clock(self) -> float:
        """Seconds since the simulation began."""
        return self.now

    def date(self) -> datetime:
        """The date that the clock shows."""
        return self._epoch + timedelta(seconds=self.now)

    def new_id(self) -> str:
        """Receipts are numbered."""
        return f"sim_{next(self._numbers):06d}"

    def does(self, target: str, otherwise: Step) -> Step:
        """What the next call of `target` does."""
        self.calls.append((self.now, target))
        for outage in self._outages:
            if outage.target == target and outage.start <= self.now < outage.end:
                return outage.does
        script = self._scripts.get(target)
        if not script:
            return otherwise
        return script.pop(0) if len(script) > 1 else script[0]

    def refuses(self, call: Call) -> Fails | None:  # noqa: ARG002 - for worlds that look
        """What stands between the flow and a target says no; here nothing does."""
        return None

    def timestamp(self) -> float:
        """The same in seconds since the epoch."""
        return self._zero + self.now

    def scores(self, signals: Mapping[str, SignalBlock]) -> Mapping[str, SignalResult]:
        """What the signals say: of each the world's level, or its lowest."""
        if signals is not self._signals or self.levels != self._said:
            self._signals, self._said = signals, dict(self.levels)
            self._scores = {name: _given(self.levels.get(name), block.levels) for name, block in signals.items()}
        return self._scores


def _given(level: str | None, floors: Mapping[str, float]) -> SignalResult:
    level = level or next(iter(floors))
    return SignalResult(score=floors[level], level=level, because=("given",))
