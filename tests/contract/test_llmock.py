"""The cloud targets against LLMock, a third party's wire-level fake of both vendors.

Every fault that it offers ends in a code of ours, and its verdict finds nothing.
"""

from __future__ import annotations

import pytest

from hybridinfer.policy.model import TargetBlock
from hybridinfer.receipt import Code
from hybridinfer.targets.anthropic import AnthropicTarget
from hybridinfer.targets.base import Finish, TargetContext, TargetFailed
from hybridinfer.targets.openai import OpenAITarget
from hybridinfer.types import Message, Request, Text, TextDelta, Tool, ToolCallDelta

pytest.importorskip("llmock", reason="LLMock is not installed")
pytestmark = pytest.mark.anyio

BOTH = pytest.mark.parametrize("kind", ["openai", "anthropic"])
STREAMS = pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
ASK = Request(messages=(Message(role="user", parts=(Text(text="Tell me about Paris, in a few sentences."),)),))
WEATHER = Tool(
    name="get_weather",
    description="The weather of a city",
    parameters={"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)


@pytest.fixture
async def make(llmock):
    """A target that talks to LLMock; closed after the test."""
    made = []

    def build(kind: str, **fields):
        factory = OpenAITarget if kind == "openai" else AnthropicTarget
        model = "gpt-4o" if kind == "openai" else "claude-sonnet-4-5"
        block = TargetBlock(
            **{"kind": kind, "model": model, "base_url": llmock.base_url(kind), "timeout": "20s", **fields}
        )
        target = factory(block, TargetContext(name=kind, environ={"OPENAI_API_KEY": "k", "ANTHROPIC_API_KEY": "k"}))
        made.append(target)
        return target

    yield build
    for target in made:
        await target.aclose()


async def _answer(target, *, stream: bool, request: Request = ASK) -> list:
    return [event async for event in target.stream(request, stream=stream)]


@BOTH
@STREAMS
async def test_its_answers_are_understood(make, llmock, kind, stream):
    """Text, usage and the terminal event, on both APIs."""
    llmock.reply("Paris is a city.")
    events = await _answer(make(kind), stream=stream)
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == "Paris is a city."
    assert isinstance(events[-1], Finish)
    assert events[-1].usage.input_tokens > 0


@BOTH
@STREAMS
async def test_its_tool_calls_are_understood(make, llmock, kind, stream):
    """Name and arguments, on both APIs."""
    llmock.call_tool("get_weather", {"city": "Paris"})
    request = Request(messages=ASK.messages, tools=(WEATHER,))
    events = await _answer(make(kind), stream=stream, request=request)
    calls = [event for event in events if isinstance(event, ToolCallDelta)]
    assert calls[0].name == "get_weather"
    assert '"Paris"' in "".join(call.arguments for call in calls)
    assert events[-1].finish_reason == "tool_calls"


STATUSES = {
    408: Code.TIMEOUT,
    429: Code.RATE_LIMITED,
    500: Code.UNAVAILABLE,
    502: Code.UNAVAILABLE,
    503: Code.UNAVAILABLE,
    504: Code.UNAVAILABLE,
    529: Code.UNAVAILABLE,
}


@BOTH
@STREAMS
@pytest.mark.parametrize("status", STATUSES)
async def test_one_off_errors_have_their_code(make, llmock, kind, stream, status):
    """Each status ends in its code after one request: waiting and trying again is the flow's."""
    llmock.fail(status)
    with pytest.raises(TargetFailed) as caught:
        await _answer(make(kind), stream=stream)
    assert caught.value.code is STATUSES[status]
    assert len(llmock.requests) == 1
    llmock.assert_resilient()


@BOTH
@pytest.mark.parametrize(
    ("status", "code"),
    [(400, Code.INVALID), (401, Code.UNAUTHORIZED), (403, Code.UNAUTHORIZED), (404, Code.INVALID), (422, Code.INVALID)],
)
async def test_the_callers_errors_have_their_code(make, llmock, kind, status, code):
    """What no retry can help; the SDKs do not try either."""
    llmock.fail(status)
    with pytest.raises(TargetFailed) as caught:
        await _answer(make(kind), stream=True)
    assert caught.value.code is code
    assert len(llmock.requests) == 1
    llmock.assert_resilient()


@BOTH
@STREAMS
async def test_a_wait_that_is_asked_for_is_told(make, llmock, kind, stream):
    """Retry-After reaches the flow, which does the waiting."""
    llmock.rate_limit(retry_after=3)
    with pytest.raises(TargetFailed) as caught:
        await _answer(make(kind), stream=stream)
    assert (caught.value.code, caught.value.retry_after) == (Code.RATE_LIMITED, 3.0)


@BOTH
@STREAMS
async def test_a_prompt_beyond_the_window_is_told(make, llmock, kind, stream):
    """Each vendor says it differently."""
    llmock.context_overflow()
    with pytest.raises(TargetFailed) as caught:
        await _answer(make(kind), stream=stream)
    assert caught.value.code is Code.CONTEXT_TOO_LONG


BREAKS = ("disconnect", "truncate", "corrupt")


@BOTH
@pytest.mark.parametrize("fault", BREAKS)
@pytest.mark.parametrize("after", [0, 1, 2])
async def test_a_broken_stream_is_never_an_answer(make, llmock, kind, fault, after):
    """Dropped, cut short in good order, or garbled: interrupted, and once more is well."""
    getattr(llmock, fault)(after_chunks=after)
    target = make(kind)
    with pytest.raises(TargetFailed) as caught:
        await _answer(target, stream=True)
    assert caught.value.code is Code.INTERRUPTED
    assert isinstance((await _answer(target, stream=True))[-1], Finish)
    llmock.assert_resilient()


@BOTH
async def test_a_stalled_stream_is_given_up(make, llmock, kind):
    """The floor under the driver's own clock."""
    target = make(kind, timeout="1500ms")
    await target.warmup()
    llmock.stall(after_chunks=1, seconds=20)
    with pytest.raises(TargetFailed) as caught:
        await _answer(target, stream=True)
    assert caught.value.code is Code.STALLED
