"""Rendering requests for both vendors: every block type, and what each refuses to say with loss."""

from __future__ import annotations

import base64

import pytest

from hybridinfer.dialects import Untranslatable, anthropic, openai
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

PNG = Image(data="aGk=", media_type="image/png")
LINK = Image(url="https://a.example/x.png", detail="low")
PDF = File(data="aGk=", media_type="application/pdf", name="a.pdf")
TXT = File(data=base64.b64encode(b"hi").decode(), media_type="text/plain", name="a.txt")
CALL = ToolCall(id="c1", name="f", arguments='{"a": 1}')
RESULT = ToolResult(call_id="c1", content=(Text(text="42"),))
FAILED = ToolResult(call_id="c1", content=(Text(text="no"),), is_error=True)
PICTURED = ToolResult(call_id="c1", content=(PNG,))
THINKING = Opaque(dialect="anthropic", data={"type": "thinking", "thinking": "hm", "signature": "s"})
AUDIO = Opaque(dialect="openai", data={"type": "input_audio", "input_audio": {"data": "aGk=", "format": "wav"}})
REFUSAL = Opaque(dialect="openai", data={"type": "refusal", "refusal": "no"})
SPOKEN = Opaque(dialect="openai", data={"audio": {"id": "a1"}})
CUSTOM = Opaque(dialect="openai", data={"type": "custom", "id": "c1", "custom": {"name": "f", "input": "x"}})
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
HI = Message(role="user", parts=(Text(text="hi"),))

NO = object()
"""Marks what a dialect refuses."""

