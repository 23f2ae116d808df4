"""`Request` -> the body of OpenAI's `POST /chat/completions`.

Source: `chat.completion_create_params` of openai 3.54. Kept in other words: a tool's `is_error` becomes a
leading mark in its text, as this dialect has no field for it. Hints without a field here (`top_k` at
OpenAI itself) are left out: they change the odds, not the meaning.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from ..types import (
    File,
    Image,
    Message,
    Opaque,
    Part,
    Request,
    ResponseFormat,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from .base import Untranslatable, with_instruction

TokensField = Literal["max_completion_tokens", "max_tokens"]
ERROR_MARK = "[tool error] "
"""Stands before a tool's result that is an error."""
_MOST_STOPS = 4


def render_request(
    request: Request,
    *,
    model: str,
    max_tokens: int,
    stream: bool,
    tokens_field: TokensField = "max_completion_tokens",
    top_k: bool = False,
) -> dict[str, Any]:
    """The JSON body.

    Args:
        request: What the caller asks.
        model: The vendor's model id.
        max_tokens: Limit of the answer.
        stream: Ask for server-sent events, with usage in the last one.
        tokens_field: `max_tokens` is what most compatible servers know.
        top_k: Send `top_k`, which compatible servers know and OpenAI refuses.

    Raises:
        Untranslatable: The request holds what this dialect has no words for.
    """
    if len(request.stop) > _MOST_STOPS:
        raise Untranslatable("openai", f"more than {_MOST_STOPS} stop sequences")
    body: dict[str, Any] = {
        "model": model,
        "messages": [entry for message in with_instruction(request, "openai") for entry in _message(message)],
        tokens_field: max_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "top_k": request.top_k if top_k else None,
        "seed": request.seed,
        "stop": list(request.stop) or None,
        "tools": [_tool(tool) for tool in request.tools] or None,
        "response_format": _format(request.response_format),
        "logprobs": request.logprobs or None,
        "metadata": dict(request.metadata) or None,
        "user": request.user,
        **_choice(request.tool_choice),
    }
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return {key: value for key, value in body.items() if value is not None}


def _message(message: Message) -> Iterator[dict[str, Any]]:
    if message.role == "tool":
        for part in message.parts:
            yield _result(part)
        return
    name = {} if message.name is None else {"name": message.name}
    if message.role == "assistant":
        yield {"role": "assistant", **name, **_assistant(message.parts)}
        return
    blocks = [
        _user_block(part) if message.role == "user" else _text_block(part, "a system message") for part in message.parts
    ]
    yield {"role": message.role, **name, "content": _content(blocks)}


def _content(blocks: list[dict[str, Any]]) -> str | list[dict[str, Any]]:
    """A lone text as plain text: the form that every compatible server takes."""
    if len(blocks) == 1 and blocks[0].keys() == {"type", "text"}:
        return str(blocks[0]["text"])
    return blocks


def _assistant(parts: tuple[Part, ...]) -> dict[str, Any]:
    blocks: list[dict[str, Any]] = []
    calls: list[Mapping[str, Any]] = []
    fields: dict[str, Any] = {}
    for part in parts:
        match part:
            case ToolCall():
                function = {"name": part.name, "arguments": part.arguments}
                calls.append({"id": part.id, "type": "function", "function": function})
            case Opaque(dialect="openai", data={"type": "custom"}):
                calls.append(part.data)
            case Opaque(dialect="openai", data={"audio": audio}):
                fields["audio"] = audio
            case _ if calls:
                raise Untranslatable("openai", "text after a tool call within one message")
            case Opaque(dialect="openai"):
                blocks.append(dict(part.data))
            case _:
                blocks.append(_text_block(part, "an assistant message"))
    if calls:
        fields["tool_calls"] = calls
    return {"content": _content(blocks) if blocks else None, **fields}


def _result(part: Part) -> dict[str, Any]:
    if not isinstance(part, ToolResult):
        raise Untranslatable("openai", f"{_kind(part)} as a tool's result")
    blocks = [_text_block(inner, "a tool's result") for inner in part.content] or [{"type": "text", "text": ""}]
    if part.is_error:
        blocks[0]["text"] = ERROR_MARK + blocks[0]["text"]
    return {"role": "tool", "tool_call_id": part.call_id, "content": _content(blocks)}


def _text_block(part: Part, place: str) -> dict[str, Any]:
    if not isinstance(part, Text):
        raise Untranslatable("openai", f"{_kind(part)} in {place}")
    return {"type": "text", "text": part.text}


def _user_block(part: Part) -> dict[str, Any]:
    match part:
        case Text():
            return {"type": "text", "text": part.text}
        case Image():
            return {"type": "image_url", "image_url": _image(part)}
        case File():
            return {"type": "file", "file": _file(part)}
        case Opaque(dialect="openai"):
            return dict(part.data)
        case _:
            raise Untranslatable("openai", f"{_kind(part)} in a user message")


def _image(image: Image) -> dict[str, str]:
    url = image.url
    if image.data is not None:
        if image.media_type is None:
            raise Untranslatable("openai", "an image whose media_type is not given")
        url = f"data:{image.media_type};base64,{image.data}"
    if url is None:
        raise Untranslatable("openai", "an image with neither url nor data")
    return {"url": url} if image.detail is None else {"url": url, "detail": image.detail}


def _file(file: File) -> dict[str, str]:
    name = {} if file.name is None else {"filename": file.name}
    if file.file_id is not None:
        return {"file_id": file.file_id, **name}
    if file.data is None:
        raise Untranslatable("openai", "a file given by its URL")
    data = file.data if file.media_type is None else f"data:{file.media_type};base64,{file.data}"
    return {"file_data": data, **name}


def _kind(part: Part) -> str:
    if isinstance(part, Opaque):
        return f"a block of {part.dialect}'s own type {part.data.get('type', '')!r}"
    return {Text: "text", Image: "an image", File: "a file", ToolCall: "a tool call", ToolResult: "a tool's result"}[
        type(part)
    ]


def _tool(tool: Tool) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name, "parameters": dict(tool.parameters)}
    if tool.description:
        function["description"] = tool.description
    if tool.strict is not None:
        function["strict"] = tool.strict
    return {"type": "function", "function": function}


def _choice(choice: ToolChoice | None) -> dict[str, Any]:
    if choice is None:
        return {}
    mode: Any = choice.mode if choice.mode != "tool" else {"type": "function", "function": {"name": choice.name}}
    return {"tool_choice": mode, "parallel_tool_calls": choice.parallel}


def _format(wanted: ResponseFormat | None) -> dict[str, Any] | None:
    if wanted is None or not wanted.is_json:
        return None
    if wanted.type == "json_object":
        return {"type": "json_object"}
    schema: dict[str, Any] = {"name": wanted.name, "schema": dict(wanted.schema or {})}
    if wanted.strict is not None:
        schema["strict"] = wanted.strict
    return {"type": "json_schema", "json_schema": schema}
