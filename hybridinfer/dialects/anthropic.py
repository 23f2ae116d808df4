"""`Request` -> the body of Anthropic's `POST /v1/messages`.

Source: `message_create_params` and `content_block_param` of anthropic 2.12. Turns of the same side are joined,
as the API itself does; tool results travel in the user's turn. Kept in other words: `json_object`, for which
this dialect has no field, becomes an instruction. Hints without a field here (`seed`, an image's `detail`,
`metadata`) are left out; so are `temperature`, `top_p` and `top_k` unless `sampling` is set, as the API of
today's models refuses them.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from typing import Any

from ..types import File, Image, Message, Opaque, Part, Request, Text, Tool, ToolCall, ToolChoice, ToolResult
from .base import Untranslatable, with_instruction

_PICTURES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
_JSON_ONLY = "Answer with one JSON object and nothing else."

Schema = dict[str, Any]


def render_request(
    request: Request,
    *,
    model: str,
    max_tokens: int,
    stream: bool,
    adapt_schema: Callable[[Schema], Schema] = dict,
    sampling: bool = False,
) -> dict[str, Any]:
    """The JSON body.

    Args:
        request: What the caller asks.
        model: The vendor's model id.
        max_tokens: Limit of the answer.
        stream: Ask for server-sent events.
        adapt_schema: Fits a JSON schema to what the API's structured output takes (the SDK's `transform_schema`).
        sampling: Send `temperature`, `top_p`, `top_k`; for models that still take them.

    Raises:
        Untranslatable: The request holds what this dialect has no words for.
    """
    if request.logprobs:
        raise Untranslatable("anthropic", "log-probabilities")
    system, turns = _split(with_instruction(request, "anthropic"))
    wanted = request.response_format
    output_config: dict[str, Any] | None = None
    if wanted is not None and wanted.type == "json_object":
        system.append({"type": "text", "text": _JSON_ONLY})
    elif wanted is not None and wanted.type == "json_schema":
        schema = dict(wanted.schema or {})
        _refuse_free_keys(schema)
        output_config = {"format": {"type": "json_schema", "schema": adapt_schema(schema)}}
    body: dict[str, Any] = {
        "model": model,
        "max_tokens": max_tokens,
        "system": _content(system) or None,
        "messages": turns,
        "temperature": request.temperature if sampling else None,
        "top_p": request.top_p if sampling else None,
        "top_k": request.top_k if sampling else None,
        "stop_sequences": list(request.stop) or None,
        "tools": [_tool(tool) for tool in request.tools] or None,
        "tool_choice": _choice(request.tool_choice),
        "output_config": output_config,
        "metadata": {"user_id": request.user} if request.user else None,
        "stream": stream or None,
    }
    return {key: value for key, value in body.items() if value is not None}


def _split(messages: tuple[Message, ...]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The leading system messages, and the turns after them."""
    system: list[dict[str, Any]] = []
    turns: list[dict[str, Any]] = []
    for message in messages:
        if message.name is not None:
            raise Untranslatable("anthropic", "the name of a message's author")
        blocks = [block for part in message.parts if (block := _block(part, message.role)) is not None]
        role = "user" if message.role == "tool" else message.role
        if role == "system" and not turns:
            system.extend(blocks)
        elif turns and turns[-1]["role"] == role:
            turns[-1]["content"].extend(blocks)
        elif blocks:
            turns.append({"role": role, "content": blocks})
    if not turns:
        raise Untranslatable("anthropic", "a conversation without a user's message")
    for turn in turns:
        turn["content"] = _content(turn["content"])
    return system, turns


def _content(blocks: list[dict[str, Any]]) -> str | list[dict[str, Any]]:
    """A lone text as plain text."""
    if len(blocks) == 1 and blocks[0].keys() == {"type", "text"}:
        return str(blocks[0]["text"])
    return blocks


