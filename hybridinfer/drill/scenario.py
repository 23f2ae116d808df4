"""The scenario file as pydantic models: what is asked, what breaks when, what must hold all the same.

Written and checked as policies are: durations with their unit, shares as `50%`, unknown keys are errors, and every
error reads `file:line:col: what; what to do`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, get_args

from pydantic import BeforeValidator, Field, model_validator

from ..errors import PolicyError, Problem
from ..policy.block import Block
from ..policy.load import in_order, read_text, shipped_folder, validated
from ..policy.scalars import OR_ONE, Duration, Name, Number, Usd, Whole, fault, one_or_more
from ..policy.source import Source, read
from ..policy.words import did_you_mean
from ..receipt import OnInterrupt, Zone
from .failing import EVERYTHING, LEDGER, OF_THE_LEDGER, OF_THE_POLICY, POLICY, FaultBlock, hit, impossible
from .scalars import Moment, Share

if TYPE_CHECKING:
    from ..policy.model import Policy
    from ..policy.source import Path as Way

SHORTEST_SECRET = 4
"""Letters and digits: anything shorter would be found everywhere."""
_Texts = Annotated[tuple[str, ...], BeforeValidator(one_or_more), OR_ONE]
_Rungs = Annotated[tuple[Annotated[Whole, Field(ge=1)], ...], Field(min_length=1)]


class PhaseBlock(Block):
    """From `at` until the next phase: these faults, and no others."""

    at: Moment
    name: str = ""
    faults: dict[str, FaultBlock] = Field(default_factory=dict)
    """By target, zone (cloud, network, device), or `*` for every target; the narrowest counts. `ledger` is the book of
    budgets, `policy` the policy's file."""
    rate: Annotated[Number, Field(ge=0)] | None = None
    """Requests per second from here on; None: as in `load`."""
    spend_usd: Usd | None = None
    """Somebody else spends this at `at`, from every budget for a window of time."""


class AskBlock(Block):
    """One kind of request."""

    name: Name
    prompt: str = ""
    levels: dict[str, str] = Field(default_factory=dict)
    """Overrides what the prompt scores; without a prompt, what this request is like."""
    tags: dict[str, str] = Field(default_factory=dict)
    private: _Texts = ()
    """Pieces of the prompt that may never arrive in a cloud."""
    needs: Annotated[tuple[Literal["json", "tools"], ...], BeforeValidator(one_or_more), OR_ONE] = ()
    """What the answer must be: a JSON object, a call of a tool."""
    weight: Annotated[Whole, Field(ge=1)] = 1

    @model_validator(mode="after")
    def _can_be_asked(self) -> Self:
        if not self.prompt and not self.levels:
            raise fault("a request without a prompt or levels", "add 'prompt: ...' or 'levels: {...}'")
        for text in self.private:
            if text not in self.prompt:
                raise fault("not a piece of the prompt", "copy it from the prompt, letter by letter", at="private")
            if sum(map(str.isalnum, text)) < SHORTEST_SECRET:
                raise fault("too short to be recognised", "name at least four letters or digits", at="private")
        return self


class LoadBlock(Block):
    """What is asked, and how often. Arrivals are random (Poisson), the same in every run."""

    rate: Annotated[Number, Field(gt=0)]
    """Requests per second."""
    stream: Share = 0.0
    """Of the requests that are read piece by piece."""
    max_tokens: Annotated[Whole, Field(gt=0)] = 256
    on_interrupt: OnInterrupt | None = None
    """What a stream that dies midway does; None: as the policy says."""
    requests: tuple[AskBlock, ...] = Field(min_length=1)


class ExpectBlock(Block):
    """What must hold over the whole drill."""

    answered_share: Share | None = None
    """At least; a canned reply is an answer."""
    degraded_share: Share | None = None
    """At most, of all requests: answered by a later rung or a canned reply."""
    p95: Duration | None = None
    """At most: 95% of all requests ended sooner."""
    rungs: _Rungs | None = None
    """Exactly these rungs answered, each at least once."""
    answered_by: Annotated[tuple[str, ...], BeforeValidator(one_or_more), Field(min_length=1), OR_ONE] | None = None
    """Exactly these targets answered, each at least once."""
    max_attempts: Annotated[Whole, Field(ge=0)] | None = None
    """Calls and skipped calls of any one request, at most."""
    cost_usd: Usd | None = None
    """All requests together, at most."""
    privacy: Literal["no_leak"] | None = None
    """Nothing that a request calls `private` arrived in a cloud."""
    recovery: Duration | None = None
    """At most, after each end of all faults, until the last request that its first choice did not answer."""


