"""Reading messages: every block type of both vendors, and what malformed input is told."""

from __future__ import annotations

import base64
from types import SimpleNamespace

import pytest

from hybridinfer.dialects import parse_messages
from hybridinfer.types import File, Image, Message, Opaque, Text, ToolCall, ToolResult

SECRET = "4111 1111 1111 1111"


def _one(part: object, role: str = "user", name: str | None = None) -> tuple[Message, ...]:
    return (Message(role=role, parts=(part,), name=name),)


BLOCKS = {
    "text": ({"type": "text", "text": "hi"}, Text(text="hi")),
    "text with a cache hint": ({"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}}, Text(text="hi")),
    "text with empty citations": ({"type": "text", "text": "hi", "citations": None}, Text(text="hi")),
    "text with citations": (
        {"type": "text", "text": "hi", "citations": [{"type": "x"}]},
        Opaque(dialect="anthropic", data={"type": "text", "text": "hi", "citations": [{"type": "x"}]}),
    ),
    "bare text": ("hi", Text(text="hi")),
    "openai image url": (
        {"type": "image_url", "image_url": {"url": "https://a.example/x.png", "detail": "low"}},
        Image(url="https://a.example/x.png", detail="low"),
    ),
    "openai image url, short": (
        {"type": "image_url", "image_url": "https://a.example/x.png"},
        Image(url="https://a.example/x.png"),
    ),
    "openai image data": (
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}},
        Image(data="aGk=", media_type="image/png"),
    ),
    "anthropic image url": (
        {"type": "image", "source": {"type": "url", "url": "https://a.example/x.png"}},
        Image(url="https://a.example/x.png"),
    ),
    "anthropic image data": (
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}},
        Image(data="aGk=", media_type="image/png"),
    ),
    "anthropic image file": (
        {"type": "image", "source": {"type": "file", "file_id": "file_1"}},
        Opaque(dialect="anthropic", data={"type": "image", "source": {"type": "file", "file_id": "file_1"}}),
    ),
    "openai file data": (
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,aGk="}},
        File(data="aGk=", media_type="application/pdf", name="a.pdf"),
    ),
    "openai file, bare base64": ({"type": "file", "file": {"file_data": "aGk="}}, File(data="aGk=")),
    "openai file id": ({"type": "file", "file": {"file_id": "file-1"}}, File(file_id="file-1")),
    "anthropic document data": (
        {
            "type": "document",
            "source": {"type": "base64", "media_type": "application/pdf", "data": "aGk="},
            "title": "a",
        },
        File(data="aGk=", media_type="application/pdf", name="a"),
    ),
    "anthropic document text": (
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "hi"}},
        File(data=base64.b64encode(b"hi").decode(), media_type="text/plain"),
    ),
    "anthropic document url": (
        {"type": "document", "source": {"type": "url", "url": "https://a.example/x.pdf"}},
        File(url="https://a.example/x.pdf"),
    ),
    "anthropic document file": (
        {"type": "document", "source": {"type": "file", "file_id": "file_1"}},
        Opaque(dialect="anthropic", data={"type": "document", "source": {"type": "file", "file_id": "file_1"}}),
    ),
    "anthropic document with context": (
        {"type": "document", "source": {"type": "url", "url": "u"}, "context": "c"},
        Opaque(dialect="anthropic", data={"type": "document", "source": {"type": "url", "url": "u"}, "context": "c"}),
    ),
    "openai audio": (
        {"type": "input_audio", "input_audio": {"data": "aGk=", "format": "wav"}},
        Opaque(dialect="openai", data={"type": "input_audio", "input_audio": {"data": "aGk=", "format": "wav"}}),
    ),
    "anthropic search result": (
        {"type": "search_result", "source": "s", "title": "t", "content": []},
        Opaque(dialect="anthropic", data={"type": "search_result", "source": "s", "title": "t", "content": []}),
    ),
}


@pytest.mark.parametrize(("block", "part"), BLOCKS.values(), ids=BLOCKS)
def test_each_user_block_becomes_its_part(block, part):
    """Every block type of either vendor is read into the part that holds it."""
    assert parse_messages([{"role": "user", "content": [block]}]) == _one(part)


