"""Every string of a request is read, and the same strings are rewritten."""

from __future__ import annotations

import json
from dataclasses import replace

from hybridinfer.privacy.fields import Field, fields, rewrite, unscannable
from hybridinfer.types import (
    File,
    Image,
    Message,
    Opaque,
    Request,
    ResponseFormat,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)

CANARY = "canary"


def full(value: str = CANARY) -> Request:
    """A request that carries `value` wherever a string can stand."""
    return Request(
        messages=(
            Message(role="system", parts=(Text(text=f"s {value}"),)),
            Message(role="user", parts=(Text(text=f"u {value}"), Image(url=f"https://x/{value}")), name=f"n {value}"),
            Message(
                role="user",
                parts=(
                    File(name=f"{value}.pdf", url=f"https://y/{value}", file_id=f"f-{value}"),
                    Image(data="AAAA"),
                    File(url="data:x"),
                ),
            ),
            Message(
                role="assistant",
                parts=(
                    ToolCall(id=f"id-{value}", name=f"fn_{value}", arguments=json.dumps({"a": value})),
                    ToolCall(id="2", name="g", arguments=f"not json {value}"),
                    Opaque(
                        dialect="anthropic", data={"type": "thinking", "thinking": f"t {value}", "signature": "seal"}
                    ),
                ),
            ),
            Message(
                role="tool",
                parts=(ToolResult(call_id=f"id-{value}", content=(Text(text=f"r {value}"), Image(data="AAAA"))),),
            ),
        ),
        tools=(Tool(name=f"fn_{value}", description=f"d {value}", parameters={"enum": [value]}),),
        tool_choice=ToolChoice(mode="tool", name=f"fn_{value}"),
        response_format=ResponseFormat(
            type="json_schema",
            schema={"title": value},
            name=f"rf_{value}",
            choices=(f"c {value}",),
            pattern=f"p {value}",
        ),
        metadata={"m": value, value: "k"},
        extra_headers={"X-H": value},
        user=f"user {value}",
        stop=(f"stop {value}",),
    )


def test_every_place_is_read() -> None:
    """Each place of the request is named, and each of its strings holds the canary."""
    found = list(fields(full()))
    assert {field.where for field in found if CANARY in field.text} == {
        "message 1",
        "message 2",
        "message 4",
        "message 5",
        "image address in message 2",
        "file name in message 3",
        "file address in message 3",
        "tool arguments in message 4",
        "tool result in message 5",
        "tool definition",
        "tool choice",
        "response format",
        "metadata",
        "headers",
        "user",
        "stop",
    }
    assert all(CANARY in field.text for field in found if field.text not in ("2", "g"))


def test_what_is_read_is_what_is_rewritten() -> None:
    """After rewriting, only fixed strings still hold the canary, and nothing else was changed."""
    request = full()
    changed = rewrite(request, lambda field: field.text.replace(CANARY, "other"))
    assert all(field.fixed for field in fields(changed) if CANARY in field.text)
    fixed = [field for field in fields(request) if field.fixed]
    assert [field.text for field in fields(changed) if field.fixed] == [field.text for field in fixed]
    again = rewrite(changed, lambda field: field.text.replace("other", CANARY))
    assert again == request


def test_seals_are_neither_read_nor_changed() -> None:
    """A vendor's signature over its own text passes through."""
    block = rewrite(full(), lambda field: field.text.replace("a", "b")).messages[3].parts[2]
    assert isinstance(block, Opaque)
    assert block.data["signature"] == "seal"


def test_a_change_that_breaks_json_is_not_made() -> None:
    """Arguments, metadata and schemas stay JSON, even if the value then stays too."""
    request = full()
    broken = rewrite(request, lambda field: "{" if field.json else field.text)
    assert broken == request


def test_a_value_cut_by_a_part_border_is_read_whole() -> None:
    """The parts of a message are also read joined, as the model reads them."""
    request = Request(messages=(Message(role="user", parts=(Text(text="jo@co"), Text(text="rp.io"))),))
    assert Field(where="message 1", text="jo@corp.io", fixed=True) in list(fields(request))


def test_pictures_files_and_foreign_blocks_are_unscannable() -> None:
    """What no text detector reads is named by its place."""
    audio = Message(role="user", parts=(Opaque(dialect="openai", data={"type": "input_audio"}),))
    request = full()
    assert list(unscannable(replace(request, messages=(*request.messages, audio)))) == [
        "image in message 2",
        "file in message 3",
        "image in message 3",
        "file in message 3",
        "image in message 5",
        "openai block in message 6",
    ]


def test_a_bare_request_has_only_its_message() -> None:
    """Absent options yield no fields, and rewriting keeps them absent."""
    request = Request(messages=(Message(role="user", parts=(Text(text="hi"),)),))
    assert [field.text for field in fields(request)] == ["hi"]
    assert rewrite(request, lambda field: field.text) == request
