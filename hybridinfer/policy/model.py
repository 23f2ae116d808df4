"""The policy file as pydantic models: one class per YAML block, same names, same order.

Only shapes and single values are checked here; `load` checks names against each other and `check` proves
the boundaries. Durations are written with their unit (`250ms`, `8s`, `5m`) and are seconds as float inside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, get_args

from pydantic import BeforeValidator, Field, WithJsonSchema, model_serializer, model_validator

from ..receipt import Code, Need, OnInterrupt, Zone
from .block import Block
from .money import BudgetBlock, LedgerDownBlock, Price
from .rung import RUNGS, AcceptBlock, Agreement, Rung
from .scalars import (
    ONE_OR_MORE,
    OR_ONE,
    Duration,
    Name,
    Names,
    Number,
    Switch,
    Tokens,
    Whole,
    fault,
    one_or_more,
)
from .shares import LearningBlock, Level, check_levels, shares_of
from .target import IN_PROCESS, REMOTE, ReplicaBlock, TargetBlock, continues, zone_of

if TYPE_CHECKING:
    from pydantic import GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import CoreSchema

__all__ = [
    "DEFAULT_SIGNALS",
    "IN_PROCESS",
    "REMOTE",
    "AcceptBlock",
    "Block",
    "BoundaryBlock",
    "BudgetBlock",
    "CircuitBreakerBlock",
    "Expect",
    "Given",
    "LearningBlock",
    "LedgerDownBlock",
    "Policy",
    "Price",
    "PromptBlock",
    "ReplicaBlock",
    "ResilienceBlock",
    "RetryBlock",
    "RuleBlock",
    "Rung",
    "SignalBlock",
    "TargetBlock",
    "TestBlock",
    "When",
    "continues",
    "zone_of",
]


class SignalBlock(Block):
    """A measurement. `levels` names the bands of its score and where each begins; the first begins at 0.

    Complexity's levels may be shares of the traffic instead: `{low: 60%, medium: 30%, high: 10%}`.
    """

    kind: Name | None = None
    """The registered kind; None: the block's own name."""
    levels: dict[str, Level] = Field(default_factory=dict, min_length=1)
    """Left out: the usual ones of a built-in signal."""
    model: Literal["embedding"] | None = None
    """Of complexity. embedding: what a prompt is about counts, too, by a model on this machine that `hybridinfer models
    pull minilm-l6-v2` fetches."""
    options: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        if not self.levels:
            return self
        floors = list(self.levels.values())
        check_levels(self.levels)
        if shares_of(self.levels) is not None:
            return self
        if floors[0] != 0 or any(a >= b for a, b in pairwise(floors)):
            raise fault("levels begin at 0 and rise", "such as {low: 0.0, high: 0.6}", at="levels")
        return self

    def level_of(self, score: float) -> str:
        """The name of the band that `score` falls into. Shares have no fixed bands: see `signals.bands`."""
        return [name for name, floor in self.levels.items() if score >= floor or floor == 0][-1]


