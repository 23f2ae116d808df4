"""OpenAI's answers and streams, and those of servers that imitate it."""

from __future__ import annotations

import json

import pytest

from hybridinfer.receipt import Code
from hybridinfer.targets.base import Finish, TargetFailed
from hybridinfer.targets.failures import Reported
from hybridinfer.targets.openai_answers import OpenAIReader
from hybridinfer.types import TextDelta, TokenLogprob, ToolCallDelta, Usage


def _chunk(delta: dict | None = None, finish: str | None = None, **fields: object) -> bytes:
    choice = {"index": 0, "delta": delta or {}, "finish_reason": finish}
    return json.dumps({"model": "m", "choices": [choice]} | fields).encode()


def _read(*chunks: bytes) -> tuple[list, Finish]:
    reader = OpenAIReader()
    events = [event for chunk in chunks for event in reader.feed(chunk)]
    return events, reader.finish()


def _failed(*chunks: bytes) -> TargetFailed:
    with pytest.raises(TargetFailed) as caught:
        _read(*chunks)
    return caught.value


def test_text_comes_piece_by_piece():
    """Each delta becomes an event; the role and empty ones do not."""
    events, finish = _read(
        _chunk({"role": "assistant", "content": ""}), _chunk({"content": "a"}), _chunk({"content": "b"}, "stop")
    )
    assert events == [TextDelta(text="a"), TextDelta(text="b")]
    assert finish == Finish(finish_reason="stop", model="m")


def test_done_is_noted():
    """After [DONE], nothing more is read."""
    reader = OpenAIReader()
    assert not reader.done
    assert reader.feed(b" [DONE] ") == ()
    assert reader.done


def test_tool_calls_come_with_id_and_name_once():
    """Arguments follow under the call's number."""
    events, finish = _read(
        _chunk({"tool_calls": [{"index": 0, "id": "c1", "function": {"name": "f", "arguments": ""}}]}),
        _chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"a"'}}]}),
        _chunk({"tool_calls": [{"index": 1, "id": "c2", "function": {"name": "g", "arguments": "{}"}}]}),
        _chunk({"tool_calls": [{"index": 0, "function": {"arguments": ":1}"}}]}, "tool_calls"),
    )
    assert events == [
        ToolCallDelta(index=0, id="c1", name="f"),
        ToolCallDelta(index=0, arguments='{"a"'),
        ToolCallDelta(index=1, id="c2", name="g", arguments="{}"),
        ToolCallDelta(index=0, arguments=":1}"),
    ]
    assert finish.finish_reason == "tool_calls"


def test_calls_of_loose_servers_are_read():
    """Without index or id, with arguments as an object, under the finish reason stop."""
    calls = [{"function": {"name": "f", "arguments": {"a": 1}}}, {"id": "x", "function": {"name": "g"}}]
    events, finish = _read(_chunk({"tool_calls": calls}, "stop"))
    assert events == [
        ToolCallDelta(index=0, id="call_0", name="f", arguments='{"a": 1}'),
        ToolCallDelta(index=1, id="x", name="g"),
    ]
    assert finish.finish_reason == "tool_calls"


def test_log_probabilities_come_with_their_text():
    """Each token's natural-log probability is kept."""
    logprobs = {"content": [{"token": "a", "logprob": -1, "top_logprobs": []}]}
    chunk = {"choices": [{"index": 0, "delta": {"content": "a"}, "logprobs": logprobs, "finish_reason": "stop"}]}
    events, _ = _read(json.dumps(chunk).encode())
    assert events == [TextDelta(text="a", logprobs=(TokenLogprob(token="a", logprob=-1.0),))]


def test_other_choices_and_thinking_parts_are_left_out():
    """Only the first choice answers, and of a list of parts only its texts."""
    content = [{"type": "thinking", "thinking": []}, {"type": "text", "text": "a"}]
    chunk = {
        "choices": [
            {"index": 1, "delta": {"content": "z"}},
            {"index": 0, "delta": {"content": content}, "finish_reason": "stop"},
        ]
    }
    events, _ = _read(json.dumps(chunk).encode())
    assert events == [TextDelta(text="a")]


USAGE = {
    "prompt_tokens": 9,
    "completion_tokens": 4,
    "prompt_tokens_details": {"cached_tokens": 5, "cache_write_tokens": 2},
    "completion_tokens_details": {"reasoning_tokens": 3},
}


