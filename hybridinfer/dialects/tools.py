"""Tools, tool choice and response format as callers write them, in either vendor's shape -> records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

from ..types import ResponseFormat, Tool, ToolChoice
from .base import a_list, a_mapping, a_name, a_text, optional_flag, optional_text, wrong

_NO_PARAMETERS: Mapping[str, Any] = {"type": "object", "properties": {}}


def parse_tools(tools: Sequence[Any] | None) -> tuple[Tool, ...]:
    """Read `{"type": "function", "function": {...}}` (OpenAI) or `{"name", "input_schema"}` (Anthropic).

    Raises:
        ValueError: names the tool and the field. Tools that a vendor runs itself (web search, computer use)
            are refused: no other target could stand in.
    """
    return tuple(
        _tool(a_mapping(raw, f"tools[{i}]"), f"tools[{i}]") for i, raw in enumerate(a_list(tools or [], "tools"))
    )


def _tool(raw: Mapping[str, Any], where: str) -> Tool:
    kind = raw.get("type")
    if kind == "function":
        body, where = a_mapping(raw.get("function"), f"{where}.function"), f"{where}.function"
        schema = body.get("parameters")
        field = "parameters"
    elif kind in (None, "custom") and "input_schema" in raw:
        body, schema, field = raw, raw["input_schema"], "input_schema"
    else:
        raise wrong(
            where, "is not a function tool; give {'type': 'function', 'function': {...}} or {'name', 'input_schema'}"
        )
    return Tool(
        name=a_name(body.get("name"), f"{where}.name"),
        description=optional_text(body.get("description"), f"{where}.description") or "",
        parameters=_NO_PARAMETERS if schema is None else dict(a_mapping(schema, f"{where}.{field}")),
        strict=optional_flag(body.get("strict"), f"{where}.strict"),
    )


def parse_tool_choice(choice: Any, *, parallel: bool | None = None) -> ToolChoice | None:
    """Read `"auto" | "none" | "required"`, a named function, or Anthropic's `{"type": ...}`.

    `parallel` is OpenAI's `parallel_tool_calls`; Anthropic writes it inside the choice.

    Raises:
        ValueError: the choice is none of these.
    """
    if choice is None:
        return None if parallel is None else ToolChoice(mode="auto", parallel=parallel)
    if choice in ("auto", "none", "required"):
        return ToolChoice(mode=cast("Literal['auto', 'none', 'required']", choice), parallel=parallel)
    raw = a_mapping(choice, "tool_choice")
    kind = raw.get("type")
    if kind == "function":
        function = a_mapping(raw.get("function"), "tool_choice.function")
        return ToolChoice(
            mode="tool", name=a_name(function.get("name"), "tool_choice.function.name"), parallel=parallel
        )
    disabled = optional_flag(raw.get("disable_parallel_tool_use"), "tool_choice.disable_parallel_tool_use")
    parallel = parallel if disabled is None else not disabled
    if kind == "tool":
        return ToolChoice(mode="tool", name=a_name(raw.get("name"), "tool_choice.name"), parallel=parallel)
    if kind in ("auto", "any", "none"):
        mode: Literal["auto", "none", "required"] = "required" if kind == "any" else kind
        return ToolChoice(mode=mode, parallel=parallel)
    raise wrong(
        "tool_choice",
        "is not understood; use 'auto', 'none', 'required' or {'type': 'function', 'function': {'name': ...}}",
    )


def parse_response_format(raw: Any) -> ResponseFormat | None:
    """Read OpenAI's `response_format` or Anthropic's `output_config.format`.

    Raises:
        ValueError: the type is unknown, or a JSON schema is missing.
    """
    if raw is None:
        return None
    where = "response_format"
    body = a_mapping(raw, where)
    kind = a_text(body.get("type"), f"{where}.type")
    if kind in ("text", "json_object"):
        return ResponseFormat(type=cast("Literal['text', 'json_object']", kind))
    if kind != "json_schema":
        raise wrong(f"{where}.type", "is not understood; use text, json_object or json_schema")
    if "json_schema" not in body:
        return ResponseFormat(type="json_schema", schema=dict(a_mapping(body.get("schema"), f"{where}.schema")))
    inner, where = a_mapping(body["json_schema"], f"{where}.json_schema"), f"{where}.json_schema"
    return ResponseFormat(
        type="json_schema",
        schema=dict(a_mapping(inner.get("schema"), f"{where}.schema")),
        name=optional_text(inner.get("name"), f"{where}.name") or "answer",
        strict=optional_flag(inner.get("strict"), f"{where}.strict"),
    )
