"""The policy file as pydantic models: one class per YAML block, same names, same order.

Only shapes and single values are checked here; `check.py` checks names against each other and proves
the boundaries. Durations are written with their unit (`250ms`, `8s`, `5m`) and are seconds as float inside.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from ..receipt import Code, Zone

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_SECRET = re.compile(r"\$\{env:([A-Za-z_][A-Za-z0-9_]*)\}")


def _duration(value: object) -> object:
    if isinstance(value, str) and (match := _DURATION.fullmatch(value)):
        return float(match[1]) * _SECONDS[match[2]]
    if isinstance(value, float):  # a default, already seconds
        return value
    raise ValueError("not a duration; write it with its unit, such as 250ms, 8s or 5m")


def _one_or_more(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _secret(value: object) -> object:
    if isinstance(value, str) and (match := _SECRET.fullmatch(value)):
        return match[1]
    raise ValueError("a secret is never written into a policy; refer to it as ${env:NAME}")


Duration = Annotated[
    float, BeforeValidator(_duration), Field(gt=0), WithJsonSchema({"type": "string", "pattern": f"^{_DURATION.pattern}$"})
]
"""Seconds; written `250ms`, `8s`, `5m`."""
SecretName = Annotated[
    str, BeforeValidator(_secret), WithJsonSchema({"type": "string", "pattern": f"^{_SECRET.pattern}$"})
]
"""The name of an environment variable; written `${env:NAME}`."""
Names = Annotated[
    tuple[str, ...],
    BeforeValidator(_one_or_more),
    Field(min_length=1),
    WithJsonSchema(
        {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}
    ),
]
"""One name or a list of names."""
Usd = Annotated[Decimal, Field(ge=0)]


class Block(BaseModel):
    """A part of the file: unknown keys are errors, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Price(Block):
    """What a call costs. `input`, `output`, `cache_read`, `cache_write`: USD per million tokens."""

    input: Usd = Decimal(0)
    output: Usd = Decimal(0)
    cache_read: Usd | None = None
    cache_write: Usd | None = None
    usd_per_hour: Usd = Decimal(0)
    """The machine's price while it works; for in-process targets."""


class TargetBlock(Block):
    """Something that answers."""

    kind: str
    model: str = ""
    text: str = ""
    """The reply of a canned target."""
    base_url: str | None = None
    api_key: SecretName | None = None
    zone: Zone | None = None
    """None: the kind's own zone. Nothing is guessed from an address."""
    region: str | None = None
    timeout: Duration = 30.0
    first_token: Duration = 12.0
    stall: Duration = 10.0
    context_window: int | None = Field(default=None, gt=0)
    max_tokens: int = Field(default=1024, gt=0)
    """Sent when the request names none: without a limit no budget could hold."""
    price: Price | None = None
    options: dict[str, Any] = Field(default_factory=dict)
    """For kinds of your own, and kind-specific fine tuning."""


class SignalBlock(Block):
    """A measurement. `levels` names the bands of its score and where each begins; the first begins at 0."""

    kind: str | None = None
    """The registered kind; None: the block's own name."""
    levels: dict[str, float] = Field(min_length=1)
    options: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        floors = list(self.levels.values())
        if floors[0] != 0 or any(a >= b for a, b in zip(floors, floors[1:], strict=False)):
            raise ValueError("levels begin at 0 and rise")
        return self

    def level_of(self, score: float) -> str:
        """The name of the band that `score` falls into."""
        return [name for name, floor in self.levels.items() if score >= floor or floor == 0][-1]


class BudgetBlock(Block):
    """A limit in USD."""

    name: str
    usd: Annotated[Decimal, Field(gt=0)]
    per: Literal["request", "minute", "hour", "day", "week", "month"]
    by: str | None = None
    """A request tag; each of its values has a budget of its own."""


