"""A drill over real HTTP: the real `AsyncRouter` and the vendors' SDKs, and on this machine an emulator for each cloud.

Time runs `speed` times as fast: every duration of the policy, of the faults and of the load is divided by it, and
what is reported is multiplied again. Targets in this process are played, unless the real ones are asked for.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from ..async_router import AsyncRouter
from ..errors import ConfigurationError
from ..observe.hooks import UNWATCHED
from ..policy.block import Block
from ..policy.load import digest
from ..policy.model import REMOTE, zone_of
from ..receipt import Need
from ..resilience.retry import RetryBudget
from ..signals.weights import ENVIRONMENT, OFF
from ..targets.base import TargetInfo
from .actor import Actor
from .aim import Aim, Met
from .book import ample, for_drill
from .course import Course, Served, Watch
from .doors import Doored
from .emulator import Emulator
from .failing import hit
from .lag import lag
from .performance import Performance
from .simulated import HEALTHY, healthy
from .simulated import broken as broken_tree
from .spoiled import FOR_REAL, Spoiled
from .traffic import Scored, Timeline, options, prompt
from .vocabulary import on_a_script

if TYPE_CHECKING:
    from ..policy.model import Policy, TargetBlock
    from ..targets.base import Target
    from ..types import Request
    from .book import Frail
    from .scenario import PhaseBlock, Scenario
    from .world import Step

B = TypeVar("B", bound=Block)


async def play(
    scenario: Scenario, policy: Policy, *, speed: float = 10.0, real_local: bool = False, seed: int = 0
) -> Course:
    """The whole drill, in `duration / speed` seconds."""
    began = time.perf_counter()
    if real_local:
        _refuse_played(scenario, policy)
    async with AsyncExitStack() as stack:
        ruling = ample(policy) if scenario.budgets == "ample" else policy
        show = _Show(scenario, hurried(ruling, speed), speed)
        served = await show.run(stack, real_local=real_local, seed=seed)
    show.look()
    return Course(
        scenario=scenario,
        policy=policy,
        digest=digest(policy),
        against="emulator",
        served=served,
        arrived=show.arrived,
        leaks=tuple(show.watch.leaks),
        samples=tuple(show.performance.samples),
        wall_seconds=time.perf_counter() - began,
        lag=lag(show.performance.late, hurried(ruling, speed)),
    )


def hurried(policy: Policy, speed: float) -> Policy:
    """The policy with every duration divided by `speed`; windows of budgets stay."""
    settings = policy.resilience
    breaker = settings.circuit_breaker
    quick = _quicker(speed, breaker, "within", "cool_down", *(["slow"] if breaker.slow else []))
    resilience = _quicker(speed, settings, "deadline", "last_rung").model_copy(
        update={"circuit_breaker": quick, "retry": _quicker(speed, settings.retry, "backoff", "max_backoff")}
    )
    targets = {name: _quicker(speed, one, "timeout", "first_token", "stall") for name, one in policy.targets.items()}
    rules = tuple(
        rule.model_copy(update={"hedge": _quicker(speed, rule.hedge, "after")})
        if rule.hedge is not None and rule.hedge.after != "p95"
        else rule
        for rule in policy.rules
    )
    return policy.model_copy(update={"resilience": resilience, "targets": targets, "rules": rules})


def actor(name: str, block: TargetBlock, next_step: Callable[[Request], Step], *, speed: float) -> Actor:
    """What plays a target of this process; it can do everything."""
    info = TargetInfo(
        name=name,
        kind=block.kind,
        zone=zone_of(block),
        model=block.model,
        region=block.region,
        supports=frozenset(get_args(Need)),
        context_window=block.context_window,
    )
    return Actor(info, next_step, speed=speed)


def _refuse_played(scenario: Scenario, policy: Policy) -> None:
    """Raise ConfigurationError where a fault hits a local model that only a played one can have."""
    played = {
        word
        for phase in scenario.phases
        for name, block in policy.targets.items()
        if block.kind == "onnx" and (fault := hit(phase.faults, name, block)) is not None
        for word in fault.words - FOR_REAL
    }
    if played:
        raise ConfigurationError(
            f"{scenario.name!r}: {', '.join(sorted(played))} cannot happen to a real local model; leave out --real-local, "
            f"or take one of {', '.join(sorted(FOR_REAL - {'ok'}))}"
        )


class _Show:
    """One drill under way."""

    def __init__(self, scenario: Scenario, policy: Policy, speed: float) -> None:
        self.watch = Watch(scenario)
        self.performance = Performance(scenario, speed=speed)
        self._scenario = scenario
        self._policy = policy
        self._speed = speed
        self._timeline = Timeline(scenario, policy)
        self._aim = Aim(self._timeline, Random(0))  # noqa: S311 - a drill, not a secret
        self._emulators: dict[str, Emulator] = {}
        self._actors: dict[str, Actor] = {}
        self._models: dict[str, Spoiled] = {}

    @property
    def arrived(self) -> Mapping[str, int]:
        """What each target received."""
        return {name: len(one.requests) for name, one in self._emulators.items()} | {
            name: len(one.received) for name, one in (self._actors | self._models).items()
        }

    def look(self) -> None:
        """Search everything that arrived, headers included, for what is private."""
        for name, emulator in self._emulators.items():
            zone = zone_of(self._policy.targets[name])
            for seen in emulator.requests:
                body = json.dumps(seen.body, ensure_ascii=False)
                self.watch.look(name, zone, f"{seen.path} {body} {' '.join(seen.headers.values())}")
        for name, local in (self._actors | self._models).items():
            for request in local.received:
                self.watch.look(name, local.info.zone, repr(replace(request, tags={})))

    async def run(self, stack: AsyncExitStack, *, real_local: bool, seed: int) -> tuple[Served, ...]:
        """Build everything, play it, take it down."""
        scenario, policy = self._scenario, self._policy
        ledger, frail = for_drill(policy, clock=time.time, wrong=lambda: self._timeline.ledger(self.performance.now))
        targets: dict[str, Target] = {}
        for name, block in policy.targets.items():
            if block.kind in REMOTE:
                emulator = Emulator(latency=HEALTHY.first / self._speed, pace=0.05 / self._speed)
                self._emulators[name] = await stack.enter_async_context(emulator)
                targets[name] = Doored(name, block, emulator, met=partial(self._met, name), speed=self._speed)
            elif block.kind == "onnx" and real_local:
                model = self._models[name] = Spoiled(name, block, met=partial(self._met, name), speed=self._speed)
                targets[name] = model
            elif block.kind != "canned":
                targets[name] = self._actors[name] = actor(name, block, partial(self._step, name), speed=self._speed)
        file = PolicyFile(stack.enter_context(TemporaryDirectory(prefix="hybridinfer-drill-")), policy)
        router = AsyncRouter(
            file.path,
            targets=targets,
            signals=Scored(scenario, policy).own,
            ledger=ledger,
            environ={ENVIRONMENT: OFF},  # a drill is no traffic: nothing is learned, nobody is audited
            hooks=[UNWATCHED],  # `run_drill` tells what was walked, under the policy's own digest
            retry_budget=RetryBudget(),
        )
        await stack.enter_async_context(router)
        cold = await router.warmup()
        for name in self._models.keys() & cold.keys():
            raise ConfigurationError(f"--real-local: target {name!r} cannot answer: {cold[name]}")
        for ask in scenario.load.requests:  # signals and tokenizers load now: at tenfold speed a second would be ten
            await router.decide(prompt(ask), **options(scenario, ask))
        return await self.performance.run(router, seed=seed, turn=partial(self._turn, router, frail, file))

    def _met(self, name: str, request: Request) -> Met | None:
        return self._aim.at(self.performance.now, name, request)

    def _step(self, name: str, request: Request) -> Step:
        met = self._met(name, request)
        usual = healthy(request)
        return usual if met is None else on_a_script(met.block, usual, remote=False, elapsed=met.elapsed)

    async def _turn(self, router: AsyncRouter, frail: Frail | None, file: PolicyFile, phase: PhaseBlock) -> None:
        if frail is not None and phase.spend_usd:
            await frail.spend(phase.spend_usd)
        if file.turn(broken=self._timeline.policy(phase.at) is not None):
            await router.reload()


class PolicyFile:
    """The policy of a drill in a file, as operators have it, to be broken and mended under a running router."""

    def __init__(self, folder: str, policy: Policy) -> None:
        self.path = Path(folder) / "policy.yaml"
        self._policy = policy
        self._broken = False
        self._write(policy.model_dump(mode="json"))

    def turn(self, *, broken: bool) -> bool:
        """Replace the file by a broken or by the good one. False: nothing had to be done."""
        if broken == self._broken:
            return False
        self._broken = broken
        self._write(broken_tree(self._policy) if broken else self._policy.model_dump(mode="json"))
        return True

    def _write(self, tree: Mapping[str, Any]) -> None:
        new = self.path.with_suffix(".new")
        new.write_text(json.dumps(tree), encoding="utf-8")
        new.replace(self.path)


def _quicker(speed: float, block: B, *names: str) -> B:
    return block.model_copy(update={name: getattr(block, name) / speed for name in names})
