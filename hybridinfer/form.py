"""Does an answer have the form that was demanded? In bounded time, whatever the schema, the pattern and the answer.

Schemas and patterns are the caller's, the answer is a model's, and the check runs on the event loop: a pattern that
backtracks for ever would hold up every other request. What cannot be checked in time has not the form.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING, Any

from .types import ResponseFormat

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

PATIENCE = 0.5
"""Seconds for the whole check."""
PATTERN = 0.1
"""Seconds for one pattern on one text; ordinary ones take microseconds."""
_SLOW = "cannot be checked in time"
_NAME = 64
"""Characters of a property's name that any pattern without repeats in repeats reads at once."""

_until: ContextVar[float] = ContextVar("_until")


class _TooSlow(Exception):
    """The check takes too long."""


def fault(text: str, wanted: ResponseFormat) -> str:
    """Why `text` has not the form that was demanded, without quoting it; empty when it has."""
    _until.set(time.perf_counter() + PATIENCE)
    if wanted.type == "choice":
        return "" if text.strip() in wanted.choices else "none of the choices"
    if wanted.type == "json_object":
        return _object_fault(text)
    if wanted.type == "text":
        return ""
    try:
        if wanted.type == "regex":
            return "" if _matches(wanted.pattern, text, whole=True) else "does not match the pattern"
        return _breach(json.loads(text), wanted.schema) if wanted.schema is not None else _object_fault(text)
    except _TooSlow:
        return _SLOW
    except (ValueError, RecursionError):
        return "not JSON"


def call_fault(arguments: str, parameters: Mapping[str, Any]) -> str:
    """Why `arguments` of a tool call break the tool's `parameters`; empty where they keep them, or those are no schema."""
    from jsonschema import Draft202012Validator, SchemaError
    from jsonschema.validators import validator_for

    try:
        validator_for(parameters, default=Draft202012Validator).check_schema(dict(parameters))
    except (SchemaError, RecursionError):
        return ""
    return fault(arguments, ResponseFormat(type="json_schema", schema=parameters))


def is_json(text: str) -> bool:
    """Whether it can be read."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _object_fault(text: str) -> str:
    try:
        return "" if isinstance(json.loads(text), dict) else "JSON, but not an object"
    except (ValueError, RecursionError):
        return "not JSON"


def _breach(value: Any, schema: Mapping[str, Any]) -> str:
    """Which part of the schema `value` breaks; named by its place in the schema, since keys of answers are content."""
    from jsonschema import Draft202012Validator
    from jsonschema.validators import validator_for
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    # An empty registry: a remote $ref is never fetched.
    kind = _bounded(validator_for(schema, default=Draft202012Validator))
    try:
        broken = next(kind(schema, registry=Registry()).iter_errors(value), None)
    except Unresolvable:
        return "the schema refers to something outside itself"
    except (RecursionError, ArithmeticError):  # a schema without an end; a number beyond all numbers
        return "cannot be checked against the schema"
    return "" if broken is None else f"breaks the schema at {_place(broken.absolute_schema_path)}"


def _place(path: Any) -> str:
    """The way through the schema. Names of properties are the caller's own words, so they are left out."""
    from jsonschema import Draft202012Validator

    known = frozenset(Draft202012Validator.VALIDATORS) | {"$defs", "definitions", "then", "else"}
    return "/".join(str(step) if isinstance(step, int) or step in known else "*" for step in path)


@cache
def _bounded(kind: Any) -> Callable[..., Validator]:
    """This kind of validator, with an end: every keyword looks at the clock, and patterns are matched within limits."""
    from jsonschema.validators import extend

    own: dict[str, Any] = {
        "pattern": _pattern,
        "uniqueItems": _unique,
        "patternProperties": _by_pattern,
        "additionalProperties": _additional,
    }
    if "unevaluatedProperties" in kind.VALIDATORS:
        own["unevaluatedProperties"] = _unevaluated(kind.VALIDATORS["unevaluatedProperties"])
    words = {word: _timed(own.get(word, does)) for word, does in kind.VALIDATORS.items()}
    bounded: Callable[..., Validator] = extend(kind, words)  # type: ignore[no-untyped-call]
    return bounded


def _timed(does: Any) -> Any:
    def check(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any]:
        if time.perf_counter() > _until.get():
            raise _TooSlow
        yield from does(validator, value, instance, schema) or ()

    return check


def _by_pattern(validator: Any, patterns: Mapping[str, Any], instance: Any, _schema: Any) -> Iterator[Any]:
    if not isinstance(instance, dict):
        return
    for pattern, schema in patterns.items():
        for name, value in instance.items():
            if _matches(pattern, name, whole=False):
                yield from validator.descend(value, schema, path=name, schema_path=pattern)


def _additional(validator: Any, wanted: Any, instance: Any, schema: Any) -> Iterator[Any]:
    from jsonschema import ValidationError

    if not isinstance(instance, dict):
        return
    patterns = schema.get("patternProperties", {})
    for name, value in instance.items():
        if name in schema.get("properties", {}) or any(_matches(each, name, whole=False) for each in patterns):
            continue
        if wanted is False:
            yield ValidationError("has more properties")
        elif isinstance(wanted, dict):
            yield from validator.descend(value, wanted, path=name)


def _unevaluated(does: Any) -> Any:
    """The walk of jsonschema matches names against patterns by itself: only where that ends soon for sure."""
    from .privacy.detectors.linear import check_linear

    def check(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any]:
        for pattern in _patterns(schema):
            try:
                check_linear(pattern)
            except ValueError:
                raise _TooSlow from None
            if isinstance(instance, dict) and any(len(name) > _NAME for name in instance):
                raise _TooSlow
        yield from does(validator, value, instance, schema) or ()

    return check


def _patterns(schema: Any) -> Iterator[str]:
    """Of names of properties, anywhere in it."""
    if isinstance(schema, dict):
        yield from schema.get("patternProperties", {})
    if isinstance(schema, (dict, list)):
        for inner in schema.values() if isinstance(schema, dict) else schema:
            yield from _patterns(inner)


def _pattern(_validator: Any, pattern: str, instance: Any, _schema: Any) -> Iterator[Any]:
    from jsonschema import ValidationError

    if isinstance(instance, str) and not _matches(pattern, instance, whole=False):
        yield ValidationError("does not match")


def _unique(_validator: Any, wanted: bool, instance: Any, _schema: Any) -> Iterator[Any]:  # noqa: FBT001 - jsonschema's order
    from jsonschema import ValidationError

    if wanted and isinstance(instance, list) and len({_canonical(item) for item in instance}) < len(instance):
        yield ValidationError("has equal items")


def _canonical(value: Any) -> str:
    """The same for values that JSON Schema calls equal: 1 and 1.0 are, 1 and true are not."""

    def plain(item: Any) -> Any:
        if isinstance(item, float) and item.is_integer():
            return int(item)
        if isinstance(item, list):
            return [plain(one) for one in item]
        return {name: plain(one) for name, one in item.items()} if isinstance(item, dict) else item

    return json.dumps(plain(value), sort_keys=True)


def _matches(pattern: str, text: str, *, whole: bool) -> bool:
    """As `re` does, but with a limit of time."""
    import regex

    left = min(PATTERN, _until.get() - time.perf_counter())
    if left <= 0:
        raise _TooSlow
    try:
        found = (regex.fullmatch if whole else regex.search)(pattern, text, timeout=left)
    except TimeoutError:
        raise _TooSlow from None
    except regex.error:  # `re` reads it, this does not
        raise _TooSlow from None
    return found is not None