ASSISTANT = {
    "text": ({"content": "hi"}, (Text(text="hi"),)),
    "nothing said": ({"content": ""}, (Text(text=""),)),
    "openai refusal": (
        {"content": None, "refusal": "no"},
        (Opaque(dialect="openai", data={"type": "refusal", "refusal": "no"}),),
    ),
    "openai refusal block": (
        {"content": [{"type": "refusal", "refusal": "no"}]},
        (Opaque(dialect="openai", data={"type": "refusal", "refusal": "no"}),),
    ),
    "openai audio": ({"audio": {"id": "a1"}}, (Opaque(dialect="openai", data={"audio": {"id": "a1"}}),)),
    "openai tool call": (
        {
            "content": None,
            "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
        },
        (ToolCall(id="c1", name="f", arguments="{}"),),
    ),
    "openai tool call beside text": (
        {
            "content": "so",
            "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
        },
        (Text(text="so"), ToolCall(id="c1", name="f", arguments="{}")),
    ),
    "openai custom tool call": (
        {"tool_calls": [{"id": "c1", "type": "custom", "custom": {"name": "f", "input": "x"}}]},
        (Opaque(dialect="openai", data={"id": "c1", "type": "custom", "custom": {"name": "f", "input": "x"}}),),
    ),
    "anthropic tool use": (
        {"content": [{"type": "tool_use", "id": "c1", "name": "f", "input": {"é": 1}}]},
        (ToolCall(id="c1", name="f", arguments='{"é": 1}'),),
    ),
    "anthropic tool use of a toolset": (
        {"content": [{"type": "tool_use", "id": "c1", "name": "f", "input": {}, "toolset_name": "t"}]},
        (
            Opaque(
                dialect="anthropic",
                data={"type": "tool_use", "id": "c1", "name": "f", "input": {}, "toolset_name": "t"},
            ),
        ),
    ),
    "anthropic thinking": (
        {"content": [{"type": "thinking", "thinking": "hm", "signature": "s"}]},
        (Opaque(dialect="anthropic", data={"type": "thinking", "thinking": "hm", "signature": "s"}),),
    ),
    "anthropic redacted thinking": (
        {"content": [{"type": "redacted_thinking", "data": "x"}]},
        (Opaque(dialect="anthropic", data={"type": "redacted_thinking", "data": "x"}),),
    ),
    "anthropic server tool result": (
        {"content": [{"type": "web_search_tool_result", "tool_use_id": "s", "content": []}]},
        (Opaque(dialect="anthropic", data={"type": "web_search_tool_result", "tool_use_id": "s", "content": []}),),
    ),
}


@pytest.mark.parametrize(("fields", "parts"), ASSISTANT.values(), ids=ASSISTANT)
def test_each_assistant_field_becomes_its_part(fields, parts):
    """Whatever an assistant message of either vendor carries is read into parts."""
    assert parse_messages([{"role": "assistant", **fields}]) == (Message(role="assistant", parts=parts),)


RESULTS = {
    "openai": (
        {"role": "tool", "tool_call_id": "c1", "content": "42"},
        ToolResult(call_id="c1", content=(Text(text="42"),)),
    ),
    "openai blocks": (
        {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "42"}]},
        ToolResult(call_id="c1", content=(Text(text="42"),)),
    ),
    "openai empty": ({"role": "tool", "tool_call_id": "c1", "content": []}, ToolResult(call_id="c1", content=())),
    "anthropic": (
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "42"}]},
        ToolResult(call_id="c1", content=(Text(text="42"),)),
    ),
    "anthropic error": (
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "no", "is_error": True}]},
        ToolResult(call_id="c1", content=(Text(text="no"),), is_error=True),
    ),
    "anthropic image": (
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "c1",
                    "content": [
                        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
                    ],
                }
            ],
        },
        ToolResult(call_id="c1", content=(Image(data="aGk=", media_type="image/png"),)),
    ),
    "anthropic without content": (
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1"}]},
        ToolResult(call_id="c1", content=(Text(text=""),)),
    ),
    "anthropic with a document": (
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": [{"type": "document"}]}]},
        Opaque(
            dialect="anthropic", data={"type": "tool_result", "tool_use_id": "c1", "content": [{"type": "document"}]}
        ),
    ),
}


@pytest.mark.parametrize(("message", "part"), RESULTS.values(), ids=RESULTS)
def test_a_tool_result_becomes_a_message_of_its_own_role(message, part):
    """Both vendors' tool results end in messages of the role tool."""
    assert parse_messages([message]) == _one(part, role="tool")


def test_a_user_turn_with_results_and_text_is_split_in_order():
    """Anthropic's mixed user turn becomes a tool message followed by a user message."""
    content = [{"type": "tool_result", "tool_use_id": "c1", "content": "42"}, {"type": "text", "text": "and now?"}]
    parsed = parse_messages([{"role": "user", "content": content}])
    assert [message.role for message in parsed] == ["tool", "user"]


@pytest.mark.parametrize("role", ["system", "developer"])
def test_developer_is_another_word_for_system(role):
    """OpenAI's developer role and the older system role are one."""
    assert parse_messages([{"role": role, "content": "be kind"}]) == _one(Text(text="be kind"), role="system")


