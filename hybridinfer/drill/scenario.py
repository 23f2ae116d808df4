"""The scenario file as pydantic models: what is asked, what breaks when, what must hold all the same.

Written and checked as policies are: durations with their unit, shares as `50%`, unknown keys are errors, and every
error reads `file:line:col: what; what to do`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, get_args

from pydantic import BeforeValidator, Field, ValidationInfo, model_validator

from ..errors import PolicyError, Problem
from ..policy.block import Block
from ..policy.load import in_order, read_text, shipped_folder, validated
from ..policy.model import IN_PROCESS, zone_of
from ..policy.scalars import Duration, Name, Number, Usd, Whole, duration_of, fault, one_or_more
from ..policy.source import Source, read
from ..policy.words import did_you_mean
from ..receipt import Zone

if TYPE_CHECKING:
    from ..policy.model import Policy, TargetBlock
    from ..policy.source import Path as Way

HTTP_ONLY = frozenset({"reset", "malformed", "stream_error", "wrong_content_type", "wrong_usage"})
"""Faults of a connection; so are all `status_...`."""
FaultName = Literal[
    "down",
    "reset",
    "hang",
    "slow",
    "slow_first_token",
    "slow_tokens",
    "stall",
    "cut",
    "malformed",
    "missing_end",
    "stream_error",
    "empty",
    "context_too_long",
    "content_filter",
    "wrong_usage",
    "wrong_content_type",
    "status_400",
    "status_401",
    "status_403",
    "status_404",
    "status_408",
    "status_413",
    "status_429",
    "status_500",
    "status_502",
    "status_503",
    "status_504",
    "status_529",
]
LEDGER = "ledger"
"""Stands among the faulty targets for the book of budgets; it can only be `down`."""
EVERYTHING = "*"
SHORTEST_SECRET = 4
"""Letters and digits: anything shorter would be found everywhere."""


def _share(value: object) -> float:
    """`50%`, or a number from 0 to 1."""
    if isinstance(value, str) and (match := re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s?%", value, re.ASCII)):
        value = float(match[1]) / 100
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 1:
        return float(value)
    raise fault("not a share", "write it as 50%, or as a number from 0 to 1")


def _moment(value: object, info: ValidationInfo) -> float:
    return 0.0 if value in ("0s", 0.0) and not isinstance(value, bool) else duration_of(value, info)


Share = Annotated[float, BeforeValidator(_share)]
"""0..1; written `50%`."""
Moment = Annotated[float, BeforeValidator(_moment)]
"""Seconds since the drill began; written as a duration, `0s` included."""
_Texts = Annotated[tuple[str, ...], BeforeValidator(one_or_more)]
_Rungs = Annotated[tuple[Annotated[Whole, Field(ge=1)], ...], Field(min_length=1)]


class FaultBlock(Block):
    """One way to fail. The name alone stands for a fault without details."""

    fault: FaultName
    share: Share = 1.0
    """Of the calls that it hits."""
    delay: Duration = 5.0
    """Of slow, slow_first_token and slow_tokens (there between two pieces)."""
    after: Annotated[Whole, Field(ge=0)] = 1
    """Pieces that arrive before stall, cut, malformed and stream_error."""
    retry_after: Duration | None = None
    """What a status asks callers to wait."""

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: object) -> object:
        return {"fault": value} if isinstance(value, str) else value


class PhaseBlock(Block):
    """From `at` until the next phase: these faults, and no others."""

    at: Moment
    name: str = ""
    faults: dict[str, FaultBlock] = Field(default_factory=dict)
    """By target, zone (cloud, network, device), `ledger`, or `*` for every target; the narrowest counts."""
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
    answered_by: Annotated[tuple[str, ...], BeforeValidator(one_or_more), Field(min_length=1)] | None = None
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


def hit(faults: Mapping[str, FaultBlock], name: str, block: TargetBlock) -> FaultBlock | None:
    """The fault of one target: its own, else its zone's, else everybody's. A canned reply has none."""
    if block.kind == "canned":
        return None
    for key in (name, zone_of(block), EVERYTHING):
        if key in faults:
            return faults[key]
    return None


def _misfits(scenario: Scenario, policy: Policy) -> Iterator[tuple[Way, str, str, bool]]:
    known = [*policy.targets, *get_args(Zone), LEDGER, EVERYTHING]
    for i, phase in enumerate(scenario.phases):
        for key, each in phase.faults.items():
            way: Way = ("phases", i, "faults", key)
            if key not in known:
                yield way, f"policy {policy.name!r} has no target {key!r}", did_you_mean(key, known), True
            elif key == LEDGER and key not in policy.targets and each.fault != "down":
                yield way, "a ledger can only be down", "write 'ledger: down'", False
            elif key in policy.targets and policy.targets[key].kind == "canned":
                yield way, f"{key!r} is a canned reply, which cannot fail", "remove it", True
            elif each.fault in HTTP_ONLY or each.fault.startswith("status_"):
                local = [n for n, b in policy.targets.items() if hit({key: each}, n, b) and b.kind in IN_PROCESS]
                if local:
                    what = f"{each.fault} cannot happen to {local[0]!r}, which answers inside this process"
                    yield way, what, "such as 'down', 'hang' or 'stall'", False
    for i, ask in enumerate(scenario.load.requests):
        for signal, level in ask.levels.items():
            way = ("load", "requests", i, "levels", signal)
            if signal not in policy.signals:
                yield way, f"unknown signal {signal!r}", did_you_mean(signal, policy.signals), True
            elif level not in policy.signals[signal].levels:
                hint = did_you_mean(level, policy.signals[signal].levels)
                yield way, f"{signal} has no level {level!r}", hint, False
    for name in scenario.expect.answered_by or ():
        if name not in policy.targets:
            yield ("expect", "answered_by"), f"unknown target {name!r}", did_you_mean(name, policy.targets), False
