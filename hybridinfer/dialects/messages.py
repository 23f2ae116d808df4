"""Messages as callers write them -> `Message` records.

Both vendors' shapes are read, even mixed in one list: their block types do not clash. Sources: the
parameter types of openai 3.54 (`chat.completion_create_params`) and anthropic 2.12 (`content_block_param`).
Hints that change cost but not meaning (`cache_control`, `prompt_cache_breakpoint`) are dropped.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, cast

from ..types import File, Image, Message, Opaque, Part, Role, Text, ToolCall, ToolResult
from .base import a_list, a_mapping, a_name, a_text, only, optional_flag, optional_text, wrong

_ROLES: Mapping[str, Role] = {
    "system": "system",
    "developer": "system",  # OpenAI's newer word for the same thing
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
}
_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+);base64,(.*)", re.DOTALL)
_HINTS = frozenset({"type", "cache_control", "prompt_cache_breakpoint"})
# What SDKs put into answers, and callers put back with them: it says nothing to a model.
_ANSWER_KEYS = frozenset({"annotations", "id", "type", "model", "stop_reason", "stop_sequence", "usage", "container"})
_MESSAGE_KEYS = _ANSWER_KEYS | {"role", "content", "name"}
_ASSISTANT_KEYS = _MESSAGE_KEYS | {"tool_calls", "refusal", "audio", "stop_details", "diagnostics"}
_TOOL_KEYS = _MESSAGE_KEYS | {"tool_call_id"}


def parse_messages(messages: Sequence[Any], *, system: Any = None) -> tuple[Message, ...]:
    """Read OpenAI-shaped or Anthropic-shaped messages; `system` is Anthropic's top-level field.

    Raises:
        ValueError: names the message and the field, and says what to do.
    """
    if not a_list(messages, "messages"):
        raise wrong("messages", "is empty; give at least one message")
    parsed: list[Message] = []
    if system is not None:
        parsed.append(Message(role="system", parts=_parts(system, "system")))
    for index, raw in enumerate(messages):
        where = f"messages[{index}]"
        parsed.extend(_message(a_mapping(raw, where), where))
    return tuple(parsed)


def _message(raw: Mapping[str, Any], where: str) -> Iterator[Message]:
    role = _ROLES.get(a_text(raw.get("role"), f"{where}.role"))
    if role is None:
        hint = (
            "'function' became 'tool'"
            if raw["role"] == "function"
            else "use system, developer, user, assistant or tool"
        )
        raise wrong(f"{where}.role", f"is not a known role; {hint}")
    name = optional_text(raw.get("name"), f"{where}.name") or None
    if role == "tool":
        only(raw, _TOOL_KEYS, where)
        call_id = a_name(raw.get("tool_call_id"), f"{where}.tool_call_id")
        content = _result_content(raw.get("content"), f"{where}.content")
        yield Message(role="tool", parts=(ToolResult(call_id=call_id, content=content),))
        return
    if role == "assistant":
        only(raw, _ASSISTANT_KEYS, where)
        yield Message(role=role, parts=_assistant_parts(raw, where), name=name)
        return
    only(raw, _MESSAGE_KEYS, where)
    parts = _parts(raw.get("content"), f"{where}.content")
    # Anthropic puts tool results into user messages; here they have messages of their own.
    for is_result, run in groupby(parts, key=_is_result):
        yield Message(role="tool" if is_result else role, parts=tuple(run), name=None if is_result else name)


def _is_result(part: Part) -> bool:
    return isinstance(part, ToolResult) or (isinstance(part, Opaque) and part.data.get("type") == "tool_result")


def _assistant_parts(raw: Mapping[str, Any], where: str) -> tuple[Part, ...]:
    parts: list[Part] = []
    content = raw.get("content")
    if content is not None and content != "":
        parts.extend(_parts(content, f"{where}.content"))
    if raw.get("refusal"):
        parts.append(Opaque(dialect="openai", data={"type": "refusal", "refusal": raw["refusal"]}))
    if raw.get("audio") is not None:
        parts.append(Opaque(dialect="openai", data={"audio": dict(a_mapping(raw["audio"], f"{where}.audio"))}))
    for index, call in enumerate(a_list(raw.get("tool_calls") or [], f"{where}.tool_calls")):
        parts.append(_openai_call(a_mapping(call, f"{where}.tool_calls[{index}]"), f"{where}.tool_calls[{index}]"))
    if not parts:
        if content == "":
            return (Text(text=""),)
        raise wrong(where, "has neither content nor tool_calls; give one of them")
    return tuple(parts)


def _openai_call(raw: Mapping[str, Any], where: str) -> Part:
    if raw.get("type", "function") != "function":
        return Opaque(dialect="openai", data=dict(raw))
    function = a_mapping(raw.get("function"), f"{where}.function")
    return ToolCall(
        id=a_name(raw.get("id"), f"{where}.id"),
        name=a_name(function.get("name"), f"{where}.function.name"),
        arguments=a_text(function.get("arguments"), f"{where}.function.arguments"),
    )


def _parts(content: Any, where: str) -> tuple[Part, ...]:
    if isinstance(content, str):
        return (Text(text=content),)
    blocks = a_list(content, where)
    if not blocks:
        raise wrong(where, "is empty; give text or at least one block")
    return tuple(_part(block, f"{where}[{index}]") for index, block in enumerate(blocks))


def _part(block: Any, where: str) -> Part:
    if isinstance(block, str):
        return Text(text=block)
    raw = a_mapping(block, where)
    kind = a_text(raw.get("type"), f"{where}.type")
    if reader := _READERS.get(kind):
        return reader(raw, where)
    if kind in _OPENAI_ONLY:
        return Opaque(dialect="openai", data=dict(raw))
    if kind in _ANTHROPIC_ONLY or kind.endswith("_tool_result"):
        return Opaque(dialect="anthropic", data=dict(raw))
    raise wrong(f"{where}.type", f"is not a known block type; use one of {', '.join(sorted(_READERS))}")


def _text(raw: Mapping[str, Any], where: str) -> Part:
    if raw.get("citations"):
        return Opaque(dialect="anthropic", data=dict(raw))
    only(raw, _HINTS | {"text", "citations", "annotations"}, where)
    return Text(text=a_text(raw.get("text"), f"{where}.text"))


def _openai_image(raw: Mapping[str, Any], where: str) -> Part:
    only(raw, _HINTS | {"image_url"}, where)
    image = raw.get("image_url")
    source = {"url": image} if isinstance(image, str) else a_mapping(image, f"{where}.image_url")
    only(source, frozenset({"url", "detail"}), f"{where}.image_url")
    url = a_name(source.get("url"), f"{where}.image_url.url")
    detail = optional_text(source.get("detail"), f"{where}.image_url.detail")
    if match := _DATA_URL.fullmatch(url):
        return Image(data=match[2], media_type=match[1], detail=detail)
    if url.startswith("data:"):
        raise wrong(f"{where}.image_url.url", "is not a base64 data URL; write data:image/png;base64,...")
    return Image(url=url, detail=detail)


def _anthropic_image(raw: Mapping[str, Any], where: str) -> Part:
    source = a_mapping(raw.get("source"), f"{where}.source")
    if raw.get("transformations") or source.get("type") == "file":
        return Opaque(dialect="anthropic", data=dict(raw))
    only(raw, _HINTS | {"source", "transformations"}, where)
    if source.get("type") == "url":
        return Image(url=a_name(source.get("url"), f"{where}.source.url"))
    if source.get("type") == "base64":
        return Image(
            data=a_name(source.get("data"), f"{where}.source.data"),
            media_type=a_name(source.get("media_type"), f"{where}.source.media_type"),
        )
    raise wrong(f"{where}.source.type", "is not a known source; use base64, url or file")


def _openai_file(raw: Mapping[str, Any], where: str) -> Part:
    only(raw, _HINTS | {"file"}, where)
    file = a_mapping(raw.get("file"), f"{where}.file")
    only(file, frozenset({"file_data", "file_id", "filename"}), f"{where}.file")
    name = optional_text(file.get("filename"), f"{where}.file.filename")
    if file.get("file_id") is not None:
        return File(file_id=a_name(file["file_id"], f"{where}.file.file_id"), name=name)
    data = a_name(file.get("file_data"), f"{where}.file.file_data")
    if match := _DATA_URL.fullmatch(data):
        return File(data=match[2], media_type=match[1], name=name)
    if data.startswith("data:"):
        raise wrong(f"{where}.file.file_data", "is not a base64 data URL; write data:application/pdf;base64,...")
    return File(data=data, name=name)


def _anthropic_document(raw: Mapping[str, Any], where: str) -> Part:
    source = a_mapping(raw.get("source"), f"{where}.source")
    kind = source.get("type")
    if raw.get("context") or raw.get("citations") or kind in ("file", "content"):
        return Opaque(dialect="anthropic", data=dict(raw))
    only(raw, _HINTS | {"source", "title", "context", "citations"}, where)
    name = optional_text(raw.get("title"), f"{where}.title")
    if kind == "url":
        return File(url=a_name(source.get("url"), f"{where}.source.url"), name=name)
    if kind not in ("base64", "text"):
        raise wrong(f"{where}.source.type", "is not a known source; use base64, text, url, content or file")
    data = a_name(source.get("data"), f"{where}.source.data")
    if kind == "text":
        return File(data=base64.b64encode(data.encode()).decode(), media_type="text/plain", name=name)
    return File(data=data, media_type=a_name(source.get("media_type"), f"{where}.source.media_type"), name=name)


def _tool_use(raw: Mapping[str, Any], where: str) -> Part:
    if raw.get("toolset_name") or (raw.get("caller") or {}).get("type", "direct") != "direct":
        return Opaque(dialect="anthropic", data=dict(raw))
    return ToolCall(
        id=a_name(raw.get("id"), f"{where}.id"),
        name=a_name(raw.get("name"), f"{where}.name"),
        arguments=json.dumps(a_mapping(raw.get("input"), f"{where}.input"), ensure_ascii=False),
    )


def _tool_result(raw: Mapping[str, Any], where: str) -> Part:
    content = raw.get("content", "")
    kinds = (
        {block.get("type") for block in content if isinstance(block, Mapping)} if isinstance(content, list) else set()
    )
    if raw.get("toolset_name") or not kinds <= {"text", "image"}:
        return Opaque(dialect="anthropic", data=dict(raw))
    return ToolResult(
        call_id=a_name(raw.get("tool_use_id"), f"{where}.tool_use_id"),
        content=_result_content(content, f"{where}.content"),
        is_error=bool(optional_flag(raw.get("is_error"), f"{where}.is_error")),
    )


def _result_content(content: Any, where: str) -> tuple[Text | Image, ...]:
    if content == []:
        return ()
    parts = _parts(content, where)
    for index, part in enumerate(parts):
        if not isinstance(part, (Text, Image)):
            raise wrong(f"{where}[{index}].type", "is neither text nor an image; a tool's result holds only those")
    return cast("tuple[Text | Image, ...]", parts)


_READERS: Mapping[str, Callable[[Mapping[str, Any], str], Part]] = {
    "text": _text,
    "image_url": _openai_image,
    "file": _openai_file,
    "image": _anthropic_image,
    "document": _anthropic_document,
    "tool_use": _tool_use,
    "tool_result": _tool_result,
}
_OPENAI_ONLY = frozenset({"input_audio", "refusal"})
_ANTHROPIC_ONLY = frozenset(
    {
        "thinking",
        "redacted_thinking",
        "search_result",
        "server_tool_use",
        "container_upload",
        "mcp_tool_use",
        "fallback",
    }
)
