"""Anthropic's messages and streams."""

from __future__ import annotations

import json

import pytest

from hybridinfer.receipt import Code
from hybridinfer.targets.anthropic_answers import AnthropicReader
from hybridinfer.targets.base import Finish, TargetFailed
from hybridinfer.targets.failures import Reported
from hybridinfer.types import TextDelta, ToolCallDelta, Usage

START = {
    "type": "message_start",
    "message": {
        "model": "m",
        "stop_reason": None,
        "usage": {"input_tokens": 9, "output_tokens": 1, "cache_read_input_tokens": 5},
    },
}
STOP = {"type": "message_stop"}


def _text(text: str, index: int = 0) -> dict:
    return {"type": "content_block_delta", "index": index, "delta": {"type": "text_delta", "text": text}}


def _json(part: str, index: int = 0) -> dict:
    return {"type": "content_block_delta", "index": index, "delta": {"type": "input_json_delta", "partial_json": part}}


def _block(block: dict, index: int = 0) -> dict:
    return {"type": "content_block_start", "index": index, "content_block": block}


def _end(index: int = 0) -> dict:
    return {"type": "content_block_stop", "index": index}


def _delta(reason: str | None, **usage: object) -> dict:
    return {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 7, **usage}}


def _read(*events: dict) -> tuple[list, Finish]:
    reader = AnthropicReader()
    out = [out for event in events for out in reader.feed(json.dumps(event).encode())]
    return out, reader.finish()


def test_the_tariff_stands_in_the_usage():
    """The first event of a stream tells tier and speed, the last one the tokens."""
    told = {"input_tokens": 9, "output_tokens": 1, "service_tier": "priority", "speed": "fast"}
    start = {"type": "message_start", "message": {"model": "m", "usage": told}}
    _, finish = _read(start, _block({"type": "text", "text": "a"}), _end(), _delta("end_turn"), STOP)
    assert finish.usage == Usage(
        input_tokens=9, output_tokens=7, tariff=(("service_tier", "priority"), ("speed", "fast"))
    )


def test_text_comes_piece_by_piece():
    """Deltas become events; pings, thinking and empty texts do not."""
    events, finish = _read(
        START,
        _block({"type": "thinking", "thinking": ""}),
        {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hm"}},
        _end(),
        _block({"type": "text", "text": ""}, 1),
        {"type": "ping"},
        _text("a", 1),
        _text("", 1),
        _text("b", 1),
        _end(1),
        _delta("end_turn"),
        STOP,
    )
    assert events == [TextDelta(text="a"), TextDelta(text="b")]
    assert (finish.finish_reason, finish.model) == ("stop", "m")


def test_tool_calls_are_numbered_among_themselves():
    """A call's number counts calls, not blocks; one without arguments gets an empty object."""
    events, finish = _read(
        START,
        _block({"type": "text", "text": "so"}),
        _end(),
        _block({"type": "tool_use", "id": "c1", "name": "f", "input": {}}, 1),
        _json("", 1),
        _json('{"a":', 1),
        _json("1}", 1),
        _end(1),
        _block({"type": "tool_use", "id": "c2", "name": "g", "input": {}}, 2),
        _end(2),
        _delta("tool_use"),
        STOP,
    )
    assert events == [
        TextDelta(text="so"),
        ToolCallDelta(index=0, id="c1", name="f"),
        ToolCallDelta(index=0, arguments='{"a":'),
        ToolCallDelta(index=0, arguments="1}"),
        ToolCallDelta(index=1, id="c2", name="g"),
        ToolCallDelta(index=1, arguments="{}"),
    ]
    assert finish.finish_reason == "tool_calls"


def test_usage_counts_cached_tokens_as_input():
    """Fresh, read and written tokens make the input; the last word on the output counts."""
    written = {"cache_creation_input_tokens": 4, "cache_creation": {"ephemeral_1h_input_tokens": 3}}
    thought = {"output_tokens_details": {"thinking_tokens": 2}, "cache_read_input_tokens": None}
    start = {"type": "message_start", "message": START["message"] | {"usage": START["message"]["usage"] | written}}
    _, finish = _read(start, _text("a"), _delta("end_turn", **thought), STOP)
    assert finish.usage == Usage(
        input_tokens=18,
        output_tokens=7,
        cache_read_tokens=5,
        cache_write_tokens=4,
        cache_write_1h_tokens=3,
        reasoning_tokens=2,
    )


@pytest.mark.parametrize(
    "usage",
    [{}, {"input_tokens": 9}, {"input_tokens": 0, "output_tokens": 1}, {"input_tokens": -1, "output_tokens": 1}],
)
def test_figures_that_cannot_be_are_not_believed(usage):
    """No usage is better than a wrong one: the flow then estimates."""
    reader = AnthropicReader()
    reader.whole({"content": [{"type": "text", "text": "a"}], "stop_reason": "end_turn", "usage": usage})
    assert reader.finish().usage is None


def test_a_stream_that_broke_tells_no_usage():
    """The first figure for the output is a placeholder: money must not believe it."""
    reader = AnthropicReader()
    reader.feed(json.dumps(START).encode())
    assert reader.usage is None


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
    ],
)
def test_stop_reasons_are_understood(said, meant):
    """A cut answer is marked as such."""
    assert _read(START, _text("a"), _delta(said), STOP)[1].finish_reason == meant


FAILURES = {
    "no message_stop": ((START, _text("a"), _delta("end_turn")), Code.INTERRUPTED),
    "no stop reason": ((START, _text("a"), STOP), Code.INTERRUPTED),
    "paused": ((START, _text("a"), _delta("pause_turn"), STOP), Code.INTERRUPTED),
    "refusal": ((START, _text("a"), _delta("refusal"), STOP), Code.REFUSED),
    "nothing": ((START, _delta("end_turn"), STOP), Code.EMPTY),
    "nothing but thoughts": ((START, _delta("max_tokens"), STOP), Code.EMPTY),
}


@pytest.mark.parametrize(("events", "code"), FAILURES.values(), ids=FAILURES)
def test_what_is_no_answer_fails(events, code):
    """Incomplete, refused and empty answers are never a success."""
    with pytest.raises(TargetFailed) as caught:
        _read(*events)
    assert caught.value.code is code


ERROR = {"type": "error", "error": {"type": "overloaded_error"}}


def test_an_error_within_the_stream_or_the_body_is_reported():
    """Status 200 does not make an error an answer."""
    with pytest.raises(Reported):
        AnthropicReader().feed(json.dumps(ERROR).encode())
    with pytest.raises(Reported):
        AnthropicReader().whole(ERROR)


def test_a_message_in_one_piece_gives_the_same_events():
    """Text and calls of a Message, thinking left out."""
    content = [
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "text", "text": "so"},
        {"type": "tool_use", "id": "c1", "name": "f", "input": {"é": 1}},
    ]
    reader = AnthropicReader()
    events = reader.whole({"model": "m", "content": content, "stop_reason": "tool_use"})
    assert events == [
        TextDelta(text="so"),
        ToolCallDelta(index=0, id="c1", name="f"),
        ToolCallDelta(index=0, arguments='{"é": 1}'),
    ]
    assert reader.finish() == Finish(finish_reason="tool_calls", model="m")