class When(Block):
    """A condition; all of its parts must hold, and a list means any of its entries.

    Written flat: `{privacy: [personal, secret], needs: tools, tags: {team: support}}`.
    """

    levels: dict[str, Names] = Field(default_factory=dict)
    needs: Annotated[tuple[Need, ...], BeforeValidator(one_or_more), OR_ONE] = ()
    tags: dict[str, Names] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _flat(cls, value: object) -> object:
        if not isinstance(value, Mapping) or isinstance(value.get("levels"), Mapping):
            return value
        parts = {key: value[key] for key in ("needs", "tags") if key in value}
        return {"levels": {key: item for key, item in value.items() if key not in parts}, **parts}

    @model_serializer
    def _as_written(self) -> dict[str, Any]:
        parts = {"needs": list(self.needs), "tags": {tag: list(names) for tag, names in self.tags.items()}}
        return {signal: list(names) for signal, names in self.levels.items()} | {k: v for k, v in parts.items() if v}

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The flat form that people write; signal names are free, as signals can be added."""
        shape = handler.resolve_ref_schema(handler(core_schema))
        needs = {"type": "string", "enum": list(get_args(Need))}
        shape["properties"] = {
            "needs": {"anyOf": [needs, {"type": "array", "items": needs, "minItems": 1}]},
            "tags": {"type": "object", "additionalProperties": ONE_OR_MORE},
            **dict.fromkeys(DEFAULT_SIGNALS, ONE_OR_MORE),
        }
        shape["additionalProperties"] = ONE_OR_MORE
        return shape


class BoundaryBlock(Block):
    """A hard limit: the targets that a request may reach. Exactly one of the four limits."""

    name: Name
    when: When = When.model_construct()
    cloud: Literal["never", "masked"] | None = None
    """never: no cloud target; masked: only after personal data is masked."""
    zones: Annotated[tuple[Zone, ...], BeforeValidator(one_or_more), Field(min_length=1), OR_ONE] | None = None
    """Only targets in these zones."""
    regions: Names | None = None
    """Only targets in these regions; a target that names none is out, unless it runs in this process."""
    targets: Names | None = None
    """Only these targets."""

    @model_validator(mode="after")
    def _one_limit(self) -> Self:
        if sum(limit is not None for limit in (self.cloud, self.zones, self.regions, self.targets)) != 1:
            raise fault("a boundary has exactly one of cloud, zones, regions and targets", "split it into several")
        return self

    @property
    def allows(self) -> str:
        """What it allows, in words: `cloud never`, `zones device, network`."""
        if self.cloud is not None:
            return f"cloud {self.cloud}"
        for word, names in (("zones", self.zones), ("regions", self.regions), ("targets", self.targets)):
            if names is not None:
                return f"only {word} {', '.join(names)}"
        return "nothing"


class HedgeBlock(Block):
    """When the first choice gives no sign of an answer, ask the next one beside it; the first answer counts."""

    after: Duration | Literal["p95"]
    """A duration, or p95: longer than 95% of this target's latest calls took (from the 20th call on)."""


class PromptBlock(Block):
    """What may be cut out of a conversation before it is sent. System messages, tools and schemas never are."""

    trim_history: Tokens | None = None
    """Tokens of the exchanges before the last one: the latest that fit stay, whole; such as `4k`."""
    dedupe: Switch = False
    """A long text that comes again later is cut from where it stood before."""
    collapse_whitespace: Switch = False
    """One blank for several and one empty line for several; code in fences and indents stay."""


class RuleBlock(Block):
    """`when` it matches, `use` these targets from left to right."""

    name: Name
    when: When = When.model_construct()
    """Left out: it always matches."""
    rungs: Annotated[tuple[Rung, ...], BeforeValidator(one_or_more), Field(min_length=1), RUNGS] = Field(alias="use")
    """Targets from left to right; an entry may ask that an answer passes a check, or that several targets agree."""
    hedge: HedgeBlock | None = None
    prompt: PromptBlock | None = None
    """Fewer tokens for the same question."""

    @model_validator(mode="after")
    def _agreement_first(self) -> Self:
        for at, rung in enumerate(self.rungs):
            if at and rung.agree is not None:
                raise fault("only the first entry of 'use' can be an agreement", "move it to the front", at="use")
        return self

    @property
    def use(self) -> tuple[str, ...]:
        """The names of the targets, in order: what plans are made of."""
        return tuple(name for rung in self.rungs for name, _ in rung.places)

    @cached_property
    def accept(self) -> Mapping[str, AcceptBlock]:
        """The checks, by the target whose answer must pass them."""
        return {rung.target: rung.accept for rung in self.rungs if rung.target and rung.accept}

    @cached_property
    def agree(self) -> Agreement | None:
        """Who is asked first, side by side, and must say the same."""
        return self.rungs[0].agreement

    @property
    def places(self) -> tuple[tuple[str | int, ...], ...]:
        """For each name of `use`, where it stands in this block."""
        return tuple(("use", at, *way) for at, rung in enumerate(self.rungs) for _, way in rung.places)

    @property
    def helpers(self) -> Mapping[str, tuple[str | int, ...]]:
        """Targets that may see a request to check another's answer, and where each is named in this block."""
        return {name: ("use", at, *way) for at, rung in enumerate(self.rungs) for name, way in rung.helpers}

    @property
    def compares_meanings(self) -> bool:
        """Whether an embedding judges anything here."""
        judges = [rung.judge for rung in self.rungs] + [rung.accept.judge for rung in self.rungs if rung.accept]
        return "embedding" in judges

    def checks(self, ladder: Sequence[str]) -> dict[str, str]:
        """What the answers of these targets must pass, in words. Whoever should agree but is alone passes unchecked."""
        words = {name: str(block) for name, block in self.accept.items() if name in ladder}
        agreeing = [name for name in self.agree.targets if name in ladder] if self.agree else []
        for name in agreeing if len(agreeing) > 1 else ():
            words[name] = f"agrees with {' and '.join(other for other in agreeing if other != name)}"
        return words


