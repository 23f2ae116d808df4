"""A drill against the real targets: faults stand before the real adapters, for the requests of one drill only.

Three things keep it from normal traffic (docs/decisions/0017): the policy has to allow drills, by name; a fault hits
tagged requests only, while the switch is on, and it goes off by the clock; and the drill has a router of its own, so
that no breaker, no retry budget and no measured latency of anybody else learns of its failures. Its money is bounded
before it starts and booked in the real ledger.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import aclosing, contextmanager
from dataclasses import replace
from decimal import Decimal
from random import Random
from typing import TYPE_CHECKING, Self, cast

from ..assembly import build_targets
from ..async_router import AsyncRouter
from ..budget.ledger import MemoryLedger, open_ledger
from ..budget.prices import PriceBook
from ..errors import ConfigurationError
from ..observe.hooks import UNWATCHED
from ..policy.load import digest
from ..policy.money import BudgetBlock
from ..resilience.retry import RetryBudget
from ..signals.weights import ENVIRONMENT, OFF
from ..targets.base import Finish, Target, TargetEvent, TargetInfo
from ..types import Request, TextDelta
from .actor import Actor
from .aim import Aim, Met
from .bill import Calls, bill, calls_of
from .book import Frail
from .course import Course, Watch
from .failing import POLICY
from .lag import lag
from .performance import Performance
from .simulated import healthy
from .traffic import TAG, YES, Scored, Timeline, options, prompt, requests, visits
from .vocabulary import on_a_script

if TYPE_CHECKING:
    from ..budget.ledger import Ledger
    from ..policy.model import Policy
    from .bill import Bill
    from .course import Served
    from .scenario import PhaseBlock, Scenario

HEADER = "x-hybridinfer-drill"
"""With the value `yes`, what the tag `drill: yes` is for requests that come through somebody else's front end."""
RUN = "drill_run"
"""A tag that only the requests of one run have; the run's own budget counts by it."""
LONGEST = 3600.0
"""Seconds that a live drill may last."""
PASSED_ON = frozenset({"slow", "slow_first_token", "slow_load", "slow_tokens", "wrong_usage"})
"""The real target answers these calls, late or with the wrong figures. All other faults call nobody and cost nothing."""


