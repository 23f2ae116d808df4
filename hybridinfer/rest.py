"""What targets are asked that shall go on with an answer which broke off: steps of the flow without I/O."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from .commands import Command, Outcome, Score, Work
from .continuing import Join, continuation, stricter
from .legs import Ask
from .planning import Planner
from .receipt import Code, Reason

if TYPE_CHECKING:
    from .commands import Runtime
    from .receipt import Decision, Removal
    from .signals.base import SignalResult


class Rest:
    """The rest of the answer to one request."""

    def __init__(self, runtime: Runtime, planner: Planner, decision: Decision) -> None:
        self._runtime = runtime
        self._planner = planner
        self._decision = decision
        self._ask: Ask | None = None  # for the latest break

    def ask(self, target: str, cut: Outcome, *, until: float) -> Generator[Command, Any, Ask]:
        """What is asked of those who shall go on where `target` broke off: once for each such break.

        The beginning is measured like any message before it leaves: an answer may hold what no question held.
        """
        held = cut.answer.text
        if self._ask is None or self._ask.join is None or self._ask.join.held != held:
            said = self._runtime.count_text(target, held)
            request = continuation(self._planner.request, held, tokens=said)
            seconds = max(until - self._runtime.clock(), 0.001)
            scores: Mapping[str, SignalResult] = yield Score(request=request, seconds=seconds)
            found = {name: result.level for name, result in scores.items()}
            levels = stricter(self._runtime.policy, self._decision.levels, found)
            join = Join(held=held, anew=False)
            self._ask = Ask(planner=Planner(request, self._runtime), levels=levels, join=join)
        return self._ask if held.strip() else self.anew(self._ask)

    def anew(self, ask: Ask) -> Ask:
        """The request as it came, for a target that takes no beginning: what it repeats is dropped."""
        assert ask.join is not None
        return Ask(planner=self._planner, levels=self._decision.levels, join=replace(ask.join, anew=True))

    def unfit(self, target: str, ask: Ask) -> Generator[Command, Any, Outcome | None]:
        """The outcome of a target that cannot go on; it is not called. None: it can."""
        if not self._runtime.infos[target].continues:
            return Outcome(code=Code.UNSUPPORTED, because="cannot continue an answer", sent=False)
        looks = partial(ask.planner.removal, target)
        unfit: Removal | None = (yield Work(does=looks)) if self._planner.long else looks()
        if unfit is not None and unfit.reason is Reason.CONTEXT:
            return Outcome(code=Code.CONTEXT_TOO_LONG, because=unfit.because, sent=False)
        return None
