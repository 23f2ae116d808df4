"""A drill on a virtual clock: the real flow, signals, breakers, ledger and egress lock; only the targets are played."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from ..errors import PolicyError
from ..policy.load import digest, load
from ..policy.model import IN_PROCESS
from ..privacy.egress import Clearance, Guarded
from ..receipt import Code
from ..targets.base import TargetFailed
from ..types import Usage
from .actor import Actor
from .aim import Aim
from .book import ample, for_drill
from .course import Course, Sample, Served, Watch, moments, sample
from .failing import POLICY
from .simulator import Arrival, Story, at_once, run, stage
from .traffic import ASK, Scored, Timeline, requests, visits
from .vocabulary import on_a_script
from .world import Answers, Fails, Step, World

if TYPE_CHECKING:
    from decimal import Decimal

    from ..commands import Call, Runtime
    from ..policy.model import Policy
    from ..types import Request
    from .book import Frail
    from .scenario import Scenario

HEALTHY = Answers(
    "An answer as long as most answers are.",
    first=0.3,
    seconds=1.0,
    pieces=8,
    usage=Usage(input_tokens=40, output_tokens=60),
    spread=0.3,
)
"""What a target does that nothing hits: the shape of a small cloud model's answer."""
_IN_JSON = replace(HEALTHY, text='{"answer": "as long as most answers are"}')


def healthy(request: Request) -> Answers:
    """What a target does that nothing hits, in the format that `request` demands."""
    wanted = request.response_format
    if wanted is not None and wanted.type == "choice":
        return replace(HEALTHY, text=wanted.choices[0])
    return _IN_JSON if wanted is not None and wanted.is_json else HEALTHY


def play(scenario: Scenario, policy: Policy, *, seed: int = 0) -> Course:
    """The whole drill: about two thousand requests a second, however long it lasts."""
    began = time.perf_counter()
    timeline, watch = Timeline(scenario, policy), Watch(scenario)
    ruling = ample(policy) if scenario.budgets == "ample" else policy
    world = _Stage(timeline, ruling, watch, seed)
    runtime = stage(ruling, world)
    world.lock(runtime)
    ledger, frail = for_drill(ruling, clock=lambda: world.date().timestamp(), wrong=lambda: timeline.ledger(world.now))
    asked, samples = requests(scenario), list[Sample]()

    def look() -> None:
        samples.append(sample(world.now, {name: one.health() for name, one in runtime.breakers.items()}))

    coming = list(visits(scenario, seed))
    stories = run(
        [Arrival(at=visit.at, request=asked[visit.ask.name], stream=visit.stream) for visit in coming],
        runtime,
        world,
        ledger=ledger,
        score=Scored(scenario, ruling),
        cues=_cues(scenario, frail, look, partial(refused, policy)),
    )
    return Course(
        scenario=scenario,
        policy=policy,
        digest=digest(policy),
        against="simulated",
        served=tuple(map(_served, stories)),
        arrived=world.arrived,
        leaks=tuple(watch.leaks),
        samples=tuple(samples),
        wall_seconds=time.perf_counter() - began,
    )


class _Stage(World):
    """A world whose targets have the faults of a timeline, behind the real egress lock."""

    def __init__(self, timeline: Timeline, policy: Policy, watch: Watch, seed: int) -> None:
        super().__init__(seed=seed)
        self.arrived = dict.fromkeys(policy.targets, 0)
        self._aim = Aim(timeline, self.random)
        self._policy = policy
        self._request: Request | None = None
        self._watch = watch
        self._locks: dict[str, Guarded] = {}
        self._looked: dict[tuple[str, int, tuple[tuple[str, str], ...]], Fails | None] = {}
        self._kept: list[Request] = []  # an id means something only while its object lives

    def lock(self, runtime: Runtime) -> None:
        """Put the real lock before every target."""
        actors = {name: Actor(info, healthy) for name, info in runtime.infos.items()}
        self._locks = {name: Guarded(actor, self._policy) for name, actor in actors.items()}

    def does(self, target: str, otherwise: Step) -> Step:  # noqa: ARG002 - a drill's own idea of health
        """A healthy answer, or what the fault of this moment makes of it."""
        assert self._request is not None
        usual = healthy(self._request)
        met = self._aim.at(self.now, target, self._request)
        if met is None:
            return usual
        remote = self._policy.targets[target].kind not in IN_PROCESS
        return on_a_script(met.block, usual, remote=remote, elapsed=met.elapsed)

    def refuses(self, call: Call) -> Fails | None:
        """Ask the lock, and look at what it lets through. The same request gets the same answer."""
        self._request = call.request
        key = (call.target, id(call.request), tuple(call.levels.items()))
        if key not in self._looked:
            self._kept.append(call.request)
            self._looked[key] = self._look(call)
        refusal = self._looked[key]
        self.arrived[call.target] += refusal is None
        return refusal

    def _look(self, call: Call) -> Fails | None:
        guarded = self._locks[call.target]
        clearance = Clearance(request=call.request, levels=call.levels, tags=call.request.tags)
        try:
            sent = guarded.cleared(call.request, clearance)
        except TargetFailed as failed:
            return Fails(Code(failed.code), seconds=0.0, retry=failed.retry)
        self._watch.look(call.target, guarded.info.zone, repr(replace(sent, tags={})))
        return None


def refused(policy: Policy) -> None:
    """What a running router does with a broken file: read it, refuse it, and go on. Raises where it is accepted."""
    try:
        load(broken(policy))
    except PolicyError:
        return
    raise AssertionError("the broken policy was accepted")


def broken(policy: Policy) -> dict[str, Any]:
    """The policy as a hurried hand leaves it: a rule uses a target that is not there."""
    tree = policy.model_dump(mode="json")
    tree["rules"][0]["use"] = ["typing-mistake"]
    return tree


def _cues(
    scenario: Scenario, frail: Frail | None, look: Callable[[], None], refuse: Callable[[], None]
) -> list[tuple[float, Callable[[], None]]]:
    """When the breakers are looked at, when somebody else spends, and when the policy's file breaks."""
    cues: list[tuple[float, Callable[[], None]]] = [(at, look) for at in moments(scenario.duration)]
    cues += [(phase.at, refuse) for phase in scenario.phases if POLICY in phase.faults]
    if frail is not None:
        spent = [(phase.at, phase.spend_usd) for phase in scenario.phases if phase.spend_usd]
        cues += [(at, partial(_spend, frail, usd)) for at, usd in spent]
    return sorted(cues, key=lambda cue: cue[0])


def _spend(frail: Frail, usd: Decimal) -> None:
    at_once(frail.spend(usd))


def _served(story: Story) -> Served:
    receipt = story.receipt
    return Served(
        ask=receipt.tags[ASK],
        at=story.began,
        seconds=story.ended - story.began,
        receipt=receipt,
        error=type(story.error).__name__ if story.error is not None else "",
    )