BLOCKS = {
    "text": ("user", Text(text="hi"), "hi", "hi"),
    "image data": (
        "user",
        PNG,
        [{"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}],
        [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}],
    ),
    "image url": (
        "user",
        LINK,
        [{"type": "image_url", "image_url": {"url": "https://a.example/x.png", "detail": "low"}}],
        [{"type": "image", "source": {"type": "url", "url": "https://a.example/x.png"}}],
    ),
    "image of a rare type": (
        "user",
        Image(data="aGk=", media_type="image/tiff"),
        [{"type": "image_url", "image_url": {"url": "data:image/tiff;base64,aGk="}}],
        NO,
    ),
    "image without type": ("user", Image(data="aGk="), NO, NO),
    "image without anything": ("user", Image(), NO, NO),
    "pdf": (
        "user",
        PDF,
        [{"type": "file", "file": {"file_data": "data:application/pdf;base64,aGk=", "filename": "a.pdf"}}],
        [
            {
                "type": "document",
                "source": {"type": "base64", "media_type": "application/pdf", "data": "aGk="},
                "title": "a.pdf",
            }
        ],
    ),
    "text file": (
        "user",
        TXT,
        [{"type": "file", "file": {"file_data": "data:text/plain;base64,aGk=", "filename": "a.txt"}}],
        [{"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "hi"}, "title": "a.txt"}],
    ),
    "text file in another encoding": (
        "user",
        File(data="/w==", media_type="text/plain"),
        [{"type": "file", "file": {"file_data": "data:text/plain;base64,/w=="}}],
        NO,
    ),
    "file of an untold type": ("user", File(data="aGk="), [{"type": "file", "file": {"file_data": "aGk="}}], NO),
    "file by id": ("user", File(file_id="file-1"), [{"type": "file", "file": {"file_id": "file-1"}}], NO),
    "file by url": (
        "user",
        File(url="https://a.example/x.pdf"),
        NO,
        [{"type": "document", "source": {"type": "url", "url": "https://a.example/x.pdf"}}],
    ),
    "audio": ("user", AUDIO, [AUDIO.data], NO),
    "thinking": ("assistant", THINKING, NO, [THINKING.data]),
    "refusal": ("assistant", REFUSAL, [REFUSAL.data], NO),
    "assistant image": ("assistant", PNG, NO, NO),
    "assistant text": ("assistant", Text(text="hi"), "hi", "hi"),
    "foreign user block": ("user", THINKING, NO, [THINKING.data]),
    "call in a user message": ("user", CALL, NO, NO),
    "system image": ("system", PNG, NO, NO),
}


def _openai(*messages: Message, **fields: object) -> dict:
    return openai.render_request(Request(messages=messages, **fields), model="m", max_tokens=9, stream=False)


def _anthropic(*messages: Message, **fields: object) -> dict:
    return anthropic.render_request(Request(messages=messages, **fields), model="m", max_tokens=9, stream=False)


@pytest.mark.parametrize(("role", "part", "said", "_"), BLOCKS.values(), ids=BLOCKS)
def test_openai_says_each_block_or_refuses(role, part, said, _):
    """Every part is rendered for OpenAI without loss, or refused."""
    message = Message(role=role, parts=(part,))
    if said is NO:
        with pytest.raises(Untranslatable, match="the openai dialect cannot express"):
            _openai(HI, message)
    else:
        assert _openai(HI, message)["messages"][1] == {"role": role, "content": said}


@pytest.mark.parametrize(("role", "part", "_", "said"), BLOCKS.values(), ids=BLOCKS)
def test_anthropic_says_each_block_or_refuses(role, part, _, said):
    """Every part is rendered for Anthropic without loss, or refused."""
    message = Message(role=role, parts=(part,))
    if said is NO:
        with pytest.raises(Untranslatable, match="the anthropic dialect cannot express"):
            _anthropic(message, HI)
    else:
        turns = _anthropic(message) if role == "user" else _anthropic(HI, message)
        assert turns["messages"][-1] == {"role": role, "content": said}


def test_openai_puts_tool_calls_beside_the_content():
    """An assistant's text and calls become content and tool_calls."""
    parts = (Text(text="so"), CALL, CUSTOM)
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    expected = {"role": "assistant", "content": "so", "tool_calls": [call, CUSTOM.data]}
    assert _openai(Message(role="assistant", parts=parts))["messages"] == [expected]


def test_openai_refers_to_what_the_model_spoke():
    """An earlier spoken answer travels as the message's audio field."""
    message = _openai(Message(role="assistant", parts=(SPOKEN,)))["messages"][0]
    assert message == {"role": "assistant", "content": None, "audio": {"id": "a1"}}


def test_openai_cannot_say_text_after_a_call():
    """The order of text and calls would be lost, so it is refused."""
    with pytest.raises(Untranslatable, match="text after a tool call"):
        _openai(Message(role="assistant", parts=(CALL, Text(text="so"))))


def test_openai_gives_each_result_a_message():
    """Two results become two messages of the role tool."""
    sent = _openai(Message(role="tool", parts=(RESULT, FAILED)))["messages"]
    assert sent == [
        {"role": "tool", "tool_call_id": "c1", "content": "42"},
        {"role": "tool", "tool_call_id": "c1", "content": "[tool error] no"},
    ]


def test_openai_marks_an_error_without_words():
    """An empty result that is an error still says so."""
    sent = _openai(Message(role="tool", parts=(ToolResult(call_id="c1", content=(), is_error=True),)))["messages"]
    assert sent == [{"role": "tool", "tool_call_id": "c1", "content": "[tool error] "}]


@pytest.mark.parametrize("part", [PICTURED, Text(text="x"), THINKING])
def test_openai_refuses_results_that_are_not_text(part):
    """A picture as a tool's result cannot be said to OpenAI."""
    with pytest.raises(Untranslatable, match="openai"):
        _openai(Message(role="tool", parts=(part,)))


def test_anthropic_carries_results_in_the_users_turn():
    """Results, their error flag and pictures go into the user's turn, joined with the text that follows."""
    turns = _anthropic(
        HI,
        Message(role="assistant", parts=(CALL,)),
        Message(role="tool", parts=(FAILED,)),
        Message(role="tool", parts=(PICTURED,)),
        Message(role="user", parts=(Text(text="and?"),)),
    )["messages"]
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
    assert turns == [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "c1", "name": "f", "input": {"a": 1}}]},
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "c1", "content": "no", "is_error": True},
                {"type": "tool_result", "tool_use_id": "c1", "content": [picture]},
                {"type": "text", "text": "and?"},
            ],
        },
    ]


@pytest.mark.parametrize("arguments", ["{", "[1]", "3"])
def test_anthropic_refuses_arguments_that_are_no_object(arguments):
    """A call whose arguments are not a JSON object has no place in Anthropic's blocks."""
    call = ToolCall(id="c1", name="f", arguments=arguments)
    with pytest.raises(Untranslatable, match="arguments"):
        _anthropic(HI, Message(role="assistant", parts=(call,)))


