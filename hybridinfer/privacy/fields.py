"""Every string of a request that could reach a target, to read and to rewrite.

The two walks stand side by side because they must agree: what is scanned is what is masked.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..types import File, Image, Message, Opaque, Part, Request, ResponseFormat, Text, Tool, ToolCall, ToolResult

_LEGIBLE_BLOCKS = frozenset({"text", "thinking"})
"""Vendor blocks whose every content is text; any other may hold audio, pictures or ciphertext."""
_SEALED_KEYS = frozenset({"signature"})
"""A vendor's own seal over text that stands beside it: no data of the user's, and broken by any change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One string of a request. `where` names its place for people, without quoting it."""

    where: str
    text: str
    json: bool = False
    """The text is JSON and must stay so."""
    fixed: bool = False
    """Masking would break the protocol (names, ids, addresses): found here means refused."""


def fields(request: Request) -> Iterator[Field]:
    """All strings of `request`: messages, tool calls and results, tools, formats, metadata, user, headers, stops."""
    for number, message in enumerate(request.messages, 1):
        yield from _message_fields(message, f"message {number}")
    for tool in request.tools:
        yield Field(where="tool definition", text=tool.name, fixed=True)
        yield Field(where="tool definition", text=tool.description)
        yield Field(where="tool definition", text=_dump(tool.parameters), json=True)
    if request.tool_choice is not None and request.tool_choice.name:
        yield Field(where="tool choice", text=request.tool_choice.name, fixed=True)
    if request.response_format is not None:
        yield Field(where="response format", text=request.response_format.name, fixed=True)
        if request.response_format.schema is not None:
            yield Field(where="response format", text=_dump(request.response_format.schema), json=True)
        if request.response_format.pattern:
            yield Field(where="response format", text=request.response_format.pattern, fixed=True)
        for choice in request.response_format.choices:
            yield Field(where="response format", text=choice)
    if request.metadata:
        yield Field(where="metadata", text=_dump(request.metadata), json=True)
    if request.extra_headers:
        yield Field(where="headers", text=_dump(request.extra_headers), json=True)
    if request.user:
        yield Field(where="user", text=request.user)
    for stop in request.stop:
        yield Field(where="stop", text=stop)


def unscannable(request: Request) -> Iterator[str]:
    """The places of `request` that hold what no text detector can read: pictures, files, foreign blocks."""
    for number, message in enumerate(request.messages, 1):
        for part in message.parts:
            inner = part.content if isinstance(part, ToolResult) else (part,)
            for piece in inner:
                if isinstance(piece, Image):
                    yield f"image in message {number}"
                elif isinstance(piece, File):
                    yield f"file in message {number}"
                elif isinstance(piece, Opaque) and piece.data.get("type") not in _LEGIBLE_BLOCKS:
                    yield f"{piece.dialect} block in message {number}"


def rewrite(request: Request, change: Callable[[Field], str]) -> Request:
    """`request` with every string that is not fixed replaced by what `change` makes of it.

    A JSON field whose new text is no JSON keeps its old value: better found again than sent broken.
    """

    def text(where: str, old: str) -> str:
        return change(Field(where=where, text=old))

    def tree(where: str, old: Mapping[str, Any]) -> Mapping[str, Any]:
        new = _load(change(Field(where=where, text=_dump(old), json=True)))
        return new if isinstance(new, dict) else old

    def tool(old: Tool) -> Tool:
        where = "tool definition"
        return replace(old, description=text(where, old.description), parameters=tree(where, old.parameters))

    def response_format(old: ResponseFormat) -> ResponseFormat:
        choices = tuple(text("response format", choice) for choice in old.choices)
        schema = None if old.schema is None else tree("response format", old.schema)
        return replace(old, schema=schema, choices=choices)

    return replace(
        request,
        messages=tuple(
            _rewrite_message(message, f"message {number}", text, tree, change)
            for number, message in enumerate(request.messages, 1)
        ),
        tools=tuple(tool(old) for old in request.tools),
        response_format=request.response_format and response_format(request.response_format),
        metadata=tree("metadata", request.metadata) if request.metadata else request.metadata,
        extra_headers=tree("headers", request.extra_headers) if request.extra_headers else request.extra_headers,
        user=text("user", request.user) if request.user else request.user,
        stop=tuple(text("stop", stop) for stop in request.stop),
    )


def _message_fields(message: Message, where: str) -> Iterator[Field]:
    if message.name:
        yield Field(where=where, text=message.name)
    if sum(isinstance(part, Text) for part in message.parts) > 1:
        # A value cut in two by a part border is whole again for the model; it cannot be masked in place.
        yield Field(where=where, text=message.text, fixed=True)
    for part in message.parts:
        yield from _part_fields(part, where)


def _part_fields(part: Part, where: str) -> Iterator[Field]:
    match part:
        case Text():
            yield Field(where=where, text=part.text)
        case ToolCall():
            yield Field(where=where, text=part.name, fixed=True)
            yield Field(where=where, text=part.id, fixed=True)
            yield Field(where=f"tool arguments in {where}", text=part.arguments, json=_load(part.arguments) is not None)
        case ToolResult():
            yield Field(where=where, text=part.call_id, fixed=True)
            for inner in part.content:
                yield from _part_fields(inner, f"tool result in {where}")
        case Image():
            if part.url and not part.url.startswith("data:"):
                yield Field(where=f"image address in {where}", text=part.url, fixed=True)
        case File():
            if part.name:
                yield Field(where=f"file name in {where}", text=part.name)
            for fixed in (part.url, part.file_id):
                if fixed and not fixed.startswith("data:"):
                    yield Field(where=f"file address in {where}", text=fixed, fixed=True)
        case Opaque():
            yield Field(where=where, text=_dump(_unsealed(part.data)), json=True)


def _rewrite_message(
    message: Message,
    where: str,
    text: Callable[[str, str], str],
    tree: Callable[[str, Mapping[str, Any]], Mapping[str, Any]],
    change: Callable[[Field], str],
) -> Message:
    def part(old: Part) -> Part:
        match old:
            case Text():
                return replace(old, text=text(where, old.text))
            case ToolCall():
                as_json = _load(old.arguments) is not None
                field = Field(where=f"tool arguments in {where}", text=old.arguments, json=as_json)
                new = change(field)
                return replace(old, arguments=old.arguments if as_json and _load(new) is None else new)
            case ToolResult():
                content = tuple(
                    replace(inner, text=text(f"tool result in {where}", inner.text))
                    if isinstance(inner, Text)
                    else inner
                    for inner in old.content
                )
                return replace(old, content=content)
            case File():
                return replace(old, name=text(f"file name in {where}", old.name)) if old.name else old
            case Opaque():
                sealed = {key: value for key, value in old.data.items() if key in _SEALED_KEYS}
                return replace(old, data={**tree(where, _unsealed(old.data)), **sealed})
            case Image():
                return old

    name = text(where, message.name) if message.name else message.name
    return replace(message, name=name, parts=tuple(part(old) for old in message.parts))


def _unsealed(data: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in data.items() if key not in _SEALED_KEYS}


def _dump(tree: Mapping[str, Any]) -> str:
    return json.dumps(tree, ensure_ascii=False, default=str)


def _load(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