class RetryBlock(Block):
    """Tries per target, the first included, and the waits between them."""

    attempts: Annotated[Whole, Field(ge=1, le=10)] = 2
    backoff: Duration = 0.2
    max_backoff: Duration = 2.0


class CircuitBreakerBlock(Block):
    """After `failures` within `within`, a target rests for `cool_down`; then one probe, then a ramp, decide."""

    failures: Annotated[Whole, Field(ge=1)] = 5
    """So many failed calls, or so many slow ones, and ..."""
    share: Annotated[Number, Field(gt=0, le=1)] = 0.5
    """... such a share of all calls (0.5 is half of them) ..."""
    within: Duration = 30.0
    """... within so long."""
    slow: Duration | None = None
    """A call whose first piece takes longer is slow; None: slowness alone never opens a circuit."""
    cool_down: Duration = 15.0


class ResilienceBlock(Block):
    """How hard to try."""

    deadline: Duration = 20.0
    """The whole request: scoring, waits, retries, fallbacks and the stream."""
    last_rung: Duration = 2.0
    """The slice of the deadline that only the last rung may use; at most half of the deadline."""
    retry: RetryBlock = RetryBlock.model_construct()
    retry_on: tuple[Code, ...] = (Code.RATE_LIMITED, Code.UNAVAILABLE, Code.INTERRUPTED)
    fallback_on: tuple[Code, ...] = (
        Code.TIMEOUT,
        Code.STALLED,
        Code.RATE_LIMITED,
        Code.UNAVAILABLE,
        Code.INTERRUPTED,
        Code.EMPTY,
        Code.CONTEXT_TOO_LONG,
        Code.INVALID_OUTPUT,
        Code.UNAUTHORIZED,
    )
    on_interrupt: OnInterrupt = "error"
    """A stream that dies midway: raise, begin anew on the next rung, continue on one that can, or deliver only whole
    answers."""
    circuit_breaker: CircuitBreakerBlock = CircuitBreakerBlock.model_construct()


class Given(Block):
    """What a policy's test supposes. `levels` overrides what `prompt` scores."""

    prompt: str = ""
    levels: dict[str, str] = Field(default_factory=dict)
    needs: Annotated[tuple[Need, ...], BeforeValidator(one_or_more), OR_ONE] = ()
    tags: dict[str, str] = Field(default_factory=dict)
    down: Annotated[tuple[str, ...], BeforeValidator(one_or_more), OR_ONE] = ()
    """Targets that fail with `unavailable`, in every attempt."""
    unsure: Annotated[tuple[str, ...], BeforeValidator(one_or_more), OR_ONE] = ()
    """Targets whose answers pass no check and agree with nobody's."""
    spent: Annotated[tuple[str, ...], BeforeValidator(one_or_more), OR_ONE] = ()
    """Budgets that are used up. Unless `levels` says otherwise, the budget signal is at its highest level, too."""


