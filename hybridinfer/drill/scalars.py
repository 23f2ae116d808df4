"""The single values that only scenarios have: shares and moments."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer, ValidationInfo, WithJsonSchema

from ..policy.scalars import DURATION, duration_of, fault

_PERCENT = r"([0-9]+(?:\.[0-9]+)?)\s?%"


def _share(value: object) -> float:
    """`50%`, or a number from 0 to 1."""
    if isinstance(value, str) and (match := re.fullmatch(_PERCENT, value, re.ASCII)):
        value = float(match[1]) / 100
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 1:
        return float(value)
    raise fault("not a share", "write it as 50%, or as a number from 0 to 1")


def _moment(value: object, info: ValidationInfo) -> float:
    return 0.0 if value in ("0s", 0.0) and not isinstance(value, bool) else duration_of(value, info)


Share = Annotated[
    float,
    BeforeValidator(_share),
    PlainSerializer(lambda share: f"{share * 100:.10g}%"),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": f"^{_PERCENT}$"},
                {"type": "number", "minimum": 0, "maximum": 1},
            ],
            "examples": ["50%", "100%"],
        }
    ),
]
"""0..1; written `50%`."""

Moment = Annotated[
    float,
    BeforeValidator(_moment),
    WithJsonSchema({"type": "string", "pattern": f"^{DURATION}$", "examples": ["0s", "30s", "5m"]}),
]
"""Seconds since the drill began; written as a duration, `0s` included."""
