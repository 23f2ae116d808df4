"""Our answers in OpenAI's shapes, checked by the vendor's own models."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from hybridinfer.dialects import Untranslatable
from hybridinfer.dialects.openai_answers import openai_chunks, openai_chunks_async, openai_completion
from hybridinfer.receipt import Receipt
from hybridinfer.types import (
    End,
    Reset,
    Response,
    Start,
    StreamEvent,
    TextDelta,
    TokenLogprob,
    ToolCall,
    ToolCallDelta,
    Usage,
)

USAGE = Usage(input_tokens=7, output_tokens=3, cache_read_tokens=2, cache_write_tokens=1, reasoning_tokens=1)
RECEIPT = Receipt(id="r1", policy="p")


def test_an_answer_has_chat_completions_fields():
    """Text, usage and finish reason stand where OpenAI's readers look for them."""
    logprobs = (TokenLogprob(token="hi", logprob=-0.5),)
    response = Response(
        text="hi", receipt=RECEIPT, usage=USAGE, model="small", logprobs=logprobs, finish_reason="length"
    )
    completion = ChatCompletion.model_validate(openai_completion(response, created=5), strict=True)
    choice = completion.choices[0]
    assert (completion.id, completion.created, completion.model) == ("chatcmpl-r1", 5, "small")
    assert (choice.message.content, choice.finish_reason) == ("hi", "length")
    assert choice.logprobs is not None
    assert choice.logprobs.content is not None
    assert (choice.logprobs.content[0].token, choice.logprobs.content[0].logprob) == ("hi", -0.5)
    assert completion.usage is not None
    assert (completion.usage.prompt_tokens, completion.usage.completion_tokens, completion.usage.total_tokens) == (
        7,
        3,
        10,
    )
    assert completion.usage.prompt_tokens_details is not None
    assert completion.usage.prompt_tokens_details.cached_tokens == 2


def test_tool_calls_have_chat_completions_fields():
    """Calls come as tool_calls with content null, under the name asked for."""
    calls = (ToolCall(id="c1", name="f", arguments="{}"),)
    response = Response(text="", receipt=RECEIPT, tool_calls=calls, finish_reason="tool_calls")
    completion = ChatCompletion.model_validate(openai_completion(response, created=5, model="auto"), strict=True)
    message = completion.choices[0].message
    assert completion.model == "auto"
    assert message.content is None
    assert message.tool_calls is not None
    assert message.tool_calls[0].model_dump() == {
        "id": "c1",
        "type": "function",
        "function": {"name": "f", "arguments": "{}"},
    }


EVENTS: list[StreamEvent] = [
    Start(target="small"),
    TextDelta(text="hi", logprobs=(TokenLogprob(token="hi", logprob=-0.5),)),
    ToolCallDelta(index=0, id="c1", name="f"),
    ToolCallDelta(index=0, arguments="{}"),
    End(response=Response(text="hi", receipt=RECEIPT, finish_reason="tool_calls", usage=USAGE)),
]


def test_a_stream_has_chunks_of_chat_completions():
    """Role first, then text and call deltas, then the finish reason and the usage."""
    raw = openai_chunks(EVENTS, created=5, model="auto", completion_id="x", include_usage=True)
    chunks = [ChatCompletionChunk.model_validate(chunk, strict=True) for chunk in raw]
    assert {(chunk.id, chunk.created, chunk.model) for chunk in chunks} == {("x", 5, "auto")}
    deltas = [chunk.choices[0].delta.model_dump(exclude_none=True) for chunk in chunks[:-1]]
    assert deltas == [
        {"role": "assistant", "content": ""},
        {"content": "hi"},
        {"tool_calls": [{"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]},
        {},
    ]
    assert [chunk.choices[0].finish_reason for chunk in chunks[:-1]] == [None, None, None, None, "tool_calls"]
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == 10


@pytest.mark.anyio
async def test_the_asynchronous_stream_has_the_same_chunks():
    """Both faces share one translation; usage comes only when asked for."""

    async def events() -> AsyncIterator[StreamEvent]:
        for event in EVENTS:
            yield event

    chunks = [chunk async for chunk in openai_chunks_async(events(), created=5)]
    assert chunks == list(openai_chunks(EVENTS, created=5))
    assert all("usage" not in chunk for chunk in chunks)


def test_a_stream_that_begins_anew_cannot_be_said():
    """OpenAI's chunks cannot take back text, so a reset is an error."""
    with pytest.raises(Untranslatable, match="begins anew"):
        list(openai_chunks([Reset(because="stalled")], created=5))
