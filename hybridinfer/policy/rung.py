"""One entry of a rule's `use`: a target, a target whose answer must pass a check, or several that must agree.

use:
  - {target: small, accept: {confidence: 0.7}}               # answer, then verify
  - {agree: [small, fast], judge: exact, else: strong}       # a second opinion
  - sorry
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, model_serializer, model_validator

from .block import Block
from .scalars import Name, Number, Whole, fault

if TYPE_CHECKING:
    from pydantic import GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import CoreSchema

Judge = Literal["exact", "model", "embedding"]
"""Who says whether two answers say the same: a comparison of their text, an embedding on this machine, or a target."""

MAX_SAMPLES = 9


class AcceptBlock(Block):
    """What a target's answer must pass before it counts. All that is named must hold; else its code is `unsure`."""

    confidence: Annotated[Number, Field(ge=0, le=1)] | None = None
    """At least this sure: by the target's own calibrated confidence, or with `samples` by the majority's share."""
    samples: Annotated[Whole, Field(ge=2, le=MAX_SAMPLES)] | None = None
    """So many answers of this target, the first included; the majority counts. Without `confidence`: over a half."""
    temperature: Annotated[Number, Field(gt=0, le=2)] = 0.7
    """Of the samples after the first, which is asked as the request says."""
    agree_with: Name | None = None
    """A second target, asked for its own answer, which must say the same."""
    judge: Judge = "exact"
    """Says whether the answers are the same: `exact` compares text, numbers or JSON; `embedding` meanings, too, on this
    machine; `model` asks the target `by`."""
    by: Name | None = None
    deliver: Literal["held", "at_once"] = "held"
    """held: nothing is shown before it is accepted. at_once: it streams, and a `Reset` takes it back."""

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.confidence is None and self.samples is None and self.agree_with is None:
            raise fault("'accept' names no check", "give it confidence, samples or agree_with")
        _check_judge(self.judge, self.by)
        return self

    def __str__(self) -> str:
        parts = [f"{self.samples} samples"] if self.samples else []
        parts += [f"confidence {self.confidence:g}"] if self.confidence is not None else []
        if self.agree_with:
            parts.append(f"agrees with {self.agree_with}{_judged(self.judge, self.by)}")
        return ", ".join(parts) + (", shown at once" if self.deliver == "at_once" else "")


class Agreement(Block):
    """Targets that are asked side by side; where all say the same, the first one's answer counts."""

    targets: tuple[Name, ...]
    judge: Judge = "exact"
    by: Name | None = None

    def __str__(self) -> str:
        return f"{' and '.join(self.targets)} agree{_judged(self.judge, self.by)}"


class Rung(Block):
    """An entry of `use`: `name`, `{target: name, accept: ...}`, or, first, `{agree: [a, b], judge: ..., else: c}`."""

    target: Name | None = None
    accept: AcceptBlock | None = None
    """What its answer must pass; None: every answer counts."""
    agree: Annotated[tuple[Name, ...], Field(min_length=2, max_length=4)] | None = None
    """Asked side by side, under the same boundaries and budgets."""
    judge: Judge = "exact"
    """As in `accept`."""
    by: Name | None = None
    """The target that judges, for `judge: model`."""
    otherwise: Name | None = Field(default=None, alias="else")
    """The next target where they do not agree: the same as a further entry."""

    @model_validator(mode="before")
    @classmethod
    def _plain(cls, value: object) -> object:
        if isinstance(value, str):
            return {"target": value}
        if not isinstance(value, (Mapping, Rung)):
            raise fault("not text", "put it into quotes")
        return value

    @model_validator(mode="after")
    def _either(self) -> Self:
        if (self.target is None) == (self.agree is None):
            raise fault("an entry has either 'target' or 'agree'", "write a name, or {target: ...}, or {agree: [...]}")
        if self.target is not None and self.model_fields_set & {"judge", "by", "otherwise"}:
            raise fault("'judge', 'by' and 'else' belong to 'agree'", "write them into 'accept', or leave them out")
        if self.agree is not None:
            if self.accept is not None:
                raise fault("'accept' belongs to 'target'", "leave it out: agreement is the check", at="accept")
            if len(set(self.agree)) < len(self.agree):
                raise fault("a target cannot agree with itself", "name others, or use 'samples'", at="agree")
            _check_judge(self.judge, self.by)
        return self

    @property
    def agreement(self) -> Agreement | None:
        """Who must agree, if this is about agreement."""
        return None if self.agree is None else Agreement(targets=self.agree, judge=self.judge, by=self.by)

    @property
    def places(self) -> tuple[tuple[str, tuple[str | int, ...]], ...]:
        """The targets in their order, each with the way to it inside this entry."""
        if self.target is not None:
            return ((self.target, ("target",) if self.accept is not None else ()),)
        agreeing = tuple((name, ("agree", at)) for at, name in enumerate(self.agree or ()))
        return agreeing if self.otherwise is None else (*agreeing, (self.otherwise, ("else",)))

    @property
    def helpers(self) -> tuple[tuple[str, tuple[str | int, ...]], ...]:
        """Targets that see the request only to check an answer, each with the way to it inside this entry."""
        if self.accept is None and self.by is None:
            return ()
        named: list[tuple[str | None, tuple[str | int, ...]]] = [(self.by, ("by",))]
        if self.accept is not None:
            named += [(self.accept.agree_with, ("accept", "agree_with")), (self.accept.by, ("accept", "by"))]
        return tuple((name, way) for name, way in named if name is not None)

    @model_serializer
    def _as_written(self) -> str | dict[str, Any]:
        if self.target is not None and self.accept is None:
            return self.target
        if self.accept is not None:
            return {"target": self.target, "accept": self.accept.model_dump(mode="json", exclude_none=True)}
        tree = {"agree": list(self.agree or ()), "judge": self.judge, "by": self.by, "else": self.otherwise}
        return {key: value for key, value in tree.items() if value is not None}


class _Rungs:
    """For the JSON Schema: a name may stand for an entry, and a single entry for the list."""

    def __get_pydantic_json_schema__(self, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        entry = handler(core_schema)["items"]
        name = {"type": "string", "minLength": 1}
        return {"anyOf": [name, {"type": "array", "minItems": 1, "items": {"anyOf": [name, entry]}}]}


RUNGS = _Rungs()


def _check_judge(judge: Judge, by: str | None) -> None:
    if judge == "model" and by is None:
        raise fault("judge 'model' needs the target that judges", "add 'by: ...'", at="judge")
    if judge != "model" and by is not None:
        raise fault("'by' names the target that judges", "add 'judge: model', or leave it out", at="by")


def _judged(judge: Judge, by: str | None) -> str:
    return {"exact": "", "embedding": ", judged by an embedding", "model": f", judged by {by}"}[judge]