def test_anthropic_lifts_leading_system_messages():
    """What stands before the first turn becomes the system field; later ones stay in place."""
    rules = Message(role="system", parts=(Text(text="be kind"),))
    body = _anthropic(rules, rules, HI, rules)
    assert body["system"] == [{"type": "text", "text": "be kind"}, {"type": "text", "text": "be kind"}]
    assert body["messages"][1] == {"role": "system", "content": "be kind"}


def test_anthropic_refuses_an_authors_name():
    """Who speaks cannot be said to Anthropic, and is not dropped."""
    with pytest.raises(Untranslatable, match="author"):
        _anthropic(Message(role="user", parts=(Text(text="hi"),), name="ann"))


def test_anthropic_needs_a_turn():
    """System text alone is no conversation there."""
    with pytest.raises(Untranslatable, match="without a user"):
        _anthropic(Message(role="system", parts=(Text(text="be kind"),)))


def test_anthropic_leaves_out_empty_texts():
    """Empty text blocks, which the API refuses, are not sent."""
    empty = Message(role="assistant", parts=(Text(text=""),))
    assert _anthropic(HI, empty)["messages"] == [{"role": "user", "content": "hi"}]
    result = ToolResult(call_id="c1", content=(Text(text=""),))
    assert _anthropic(HI, Message(role="tool", parts=(result,)))["messages"][0]["content"][1]["content"] == []


TOOL = Tool(name="f", description="d", parameters=SCHEMA, strict=True)


def test_tools_are_rendered_in_both_dialects():
    """A tool keeps name, description, schema and strictness."""
    assert _openai(HI, tools=(TOOL,))["tools"] == [
        {"type": "function", "function": {"name": "f", "description": "d", "parameters": SCHEMA, "strict": True}}
    ]
    assert _anthropic(HI, tools=(TOOL,))["tools"] == [
        {"name": "f", "description": "d", "input_schema": SCHEMA, "strict": True}
    ]


