"""Our answers in OpenAI's shapes: `ChatCompletion` and `ChatCompletionChunk`, as plain dicts.

For code that was written against `client.chat.completions.create`. Source: `chat.chat_completion` and
`chat.chat_completion_chunk` of openai 3.54.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable
from typing import Any

from ..types import End, Reset, Response, Start, StreamEvent, TextDelta, TokenLogprob, ToolCall, ToolCallDelta, Usage
from .base import Untranslatable


def openai_completion(response: Response, *, created: int, model: str = "") -> dict[str, Any]:
    """`ChatCompletion`'s fields of an answer.

    Args:
        response: The answer.
        created: Unix seconds.
        model: What to call the model; empty takes what the target said.
    """
    message: dict[str, Any] = {"role": "assistant", "content": response.text or None, "refusal": None}
    if response.tool_calls:
        message["tool_calls"] = [_call(call) for call in response.tool_calls]
    else:
        message["content"] = response.text
    choice = {
        "index": 0,
        "message": message,
        "finish_reason": response.finish_reason,
        "logprobs": _logprobs(response.logprobs),
    }
    return {
        "id": _id(response),
        "object": "chat.completion",
        "created": created,
        "model": model or response.model,
        "choices": [choice],
        "usage": _usage(response.usage),
    }


def openai_chunks(
    events: Iterable[StreamEvent],
    *,
    created: int,
    model: str = "",
    completion_id: str = "",
    include_usage: bool = False,
) -> Iterable[dict[str, Any]]:
    """`ChatCompletionChunk`s of a stream's events.

    Args:
        events: What `Router.stream` yields.
        created: Unix seconds.
        model: What to call the model.
        completion_id: The same on every chunk.
        include_usage: One more chunk at the end, without choices, as `stream_options` asks for.

    Raises:
        Untranslatable: The stream was begun anew (`Reset`): this dialect cannot take back what it said.
    """
    head = _head(created, model, completion_id)
    for event in events:
        yield from _chunks(event, head, include_usage=include_usage)


async def openai_chunks_async(
    events: AsyncIterable[StreamEvent],
    *,
    created: int,
    model: str = "",
    completion_id: str = "",
    include_usage: bool = False,
) -> AsyncIterator[dict[str, Any]]:
    """`openai_chunks` for `AsyncRouter.stream`."""
    head = _head(created, model, completion_id)
    async for event in events:
        for chunk in _chunks(event, head, include_usage=include_usage):
            yield chunk


def _head(created: int, model: str, completion_id: str) -> dict[str, Any]:
    return {"id": completion_id, "object": "chat.completion.chunk", "created": created, "model": model}


def _chunks(event: StreamEvent, head: dict[str, Any], *, include_usage: bool) -> Iterable[dict[str, Any]]:
    match event:
        case Start():
            yield head | {"choices": [_delta({"role": "assistant", "content": ""})]}
        case TextDelta():
            yield head | {"choices": [_delta({"content": event.text}, logprobs=_logprobs(event.logprobs or None))]}
        case ToolCallDelta():
            yield head | {"choices": [_delta({"tool_calls": [_call_delta(event)]})]}
        case Reset():
            raise Untranslatable("openai", "a stream that begins anew; ask for on_interrupt 'error' or 'buffer'")
        case End():
            yield head | {"choices": [_delta({}, finish_reason=event.response.finish_reason)]}
            if include_usage:
                yield head | {"choices": [], "usage": _usage(event.response.usage)}


def _delta(delta: dict[str, Any], *, finish_reason: str | None = None, logprobs: Any = None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "finish_reason": finish_reason, "logprobs": logprobs}


def _call(call: ToolCall) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _call_delta(event: ToolCallDelta) -> dict[str, Any]:
    function: dict[str, Any] = {"arguments": event.arguments}
    if event.name is not None:
        function["name"] = event.name
    head = {} if event.id is None else {"id": event.id, "type": "function"}
    return {"index": event.index, **head, "function": function}


def _logprobs(logprobs: Iterable[TokenLogprob] | None) -> dict[str, Any] | None:
    if logprobs is None:
        return None
    content = [
        {"token": item.token, "logprob": item.logprob, "bytes": list(item.token.encode()), "top_logprobs": []}
        for item in logprobs
    ]
    return {"content": content, "refusal": None}


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {
            "cached_tokens": usage.cache_read_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }


def _id(response: Response) -> str:
    return f"chatcmpl-{response.receipt.id}"
