"""A scenario against a policy, made definite: which request comes when, what is broken when, what to look for."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

from ..options import build_request
from ..policy.names import OWN
from ..signals.base import Signal, SignalResult, Standing
from ..signals.registry import build, score_all
from .failing import LEDGER, POLICY, hit

if TYPE_CHECKING:
    from ..policy.model import Policy, SignalBlock
    from ..types import Request
    from .failing import FaultBlock, FaultName
    from .scenario import AskBlock, PhaseBlock, Scenario

TAG, YES = "drill", "yes"
"""Every request of a drill carries this tag, so that boundaries, rules and budgets can tell it from normal traffic."""
ASK = "drill_request"
"""A tag with the request's name in the scenario."""
_UNSAID = "This request stands for its levels; the drill gave no prompt."


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One request that comes: when, and which."""

    at: float
    ask: AskBlock
    stream: bool


def visits(scenario: Scenario, seed: int = 0) -> Iterator[Visit]:
    """A Poisson stream at the rate of each phase; the same scenario and seed give the same visits."""
    dice = Random(seed)  # noqa: S311 - a drill has to be repeatable
    load = scenario.load
    weights = [ask.weight for ask in load.requests]
    edges = [(0.0, load.rate), *((phase.at, phase.rate or 0.0) for phase in scenario.phases if phase.rate is not None)]
    for (start, rate), end in zip(edges, [*(at for at, _ in edges[1:]), scenario.duration], strict=True):
        at = start
        while rate and (at := at + dice.expovariate(rate)) < end:
            [ask] = dice.choices(load.requests, weights)
            yield Visit(at=at, ask=ask, stream=dice.random() < load.stream)


def options(scenario: Scenario, ask: AskBlock, tags: Mapping[str, str] | None = None) -> dict[str, Any]:
    """How the router is asked: its options beside the messages. `tags` go beside the scenario's own."""
    needs: dict[str, Any] = {}
    if scenario.load.on_interrupt is not None:
        needs["on_interrupt"] = scenario.load.on_interrupt
    if "json" in ask.needs:
        needs["response_format"] = {"type": "json_object"}
    if "tools" in ask.needs:
        needs["tools"] = [{"type": "function", "function": {"name": "drill", "parameters": {"type": "object"}}}]
    return {
        "max_tokens": scenario.load.max_tokens,
        "tags": {**ask.tags, **(tags or {}), TAG: YES, ASK: ask.name},
        **needs,
    }


def prompt(ask: AskBlock) -> str:
    """What is asked."""
    return ask.prompt or _UNSAID


def requests(scenario: Scenario) -> dict[str, Request]:
    """Each kind of request by its name; a fallback starts from the same object, so one is enough."""
    return {ask.name: build_request(prompt(ask), options(scenario, ask)) for ask in scenario.load.requests}


class Timeline:
    """What is broken at a moment, target by target."""

    def __init__(self, scenario: Scenario, policy: Policy) -> None:
        self.phases: tuple[PhaseBlock, ...] = scenario.phases
        self._starts = [phase.at for phase in scenario.phases]
        self._faults = [
            {name: each for name, block in policy.targets.items() if (each := hit(phase.faults, name, block))}
            for phase in scenario.phases
        ]
        own = {key for key in (LEDGER, POLICY) if key not in policy.targets}
        self._state = [{key: block for key, block in phase.faults.items() if key in own} for phase in scenario.phases]

    def phase(self, at: float) -> int | None:
        """The number of the phase at `at` seconds; None before the first one."""
        number = bisect_right(self._starts, at) - 1
        return number if number >= 0 else None

    def faults(self, at: float) -> Mapping[str, FaultBlock]:
        """By target, at `at` seconds."""
        number = self.phase(at)
        return {} if number is None else self._faults[number]

    def ledger(self, at: float) -> FaultName | None:
        """What is wrong with the book."""
        return self._of_state(LEDGER, at)

    def policy(self, at: float) -> FaultName | None:
        """What is wrong with the policy's file."""
        return self._of_state(POLICY, at)

    def _of_state(self, key: str, at: float) -> FaultName | None:
        number = self.phase(at)
        block = None if number is None else self._state[number].get(key)
        return None if block is None or block.fault == "ok" else block.fault

    def recoveries(self, duration: float) -> list[tuple[float, float]]:
        """From when to when nothing is broken, after something was."""
        ends = [*self._starts[1:], duration]
        broken = [bool(phase.faults) for phase in self.phases]
        return [
            (start, end)
            for before, now, start, end in zip(broken, broken[1:], self._starts[1:], ends[1:], strict=False)
            if before and not now
        ]


class Scored:
    """The policy's real signals, except where a request gives its levels. What cannot change is measured once."""

    def __init__(self, scenario: Scenario, policy: Policy) -> None:
        self._policy = policy
        given = {name for ask in scenario.load.requests for name in ask.levels}
        asks = {ask.name: ask for ask in scenario.load.requests}
        unmeasured = {name: _Unmeasured(name) for name, block in policy.signals.items() if block.kind == OWN}
        real = build(policy, unmeasured)
        self.own: Mapping[str, Signal] = {
            name: _Given(name, policy.signals[name], real[name], asks) for name in policy.signals if name in given
        } | {name: signal for name, signal in unmeasured.items() if name not in given}
        """Signals to hand to a router in the place of its own."""
        self._signals = {**real, **self.own}
        self._budgets = [name for name, block in policy.signals.items() if (block.kind or name) == "budget"]
        self._known: dict[str, Mapping[str, SignalResult]] = {}

    def __call__(self, request: Request, standing: Standing) -> Mapping[str, SignalResult]:
        """What every signal says."""
        ask = request.tags[ASK]
        known = self._known.get(ask)
        if known is None:
            known = self._known[ask] = score_all(self._policy, self._signals, request, standing)
        return {**known, **{name: self._signals[name].score(request, standing) for name in self._budgets}}


class _Given:
    """A signal that believes what the scenario says of a request."""

    def __init__(self, name: str, block: SignalBlock, real: Signal, asks: Mapping[str, AskBlock]) -> None:
        self.name = name
        self._block, self._real, self._asks = block, real, asks

    def score(self, request: Request, standing: Standing) -> SignalResult:
        """The level given, at its floor; otherwise what is measured."""
        level = self._asks[request.tags[ASK]].levels.get(self.name)
        if level is None:
            return self._real.score(request, standing)
        return SignalResult(score=self._block.levels[level], level=level, because=("given by the drill",))


class _Unmeasured:
    """Stands for a signal that the program would hand over: nobody here can measure it."""

    def __init__(self, name: str) -> None:
        self.name = name

    def score(self, request: Request, standing: Standing) -> SignalResult:  # noqa: ARG002 - the protocol's
        """Raise always, so that the router counts it as its highest level."""
        raise LookupError("a signal of kind 'own' exists in the program only")
