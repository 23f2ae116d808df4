"""Levels as shares of the traffic, and what may be learned from it: `{low: 60%, medium: 30%, high: 10%}`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal, Self

from pydantic import (
    Field,
    PlainSerializer,
    PlainValidator,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    WrapValidator,
    model_validator,
)

from .block import Block
from .scalars import Duration, Number, fault

SHARE = r"([0-9]+(?:\.[0-9]+)?)%"


class Share(float):
    """A part of the traffic, above 0 and at most 1; written `60%`."""

    __slots__ = ()

    def __str__(self) -> str:
        return f"{100 * self:.10g}%"


def _level(value: object, number: ValidatorFunctionWrapHandler) -> float:
    if isinstance(value, Share):
        return value
    if isinstance(value, str) and (match := re.fullmatch(SHARE, value, re.ASCII)):
        share = Share(Decimal(match[1]) / 100)
        if not 0 < share <= 1:
            raise fault("a share is above 0% and at most 100%", "leave out a level that nothing shall have")
        return share
    floor: float = number(value)
    return floor


Level = Annotated[
    Number,
    Field(ge=0, le=1),
    WrapValidator(_level),
    PlainSerializer(lambda level: str(level) if isinstance(level, Share) else level),
    WithJsonSchema(
        {"anyOf": [{"type": "number", "minimum": 0, "maximum": 1}, {"type": "string", "pattern": f"^{SHARE}$"}]}
    ),
]
"""Where a level begins, 0..1; or its share of the traffic, written `60%`."""


def shares_of(levels: Mapping[str, float]) -> Mapping[str, Share] | None:
    """The levels as shares, lowest first; None where they are numbers."""
    shares = {name: level for name, level in levels.items() if isinstance(level, Share)}
    return shares if len(shares) == len(levels) else None


def check_levels(levels: Mapping[str, float]) -> None:
    """Refuse shares beside numbers, and shares that do not make up the whole traffic."""
    shares = shares_of(levels)
    if shares is None and any(isinstance(level, Share) for level in levels.values()):
        raise fault("shares and numbers do not mix", "write all levels as shares, or all as numbers", at="levels")
    if shares is not None and abs(sum(shares.values()) - 1) > 1e-9:
        hint = f"these sum up to {100 * sum(shares.values()):g}%"
        raise fault("the shares of all levels make up 100%", hint, at="levels")


def _part(value: object) -> float:
    if isinstance(value, str) and (match := re.fullmatch(SHARE, value, re.ASCII)):
        value = float(Decimal(match[1]) / 100)
    if not isinstance(value, float) or not 0 <= value <= 1:
        raise fault("not a share", "write it such as 2%, from 0% to 100%")
    return value


Part = Annotated[
    float,
    PlainValidator(_part),
    PlainSerializer(lambda part: f"{100 * part:.10g}%"),
    WithJsonSchema({"type": "string", "pattern": f"^{SHARE}$"}),
]
"""A part of something, 0 included; written `2%`."""


class LearningBlock(Block):
    """What may be kept of the traffic, so that `hybridinfer learn` can learn from it. Never a text."""

    store: Literal["nothing", "features"] = "nothing"
    """features: for every request at the lowest privacy level, the sixty numbers that the complexity score sees."""
    keep: Duration = 90 * 24 * 3600.0
    """How long features and labels are kept; written in hours, such as `2160h`."""
    audit_share: Part = 0.0
    """The part of the requests answered on the device or in the own network that is asked of the plan's next cloud
    target, too, once the caller has his answer, to learn whether the answer was as good. Paid like any request; never
    past a boundary, never with tools. Written `2%`."""

    @model_validator(mode="after")
    def _audits_are_kept(self) -> Self:
        if self.audit_share and self.store == "nothing":
            raise fault("an audit is of no use where nothing is kept", "add store: features", at="audit_share")
        return self


def as_written(levels: Mapping[str, float]) -> dict[str, Any]:
    """Levels as a policy file says them: shares as `60%`, numbers as they are."""
    return {name: str(level) if isinstance(level, Share) else level for name, level in levels.items()}
