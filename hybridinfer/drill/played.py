"""A scripted call under its limits, on a virtual clock: the counterpart of `hybridinfer.opened.Opened`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf
from random import Random
from typing import TYPE_CHECKING, assert_never

from ..answer import Assembly, code_of
from ..commands import Call, Limits, Outcome
from ..continuing import TORN, Seam
from ..policy.model import REMOTE
from ..receipt import ANSWERED, Code
from ..targets.base import Finish
from ..types import TextDelta
from .actor import split
from .world import Answers, Fails, Hangs, Step

if TYPE_CHECKING:
    from ..commands import Runtime
    from .world import World


class Played:
    """One scripted call."""

    def __init__(self, call: Call, step: Step, runtime: Runtime, world: World) -> None:
        self._call = call
        self.began = world.now
        self._judged = runtime.infos[call.target].kind != "canned"
        self._reports = runtime.infos[call.target].kind not in {*REMOTE, "canned"}
        self._line = _timeline(step, world.random)
        self.shown: list[str] = []

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
        return sign, replace(self._outcome(sign, Code.OK), opened=self)

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
        came = [(at, text) for at, text in self._line.pieces if at <= end]
        if self._call.join is None:
            self.shown = [text for _, text in came]
            return end - first, self._outcome(end, code)
        seam = Seam(self._call.join)
        for at, text in came:
            self.shown += [piece.text for piece in seam.take(TextDelta(text=text)) if isinstance(piece, TextDelta)]
            if seam.torn:
                return at - first, replace(self._outcome(at, Code.CANCELLED), because=TORN)
        self.shown += [piece.text for piece in seam.end() if isinstance(piece, TextDelta)]
        outcome = self._outcome(end, code)
        if seam.torn and outcome.code in ANSWERED:
            outcome = replace(outcome, code=Code.CANCELLED, because=TORN)
        return end - first, outcome

    def _slow(self, limits: Limits) -> Code:
        return Code.STALLED if limits.first_token < limits.total else Code.TIMEOUT

    def _outcome(self, at: float, code: Code | None = None) -> Outcome:
        """What is known after `at` seconds; without a code, at the end."""
        line, assembly = self._line, Assembly()
        for when, text in line.pieces:
            if when <= at:
                assembly.add(TextDelta(text=text))
        because, fails = "", None
        if code is None:
            if line.fails is not None:
                code, because, fails = line.fails.code, "scripted", line.fails
            else:
                if line.finish is not None:
                    assembly.add(line.finish if self._reports else replace(line.finish, confidence=None))
                join = self._call.join
                begun = join is not None and not join.anew
                code, because = code_of(assembly, self._call.request, begun=begun) if self._judged else (Code.OK, "")
        answer = assembly.answer()
        if fails is not None and fails.usage is not None:
            answer = replace(answer, usage=fails.usage)
        return Outcome(
            code=code,
            answer=answer,
            because=because,
            seconds=at,
            first_token_seconds=line.pieces[0][0] if line.pieces and line.pieces[0][0] <= at else None,
            retry_after=None if fails is None else fails.retry_after,
            retry=None if fails is None else fails.retry,
        )


@dataclass(slots=True)
class _Timeline:
    """When each piece comes, and how it ends; seconds since the call."""

    pieces: list[tuple[float, str]]
    end: float
    fails: Fails | None = None
    finish: Finish | None = None


def _timeline(step: Step, random: Random) -> _Timeline:
    match step:
        case Answers():
            factor = 1 + step.spread * (2 * random.random() - 1) if step.spread else 1.0
            first, last = step.first * factor, max(step.first, step.seconds) * factor
            texts = split(step.text, step.pieces)
            gap = (last - first) / max(len(texts) - 1, 1)
            pieces = [(min(first + gap * i, last), text) for i, text in enumerate(texts)]  # rounding drops no piece
            finish = (
                None
                if step.finish is None
                else Finish(finish_reason=step.finish, usage=step.usage, confidence=step.confidence)
            )
            return _Timeline(pieces, last, finish=finish)
        case Fails():
            said = [(step.seconds / 2, step.said)] if step.said else []
            return _Timeline(said, step.seconds, fails=step)
        case Hangs():
            return _Timeline([(step.first, step.said)] if step.said else [], inf)
        case _:  # pragma: no cover
            assert_never(step)
