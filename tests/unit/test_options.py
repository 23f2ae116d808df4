"""Keyword options and message shapes become a request, or a clear error before anything happens."""

from __future__ import annotations

from decimal import Decimal

import pytest

from hybridinfer.options import build_request
from hybridinfer.types import Message, ResponseFormat, Text, Tool, ToolChoice

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}


def test_a_text_is_a_user_message():
    """The shortest way."""
    request = build_request("hello", {})
    assert request.messages == (Message(role="user", parts=(Text(text="hello"),)),)
    assert request.max_tokens is None


def test_messages_are_taken_as_they_are():
    """Our own objects need no parsing."""
    messages = [Message(role="system", parts=()), Message(role="user", parts=(Text(text="hi"),))]
    assert build_request(messages, {}).messages == tuple(messages)


def test_vendor_shapes_are_parsed():
    """OpenAI's dicts."""
    request = build_request([{"role": "user", "content": "hi"}], {})
    assert request.messages[0].text == "hi"


def test_an_empty_conversation_is_an_error():
    """At least one message."""
    with pytest.raises(ValueError, match="the conversation is empty"):
        build_request([], {})


GOOD = {
    "timeout": (2, 2.0),
    "max_tokens": (5, 5),
    "temperature": (1, 1.0),
    "top_p": (0.5, 0.5),
    "top_k": (3, 3),
    "seed": (-1, -1),
    "stop": ("a", ("a",)),
    "logprobs": (True, True),
    "metadata": ({"a": "b"}, {"a": "b"}),
    "user": ("me", "me"),
    "extra_headers": ({"x": "y"}, {"x": "y"}),
    "privacy": ("secret", "secret"),
    "budget_usd": (0.1, Decimal("0.1")),
    "tags": ({"team": "a"}, {"team": "a"}),
    "on_interrupt": ("buffer", "buffer"),
    "tools": ([Tool(name="t", parameters={})], (Tool(name="t", parameters={}),)),
    "tool_choice": (ToolChoice(mode="none"), ToolChoice(mode="none")),
    "response_format": (ResponseFormat(type="json_object"), ResponseFormat(type="json_object")),
}


@pytest.mark.parametrize("name", GOOD)
def test_every_option_reaches_the_request(name):
    """Under its own name, in its own type."""
    given, kept = GOOD[name]
    assert getattr(build_request("hi", {name: given}), name) == kept


def test_choices_and_patterns_are_formats():
    """Short ways to say what form the answer has."""
    assert build_request("hi", {"choices": ["yes", "no"]}).response_format == ResponseFormat(
        type="choice", choices=("yes", "no")
    )
    assert build_request("hi", {"regex": "[a-z]+"}).response_format == ResponseFormat(type="regex", pattern="[a-z]+")


def test_an_answer_has_one_form():
    """Two of them contradict each other."""
    with pytest.raises(ValueError, match="regex: an answer has one form; leave out choices"):
        build_request("hi", {"choices": ["a"], "regex": "a"})


def test_none_means_not_given():
    """Callers pass their own defaults through."""
    assert build_request("hi", dict.fromkeys(GOOD)) == build_request("hi", {})


def test_stop_takes_a_list_too():
    """One or many."""
    assert build_request("hi", {"stop": ["a", "b"]}).stop == ("a", "b")


def test_vendor_shapes_of_tools_and_formats():
    """OpenAI's."""
    request = build_request(
        "hi",
        {
            "tools": [{"type": "function", "function": {"name": "t", "parameters": {}}}],
            "tool_choice": "required",
            "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}},
        },
    )
    assert request.tools[0].name == "t"
    assert request.tool_choice == ToolChoice(mode="required")
    assert request.response_format.schema == SCHEMA


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("timeout", "5", TypeError),
        ("timeout", True, TypeError),
        ("timeout", 0, ValueError),
        ("timeout", float("inf"), ValueError),
        ("timeout", float("nan"), ValueError),
        ("max_tokens", 1.5, TypeError),
        ("max_tokens", True, TypeError),
        ("max_tokens", 0, ValueError),
        ("temperature", "hot", TypeError),
        ("temperature", False, TypeError),
        ("temperature", 3, ValueError),
        ("temperature", float("nan"), ValueError),
        ("seed", 1.0, TypeError),
        ("stop", 5, TypeError),
        ("stop", [""], TypeError),
        ("stop", [1], TypeError),
        ("logprobs", 1, TypeError),
        ("metadata", {"a": 1}, TypeError),
        ("metadata", ["a"], TypeError),
        ("user", 5, TypeError),
        ("budget_usd", True, TypeError),
        ("budget_usd", "a lot", ValueError),
        ("budget_usd", -1, ValueError),
        ("budget_usd", "NaN", ValueError),
        ("on_interrupt", "continue?", ValueError),
        ("response_format", ResponseFormat(type="json_schema", schema={"type": "objekt"}), ValueError),
        ("choices", ["a", "a"], ValueError),
        ("choices", [" a"], ValueError),
        ("choices", [], ValueError),
        ("choices", 5, TypeError),
        ("regex", "(", ValueError),
        ("regex", 5, TypeError),
    ],
)
def test_wrong_values_name_their_option(name, value, error):
    """TypeError for the wrong type, ValueError for what cannot be; the option's name stands first."""
    with pytest.raises(error, match=f"^{name}: "):
        build_request("hi", {name: value})


def test_a_misspelt_option_is_told_the_right_one():
    """Did you mean."""
    with pytest.raises(TypeError, match=r"unknown option 'max_token'; did you mean 'max_tokens'\?"):
        build_request("hi", {"max_token": 5})


def test_an_unknown_option_is_told_all_of_them():
    """Nothing is near."""
    with pytest.raises(TypeError, match="unknown option 'zzz'; options are timeout, max_tokens"):
        build_request("hi", {"zzz": 5})