def test_usage_comes_in_a_chunk_of_its_own():
    """Cached and reasoning tokens are told apart."""
    _, finish = _read(
        _chunk({"content": "a"}, "stop", usage=None), json.dumps({"choices": [], "usage": USAGE}).encode()
    )
    assert finish.usage == Usage(
        input_tokens=9, output_tokens=4, cache_read_tokens=5, cache_write_tokens=2, reasoning_tokens=3
    )


@pytest.mark.parametrize(("told", "tariff"), [("flex", (("service_tier", "flex"),)), (None, ()), (7, ())])
def test_the_tariff_is_told_beside_the_usage(told, tariff):
    """Of a stream, where every chunk names it, and of a whole answer."""
    chunks = [
        _chunk({"content": "a"}, "stop", service_tier=told),
        json.dumps({"choices": [], "usage": USAGE}).encode(),
    ]
    _, finish = _read(*chunks)
    reader = OpenAIReader()
    message = {"message": {"role": "assistant", "content": "a"}, "finish_reason": "stop"}
    reader.whole({"model": "m", "choices": [message], "usage": USAGE, "service_tier": told})
    assert finish.usage.tariff == reader.finish().usage.tariff == tariff


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": 0, "completion_tokens": 4},
        {"prompt_tokens": 9, "completion_tokens": -1},
        {"prompt_tokens": 9},
        {"prompt_tokens": "9", "completion_tokens": 4},
        USAGE | {"prompt_tokens_details": {"cached_tokens": -5}},
    ],
)
def test_figures_that_cannot_be_are_not_believed(usage):
    """No usage is better than a wrong one: the flow then estimates."""
    _, finish = _read(_chunk({"content": "a"}, "stop", usage=usage))
    assert finish.usage is None


@pytest.mark.parametrize(
    ("said", "meant"), [("length", "length"), ("max_tokens", "length"), ("eos", "stop"), ("stop", "stop")]
)
def test_finish_reasons_are_understood(said, meant):
    """The imitators' words are known too."""
    assert _read(_chunk({"content": "a"}, said))[1].finish_reason == meant


FAILURES = {
    "no finish reason": ((_chunk({"content": "a"}), b"[DONE]"), Code.INTERRUPTED),
    "unknown finish reason": ((_chunk({"content": "a"}, "abort"),), Code.INTERRUPTED),
    "content filter": ((_chunk({"content": "a"}, "content_filter"),), Code.REFUSED),
    "refusal": ((_chunk({"refusal": "I can't"}), _chunk({}, "stop")), Code.REFUSED),
    "nothing": ((_chunk({}, "stop"),), Code.EMPTY),
    "nothing but thoughts": ((_chunk({"reasoning_content": "hm"}, "length"),), Code.EMPTY),
}


@pytest.mark.parametrize(("chunks", "code"), FAILURES.values(), ids=FAILURES)
def test_what_is_no_answer_fails(chunks, code):
    """Incomplete, refused and empty answers are never a success."""
    assert _failed(*chunks).code is code


def test_why_an_answer_is_incomplete_is_told():
    """A stream that was cut is told apart from a word that nobody knows."""
    assert "without its finish_reason" in _failed(_chunk({"content": "a"})).because
    assert "unknown reason" in _failed(_chunk({"content": "a"}, "abort")).because


def test_why_nothing_was_said_is_told():
    """max_tokens spent on thinking is a different trouble from silence."""
    assert "max_tokens" in _failed(_chunk({}, "length")).because
    assert "max_tokens" not in _failed(_chunk({}, "stop")).because


def test_an_error_within_the_stream_is_reported():
    """Status 200 does not make an error an answer."""
    with pytest.raises(Reported) as caught:
        OpenAIReader().feed(b'{"error": {"type": "server_error"}}')
    assert caught.value.payload == {"error": {"type": "server_error"}}


def test_an_answer_in_one_piece_gives_the_same_events():
    """Text, calls, usage and finish reason of a ChatCompletion."""
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    message = {"role": "assistant", "content": "a", "refusal": None, "tool_calls": [call]}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls", "logprobs": None}
    reader = OpenAIReader()
    events = reader.whole({"model": "m", "choices": [choice], "usage": USAGE})
    assert events == [TextDelta(text="a"), ToolCallDelta(index=0, id="c1", name="f", arguments="{}")]
    assert reader.finish().usage is not None


@pytest.mark.parametrize("payload", [{"model": "m"}, [], None, {"choices": "x"}])
def test_a_body_of_another_shape_is_not_read(payload):
    """It raises what the adapter calls garbled."""
    with pytest.raises((KeyError, TypeError, AttributeError)):
        OpenAIReader().whole(payload)
