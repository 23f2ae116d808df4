"""What the emulator says: deterministic, honest, and in the demanded form."""

from __future__ import annotations

import json

import pytest

from hybridinfer.drill.replies import DISCLAIMER, count, example, reply
from hybridinfer.types import Message, Request, ResponseFormat, Text, Tool, ToolCall, ToolChoice, ToolResult

WEATHER = Tool(name="get_weather", parameters={"type": "object", "properties": {"city": {"type": "string"}}})
CLOCK = Tool(name="read_clock", parameters={"type": "object", "properties": {}})


def _ask(text: str, **fields: object) -> Request:
    return Request(messages=(Message(role="user", parts=(Text(text=text),)),), **fields)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("What is 2 + 3?", "2 + 3 = 5."),
        ("5-7", "5 - 7 = -2."),
        ("4 x 6", "4 x 6 = 24."),
        ("hello there", "Hello! Everything on the way here works."),
        ("Prove it, please", "Your question of 3 words arrived"),
    ],
)
def test_every_text_says_that_it_is_an_emulator(asked, said):
    """Nobody can take it for a model, and the same question gets the same answer."""
    answer = reply(_ask(asked))
    assert answer.text.startswith(DISCLAIMER)
    assert said in answer.text
    assert answer == reply(_ask(asked))


def test_pieces_add_up():
    """A stream says what a whole answer says."""
    answer = reply(_ask("hello"))
    assert "".join(answer.pieces) == answer.text


def test_the_limit_and_stops_are_kept():
    """max_tokens cuts and says so; a stop string ends the text."""
    cut = reply(_ask("hello", max_tokens=2))
    assert (cut.text, cut.finish) == ("This is", "length")
    assert reply(_ask("hello", stop=("loopback",))).text == "This is the "


def test_tokens_are_counted_plausibly():
    """More words are more tokens; tools and messages count too; every Chinese character does."""
    assert count("one two three") == 3
    assert count("extraordinary") == 2
    assert count("你好") == 2
    small, big = reply(_ask("word")), reply(_ask("word " * 100))
    assert big.input_tokens > small.input_tokens + 90
    assert reply(_ask("word", tools=(WEATHER,))).input_tokens > small.input_tokens


@pytest.mark.parametrize(
    ("asked", "choice", "called"),
    [
        ("the weather?", None, "get_weather"),
        ("what does the clock say?", None, "read_clock"),
        ("hello", None, None),
        ("the weather?", ToolChoice(mode="none"), None),
        ("hello", ToolChoice(mode="required"), "get_weather"),
        ("hello", ToolChoice(mode="tool", name="read_clock"), "read_clock"),
        ("hello", ToolChoice(mode="tool", name="unknown"), None),
    ],
)
def test_tools_are_called_when_asked_for(asked, choice, called):
    """A tool whose name the question mentions, or the one that is demanded."""
    answer = reply(_ask(asked, tools=(WEATHER, CLOCK), tool_choice=choice))
    assert [name for _, name, _ in answer.calls] == ([called] if called else [])


def test_a_result_ends_the_loop():
    """After the tool's result comes text, whatever is demanded."""
    call = Message(role="assistant", parts=(ToolCall(id="c", name="get_weather", arguments="{}"),))
    result = Message(role="tool", parts=(ToolResult(call_id="c", content=(Text(text="sunny"),)),))
    request = Request(messages=(*_ask("the weather?").messages, call, result), tools=(WEATHER,))
    assert reply(request).text == f"{DISCLAIMER} The tool told me: sunny"


def test_json_is_given_where_it_is_demanded():
    """With a schema or without."""
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    assert json.loads(reply(_ask("x", response_format=ResponseFormat(type="json_schema", schema=schema))).text) == {
        "n": 1
    }
    assert json.loads(reply(_ask("x y", response_format=ResponseFormat(type="json_object"))).text)["words"] == 2


SCHEMAS = {
    "const": ({"const": 7}, 7),
    "default": ({"type": "string", "default": "d"}, "d"),
    "enum": ({"enum": ["a", "b"]}, "a"),
    "union": ({"anyOf": [{"type": "null"}, {"type": "string"}]}, None),
    "list of types": ({"type": ["boolean", "null"]}, True),
    "array": ({"type": "array", "items": {"type": "number"}, "minItems": 2}, [1, 1]),
    "minimum": ({"type": "integer", "minimum": 5}, 5),
    "exclusive minimum": ({"type": "number", "exclusiveMinimum": 3}, 4),
    "format": ({"type": "string", "format": "date"}, "2026-01-31"),
    "lengths": ({"type": "string", "minLength": 9, "maxLength": 9}, "examplexx"),
    "reference": ({"$ref": "#/$defs/x", "$defs": {"x": {"type": "boolean"}}}, True),
    "properties only": ({"properties": {"a": {}}}, {"a": "example"}),
}


@pytest.mark.parametrize(("schema", "value"), SCHEMAS.values(), ids=SCHEMAS)
def test_a_schema_is_kept(schema, value):
    """Each keyword that matters is honoured."""
    assert example(schema) == value


def test_a_schema_without_end_ends():
    """A recursive schema does not recurse for ever."""
    schema = {"$ref": "#/$defs/x", "$defs": {"x": {"type": "array", "items": {"$ref": "#/$defs/x"}}}}
    assert example(schema) is not None
