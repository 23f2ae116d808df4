from __future__ import annotations

import base64
from typing import Any

import pytest

from hybridinfer import tokens
from hybridinfer.dialects import parse_messages
from hybridinfer.tokens.media import CLAUDE_IMAGE, FILE_TOKENS, PAGE_TOKENS
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
    ToolResult,
)

HELLO = Message(role="user", parts=(Text(text="Hello, world!"),))
TOOL = Tool(
    name="weather",
    description="The weather of a city",
    parameters={"type": "object", "properties": {"city": {"type": "string"}}},
)


def test_cookbook_overhead() -> None:
    """Three tokens prime the reply, four go around each message, and a name costs one more."""
    assert tokens.count_request(Request(messages=(HELLO,)), "gpt-4o") == 3 + 4 + 4
    assert tokens.count_request(Request(messages=(HELLO, HELLO)), "gpt-4o") == 3 + 2 * (4 + 4)
    named = Message(role="user", parts=HELLO.parts, name="Ann")
    assert tokens.count_request(Request(messages=(named,)), "gpt-4o") == 3 + 4 + 4 + 1 + 1


def test_text_alone_is_exact() -> None:
    """Nothing but text for a known model is counted, not estimated."""
    counted = tokens.measure_request(Request(messages=(HELLO,)), "gpt-4")
    assert counted.exact
    assert counted.encoding == "cl100k_base"


@pytest.mark.parametrize(
    "more",
    [
        {"tools": (TOOL,)},
        {"response_format": ResponseFormat(type="json_schema", schema={"type": "object"})},
        {"response_format": ResponseFormat(type="json_object")},
        {
            "messages": (
                HELLO,
                Message(role="assistant", parts=(ToolCall(id="c1", name="weather", arguments='{"city": "Bern"}'),)),
            )
        },
        {"messages": (HELLO, Message(role="tool", parts=(ToolResult(call_id="c1", content=(Text(text="sunny"),)),)))},
        {"messages": (HELLO, Message(role="user", parts=(Image(url="https://example.com/a.png"),)))},
        {"messages": (HELLO, Message(role="user", parts=(File(file_id="file-1"),)))},
        {"messages": (HELLO, Message(role="assistant", parts=(Opaque(dialect="anthropic", data={"thinking": "hm"}),)))},
    ],
    ids=["tools", "schema", "json", "call", "result", "image", "file", "opaque"],
)
@pytest.mark.parametrize("dialect", ["openai", "anthropic"])
def test_everything_that_is_billed_counts(more: dict, dialect) -> None:
    """Each kind of part raises the bound, and none of them is called exact."""
    plain = tokens.count_request(Request(messages=(HELLO,)), dialect=dialect)
    counted = tokens.measure_request(Request(**{"messages": (HELLO,)} | more), dialect=dialect)
    assert counted.tokens > plain + 4
    assert not counted.exact


def test_tools_cost_at_least_their_json() -> None:
    """Two tools cost more than one, but the fixed part is paid once."""
    one, two = (
        tokens.count_request(Request(messages=(HELLO,), tools=(TOOL,) * n), dialect="anthropic") for n in (1, 2)
    )
    plain = tokens.count_request(Request(messages=(HELLO,)), dialect="anthropic")
    assert one - plain > 800
    assert 30 < two - one < 200


def test_plain_text_format_is_free() -> None:
    """`response_format: text` asks for nothing."""
    request = Request(messages=(HELLO,), response_format=ResponseFormat(type="text"))
    assert tokens.count_request(request) == tokens.count_request(Request(messages=(HELLO,)))


def test_anthropic_counts_from_above_whatever_the_model_is_called() -> None:
    """An alias without `claude` in its name still takes the factor."""
    request = Request(messages=(Message(role="user", parts=(Text(text="Hello there, " * 50),)),))
    assert tokens.count_request(request, "my-alias", dialect="anthropic") == tokens.count_request(
        request, "claude-haiku-5-5", dialect="anthropic"
    )
    assert tokens.count_request(request, dialect="anthropic") > 1.7 * tokens.count_request(request)


def test_many_long_messages_are_estimated_together() -> None:
    """Above 200,000 characters in all, no message is counted on its own, and the bound still holds."""
    messages = tuple(Message(role="user", parts=(Text(text="word " * 10_000),)) for _ in range(6))
    counted = tokens.measure_request(Request(messages=messages))
    assert not counted.exact
    assert 60_000 <= counted.tokens <= 70_000


UNSEEN = {"type": "document", "source": {"type": "file", "file_id": "file_1"}}
PDF = base64.b64encode(b"%PDF-1.7 " + b"/Type /Page " * 7).decode()


@pytest.mark.parametrize(
    ("block", "least"),
    [
        (UNSEEN, FILE_TOKENS),
        ({**UNSEEN, "source": {"type": "url", "url": "https://example.com/a.pdf"}, "citations": {}}, FILE_TOKENS),
        ({**UNSEEN, "context": "c", "source": {"type": "url", "url": "https://example.com/a.pdf"}}, FILE_TOKENS),
        ({"type": "container_upload", "file_id": "file_1"}, FILE_TOKENS),
        ({"type": "tool_result", "tool_use_id": "t", "content": [UNSEEN, UNSEEN]}, 2 * FILE_TOKENS),
        ({**UNSEEN, "source": {"type": "content", "content": [UNSEEN]}}, FILE_TOKENS),
        (
            {
                "type": "document",
                "context": "c",
                "source": {"type": "base64", "data": PDF, "media_type": "application/pdf"},
            },
            7 * PAGE_TOKENS,
        ),
        ({"type": "image", "source": {"type": "file", "file_id": "file_1"}}, CLAUDE_IMAGE),
    ],
)
def test_what_stands_behind_a_vendors_block_is_billed(block: dict[str, Any], least: int) -> None:
    """A file or a picture that a block only names counts as the largest that it may be, not as its name."""
    request = Request(messages=parse_messages([{"role": "user", "content": [block]}]))
    assert tokens.count_request(request, "claude-haiku-5-5", dialect="anthropic") >= least


@pytest.mark.parametrize(
    "block",
    [
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "document", "context": "c", "source": {"type": "text", "data": "short", "media_type": "text/plain"}},
        {
            "type": "search_result",
            "source": "https://example.com",
            "title": "t",
            "content": [{"type": "text", "text": "a"}],
        },
    ],
)
def test_a_vendors_block_that_holds_all_of_its_text_is_counted(block: dict[str, Any]) -> None:
    """Nothing stands behind it."""
    request = Request(messages=parse_messages([{"role": "user", "content": [block]}]))
    assert tokens.count_request(request, "claude-haiku-5-5", dialect="anthropic") < 500


def test_an_earlier_answer_in_sound_is_not_its_id() -> None:
    """OpenAI names sound that it has said before by an id."""
    said = {"role": "assistant", "audio": {"id": "audio_1"}}
    request = Request(messages=parse_messages([{"role": "user", "content": "hello"}, said]))
    assert tokens.count_request(request, "gpt-6-luna") >= FILE_TOKENS
