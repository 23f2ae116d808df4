"""What the emulator says: the same reply for the same request, useful enough to look at, and honest about itself."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..dialects.base import CHOOSE
from ..types import Request, Text, Tool, ToolResult

DISCLAIMER = "This is the loopback emulator, not a real model."
NO_JSON = "Certainly! Here is what you asked for, in plain words."
"""What a model says that was told to answer in JSON, and does not."""
_SUM = re.compile(r"(-?\d{1,9})\s*([+*x×-])\s*(-?\d{1,9})")  # noqa: RUF001 -- people type the multiplication sign
_GREETING = re.compile(r"\s*(hi|hello|hey|good (morning|evening|day)|hallo|bonjour|hola)\b", re.IGNORECASE)
_PIECE = re.compile(r"\s*\S{1,12}")
_TOKEN = re.compile(r"[A-Za-z]{1,7}|\d{1,3}|[^\sA-Za-z\d]")
_DEEPEST = 8
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a model would have said."""

    text: str = ""
    calls: tuple[tuple[str, str, str], ...] = ()
    """(id, name, arguments as JSON text)."""
    finish: str = "stop"
    """stop, length, tool_calls or content_filter."""
    input_tokens: int = 0
    output_tokens: int = 0

    @property
    def pieces(self) -> list[str]:
        """The text as a stream delivers it."""
        return _PIECE.findall(self.text)


def reply(request: Request) -> Reply:
    """The reply to `request`, cut at its stop strings and `max_tokens`."""
    heard = count("".join(_texts(request))) + 4 * len(request.messages) + 30 * len(request.tools)
    if tool := _called(request):
        arguments = json.dumps(example(tool.parameters))
        call = (f"call_{tool.name}_{len(request.messages)}", tool.name, arguments)
        return Reply(calls=(call,), finish="tool_calls", input_tokens=heard, output_tokens=count(arguments) + 10)
    text = _text(request)
    for stop in request.stop:
        text = text.split(stop, 1)[0]
    full = Reply(text=text).pieces
    kept = full[: request.max_tokens]
    finish = "length" if len(kept) < len(full) else "stop"
    said = "".join(kept) if finish == "length" else text
    return Reply(
        text=said, finish=finish, input_tokens=heard, output_tokens=min(count(said), request.max_tokens or count(said))
    )


def unlike(text: str) -> str:
    """An answer in the form of `text`, words or a JSON object, that agrees with no other, also none of its own kind."""
    number = next(_numbers)
    return json.dumps({"guess": number}) if text.startswith("{") else f"My guess is number {number}, or another one."


def count(text: str) -> int:
    """About as many tokens as a vendor's tokenizer would count; needs no ranks."""
    return len(_TOKEN.findall(text))


def _texts(request: Request) -> list[str]:
    parts = [part for message in request.messages for part in message.parts]
    inner = [part for result in parts if isinstance(result, ToolResult) for part in result.content]
    return [part.text for part in (*parts, *inner) if isinstance(part, Text)]


def _asked(request: Request) -> str:
    return next((message.text for message in reversed(request.messages) if message.role == "user"), "")


def _called(request: Request) -> Tool | None:
    """The tool that is demanded, or whose name the question mentions; none when its result is already there."""
    choice = request.tool_choice
    if not request.tools or (choice is not None and choice.mode == "none") or request.messages[-1].role == "tool":
        return None
    if choice is not None and choice.mode == "tool":
        return next((tool for tool in request.tools if tool.name == choice.name), None)
    asked = set(re.findall(r"[a-z]{3,}", _asked(request).lower()))
    mentioned = [tool for tool in request.tools if asked & set(re.findall(r"[a-z]{3,}", tool.name.lower()))]
    if mentioned:
        return mentioned[0]
    return request.tools[0] if choice is not None and choice.mode == "required" else None


def _text(request: Request) -> str:
    wanted = request.response_format
    if wanted is not None and wanted.type == "json_schema":
        return json.dumps(example(wanted.schema or {}))
    if wanted is not None and wanted.type == "json_object":
        return json.dumps({"note": DISCLAIMER, "words": len(_asked(request).split())})
    for message in request.messages:
        if message.role == "system" and (at := message.text.find(CHOOSE)) >= 0:
            return message.text[at:].splitlines()[1].removeprefix("- ")
    last = request.messages[-1]
    if last.role == "tool":
        told = " ".join(
            inner.text
            for part in last.parts
            if isinstance(part, ToolResult)
            for inner in part.content
            if isinstance(inner, Text)
        )
        return f"{DISCLAIMER} The tool told me: {told[:200]}"
    asked = _asked(request)
    if total := _SUM.search(asked):
        a, sign, b = int(total[1]), total[2], int(total[3])
        value = a + b if sign == "+" else a - b if sign == "-" else a * b
        return f"{DISCLAIMER} {a} {sign} {b} = {value}."
    if _GREETING.match(asked):
        return f"{DISCLAIMER} Hello! Everything on the way here works."
    return (
        f"{DISCLAIMER} Your question of {len(asked.split())} words arrived, in {len(request.messages)} message(s). "
        "A real model would answer it at this place."
    )


def example(schema: Mapping[str, Any], root: Mapping[str, Any] | None = None, depth: int = 0) -> Any:
    """A value that keeps `schema`: the first choice everywhere, the smallest numbers, the shortest lists."""
    root = schema if root is None else root
    if depth > _DEEPEST:
        return None
    if "$ref" in schema:
        name = str(schema["$ref"]).rsplit("/", 1)[-1]
        return example(root.get("$defs", {}).get(name, {}), root, depth + 1)
    for fixed in ("const", "default"):
        if fixed in schema:
            return schema[fixed]
    if schema.get("enum"):
        return schema["enum"][0]
    for choice in ("anyOf", "oneOf", "allOf"):
        if schema.get(choice):
            return example(schema[choice][0], root, depth + 1)
    kind = schema.get("type", "object" if "properties" in schema else "string")
    match kind[0] if isinstance(kind, list) else kind:
        case "object":
            return {name: example(inner, root, depth + 1) for name, inner in schema.get("properties", {}).items()}
        case "array":
            return [example(schema.get("items", {}), root, depth + 1) for _ in range(max(1, schema.get("minItems", 1)))]
        case "integer" | "number":
            return max(schema.get("minimum", 1), schema.get("exclusiveMinimum", 0) + 1)
        case "boolean":
            return True
        case "null":
            return None
        case _:
            return _string(schema)


_FORMATS = {
    "date": "2026-01-31",
    "date-time": "2026-01-31T12:00:00Z",
    "time": "12:00:00Z",
    "email": "someone@example.com",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "ipv4": "192.0.2.1",
}


def _string(schema: Mapping[str, Any]) -> str:
    text = _FORMATS.get(schema.get("format", ""), "example")
    return text.ljust(schema.get("minLength", 0), "x")[: schema.get("maxLength")]