def test_the_top_level_system_field_comes_first():
    """Anthropic's system field becomes the first message."""
    parsed = parse_messages([{"role": "user", "content": "hi"}], system=[{"type": "text", "text": "be kind"}])
    assert parsed[0] == Message(role="system", parts=(Text(text="be kind"),))


def test_the_author_of_a_message_is_kept():
    """A user's name is part of the record."""
    assert parse_messages([{"role": "user", "name": "ann", "content": "hi"}]) == _one(Text(text="hi"), name="ann")


def test_a_vendors_answer_object_can_be_put_back():
    """An SDK's answer message goes back into the list as it is, with the fields that only answers have."""
    answer = SimpleNamespace(model_dump=lambda exclude_none: {"role": "assistant", "content": "hi", "annotations": []})
    assert parse_messages([answer]) == _one(Text(text="hi"), role="assistant")


WRONG = {
    "no list": ("hi", "messages:"),
    "empty": ([], "messages: is empty; give at least one message"),
    "no object": (["hi"], "messages[0]: is not an object; give a dict"),
    "no role": ([{"content": SECRET}], "messages[0].role:"),
    "unknown role": ([{"role": "robot", "content": SECRET}], "messages[0].role: is not a known role; use system"),
    "function role": ([{"role": "function", "content": SECRET}], "'function' became 'tool'"),
    "unknown field": ([{"role": "user", "content": "x", "contnet": SECRET}], "messages[0].contnet: is not understood"),
    "unknown assistant field": ([{"role": "assistant", "content": "x", "mood": SECRET}], "messages[0].mood:"),
    "unknown tool field": ([{"role": "tool", "tool_call_id": "1", "content": "x", "mood": "y"}], "messages[0].mood:"),
    "no content": ([{"role": "user"}], "messages[0].content: is not a list"),
    "empty content": ([{"role": "user", "content": []}], "messages[0].content: is empty"),
    "empty assistant": ([{"role": "assistant", "content": None}], "messages[0]: has neither content nor tool_calls"),
    "block without type": ([{"role": "user", "content": [{"text": SECRET}]}], "messages[0].content[0].type:"),
    "unknown block": (
        [{"role": "user", "content": [{"type": "hologram"}]}],
        "messages[0].content[0].type: is not a known block",
    ),
    "unknown block field": (
        [{"role": "user", "content": [{"type": "text", "text": "x", "bold": True}]}],
        "messages[0].content[0].bold:",
    ),
    "text of numbers": (
        [{"role": "user", "content": [{"type": "text", "text": 4111}]}],
        "messages[0].content[0].text:",
    ),
    "image without url": ([{"role": "user", "content": [{"type": "image_url"}]}], "messages[0].content[0].image_url:"),
    "image of another encoding": (
        [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png,hi"}}]}],
        "messages[0].content[0].image_url.url: is not a base64 data URL",
    ),
    "image source": (
        [{"role": "user", "content": [{"type": "image", "source": {"type": "ftp"}}]}],
        "content[0].source.type:",
    ),
    "document source": (
        [{"role": "user", "content": [{"type": "document", "source": {"type": "ftp"}}]}],
        "messages[0].content[0].source.type:",
    ),
    "empty file": (
        [{"role": "user", "content": [{"type": "file", "file": {}}]}],
        "messages[0].content[0].file.file_data:",
    ),
    "file of another encoding": (
        [{"role": "user", "content": [{"type": "file", "file": {"file_data": "data:text/plain,hi"}}]}],
        "messages[0].content[0].file.file_data: is not a base64 data URL",
    ),
    "no call id": ([{"role": "tool", "content": SECRET}], "messages[0].tool_call_id:"),
    "empty call id": ([{"role": "tool", "tool_call_id": "", "content": SECRET}], "messages[0].tool_call_id: is empty"),
    "file as a result": (
        [{"role": "tool", "tool_call_id": "c", "content": [{"type": "file", "file": {"file_id": "x"}}]}],
        "messages[0].content[0].type: is neither text nor an image",
    ),
    "call without function": (
        [{"role": "assistant", "tool_calls": [{"id": "c"}]}],
        "messages[0].tool_calls[0].function:",
    ),
    "result error flag": (
        [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": "x", "is_error": "yes"}]}],
        "messages[0].content[0].is_error: is not true or false",
    ),
}


@pytest.mark.parametrize(("messages", "told"), WRONG.values(), ids=WRONG)
def test_malformed_input_is_told_where_and_what_to_do(messages, told):
    """The error names message and field, and never quotes what stood there."""
    with pytest.raises(ValueError) as caught:
        parse_messages(messages)
    assert told in str(caught.value)
    assert SECRET not in str(caught.value)
