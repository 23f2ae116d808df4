"""Pieces put together, and what an answer counts as."""

from __future__ import annotations

import pytest

from hybridinfer.answer import Assembly, code_of
from hybridinfer.receipt import Code
from hybridinfer.targets.base import Finish
from hybridinfer.types import Request, ResponseFormat, TextDelta, TokenLogprob, ToolCall, ToolCallDelta, Usage

ASKED = Request(messages=())
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}


def judged(*events, request=ASKED, finish="stop"):
    assembly = Assembly()
    for event in events:
        assembly.add(event)
    if finish is not None:
        assembly.add(Finish(finish_reason=finish))
    return code_of(assembly, request)


def test_an_answer_is_put_together():
    """Texts, interleaved tool calls, logprobs, usage and model."""
    token = TokenLogprob(token="a", logprob=-0.1)
    assembly = Assembly()
    seen = [
        assembly.add(event)
        for event in (
            TextDelta(text="a", logprobs=(token,)),
            TextDelta(text=""),
            ToolCallDelta(index=1, id="second", name="g"),
            ToolCallDelta(index=0, id="first", name="f", arguments='{"x"'),
            ToolCallDelta(index=0, arguments=": 1}"),
            TextDelta(text="b"),
            Finish(finish_reason="tool_calls", usage=Usage(input_tokens=1), model="m"),
        )
    ]
    assert seen == [True, False, True, True, True, True, False]
    answer = assembly.answer()
    assert answer.text == "ab"
    assert answer.tool_calls == (
        ToolCall(id="first", name="f", arguments='{"x": 1}'),
        ToolCall(id="second", name="g", arguments=""),
    )
    assert (answer.finish_reason, answer.usage, answer.model) == ("tool_calls", Usage(input_tokens=1), "m")
    assert answer.logprobs == (token,)


def test_an_answer_that_was_looked_at_goes_on():
    """Each look shows all that came until then; two looks at the same pieces give the same answer."""
    assembly = Assembly()
    assembly.add(TextDelta(text="a"))
    half = assembly.answer()
    assembly.add(TextDelta(text="b"))
    assert (half.text, assembly.answer().text) == ("a", "ab")
    assert assembly.answer() is assembly.answer()
    assembly.add(Finish(finish_reason="length"))
    assert assembly.answer().finish_reason == "length"


def test_half_an_answer_has_no_usage():
    """Nobody told yet."""
    assembly = Assembly()
    assembly.add(TextDelta(text="a"))
    answer = assembly.answer()
    assert (answer.usage, answer.model, answer.logprobs) == (None, "", None)


@pytest.mark.parametrize(
    ("events", "finish", "code"),
    [
        ((TextDelta(text="a"),), "stop", Code.OK),
        ((TextDelta(text="a"),), None, Code.INTERRUPTED),
        ((), "stop", Code.EMPTY),
        ((TextDelta(text="a"),), "length", Code.TRUNCATED),
        ((), "length", Code.EMPTY),
        ((TextDelta(text="a"),), "content_filter", Code.REFUSED),
        ((), "content_filter", Code.REFUSED),
        ((ToolCallDelta(index=0, id="1", name="f"),), "tool_calls", Code.OK),
        ((ToolCallDelta(index=0, id="1", name="f", arguments='{"a"'),), "tool_calls", Code.INVALID_OUTPUT),
        ((ToolCallDelta(index=0, id="1", name="f", arguments='{"a"'),), "length", Code.TRUNCATED),
    ],
)
def test_what_an_answer_counts_as(events, finish, code):
    """Every way to end without an error."""
    assert judged(*events, finish=finish)[0] is code


@pytest.mark.parametrize(
    ("text", "schema", "because"),
    [
        ('{"a": 1}', None, ""),
        ("[1]", None, "JSON, but not an object"),
        ("hello", None, "not JSON"),
        ("[" * 100_000, None, "not JSON"),
        ('{"a": 1}', SCHEMA, ""),
        ('{"a": "secret words"}', SCHEMA, "breaks the schema at properties/*/type"),
        ("{}", SCHEMA, "breaks the schema at required"),
        ("hello", SCHEMA, "not JSON"),
        ("{}", {"$ref": "https://example.com/schema"}, "the schema refers to something outside itself"),
    ],
)
def test_demanded_json_is_checked(text, schema, because):
    """Against its schema, offline; what is wrong is told without quoting the answer."""
    wanted = ResponseFormat(type="json_object" if schema is None else "json_schema", schema=schema)
    code, said = judged(TextDelta(text=text), request=Request(messages=(), response_format=wanted))
    assert (code is Code.OK, said) == (because == "", because)


@pytest.mark.parametrize(
    ("text", "wanted", "because"),
    [
        ("yes", ResponseFormat(type="choice", choices=("yes", "no")), ""),
        ("yes\n", ResponseFormat(type="choice", choices=("yes", "no")), ""),
        ("Yes, of course", ResponseFormat(type="choice", choices=("yes", "no")), "none of the choices"),
        ("AB-12", ResponseFormat(type="regex", pattern="[A-Z]+-[0-9]+"), ""),
        ("AB-12!", ResponseFormat(type="regex", pattern="[A-Z]+-[0-9]+"), "does not match the pattern"),
    ],
)
def test_choices_and_patterns_are_checked(text, wanted, because):
    """Whoever answered: what the vendors' models were only asked for, too."""
    code, said = judged(TextDelta(text=text), request=Request(messages=(), response_format=wanted))
    assert (code is Code.OK, said) == (because == "", because)


def test_a_tool_call_may_stand_for_demanded_json():
    """The format is for the text."""
    request = Request(messages=(), response_format=ResponseFormat(type="json_object"))
    assert judged(ToolCallDelta(index=0, id="1", name="f"), request=request)[0] is Code.OK


def test_free_text_is_not_checked():
    """`text` demands nothing."""
    request = Request(messages=(), response_format=ResponseFormat(type="text"))
    assert judged(TextDelta(text="hello"), request=request)[0] is Code.OK
