"""Pieces of an answer, put together and judged."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .commands import Answer
from .receipt import Code
from .targets.base import Finish, Progress, TargetEvent
from .types import TextDelta, TokenLogprob, ToolCall

if TYPE_CHECKING:
    from .types import Request, ResponseFormat


class Assembly:
    """Collects the events of one answer."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._logprobs: list[TokenLogprob] = []
        self._calls: dict[int, tuple[str, str, list[str]]] = {}
        self.finish: Finish | None = None

    def add(self, event: TargetEvent) -> bool:
        """Take one event; True when it carries something that the caller should see."""
        if isinstance(event, Finish):
            self.finish = event
            return False
        if isinstance(event, Progress):
            return False
        if isinstance(event, TextDelta):
            self._texts.append(event.text)
            self._logprobs.extend(event.logprobs)
            return bool(event.text)
        call_id, name, arguments = self._calls.get(event.index, ("", "", []))
        arguments.append(event.arguments)
        self._calls[event.index] = (call_id or event.id or "", name or event.name or "", arguments)
        return True

    def answer(self) -> Answer:
        """All that came until now."""
        calls = tuple(
            ToolCall(id=call_id, name=name, arguments="".join(arguments))
            for _index, (call_id, name, arguments) in sorted(self._calls.items())
        )
        finish = self.finish
        return Answer(
            text="".join(self._texts),
            tool_calls=calls,
            finish_reason=finish.finish_reason if finish else "stop",
            usage=finish.usage if finish else None,
            model=finish.model if finish else "",
            logprobs=tuple(self._logprobs) or None,
            confidence=finish.confidence if finish else None,
        )


def code_of(assembly: Assembly, request: Request, *, begun: bool = False) -> tuple[Code, str]:
    """How an answer that ended without an error counts, and why. `begun`: it may have had nothing to add."""
    if assembly.finish is None:
        return Code.INTERRUPTED, "ended without its terminal event"
    answer = assembly.answer()
    if answer.finish_reason == "content_filter":
        return Code.REFUSED, "stopped by a content filter"
    if not answer.text and not answer.tool_calls and not (begun and answer.finish_reason == "stop"):
        return Code.EMPTY, "nothing in the answer"
    if answer.finish_reason == "length":
        return Code.TRUNCATED, "max_tokens reached"
    for call in answer.tool_calls:
        if not _is_json(call.arguments or "{}"):
            return Code.INVALID_OUTPUT, "a tool call's arguments are not JSON"
    wanted = request.response_format
    if wanted is not None and wanted.type != "text" and not answer.tool_calls:
        fault = _fault(answer.text, wanted)
        if fault:
            return Code.INVALID_OUTPUT, fault
    return Code.OK, ""


def _fault(text: str, wanted: ResponseFormat) -> str:
    """Why `text` has not the form that was demanded, without quoting it; empty when it has."""
    if wanted.type == "choice":
        return "" if text.strip() in wanted.choices else "none of the choices"
    if wanted.type == "regex":
        return "" if re.fullmatch(wanted.pattern, text) else "does not match the pattern"
    return _json_fault(text, wanted.schema)


def _json_fault(text: str, schema: Mapping[str, Any] | None) -> str:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return "not JSON"
    if schema is None:
        return "" if isinstance(value, dict) else "JSON, but not an object"
    return _breach(value, schema)


def _breach(value: Any, schema: Mapping[str, Any]) -> str:
    """Which part of the schema `value` breaks; named by its place in the schema, since keys of answers are content."""
    from jsonschema import Draft202012Validator
    from jsonschema.validators import validator_for
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    # An empty registry: a remote $ref is never fetched.
    validator = validator_for(schema, default=Draft202012Validator)(schema, registry=Registry())
    try:
        broken = next(validator.iter_errors(value), None)
    except Unresolvable:
        return "the schema refers to something outside itself"
    return "" if broken is None else f"breaks the schema at {'/'.join(map(str, broken.absolute_schema_path))}"


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
