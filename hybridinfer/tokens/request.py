"""How many tokens a whole request has: messages, tools, schema, pictures and files, as the vendor bills them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, assert_never

from ..types import File, Image, Message, Opaque, Part, Request, Text, Tool, ToolCall, ToolResult
from .encodings import encoding_name
from .media import file_tokens, image_tokens, unseen_tokens
from .text import SAMPLED_ABOVE, TokenCount, measure

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

    `exact` is True where nothing but text was there and every token of it was counted; the few tokens of the
    dialect's overhead are the documented ones. Time is bounded: above 200,000 characters in all, the texts
    are estimated together.
    """
    if dialect == "anthropic" and "claude" not in model.lower():
        model = f"claude {model}"
    bill = _Bill(model, OVERHEAD[dialect])
    for message in request.messages:
        bill.message(message)
    bill.tools(request.tools)
    if request.response_format is not None and request.response_format.type != "text":
        form = {"schema": request.response_format.schema, "choices": request.response_format.choices}
        bill.json(form, bill.overhead.schema)
    return bill.total()


class _Bill:
    """Collects what is billed: texts to count, and tokens that are known or bounded."""

    def __init__(self, model: str, overhead: Overhead) -> None:
        self.model = model
        self.overhead = overhead
        self.texts: list[str] = []
        self.tokens = overhead.request
        self.exact = True

    def message(self, message: Message) -> None:
        self.tokens += self.overhead.message
        if message.name is not None:
            self.texts.append(message.name)
            self.tokens += self.overhead.name
        for part in message.parts:
            self.part(part)

    def part(self, part: Part) -> None:
        match part:
            case Text(text=text):
                self.texts.append(text)
            case Image():
                self.bound(image_tokens(part, self.model))
            case File():
                self.bound(file_tokens(part, self.model))
            case ToolCall(id=call_id, name=name, arguments=arguments):
                self.texts += (call_id, name, arguments)
                self.bound(self.overhead.call)
            case ToolResult(call_id=call_id, content=content):
                self.texts.append(call_id)
                self.bound(self.overhead.call)
                for inner in content:
                    self.part(inner)
            case Opaque(data=data):
                self.json(data, unseen_tokens(data, self.model))
            case _ as never:  # pragma: no cover - mypy proves it
                assert_never(never)

    def tools(self, tools: Iterable[Tool]) -> None:
        for number, tool in enumerate(tools):
            declared = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
            self.json(declared, self.overhead.tool + (0 if number else self.overhead.tools))

    def json(self, value: Mapping[str, Any], overhead: int) -> None:
        self.texts.append(json.dumps(value, ensure_ascii=False, default=str))
        self.bound(overhead)

    def bound(self, tokens: int) -> None:
        self.tokens += tokens
        self.exact = False

    def total(self) -> TokenCount:
        if sum(map(len, self.texts)) > SAMPLED_ABOVE:
            self.bound(len(self.texts))  # each joint may cost a token
            self.texts = ["\n".join(self.texts)]
        counts = [measure(text, self.model) for text in self.texts]
        return TokenCount(
            tokens=self.tokens + sum(each.tokens for each in counts),
            encoding=encoding_name(self.model)[0],
            exact=self.exact and all(each.exact for each in counts),
        )