def test_a_bare_tool_stays_bare():
    """Nothing is invented for a tool without description."""
    bare = Tool(name="f", parameters={})
    assert _openai(HI, tools=(bare,))["tools"] == [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    assert _anthropic(HI, tools=(bare,))["tools"] == [{"name": "f", "input_schema": {"type": "object"}}]


CHOICES = {
    "auto": (ToolChoice(mode="auto"), "auto", {"type": "auto"}),
    "none": (ToolChoice(mode="none", parallel=True), "none", {"type": "none"}),
    "required": (ToolChoice(mode="required"), "required", {"type": "any"}),
    "tool": (
        ToolChoice(mode="tool", name="f"),
        {"type": "function", "function": {"name": "f"}},
        {"type": "tool", "name": "f"},
    ),
}


@pytest.mark.parametrize(("choice", "to_openai", "to_anthropic"), CHOICES.values(), ids=CHOICES)
def test_a_tool_choice_is_rendered_in_both_dialects(choice, to_openai, to_anthropic):
    """Every mode has its word in both dialects."""
    assert _openai(HI, tool_choice=choice)["tool_choice"] == to_openai
    assert _anthropic(HI, tool_choice=choice)["tool_choice"] == to_anthropic


def test_parallel_calls_are_limited_in_both_dialects():
    """One call at a time is said in each dialect's way."""
    choice = ToolChoice(mode="auto", parallel=False)
    assert _openai(HI, tool_choice=choice)["parallel_tool_calls"] is False
    assert _anthropic(HI, tool_choice=choice)["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}


def test_a_schema_is_demanded_in_both_dialects():
    """Structured output keeps the schema, fitted by the function given for Anthropic."""
    wanted = ResponseFormat(type="json_schema", schema=SCHEMA, name="city", strict=True)
    assert _openai(HI, response_format=wanted)["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "city", "schema": SCHEMA, "strict": True},
    }
    request = Request(messages=(HI,), response_format=wanted)
    body = anthropic.render_request(
        request, model="m", max_tokens=9, stream=False, adapt_schema=lambda schema: schema | {"fitted": True}
    )
    assert body["output_config"] == {"format": {"type": "json_schema", "schema": SCHEMA | {"fitted": True}}}


def test_a_schema_without_strictness_stays_so():
    """Strictness is the caller's word only."""
    rendered = _openai(HI, response_format=ResponseFormat(type="json_schema", schema=SCHEMA))
    assert rendered["response_format"]["json_schema"] == {"name": "answer", "schema": SCHEMA}


def test_any_json_object_is_demanded_in_both_dialects():
    """Where there is no field for it, the demand is an instruction."""
    wanted = ResponseFormat(type="json_object")
    assert _openai(HI, response_format=wanted)["response_format"] == {"type": "json_object"}
    assert _anthropic(HI, response_format=wanted)["system"] == "Answer with one JSON object and nothing else."


def test_free_text_demands_nothing():
    """The format `text` is the default of both."""
    assert "response_format" not in _openai(HI, response_format=ResponseFormat(type="text"))
    assert "output_config" not in _anthropic(HI, response_format=ResponseFormat(type="text"))


def test_anthropic_refuses_schemas_with_free_keys():
    """A map with keys of the model's choice cannot be demanded there."""
    schema = {
        "type": "object",
        "properties": {"x": {"anyOf": [{"type": "object", "additionalProperties": {"type": "string"}}]}},
    }
    with pytest.raises(Untranslatable, match="free keys"):
        _anthropic(HI, response_format=ResponseFormat(type="json_schema", schema=schema))


def test_plain_options_travel_under_each_dialects_name():
    """Limits, stops, the user and metadata are said where a field exists; hints without one are left out."""
    fields = {
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 5,
        "seed": 7,
        "stop": ("END",),
        "user": "u1",
        "metadata": {"team": "a"},
    }
    assert _openai(HI, logprobs=True, **fields) == {
        "model": "m",
        "messages": [{"role": "user", "content": "hi"}],
        "max_completion_tokens": 9,
        "temperature": 0.5,
        "top_p": 0.9,
        "seed": 7,
        "stop": ["END"],
        "logprobs": True,
        "metadata": {"team": "a"},
        "user": "u1",
    }
    assert _anthropic(HI, **fields) == {
        "model": "m",
        "messages": [{"role": "user", "content": "hi"}],
        "max_tokens": 9,
        "stop_sequences": ["END"],
        "metadata": {"user_id": "u1"},
    }


def test_sampling_travels_to_servers_that_take_it():
    """Compatible servers get top_k, older Anthropic models their sampling fields."""
    request = Request(messages=(HI,), temperature=0.5, top_p=0.9, top_k=5)
    compatible = openai.render_request(
        request, model="m", max_tokens=9, stream=False, tokens_field="max_tokens", top_k=True
    )
    assert (compatible["max_tokens"], compatible["top_k"]) == (9, 5)
    older = anthropic.render_request(request, model="m", max_tokens=9, stream=False, sampling=True)
    assert (older["temperature"], older["top_p"], older["top_k"]) == (0.5, 0.9, 5)


def test_a_stream_asks_for_usage():
    """OpenAI tells usage of a stream only when asked."""
    request = Request(messages=(HI,))
    body = openai.render_request(request, model="m", max_tokens=9, stream=True)
    assert (body["stream"], body["stream_options"]) == (True, {"include_usage": True})
    assert anthropic.render_request(request, model="m", max_tokens=9, stream=True)["stream"] is True


def test_demands_that_a_dialect_cannot_meet_are_refused():
    """Log-probabilities at Anthropic, five stop sequences at OpenAI: refused, not ignored."""
    with pytest.raises(Untranslatable, match="log-probabilities"):
        _anthropic(HI, logprobs=True)
    with pytest.raises(Untranslatable, match="stop sequences"):
        _openai(HI, stop=("a", "b", "c", "d", "e"))


def test_a_name_travels_to_openai():
    """OpenAI knows authors."""
    assert _openai(Message(role="user", parts=(Text(text="hi"),), name="ann"))["messages"][0]["name"] == "ann"


def test_choices_become_an_instruction():
    """Behind the caller's own instructions; neither vendor has a field for them."""
    wanted = ResponseFormat(type="choice", choices=("yes", "no"))
    said = "Answer with exactly one of these texts and nothing else:\n- yes\n- no"
    rendered = _openai(Message(role="system", parts=(Text(text="Be kind."),)), HI, response_format=wanted)
    assert [message["content"] for message in rendered["messages"][:2]] == ["Be kind.", said]
    assert "response_format" not in rendered
    assert _anthropic(HI, response_format=wanted)["system"] == said


@pytest.mark.parametrize("render", [_openai, _anthropic])
def test_patterns_have_no_words(render):
    """No instruction makes a model keep a regular expression, so another target has to."""
    with pytest.raises(Untranslatable, match="regular expression"):
        render(HI, response_format=ResponseFormat(type="regex", pattern="a+"))
