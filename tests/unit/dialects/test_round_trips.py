"""What is rendered and read again is what it was: no content is lost on the way to either vendor."""

from __future__ import annotations

import base64
import json
from itertools import groupby

from hypothesis import given, settings
from hypothesis import strategies as st

from hybridinfer.dialects import (
    anthropic,
    openai,
    parse_messages,
    parse_response_format,
    parse_tool_choice,
    parse_tools,
)
from hybridinfer.types import (
    File,
    Image,
    Message,
    Request,
    ResponseFormat,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)

words = st.text(min_size=1, max_size=30)
ids = st.from_regex(r"[a-zA-Z0-9_-]{1,12}", fullmatch=True)
blobs = st.binary(min_size=1, max_size=20).map(lambda raw: base64.b64encode(raw).decode())
texts = st.builds(Text, text=words)
pictures = st.builds(
    Image, data=blobs, media_type=st.sampled_from(["image/png", "image/jpeg", "image/webp"])
) | st.builds(Image, url=ids.map("https://a.example/{}".format))
files = st.builds(File, data=blobs, media_type=st.just("application/pdf"), name=ids) | st.builds(
    File,
    data=words.map(lambda text: base64.b64encode(text.encode()).decode()),
    media_type=st.just("text/plain"),
    name=ids,
)
jsons = st.dictionaries(words, st.integers() | words | st.booleans() | st.none() | st.lists(words), max_size=3)
calls = st.builds(ToolCall, id=ids, name=ids, arguments=jsons.map(lambda value: json.dumps(value, ensure_ascii=False)))
results = st.builds(ToolResult, call_id=ids, content=st.lists(texts, min_size=1, max_size=2).map(tuple))
pictured = st.builds(
    ToolResult,
    call_id=ids,
    content=st.lists(texts | pictures, min_size=1, max_size=3).map(tuple),
    is_error=st.booleans(),
)


def _messages(result: st.SearchStrategy[ToolResult]) -> st.SearchStrategy[tuple[Message, ...]]:
    user = st.builds(
        Message, role=st.just("user"), parts=st.lists(texts | pictures | files, min_size=1, max_size=3).map(tuple)
    )
    said = st.lists(texts, min_size=1, max_size=2)
    assistant = st.builds(
        Message,
        role=st.just("assistant"),
        parts=st.tuples(said, st.lists(calls, max_size=2)).map(lambda both: (*both[0], *both[1])),
    )
    tool = st.builds(Message, role=st.just("tool"), parts=result.map(lambda part: (part,)))
    rest = st.lists(user | assistant | tool, max_size=5)
    system = st.lists(st.builds(Message, role=st.just("system"), parts=st.tuples(texts)), max_size=1)
    return st.tuples(system, user, rest).map(lambda three: (*three[0], three[1], *three[2]))


def _joined(messages: tuple[Message, ...]) -> list[tuple[str, list]]:
    """Turns of one role in a row are one turn to every model."""
    runs = groupby(messages, key=lambda message: message.role)
    return [(role, [part for message in run for part in message.parts]) for role, run in runs]


@settings(deadline=None, max_examples=50)
@given(_messages(results))
def test_openai_says_and_hears_the_same(messages):
    """Rendered for OpenAI and read again, every message is what it was."""
    body = openai.render_request(Request(messages=messages), model="m", max_tokens=1, stream=False)
    heard = parse_messages(json.loads(json.dumps(body["messages"])))
    assert _joined(heard) == _joined(messages)


@settings(deadline=None, max_examples=50)
@given(_messages(pictured))
def test_anthropic_says_and_hears_the_same(messages):
    """Rendered for Anthropic and read again, every turn is what it was, pictures in results included."""
    body = anthropic.render_request(Request(messages=messages), model="m", max_tokens=1, stream=False)
    body = json.loads(json.dumps(body))
    heard = parse_messages(body["messages"], system=body.get("system"))
    assert _joined(heard) == _joined(messages)


@settings(deadline=None, max_examples=50)
@given(_messages(results))
def test_a_conversation_crosses_from_one_vendor_to_the_other(messages):
    """OpenAI's form, read, rendered for Anthropic and read again, still holds every word."""
    to_openai = openai.render_request(Request(messages=messages), model="m", max_tokens=1, stream=False)
    request = Request(messages=parse_messages(to_openai["messages"]))
    body = anthropic.render_request(request, model="m", max_tokens=1, stream=False)
    assert _joined(parse_messages(body["messages"], system=body.get("system"))) == _joined(messages)


schemas = jsons.map(lambda extra: {"type": "object", "properties": {}, "x-note": extra})
tools = st.builds(Tool, name=ids, parameters=schemas, description=words, strict=st.none() | st.booleans())


@settings(deadline=None, max_examples=50)
@given(tools)
def test_a_tool_survives_both_dialects(tool):
    """A tool rendered and read again is the same tool."""
    request = Request(messages=(Message(role="user", parts=(Text(text="x"),)),), tools=(tool,))
    assert parse_tools(openai.render_request(request, model="m", max_tokens=1, stream=False)["tools"]) == (tool,)
    assert parse_tools(anthropic.render_request(request, model="m", max_tokens=1, stream=False)["tools"]) == (tool,)


choices = st.builds(
    ToolChoice, mode=st.sampled_from(["auto", "required"]), parallel=st.none() | st.booleans()
) | st.builds(ToolChoice, mode=st.just("tool"), name=ids, parallel=st.none() | st.booleans())


@settings(deadline=None, max_examples=50)
@given(choices)
def test_a_choice_survives_both_dialects(choice):
    """A tool choice rendered and read again is the same choice."""
    request = Request(messages=(Message(role="user", parts=(Text(text="x"),)),), tool_choice=choice)
    body = openai.render_request(request, model="m", max_tokens=1, stream=False)
    assert parse_tool_choice(body["tool_choice"], parallel=body.get("parallel_tool_calls")) == choice
    body = anthropic.render_request(request, model="m", max_tokens=1, stream=False)
    assert parse_tool_choice(body["tool_choice"]) == choice


@settings(deadline=None, max_examples=50)
@given(
    st.builds(ResponseFormat, type=st.just("json_schema"), schema=schemas, name=ids, strict=st.none() | st.booleans())
)
def test_a_schema_survives_both_dialects(wanted):
    """A demanded schema rendered and read again is the same; Anthropic keeps no name for it."""
    request = Request(messages=(Message(role="user", parts=(Text(text="x"),)),), response_format=wanted)
    assert (
        parse_response_format(openai.render_request(request, model="m", max_tokens=1, stream=False)["response_format"])
        == wanted
    )
    heard = parse_response_format(
        anthropic.render_request(request, model="m", max_tokens=1, stream=False)["output_config"]["format"]
    )
    assert heard is not None
    assert heard.schema == wanted.schema
