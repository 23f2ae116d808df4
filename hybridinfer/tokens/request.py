"""How many tokens a whole request has: messages, tools, schema, pictures and files, as the vendor bills them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, assert_never

from ..types import File, Image, Message, Opaque, Part, Request, Text, ToolCall, ToolResult
from .media import file_tokens, image_tokens
from .text import TokenCount, measure

Dialect = Literal["openai", "anthropic"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Overhead:
    """Tokens that a vendor adds around what the caller wrote. Upper bounds; the sources stand beside each."""

    request: int
    message: int
    name: int
    call: int
    tools: int
    tool: int
    schema: int


OVERHEAD: Mapping[Dialect, Overhead] = {
    # OpenAI cookbook, "How to count tokens with tiktoken": 3 per message and 1 for its role, 1 per name,
    # 3 to prime the reply. Functions become TypeScript, shorter than their JSON: counted as JSON.
    "openai": Overhead(request=3, message=4, name=1, call=8, tools=16, tool=8, schema=32),
    # Anthropic, "Pricing, tool use": the hidden system prompt is 264 to 804 tokens, by model. Structured
    # output adds a prompt of unpublished length. Messages were never seen to cost more than 8.
    "anthropic": Overhead(request=8, message=8, name=1, call=16, tools=804, tool=16, schema=400),
}


def count_request(request: Request, model: str = "", *, dialect: Dialect = "openai") -> int:
    """Prompt tokens of `request`; an upper bound that money can trust. `measure_request` also says how."""
    return measure_request(request, model, dialect=dialect).tokens


def measure_request(request: Request, model: str = "", *, dialect: Dialect = "openai") -> TokenCount:
    """Count everything of `request` that a vendor bills as input for `model`.

    The text is counted in one piece per message, tool and schema; `exact` is True when each of them is and
    nothing but text was there: the few tokens of the dialect's overhead are the documented ones.
    """
    if dialect == "anthropic" and "claude" not in model.lower():
        model = f"claude {model}"
    overhead = OVERHEAD[dialect]
    counts = [_message(message, model, overhead) for message in request.messages]
    fixed = overhead.request
    if request.tools:
        fixed += overhead.tools
    for tool in request.tools:
        declared = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
        counts.append(_json(declared, model, overhead.tool))
    if request.response_format is not None and request.response_format.type != "text":
        counts.append(_json(request.response_format.schema or {}, model, overhead.schema))
    return TokenCount(
        tokens=fixed + sum(each.tokens for each in counts),
        encoding=measure("", model).encoding,
        exact=all(each.exact for each in counts),
    )


def _message(message: Message, model: str, overhead: Overhead) -> TokenCount:
    counts = [_part(part, model, overhead) for part in message.parts]
    fixed = overhead.message
    if message.name is not None:
        counts.append(measure(message.name, model))
        fixed += overhead.name
    return _sum(counts, fixed)


def _part(part: Part, model: str, overhead: Overhead) -> TokenCount:
    match part:
        case Text(text=text):
            return measure(text, model)
        case Image():
            return TokenCount(tokens=image_tokens(part, model), encoding="", exact=False)
        case File():
            return TokenCount(tokens=file_tokens(part, model), encoding="", exact=False)
        case ToolCall(id=call_id, name=name, arguments=arguments):
            return _sum([measure(each, model) for each in (call_id, name, arguments)], overhead.call, exact=False)
        case ToolResult(call_id=call_id, content=content):
            inner = [_part(each, model, overhead) for each in content]
            return _sum([measure(call_id, model), *inner], overhead.call, exact=False)
        case Opaque(data=data):
            return _json(data, model, 0)
        case _ as never:  # pragma: no cover - mypy proves it
            assert_never(never)


def _json(value: Mapping[str, Any], model: str, fixed: int) -> TokenCount:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return _sum([measure(text, model)], fixed, exact=False)


def _sum(counts: list[TokenCount], fixed: int, *, exact: bool = True) -> TokenCount:
    tokens = fixed + sum(each.tokens for each in counts)
    return TokenCount(tokens=tokens, encoding="", exact=exact and all(each.exact for each in counts))
