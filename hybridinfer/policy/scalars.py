"""The single values of a policy file: durations, money, secrets, names. Strict: nothing is guessed or converted.

A message here ends as `file:line:col: what; what to do`, so it says both, and it never quotes a secret.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, Field, PlainSerializer, ValidationInfo, WithJsonSchema
from pydantic_core import PydanticCustomError

if TYPE_CHECKING:
    from pydantic import GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import CoreSchema

FROM_FILE: Mapping[str, bool] = {"file": True}
"""Validation context of a policy's own text, where a duration without its unit is an error."""

DURATION = r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)"
TOKENS = r"([0-9]+)k"
REFERENCE = r"\$\{env:([A-Za-z_][A-Za-z0-9_]*)\}"
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_A_YEAR = 366 * 24 * 3600.0


def fault(what: str, hint: str = "", *, at: str = "") -> PydanticCustomError:
    """An error of the policy: what is wrong, what to do, and the key at fault when it is not the whole block."""
    return PydanticCustomError("policy", "{what}; {hint}" if hint else "{what}", {"what": what, "hint": hint, "at": at})


def duration_of(value: object, info: ValidationInfo) -> float:
    """Seconds, from `8s` or, outside of a file, from a float."""
    if isinstance(value, str) and (match := re.fullmatch(DURATION, value, re.ASCII)):
        seconds = float(match[1]) * _SECONDS[match[2]]
    elif isinstance(value, float) and not info.context:  # seconds, in Python
        seconds = value
    else:
        raise fault("not a duration", "write it with its unit, such as 250ms, 8s or 5m")
    if not 0 < seconds <= _A_YEAR:
        raise fault("a duration is more than zero and at most a year", "write it such as 250ms, 8s or 5m")
    return seconds


def _as_duration(seconds: float) -> str:
    return f"{round(seconds * 1000, 6):.10g}ms" if seconds < 1 else f"{seconds:.10g}s"


def _switch(value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise fault("neither true nor false", "write true or false, without quotes")


def _whole(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise fault("not a whole number", "write digits without quotes")


def _tokens(value: object) -> int:
    if isinstance(value, str) and (match := re.fullmatch(TOKENS, value, re.ASCII)):
        return int(match[1]) * 1000
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise fault("not a number of tokens", "write it such as 800 or 4k")


def _number(value: object) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    raise fault("not a number", "write it without quotes, such as 0.5")


def _usd(value: object) -> Decimal:
    if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
        amount = Decimal(str(value))  # through text: 0.1 stays 0.1
        if amount.is_finite() and abs(amount) < Decimal(10) ** 12:
            return amount
    raise fault("not an amount of USD", "write a number without quotes and without a currency sign, such as 0.02")


def _as_number(amount: Decimal) -> float:
    return float(amount)


def _secret(value: object) -> str:
    if isinstance(value, str) and (match := re.fullmatch(REFERENCE, value, re.ASCII)):
        return match[1]
    raise fault("a secret is never written into a policy", "refer to an environment variable, as ${env:NAME}")


def one_or_more(value: object) -> object:
    """A single name stands for a list of one."""
    return (value,) if isinstance(value, str) else value


Duration = Annotated[
    float,
    BeforeValidator(duration_of),
    PlainSerializer(_as_duration),
    WithJsonSchema({"type": "string", "pattern": f"^{DURATION}$", "examples": ["250ms", "8s", "5m"]}),
]
"""Seconds; written `250ms`, `8s`, `5m`."""

Switch = Annotated[bool, BeforeValidator(_switch)]
"""On or off; `yes` and `no` are text in YAML 1.2 and refused, as are numbers."""

Whole = Annotated[int, BeforeValidator(_whole)]
"""A whole number; text and truth values are refused."""

Tokens = Annotated[
    int,
    BeforeValidator(_tokens),
    Field(ge=0),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": f"^{TOKENS}$"}]}),
]
"""A number of tokens; written `800` or `4k` (4,000)."""

Number = Annotated[float, BeforeValidator(_number)]
"""A number; text and truth values are refused."""

Usd = Annotated[
    Decimal,
    BeforeValidator(_usd),
    Field(ge=0),
    PlainSerializer(_as_number),
    WithJsonSchema({"type": "number", "minimum": 0}),
]
"""US dollars, exact."""

SecretName = Annotated[
    str,
    BeforeValidator(_secret),
    PlainSerializer(lambda name: f"${{env:{name}}}"),
    WithJsonSchema({"type": "string", "pattern": f"^{REFERENCE}$", "examples": ["${env:OPENAI_API_KEY}"]}),
]
"""The name of an environment variable; written `${env:NAME}`."""

Name = Annotated[str, Field(min_length=1, max_length=100)]
"""What a rule, boundary, budget or test is called in decisions and reports."""


class _OrOne:
    """For the JSON Schema: a single entry may stand for a list of one."""

    def __get_pydantic_json_schema__(self, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        several = handler(core_schema)
        return {"anyOf": [several["items"], several]}


OR_ONE = _OrOne()

ONE_OR_MORE: dict[str, Any] = {
    "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1, "uniqueItems": True}]
}
Names = Annotated[tuple[str, ...], BeforeValidator(one_or_more), Field(min_length=1), WithJsonSchema(ONE_OR_MORE)]
"""One name or a list of names; a list means any of them."""
