"""A scripted call under its limits, on a virtual clock: the counterpart of `hybridinfer.opened.Opened`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import inf
from random import Random
from typing import TYPE_CHECKING, assert_never

from ..answer import Assembly, code_of
from ..commands import Call, Limits, Outcome
from ..continuing import TORN, Seam
from ..policy.model import REMOTE
from ..quick import builder, replace
from ..receipt import ANSWERED, Code
from ..targets.base import Finish
from ..types import TextDelta
from .actor import split
from .world import Answers, Fails, Hangs, Step

if TYPE_CHECKING:
    from ..commands import Runtime
    from .world import World


new_finish, new_outcome = builder(Finish), builder(Outcome)

REPORTS_NOTHING = frozenset({*REMOTE, "canned"})
"""Kinds of targets that never say how sure they are."""


class Played:
    """One scripted call."""

    def __init__(self, call: Call, step: Step, runtime: Runtime, world: World) -> None:
        self._call = call
        self.began = world.now
        kind = runtime.infos[call.target].kind
        self._judged = kind != "canned"
        self._line = _timeline(step, world.random, reports=kind not in REPORTS_NOTHING)
        self.shown: list[TextDelta] = []

    def called(self) -> tuple[float, Outcome]:
        """How long the `Call` takes and what it gives."""
        limits, line = self._call.limits, self._line
        if self._call.hold:
            if line.end > limits.total:
                return limits.total, self._outcome(limits.total, Code.TIMEOUT)
            return line.end, self._outcome(line.end)
        sign = line.pieces[0][0] if line.pieces else line.end
        if sign > limits.first_token:
            return limits.first_token, self._outcome(limits.first_token, self._slow(limits))
        if not line.pieces:
            return line.end, self._outcome(line.end)
        return sign, self._outcome(sign, Code.OK, opened=self)

    def relayed(self) -> tuple[float, Outcome]:
        """How long the rest of the stream takes and how it ends; `shown` has its pieces."""
        limits, line = self._call.limits, self._line
        last = first = line.pieces[0][0]
        for at in [*(at for at, _ in line.pieces[1:]), line.end]:
            limit = min(last + limits.stall, limits.total)
            if at > limit:
                code = Code.STALLED if limits.stall < limits.total - last else Code.TIMEOUT
                return self._relay_until(first, limit, code)
            last = at
        return self._relay_until(first, line.end, None)

    def until(self, now: float) -> Outcome:
        """What had come when the caller left."""
        return self._outcome(now - self.began, Code.CANCELLED)

    def _relay_until(self, first: float, end: float, code: Code | None) -> tuple[float, Outcome]:
        came = [(at, piece) for at, piece in self._line.pieces if at <= end]
        if self._call.join is None:
            self.shown = [piece for _, piece in came]
            return end - first, self._outcome(end, code)
        seam = Seam(self._call.join)
        for at, piece in came:
            self.shown += [new for new in seam.take(piece) if isinstance(new, TextDelta)]
            if seam.torn:
                return at - first, replace(self._outcome(at, Code.CANCELLED), because=TORN)
        self.shown += [new for new in seam.end() if isinstance(new, TextDelta)]
        outcome = self._outcome(end, code)
        if seam.torn and outcome.code in ANSWERED:
            outcome = replace(outcome, code=Code.CANCELLED, because=TORN)
        return end - first, outcome

    def _slow(self, limits: Limits) -> Code:
        return Code.STALLED if limits.first_token < limits.total else Code.TIMEOUT

    def _outcome(self, at: float, code: Code | None = None, *, opened: Played | None = None) -> Outcome:
        """What is known after `at` seconds; without a code, at the end. `opened`: more will come."""
        line, assembly = self._line, Assembly()
        for when, piece in line.pieces:
            if when <= at:
                assembly.add(piece)
        because, fails = "", None
        if code is None:
            if line.fails is not None:
                code, because, fails = line.fails.code, "scripted", line.fails
            else:
                if line.finish is not None:
                    assembly.add(line.finish)
                join = self._call.join
                begun = join is not None and not join.anew
                code, because = code_of(assembly, self._call.request, begun=begun) if self._judged else (Code.OK, "")
        answer = assembly.answer()
        if fails is not None and fails.usage is not None:
            answer = replace(answer, usage=fails.usage)
        return new_outcome(
            code=code,
            answer=answer,
            because=because,
            seconds=at,
            first_token_seconds=line.pieces[0][0] if line.pieces and line.pieces[0][0] <= at else None,
            retry_after=None if fails is None else fails.retry_after,
            retry=None if fails is None else fails.retry,
            opened=opened,
        )


@dataclass(slots=True)
class _Timeline:
    """When each piece comes, and how it ends; seconds since the call."""

    pieces: list[tuple[float, TextDelta]]
    end: float
    fails: Fails | None = None
    finish: Finish | None = None


def _timeline(step: Step, random: Random, *, reports: bool) -> _Timeline:
    """`reports`: the target says how sure it is."""
    match step:
        case Answers():
            factor = 1 + step.spread * (2 * random.random() - 1) if step.spread else 1.0
            first, last = step.first * factor, max(step.first, step.seconds) * factor
            said = _pieces(step.text, step.pieces)
            gap = (last - first) / max(len(said) - 1, 1)
            pieces = [(min(first + gap * i, last), piece) for i, piece in enumerate(said)]  # rounding drops no piece
            finish, sure = None, step.confidence if reports else None
            if step.finish is not None:
                finish = new_finish(finish_reason=step.finish, usage=step.usage, confidence=sure)
            return _Timeline(pieces, last, finish=finish)
        case Fails():
            pieces = [(step.seconds / 2, TextDelta(text=step.said))] if step.said else []
            return _Timeline(pieces, step.seconds, fails=step)
        case Hangs():
            return _Timeline([(step.first, TextDelta(text=step.said))] if step.said else [], inf)
        case _:  # pragma: no cover
            assert_never(step)


@lru_cache
def _pieces(text: str, number: int) -> tuple[TextDelta, ...]:
    """A text in so many pieces: a simulation says the same again and again."""
    return tuple(TextDelta(text=one) for one in split(text, number))
