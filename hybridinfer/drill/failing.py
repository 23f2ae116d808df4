"""The words for ways to fail in a scenario, and where each can happen. `vocabulary` says what a word does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal, Self, get_args

from pydantic import BeforeValidator, Field, model_validator

from ..policy.block import Block
from ..policy.model import IN_PROCESS, REMOTE, zone_of
from ..policy.scalars import Duration, Whole, fault, one_or_more
from .scalars import Share

if TYPE_CHECKING:
    from pydantic import GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import CoreSchema

    from ..policy.model import TargetBlock

FaultName = Literal[
    "ok",
    "down",
    "hang",
    "slow",
    "slow_first_token",
    "slow_tokens",
    "stall",
    "cut",
    "missing_end",
    "empty",
    "not_json",
    "unsure",
    "context_too_long",
    "content_filter",
    "dns",
    "tls",
    "reset",
    "malformed",
    "stream_error",
    "wrong_usage",
    "wrong_content_type",
    "huge_body",
    "clock_skew",
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
    "model_missing",
    "checksum_wrong",
    "out_of_memory",
    "slow_load",
    "nan_logits",
    "locked",
    "disk_full",
    "redis_gone",
    "broken",
]
"""`ok` is none: it takes one target out of what hits its zone, and lets one call of a script pass."""
OF_A_CONNECTION = frozenset(
    {"dns", "tls", "reset", "malformed", "stream_error", "wrong_usage", "wrong_content_type", "huge_body", "clock_skew"}
) | {name for name in get_args(FaultName) if name.startswith("status_")}
"""What happens to nobody who answers inside this process."""
OF_A_MODEL = frozenset({"model_missing", "checksum_wrong", "out_of_memory", "slow_load", "nan_logits"})
"""What happens to nobody else."""
OF_THE_LEDGER = frozenset({"down", "locked", "disk_full", "redis_gone", "ok"})
OF_THE_POLICY = frozenset({"broken", "ok"})
OF_STATE = (OF_THE_LEDGER | OF_THE_POLICY) - {"down", "ok"}
"""What happens to no target."""
LEDGER, POLICY = "ledger", "policy"
"""Stand among the faulty targets for the book of budgets and for the policy's file."""
EVERYTHING = "*"


class FaultBlock(Block):
    """One way to fail. The name alone stands for a fault without details; a list is a script."""

    fault: FaultName = "ok"
    script: tuple[FaultName, ...] = ()
    """In the place of `fault`: one word for each call in turn, `ok` lets it pass. After the last one all is well."""
    share: Share = 1.0
    """Of the calls that it hits."""
    requests: Annotated[tuple[str, ...], BeforeValidator(one_or_more)] = ()
    """It hits these requests only, by their names in `load`; left out: all of them."""
    delay: Duration = 5.0
    """Of slow, slow_first_token, slow_tokens (there between two pieces), slow_load, and how wrong clock_skew is."""
    after: Annotated[Whole, Field(ge=0)] = 1
    """Pieces that arrive before stall, cut, malformed and stream_error."""
    retry_after: Duration | None = None
    """What a status, or clock_skew, asks callers to wait."""

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: object) -> object:
        if isinstance(value, list):
            return {"script": value}
        return {"fault": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if ("fault" in self.model_fields_set) == bool(self.script):
            raise fault("either a fault or a script", "such as 'fault: down', or 'script: [down, ok, status_503]'")
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The three forms that people write."""
        shape = handler.resolve_ref_schema(handler(core_schema))
        word = shape["properties"]["fault"]
        word = {key: word[key] for key in ("enum", "type") if key in word}
        shape["properties"]["fault"].pop("default", None)
        block = dict(shape)
        shape.clear()
        shape |= {"anyOf": [word, {"type": "array", "items": word, "minItems": 1}, block]}
        return shape

    @property
    def words(self) -> frozenset[str]:
        """All that it does."""
        return frozenset(self.script or (self.fault,))


def hit(faults: Mapping[str, FaultBlock], name: str, block: TargetBlock) -> FaultBlock | None:
    """The fault of one target: its own, else its zone's, else everybody's. A canned reply has none."""
    if block.kind == "canned":
        return None
    for key in (name, zone_of(block), EVERYTHING):
        if key in faults:
            return faults[key]
    return None


def impossible(word: str, kind: str) -> str | None:
    """Why a target of this kind cannot fail so; None: it can."""
    if word in OF_STATE:
        return f"{word} happens to no target"
    if word in OF_A_CONNECTION and kind in IN_PROCESS:
        return "it answers inside this process"
    if word in OF_A_MODEL and kind in REMOTE:
        return "it has no model on this machine"
    return None