class Switch:
    """On for one scenario and so many seconds; then off, whoever forgets to say so."""

    def __init__(self, policy: Policy, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Raises ConfigurationError unless the policy says `drills: allowed`."""
        if policy.drills != "allowed":
            raise ConfigurationError(
                f"policy {policy.name!r} does not allow drills against its real targets; "
                "say 'drills: allowed' in it, or drill '--against emulator'"
            )
        self._policy = policy
        self._clock = clock
        self._aim: Aim | None = None
        self._began = self._until = 0.0

    @contextmanager
    def on(self, scenario: Scenario, *, seed: int = 0) -> Iterator[None]:
        """Until the block ends, or the scenario's duration is over by the clock."""
        self._aim = Aim(Timeline(scenario, self._policy), Random(seed))  # noqa: S311 - a drill, not a secret
        self._began = self._clock()
        self._until = self._began + scenario.duration
        try:
            yield
        finally:
            self._aim = None

    def met(self, target: str, request: Request) -> Met | None:
        """What this call meets. None for every request without the tag or header, and whenever the switch is off."""
        aim, now = self._aim, self._clock()
        if aim is None or now >= self._until or not is_drill(request):
            return None
        return aim.at(now - self._began, target, request)


def is_drill(request: Request) -> bool:
    """Whether it says so: by the tag `drill: yes`, or by the header."""
    if request.tags.get(TAG) == YES:
        return True
    return any(name.lower() == HEADER and value == YES for name, value in request.extra_headers.items())


class Live:
    """A real target behind a switch."""

    def __init__(self, real: Target, switch: Switch) -> None:
        self.info: TargetInfo = real.info
        self.arrived: list[Request] = []
        """What the real target got of drills."""
        self._real = real
        self._switch = switch
        self._actor = Actor(real.info, healthy)

    def stream(self, request: Request, *, stream: bool) -> AsyncIterator[TargetEvent]:
        """The real target's own iterator, unless this call meets a fault."""
        met = self._switch.met(self.info.name, request)
        if met is None or met.block.fault in PASSED_ON:
            if is_drill(request):
                self.arrived.append(request)
            events = self._real.stream(request, stream=stream)
            return events if met is None else _late(events, met)
        step = on_a_script(met.block, healthy(request), remote=self.info.zone != "device", elapsed=met.elapsed)
        return self._actor.play(step)

    def count_tokens(self, request: Request) -> int:
        """The real target's."""
        return self._real.count_tokens(request)

    async def warmup(self) -> None:
        """The real target's."""
        await self._real.warmup()

    async def aclose(self) -> None:
        """The real target's."""
        await self._real.aclose()


async def _late(events: AsyncIterator[TargetEvent], met: Met) -> AsyncGenerator[TargetEvent, None]:
    """The real events, slower or with no usage."""
    word, delay = met.block.fault, met.block.delay
    before = (
        max(delay - met.elapsed, 0.0) if word == "slow_load" else delay if word in ("slow", "slow_first_token") else 0
    )
    between = delay if word == "slow_tokens" else 0.0
    await asyncio.sleep(before)
    async with aclosing(cast("AsyncGenerator[TargetEvent, None]", events)):
        async for event in events:
            if isinstance(event, TextDelta):
                await asyncio.sleep(between)
            yield replace(event, usage=None) if word == "wrong_usage" and isinstance(event, Finish) else event


class LiveDrill:
    """One scenario, prepared against the real targets of a policy. Use it as an async context manager.

    Args:
        scenario: What is asked and what breaks. It may not spend (`spend_usd`) nor break the policy's file.
        policy: It must say `drills: allowed`.
        max_cost: USD that this run may spend; a budget of its own in the real ledger, beside the policy's budgets.
        environ: Where keys and the ledger are looked up; None: the process's environment.
        seed: Of everything that is random.

    Raises:
        ConfigurationError: the policy does not allow it, or the scenario cannot be live.
    """

    def __init__(
        self,
        scenario: Scenario,
        policy: Policy,
        *,
        max_cost: Decimal = Decimal(0),
        environ: Mapping[str, str] | None = None,
        seed: int = 0,
    ) -> None:
        _refuse(scenario)
        environ = os.environ if environ is None else environ
        self._scenario, self._policy, self._seed = scenario, policy, seed
        self._switch = Switch(policy)
        ruling = with_own_budget(policy, max_cost)
        self._performance = Performance(scenario, tags={RUN: secrets.token_hex(8)})
        self._targets = {name: Live(real, self._switch) for name, real in _real(policy, environ).items()}
        timeline = Timeline(scenario, policy)
        ledger: Ledger = MemoryLedger(ruling)
        if any(budget.per != "request" for budget in policy.budgets):
            ledger = open_ledger(ruling, environ=environ)
        self._router = AsyncRouter(
            ruling,
            targets=self._targets,
            signals=Scored(scenario, policy).own,
            ledger=Frail(ledger, wrong=lambda: timeline.ledger(self._performance.now)),
            environ={**environ, ENVIRONMENT: OFF},  # a drill is no traffic: nothing is learned, nobody is audited
            hooks=[UNWATCHED],  # `run_drill` tells what was walked, under the policy's own digest
            retry_budget=RetryBudget(),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._router.aclose()

    async def bill(self) -> Bill:
        """The most that it can cost, checks of answers included. Nobody is called for it."""
        prices = PriceBook(self._policy)
        calls = dict[str, list[Calls]]()
        for name, request in requests(self._scenario).items():
            ask = next(one for one in self._scenario.load.requests if one.name == name)
            decision = await self._router.decide(prompt(ask), **options(self._scenario, ask))
            calls[name] = list(calls_of(request, decision, self._policy, self._targets, prices))
        return bill(self._policy, (calls[visit.ask.name] for visit in visits(self._scenario, self._seed)))

    async def play(self) -> Course:
        """Run it, in the scenario's own time."""
        began = time.perf_counter()
        await self._router.warmup()
        with self._switch.on(self._scenario, seed=self._seed):
            served = await self._performance.run(self._router, seed=self._seed, turn=_nothing)
        return self._course(served, time.perf_counter() - began)

    def _course(self, served: tuple[Served, ...], seconds: float) -> Course:
        watch = Watch(self._scenario)
        for name, target in self._targets.items():
            for request in target.arrived:
                watch.look(name, target.info.zone, repr(replace(request, tags={})))
        return Course(
            scenario=self._scenario,
            policy=self._policy,
            digest=digest(self._policy),
            against="live",
            served=served,
            arrived={name: len(target.arrived) for name, target in self._targets.items()},
            leaks=tuple(watch.leaks),
            samples=tuple(self._performance.samples),
            wall_seconds=seconds,
            lag=lag(self._performance.late, self._policy),
        )


def with_own_budget(policy: Policy, usd: Decimal) -> Policy:
    """The policy with one more budget, which counts by the tag of one run."""
    own = BudgetBlock(name="this-drill", usd=max(usd, Decimal("0.000001")), per="day", window="rolling", by=RUN)
    return policy.model_copy(update={"budgets": (*policy.budgets, own)})


def _real(policy: Policy, environ: Mapping[str, str]) -> dict[str, Target]:
    """The real targets with their replicas; the router lays their limits around the switch."""
    without = {"max_concurrency": None, "requests_per_minute": None, "tokens_per_minute": None}
    blocks = {name: block.model_copy(update=without) for name, block in policy.targets.items()}
    return build_targets(policy.model_copy(update={"targets": blocks}), environ, {}, {})


def _refuse(scenario: Scenario) -> None:
    if scenario.duration > LONGEST:
        raise ConfigurationError(
            f"a live drill lasts at most {LONGEST:g} s; {scenario.name!r} lasts {scenario.duration:g}"
        )
    for phase in scenario.phases:
        if phase.spend_usd:
            raise ConfigurationError(f"{scenario.name!r} says 'spend_usd'; a live drill may not spend others' budgets")
        if POLICY in phase.faults:
            raise ConfigurationError(f"{scenario.name!r} breaks the policy's file; drill that against the emulator")


async def _nothing(_: PhaseBlock) -> None:
    """Phases begin by the clock."""