class Expect(Block):
    """What must follow."""

    rule: str | None = None
    answered_by: str | None = None
    never: Annotated[tuple[str, ...], BeforeValidator(one_or_more), OR_ONE] = ()
    """Targets that are not on its ladder, so that they do not see this request whatever fails."""
    forbidden: Annotated[tuple[str, ...], BeforeValidator(one_or_more), OR_ONE] = ()
    """Targets that a boundary keeps from it, so that no rule could ever send it there."""
    masked: Annotated[tuple[str, ...], BeforeValidator(one_or_more), OR_ONE] = ()
    """Targets on its ladder that may see it only after masking."""
    open: Annotated[tuple[str, ...], BeforeValidator(one_or_more), OR_ONE] = ()
    """Targets on its ladder that see it as it is."""
    levels: dict[str, str] = Field(default_factory=dict)
    rung: Annotated[Whole, Field(ge=1)] | None = None
    code: Code | None = None
    """How the last attempt ended: `ok` where somebody answered."""
    attempts_at_most: Annotated[Whole, Field(ge=0)] | None = None
    """Calls that are made at most, retries and the canned reply included."""


class TestBlock(Block):
    """A policy's own test: `hybridinfer policy test` runs it without a network."""

    __test__ = False  # not a pytest class

    name: Name
    given: Given = Given.model_construct()
    expect: Expect


DEFAULT_SIGNALS: Mapping[str, SignalBlock] = {  # constructed, as validating builds each validator at import
    "privacy": SignalBlock.model_construct(levels={"public": 0.0, "personal": 0.5, "secret": 0.9}),
    "complexity": SignalBlock.model_construct(levels={"low": 0.0, "medium": 0.4, "high": 0.75}),
    "size": SignalBlock.model_construct(levels={"short": 0.0, "medium": 0.5, "long": 0.8}),
    "budget": SignalBlock.model_construct(levels={"ok": 0.0, "tight": 0.8, "spent": 1.0}),
}


class Policy(Block):
    """The whole file."""

    version: Annotated[Literal[1], WithJsonSchema({"const": 1})]
    """The format of this file."""
    name: Name = "policy"
    description: str = ""
    revision: Annotated[str, Field(max_length=100)] = ""
    """Your own version of this policy, such as a date or a commit; every receipt carries it beside the digest."""
    drills: Literal["never", "allowed"] = "never"
    """allowed: `hybridinfer drill run --against live` may make its own requests fail before the real targets. For
    staging; normal traffic never meets a drill either way."""
    targets: dict[str, TargetBlock] = Field(min_length=1)
    signals: dict[str, SignalBlock] = Field(default_factory=dict)
    """Left out: privacy, complexity, size and budget with their usual levels."""
    budgets: tuple[BudgetBlock, ...] = ()
    boundaries: tuple[BoundaryBlock, ...] = ()
    """No rule, retry, fallback, hedge or cache can cross these."""
    rules: tuple[RuleBlock, ...] = Field(min_length=1)
    """The first that matches decides."""
    learning: LearningBlock = LearningBlock.model_construct()
    resilience: ResilienceBlock = ResilienceBlock.model_construct()
    tests: tuple[TestBlock, ...] = ()

    @property
    def needs_embedder(self) -> bool:
        """Whether a signal or a judge of it asks for meanings."""
        scored = any(block.model is not None for block in self.signals.values())
        return scored or any(rule.compares_meanings for rule in self.rules)

    @model_validator(mode="after")
    def _all_signals(self) -> Self:
        usual = {
            name: block.model_copy(update={"levels": DEFAULT_SIGNALS[block.kind or name].levels})
            for name, block in self.signals.items()
            if not block.levels and (block.kind or name) in DEFAULT_SIGNALS
        }
        object.__setattr__(self, "signals", {**DEFAULT_SIGNALS, **self.signals, **usual})
        return self