class When(Block):
    """A condition; all of its parts must hold. Written flat: `{privacy: secret, needs: tools, tags: {team: a}}`."""

    levels: dict[str, Names] = Field(default_factory=dict)
    needs: tuple[str, ...] = ()
    tags: dict[str, Names] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _flat(cls, value: object) -> object:
        if not isinstance(value, Mapping) or "levels" in value:
            return value
        rest = {str(k): v for k, v in value.items() if k not in ("needs", "tags")}
        needs = _one_or_more(value.get("needs", ()))
        return {"levels": rest, "needs": needs, "tags": value.get("tags", {})}


class BoundaryBlock(Block):
    """A hard limit: the targets that a request may reach. Exactly one of the four limits."""

    name: str
    when: When = When()
    cloud: Literal["never", "masked"] | None = None
    zones: tuple[Zone, ...] | None = None
    regions: Names | None = None
    targets: Names | None = None

    @model_validator(mode="after")
    def _one_limit(self) -> Self:
        if sum(limit is not None for limit in (self.cloud, self.zones, self.regions, self.targets)) != 1:
            raise ValueError("a boundary has exactly one of cloud, zones, regions and targets")
        return self


class RuleBlock(Block):
    """`when` it matches, `use` these targets from left to right."""

    name: str
    when: When = When()
    use: Names


class RetryBlock(Block):
    """Tries per target, the first included, and the waits between them."""

    attempts: int = Field(default=2, ge=1, le=10)
    backoff: Duration = 0.2
    max_backoff: Duration = 2.0


class CircuitBreakerBlock(Block):
    """After `failures` within `within`, a target rests for `cool_down`."""

    failures: int = Field(default=5, ge=1)
    within: Duration = 30.0
    cool_down: Duration = 15.0


class ResilienceBlock(Block):
    """How hard to try."""

    deadline: Duration = 20.0
    """The whole request: scoring, waits, retries, fallbacks and the stream."""
    last_rung: Duration = 2.0
    """The slice of the deadline that only the last rung may use; at most half of the deadline."""
    retry: RetryBlock = RetryBlock()
    retry_on: tuple[Code, ...] = (Code.TIMEOUT, Code.RATE_LIMITED, Code.UNAVAILABLE, Code.INTERRUPTED)
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
    circuit_breaker: CircuitBreakerBlock = CircuitBreakerBlock()


class Given(Block):
    """What a policy's test supposes. `levels` overrides what `prompt` scores."""

    prompt: str = ""
    levels: dict[str, str] = Field(default_factory=dict)
    tags: dict[str, str] = Field(default_factory=dict)
    down: tuple[str, ...] = ()


class Expect(Block):
    """What must follow."""

    rule: str | None = None
    answered_by: str | None = None
    never: tuple[str, ...] = ()
    levels: dict[str, str] = Field(default_factory=dict)
    rung: int | None = None
    attempts_at_most: int | None = None


class TestBlock(Block):
    """A policy's own test: `hybridinfer policy test` runs it without a network."""

    __test__ = False  # not a pytest class

    name: str
    given: Given
    expect: Expect


DEFAULT_SIGNALS: Mapping[str, SignalBlock] = {
    "privacy": SignalBlock(levels={"public": 0.0, "personal": 0.5, "secret": 0.9}),
    "complexity": SignalBlock(levels={"low": 0.0, "medium": 0.4, "high": 0.75}),
    "size": SignalBlock(levels={"short": 0.0, "medium": 0.5, "long": 0.8}),
    "budget": SignalBlock(levels={"ok": 0.0, "tight": 0.8, "spent": 1.0}),
}


class Policy(Block):
    """The whole file."""

    version: Literal[1]
    name: str = "policy"
    description: str = ""
    targets: dict[str, TargetBlock] = Field(min_length=1)
    signals: dict[str, SignalBlock] = Field(default_factory=dict)
    budgets: tuple[BudgetBlock, ...] = ()
    boundaries: tuple[BoundaryBlock, ...] = ()
    rules: tuple[RuleBlock, ...] = Field(min_length=1)
    resilience: ResilienceBlock = ResilienceBlock()
    tests: tuple[TestBlock, ...] = ()

    @model_validator(mode="after")
    def _all_signals(self) -> Self:
        object.__setattr__(self, "signals", {**DEFAULT_SIGNALS, **self.signals})
        return self
