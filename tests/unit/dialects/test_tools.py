"""Reading tools, tool choice and response format in either vendor's shape."""

from __future__ import annotations

import pytest

from hybridinfer.dialects import parse_response_format, parse_tool_choice, parse_tools
from hybridinfer.types import ResponseFormat, Tool, ToolChoice

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}

TOOLS = {
    "openai": (
        {"type": "function", "function": {"name": "f", "description": "d", "parameters": SCHEMA, "strict": True}},
        Tool(name="f", description="d", parameters=SCHEMA, strict=True),
    ),
    "openai without parameters": (
        {"type": "function", "function": {"name": "f"}},
        Tool(name="f", parameters={"type": "object", "properties": {}}),
    ),
    "anthropic": (
        {"name": "f", "description": "d", "input_schema": SCHEMA},
        Tool(name="f", description="d", parameters=SCHEMA),
    ),
    "anthropic custom": ({"type": "custom", "name": "f", "input_schema": SCHEMA}, Tool(name="f", parameters=SCHEMA)),
}


@pytest.mark.parametrize(("raw", "tool"), TOOLS.values(), ids=TOOLS)
def test_a_function_tool_is_read_in_either_shape(raw, tool):
    """Both vendors' function tools become the same record."""
    assert parse_tools([raw]) == (tool,)


def test_no_tools_are_no_tools():
    """None and an empty list mean the same."""
    assert parse_tools(None) == parse_tools([]) == ()


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        ({"type": "web_search_20250305", "name": "web_search"}, "tools[0]: is not a function tool"),
        ({"type": "function"}, "tools[0].function: is not an object"),
        ({"type": "function", "function": {"name": ""}}, "tools[0].function.name: is empty"),
        ({"name": "f", "input_schema": "x"}, "tools[0].input_schema: is not an object"),
        (
            {"type": "function", "function": {"name": "f", "strict": "x"}},
            "tools[0].function.strict: is not true or false",
        ),
    ],
)
def test_a_malformed_tool_is_told_where(raw, told):
    """The error names the tool and its field."""
    with pytest.raises(ValueError, match="^" + told.replace("[", r"\[")):
        parse_tools([raw])


CHOICES = {
    "nothing": (None, None, None),
    "only parallel": (None, False, ToolChoice(mode="auto", parallel=False)),
    "auto": ("auto", None, ToolChoice(mode="auto")),
    "none": ("none", None, ToolChoice(mode="none")),
    "required": ("required", True, ToolChoice(mode="required", parallel=True)),
    "openai name": ({"type": "function", "function": {"name": "f"}}, None, ToolChoice(mode="tool", name="f")),
    "anthropic auto": ({"type": "auto"}, None, ToolChoice(mode="auto")),
    "anthropic any": (
        {"type": "any", "disable_parallel_tool_use": True},
        None,
        ToolChoice(mode="required", parallel=False),
    ),
    "anthropic none": ({"type": "none"}, None, ToolChoice(mode="none")),
    "anthropic name": ({"type": "tool", "name": "f"}, None, ToolChoice(mode="tool", name="f")),
}


@pytest.mark.parametrize(("raw", "parallel", "choice"), CHOICES.values(), ids=CHOICES)
def test_a_tool_choice_is_read_in_either_shape(raw, parallel, choice):
    """Both vendors' choices become the same record."""
    assert parse_tool_choice(raw, parallel=parallel) == choice


def test_an_unknown_tool_choice_is_told_what_to_use():
    """The error lists what is understood."""
    with pytest.raises(ValueError, match="tool_choice: is not understood; use 'auto'"):
        parse_tool_choice({"type": "allowed_tools"})


FORMATS = {
    "nothing": (None, None),
    "text": ({"type": "text"}, ResponseFormat(type="text")),
    "json": ({"type": "json_object"}, ResponseFormat(type="json_object")),
    "openai schema": (
        {"type": "json_schema", "json_schema": {"name": "city", "schema": SCHEMA, "strict": True}},
        ResponseFormat(type="json_schema", schema=SCHEMA, name="city", strict=True),
    ),
    "anthropic schema": ({"type": "json_schema", "schema": SCHEMA}, ResponseFormat(type="json_schema", schema=SCHEMA)),
}


@pytest.mark.parametrize(("raw", "wanted"), FORMATS.values(), ids=FORMATS)
def test_a_response_format_is_read_in_either_shape(raw, wanted):
    """Both vendors' formats become the same record."""
    assert parse_response_format(raw) == wanted


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        ({"type": "xml"}, "response_format.type: is not understood"),
        ({"type": "json_schema"}, "response_format.schema: is not an object"),
        ({"type": "json_schema", "json_schema": {}}, "response_format.json_schema.schema: is not an object"),
    ],
)
def test_a_malformed_response_format_is_told_where(raw, told):
    """The error names the field."""
    with pytest.raises(ValueError, match=told):
        parse_response_format(raw)