def _block(part: Part, role: str) -> dict[str, Any] | None:
    """One content block; None for an empty text, which the API refuses."""
    match part:
        case Text():
            return {"type": "text", "text": part.text} if part.text else None
        case Opaque(dialect="anthropic"):
            return dict(part.data)
        case Image() if role == "user":
            return {"type": "image", "source": _picture(part)}
        case File() if role == "user":
            title = {} if part.name is None else {"title": part.name}
            return {"type": "document", "source": _document(part), **title}
        case ToolCall() if role == "assistant":
            return {"type": "tool_use", "id": part.id, "name": part.name, "input": _arguments(part.arguments)}
        case ToolResult() if role == "tool":
            return _result(part)
        case Opaque():
            raise Untranslatable(
                "anthropic", f"a block of {part.dialect}'s own type {part.data.get('type', 'audio')!r}"
            )
        case _:
            raise Untranslatable(
                "anthropic", f"a part of the type {type(part).__name__} in a message of the role {role}"
            )


def _result(result: ToolResult) -> dict[str, Any]:
    blocks = [
        {"type": "text", "text": inner.text}
        if isinstance(inner, Text)
        else {"type": "image", "source": _picture(inner)}
        for inner in result.content
        if not (isinstance(inner, Text) and not inner.text)
    ]
    block: dict[str, Any] = {"type": "tool_result", "tool_use_id": result.call_id, "content": _content(blocks)}
    return block | {"is_error": True} if result.is_error else block


def _picture(image: Image) -> dict[str, str]:
    if image.url is not None:
        return {"type": "url", "url": image.url}
    if image.data is None or image.media_type not in _PICTURES:
        raise Untranslatable("anthropic", f"an image that is none of {', '.join(sorted(_PICTURES))}")
    return {"type": "base64", "media_type": image.media_type, "data": image.data}


def _document(file: File) -> dict[str, str]:
    if file.url is not None:
        return {"type": "url", "url": file.url}
    if file.data is None:
        raise Untranslatable("anthropic", "a file by the id that another vendor gave it")
    if file.media_type == "text/plain":
        try:
            text = base64.b64decode(file.data, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError) as error:
            raise Untranslatable("anthropic", "a text file that is not base64 of UTF-8") from error
        return {"type": "text", "media_type": "text/plain", "data": text}
    if file.media_type != "application/pdf":
        raise Untranslatable("anthropic", "a file that is neither application/pdf nor text/plain")
    return {"type": "base64", "media_type": "application/pdf", "data": file.data}


def _arguments(text: str) -> dict[str, Any]:
    try:
        arguments = json.loads(text or "{}")
    except ValueError as error:
        raise Untranslatable("anthropic", "a tool call whose arguments are not JSON") from error
    if not isinstance(arguments, dict):
        raise Untranslatable("anthropic", "a tool call whose arguments are not a JSON object")
    return arguments


def _tool(tool: Tool) -> dict[str, Any]:
    rendered: dict[str, Any] = {"name": tool.name, "input_schema": {"type": "object", **tool.parameters}}
    if tool.description:
        rendered["description"] = tool.description
    if tool.strict is not None:
        rendered["strict"] = tool.strict
    return rendered


def _choice(choice: ToolChoice | None) -> dict[str, Any] | None:
    if choice is None:
        return None
    rendered: dict[str, Any] = {"type": "any" if choice.mode == "required" else choice.mode}
    if choice.mode == "tool":
        rendered["name"] = choice.name
    if choice.parallel is not None and choice.mode != "none":
        rendered["disable_parallel_tool_use"] = not choice.parallel
    return rendered


def _refuse_free_keys(schema: Any) -> None:
    """Structured output closes every object, so a map with keys of the model's choice would come back empty."""
    if isinstance(schema, Mapping):
        if isinstance(schema.get("additionalProperties"), Mapping):
            raise Untranslatable("anthropic", "a JSON schema with objects of free keys (additionalProperties)")
        for inner in schema.values():
            _refuse_free_keys(inner)
    elif isinstance(schema, list):
        for inner in schema:
            _refuse_free_keys(inner)
