from __future__ import annotations

import pytest

from hybridinfer import tokens
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