class Scenario(Block):
    """The whole file."""

    version: Literal[1]
    name: Name
    description: str = ""
    policy: str | None = None
    """A shipped policy's name, or a file beside this one; None: the shipped default."""
    duration: Duration
    budgets: Literal["as_written", "ample"] = "as_written"
    """ample: this drill is not about money, so budgets for a window of time count a thousandfold."""
    load: LoadBlock
    phases: tuple[PhaseBlock, ...] = ()
    expect: ExpectBlock

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        times = [phase.at for phase in self.phases]
        if any(a >= b for a, b in pairwise(times)) or (times and times[-1] >= self.duration):
            raise fault("phases rise, and begin before the drill ends", "sort them by 'at'", at="phases")
        names = [ask.name for ask in self.load.requests]
        if len(set(names)) < len(names):
            raise fault("two requests have one name", "give each a name of its own", at="load")
        if self.expect.privacy and not any(ask.private for ask in self.load.requests):
            raise fault("nothing private is asked", "give a request 'private: [...]'", at="expect")
        for number, phase in enumerate(self.phases):
            for where, block in phase.faults.items():
                if unknown := set(block.requests) - set(names):
                    hint = did_you_mean(min(unknown), names)
                    raise fault(f"phase {number + 1}, {where}: no request {min(unknown)!r}", hint, at="phases")
        if not self.expect.model_fields_set:
            raise fault("nothing is expected", "such as 'answered_share: 100%'", at="expect")
        return self


def load_scenario(source: str | Path | Mapping[str, Any]) -> tuple[Scenario, Source]:
    """The scenario in a file, a shipped one's name or a mapping, and where its parts stand. Raises `PolicyError`."""
    if isinstance(source, Mapping):
        text = Source(file="<dict>", tree=source)
    else:
        path = locate(source)
        text = read(read_text(path), str(path))
    problems = list(text.problems)
    begin = "begin with 'version: 1', 'name:', 'duration:', 'load:' and 'expect:'"
    scenario = validated(Scenario, text, problems, noun="scenario", begin=begin)
    if problems or scenario is None:
        raise in_order(problems)
    return scenario, text


def shipped_drills() -> dict[str, Path]:
    """The scenarios that come with this package, by name."""
    return {file.stem: file for file in sorted(shipped_folder("drills").glob("*.yaml"))}


def is_shipped(source: str | Path | Mapping[str, Any]) -> bool:
    """Whether it comes with this package, given by its name or its path."""
    return not isinstance(source, Mapping) and locate(source).resolve() in {
        path.resolve() for path in shipped_drills().values()
    }


def locate(source: str | Path) -> Path:
    """A file as it is; a bare word that is no file is a shipped scenario's name."""
    path = Path(source)
    if path.exists() or path.suffix or len(path.parts) != 1:
        return path
    known = shipped_drills()
    if path.name not in known:
        hint = did_you_mean(path.name, known)
        raise PolicyError([Problem(file=path.name, line=1, column=1, what="no such shipped drill", hint=hint)])
    return known[path.name]


def fits(scenario: Scenario, source: Source, policy: Policy) -> None:
    """Raise `PolicyError` where the scenario names what `policy` does not have."""
    problems = [source.problem(way, what, hint, key=key) for way, what, hint, key in _misfits(scenario, policy)]
    if problems:
        raise in_order(problems)


def _misfits(scenario: Scenario, policy: Policy) -> Iterator[tuple[Way, str, str, bool]]:
    for i, phase in enumerate(scenario.phases):
        for key in phase.faults:
            if (misfit := _misfit(key, phase.faults, policy)) is not None:
                yield ("phases", i, "faults", key), *misfit
    for i, ask in enumerate(scenario.load.requests):
        for signal, level in ask.levels.items():
            way: Way = ("load", "requests", i, "levels", signal)
            if signal not in policy.signals:
                yield way, f"unknown signal {signal!r}", did_you_mean(signal, policy.signals), True
            elif level not in policy.signals[signal].levels:
                hint = did_you_mean(level, policy.signals[signal].levels)
                yield way, f"{signal} has no level {level!r}", hint, False
    for name in scenario.expect.answered_by or ():
        if name not in policy.targets:
            yield ("expect", "answered_by"), f"unknown target {name!r}", did_you_mean(name, policy.targets), False


def _misfit(key: str, faults: Mapping[str, FaultBlock], policy: Policy) -> tuple[str, str, bool] | None:
    """(what is wrong, what to do, whether the key is at fault), where `policy` cannot have the fault of `key`."""
    block = faults[key]
    state = {LEDGER: OF_THE_LEDGER, POLICY: OF_THE_POLICY}
    known = dict.fromkeys((*policy.targets, *get_args(Zone), *state, EVERYTHING))  # a target may be called "cloud"
    if key in state and key not in policy.targets:
        if wrong := block.words - state[key]:
            words = ", ".join(sorted(state[key] - {"ok"}))
            return f"{min(wrong)} cannot happen to the {key}", f"write one of {words}", False
        if block.script or block.requests or block.share < 1:
            return f"the {key} fails for everybody", "leave out script, share and requests", False
        return None
    if key not in known:
        return f"policy {policy.name!r} has no target {key!r}", did_you_mean(key, known), True
    if key in policy.targets and policy.targets[key].kind == "canned":
        return f"{key!r} is a canned reply, which cannot fail", "remove it", True
    for name, target in policy.targets.items():
        if hit(faults, name, target) is block:
            for word in sorted(block.words):
                if (because := impossible(word, target.kind)) is not None:
                    hint = "such as 'down', 'hang' or 'stall', or 'ok' for this target"
                    return f"{word} cannot happen to {name!r}: {because}", hint, False
    return None
