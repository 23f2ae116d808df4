"""OpenAI's face: the openai package's own types, with the receipt."""

from __future__ import annotations

import pytest
from openai import NOT_GIVEN, Omit
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from hybridinfer import AsyncRouter, Router, StreamInterrupted
from hybridinfer.receipt import Code
from hybridinfer.testing import FakeTarget, Outage, Reply
from hybridinfer.types import ToolChoice

POLICY = {
    "version": 1,
    "targets": {
        "cloud": {"kind": "openai", "model": "m", "price": {"input": 1, "output": 2}},
        "local": {"kind": "onnx", "model": "m"},
    },
    "rules": [{"name": "all", "use": ["cloud", "local"]}],
}
ASK = [{"role": "user", "content": "hi"}]


def policy(**resilience):
    return POLICY | {"resilience": resilience}


def fakes(*script):
    return {"cloud": FakeTarget("cloud", script=script or ("hello",)), "local": FakeTarget("local", zone="device")}


@pytest.fixture
def router():
    with Router(POLICY, targets=fakes()) as made:
        yield made


def test_a_completion(router):
    """The SDK's class, the text where code looks for it, the receipt beside."""
    answer = router.chat.completions.create(model="gpt-anything", messages=ASK)
    assert isinstance(answer, ChatCompletion)
    assert answer.choices[0].message.content == "hello"
    assert answer.usage.prompt_tokens == 10
    assert answer.hybridinfer.target == "cloud"
    assert router.chat is router.chat


def test_options_of_both_worlds():
    """Theirs by their names, ours by ours; what was not given is not sent."""
    targets = fakes()
    with Router(POLICY, targets=targets) as router:
        router.chat.completions.create(
            messages=ASK,
            max_completion_tokens=7,
            temperature=NOT_GIVEN,
            top_p=Omit(),
            stop=None,
            n=1,
            parallel_tool_calls=False,
            tags={"team": "a"},
        )
    [request] = targets["cloud"].requests
    assert (request.max_tokens, request.temperature, request.top_p, request.stop) == (7, None, None, ())
    assert request.tool_choice == ToolChoice(mode="auto", parallel=False)
    assert request.tags == {"team": "a"}


def test_what_cannot_be_honoured_is_a_type_error(router):
    """Silence would be a lie."""
    with pytest.raises(TypeError, match="a router gives one answer"):
        router.chat.completions.create(messages=ASK, n=2)
    with pytest.raises(TypeError, match="unknown option 'logit_bias'"):
        router.chat.completions.create(messages=ASK, logit_bias={})


def test_a_stream(router):
    """Chunks of the SDK's class, the last with the usage that was asked for, and the receipt at the end."""
    stream = router.chat.completions.create(messages=ASK, stream=True, stream_options={"include_usage": True})
    with stream:
        assert stream.hybridinfer is None
        chunks = list(stream)
    assert all(isinstance(chunk, ChatCompletionChunk) for chunk in chunks)
    texts = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]
    assert "".join(text for text in texts if text) == "hello"
    assert chunks[-1].usage.completion_tokens == 2
    assert stream.hybridinfer.target == "cloud"


def test_closing_a_stream():
    """Upstream is closed."""
    targets = fakes(Reply(chunks=("a", "b")))
    with Router(POLICY, targets=targets) as router:
        stream = router.chat.completions.create(messages=ASK, stream=True)
        next(iter(stream))
        stream.close()
        assert targets["cloud"].open == 0


CUT = Outage(Code.INTERRUPTED, after=("half",))


@pytest.mark.parametrize(("theirs", "ours"), [("restart", {}), ("error", {"on_interrupt": "restart"}), ("buffer", {})])
def test_chunks_are_never_taken_back(theirs, ours):
    """OpenAI's stream has no word for it: `restart`, of the policy or the caller, becomes `buffer`."""
    with Router(policy(on_interrupt=theirs), targets=fakes(CUT)) as router:
        stream = router.chat.completions.create(messages=ASK, stream=True, **ours)
        text = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
    assert text == "hello"


def test_the_policys_error_stays():
    """Without a wish, a stream that dies raises."""
    with Router(policy(on_interrupt="error"), targets=fakes(CUT)) as router:
        stream = router.chat.completions.create(messages=ASK, stream=True)
        with pytest.raises(StreamInterrupted):
            list(stream)


@pytest.mark.anyio
async def test_the_asynchronous_face():
    """The same with await."""
    async with AsyncRouter(POLICY, targets=fakes()) as router:
        answer = await router.chat.completions.create(messages=ASK)
        assert answer.choices[0].message.content == "hello"
        stream = await router.chat.completions.create(messages=ASK, stream=True)
        async with stream:
            chunks = [chunk async for chunk in stream]
        assert chunks[-1].choices[0].finish_reason == "stop"
        assert stream.hybridinfer.target == "cloud"
        assert router.chat is router.chat
