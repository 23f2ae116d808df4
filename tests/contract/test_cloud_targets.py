"""The cloud targets, through the vendors' real SDKs, against the loopback emulator over real HTTP."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
from decimal import Decimal

import anthropic
import httpx2
import openai
import pytest

from hybridinfer.drill import faults
from hybridinfer.errors import ConfigurationError
from hybridinfer.policy.model import TargetBlock
from hybridinfer.receipt import Code
from hybridinfer.targets import http
from hybridinfer.targets.anthropic import AnthropicTarget
from hybridinfer.targets.base import Finish, Progress, TargetContext, TargetFailed
from hybridinfer.targets.openai import OpenAITarget
from hybridinfer.types import (
    File,
    Image,
    Message,
    Opaque,
    Request,
    ResponseFormat,
    Text,
    TextDelta,
    Tool,
    ToolCall,
    ToolCallDelta,
    ToolResult,
)

pytestmark = pytest.mark.anyio

KINDS = ("openai", "anthropic")
STREAMS = pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
BOTH = pytest.mark.parametrize("kind", KINDS)
WEATHER = Tool(name="get_weather", parameters={"type": "object", "properties": {"city": {"type": "string"}}})


def _ask(text: str = "What is 17 * 3?", **fields: object) -> Request:
    return Request(messages=(Message(role="user", parts=(Text(text=text),)),), **fields)


async def _answer(target, request: Request, *, stream: bool) -> tuple[str, list[ToolCallDelta], Finish]:
    events = [event async for event in target.stream(request, stream=stream)]
    assert isinstance(events[-1], Finish)
    assert not any(isinstance(event, Finish) for event in events[:-1])
    text = "".join(event.text for event in events if isinstance(event, TextDelta))
    return text, [event for event in events if isinstance(event, ToolCallDelta)], events[-1]


async def _fail(target, *, stream: bool, request: Request | None = None) -> TargetFailed:
    with pytest.raises(TargetFailed) as caught:
        await _answer(target, request or _ask(), stream=stream)
    return caught.value


@BOTH
@STREAMS
async def test_text_arrives_with_usage(make, kind, stream):
    """A question is answered, whole or in pieces, and the vendor's usage and model are told."""
    text, calls, finish = await _answer(make(kind), _ask(), stream=stream)
    assert text == "This is the loopback emulator, not a real model. 17 * 3 = 51."
    assert calls == []
    assert (finish.finish_reason, finish.model) == ("stop", f"{kind}-model")
    assert finish.usage is not None
    assert finish.usage.input_tokens > 0
    assert finish.usage.output_tokens > 0
    assert finish.usage.cost_usd == Decimal(0)


@BOTH
async def test_a_stream_comes_in_pieces(make, kind):
    """Nothing is held back until the end."""
    events = [event async for event in make(kind).stream(_ask(), stream=True)]
    assert len(events) > 5


@BOTH
@STREAMS
async def test_a_tool_is_called(make, kind, stream):
    """Id, name and arguments arrive in the same form from both vendors."""
    _, deltas, finish = await _answer(make(kind), _ask("the weather in Rome?", tools=(WEATHER,)), stream=stream)
    assert (deltas[0].name, deltas[0].id) == ("get_weather", "call_get_weather_1")
    assert json.loads("".join(delta.arguments for delta in deltas)) == {"city": "example"}
    assert finish.finish_reason == "tool_calls"


@BOTH
@STREAMS
async def test_a_tools_result_is_understood(make, kind, stream):
    """The whole loop: question, call, result, answer."""
    request = Request(
        messages=(
            Message(role="user", parts=(Text(text="the weather in Rome?"),)),
            Message(role="assistant", parts=(ToolCall(id="c1", name="get_weather", arguments='{"city":"Rome"}'),)),
            Message(role="tool", parts=(ToolResult(call_id="c1", content=(Text(text="sunny"),)),)),
        ),
        tools=(WEATHER,),
    )
    text, _, _ = await _answer(make(kind), request, stream=stream)
    assert text.endswith("The tool told me: sunny")


@BOTH
@STREAMS
async def test_demanded_json_arrives(make, emulator, kind, stream):
    """A schema is sent in the vendor's own field and kept."""
    schema = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 5}}, "required": ["n"]}
    wanted = ResponseFormat(type="json_schema", schema=schema)
    text, _, _ = await _answer(make(kind), _ask(response_format=wanted), stream=stream)
    assert json.loads(text)["n"] >= 1
    body = emulator.requests[-1].body
    field = body["response_format"] if kind == "openai" else body["output_config"]["format"]
    assert field["type"] == "json_schema"
    if kind == "anthropic":  # what the API does not take is moved into words by the SDK's own function
        assert field["schema"]["additionalProperties"] is False
        assert "minimum" not in field["schema"]["properties"]["n"]
    assert schema["properties"]["n"] == {"type": "integer", "minimum": 5}


@BOTH
@STREAMS
async def test_an_answer_cut_at_its_limit_says_so(make, kind, stream):
    """max_tokens reached is told as length."""
    text, _, finish = await _answer(make(kind), _ask(max_tokens=3), stream=stream)
    assert text == "This is the"
    assert finish.finish_reason == "length"


@BOTH
async def test_pictures_and_files_arrive(make, emulator, kind):
    """A picture and a document reach the vendor as they were given."""
    parts = (
        Text(text="hi"),
        Image(data="aGk=", media_type="image/png"),
        File(data="aGk=", media_type="application/pdf", name="a"),
    )
    await _answer(make(kind), Request(messages=(Message(role="user", parts=parts),)), stream=True)
    kinds = [block["type"] for block in emulator.requests[-1].body["messages"][0]["content"]]
    assert kinds == (["text", "image_url", "file"] if kind == "openai" else ["text", "image", "document"])


# What each fault must become: (stream, whole); None where the answer survives it.
FAULTS = {
    "reset": (faults.ResetConnection(), Code.UNAVAILABLE, Code.UNAVAILABLE),
    "reset within": (faults.ResetConnection(after=2), Code.INTERRUPTED, Code.INTERRUPTED),
    "slow": (faults.Slow(seconds=0.001), None, None),
    "slow first token": (faults.SlowFirstToken(seconds=0.001), None, None),
    "short stall": (faults.Stall(seconds=0.001), None, None),
    "cut": (faults.Cut(after=2), Code.INTERRUPTED, Code.INTERRUPTED),
    "cut at once": (faults.Cut(after=0), Code.INTERRUPTED, Code.INTERRUPTED),
    "malformed": (faults.Malformed(), Code.INTERRUPTED, Code.INTERRUPTED),
    "missing end": (faults.MissingEnd(), Code.INTERRUPTED, Code.INTERRUPTED),
    "truncated": (faults.MissingEnd(after=1), Code.INTERRUPTED, Code.INTERRUPTED),
    "stream error": (faults.StreamError(status=529), Code.UNAVAILABLE, Code.UNAVAILABLE),
    "stream rate limit": (faults.StreamError(status=429), Code.RATE_LIMITED, Code.RATE_LIMITED),
    "empty": (faults.Empty(), Code.EMPTY, Code.EMPTY),
    "bad request": (faults.Status(status=400), Code.INVALID, Code.INVALID),
    "key": (faults.Status(status=401), Code.UNAUTHORIZED, Code.UNAUTHORIZED),
    "forbidden": (faults.Status(status=403), Code.UNAUTHORIZED, Code.UNAUTHORIZED),
    "not found": (faults.Status(status=404), Code.INVALID, Code.INVALID),
    "request timeout": (faults.Status(status=408), Code.TIMEOUT, Code.TIMEOUT),
    "too large": (faults.Status(status=413), Code.INVALID, Code.INVALID),
    "rate limit": (faults.Status(status=429), Code.RATE_LIMITED, Code.RATE_LIMITED),
    "server error": (faults.Status(status=500), Code.UNAVAILABLE, Code.UNAVAILABLE),
    "bad gateway": (faults.Status(status=502), Code.UNAVAILABLE, Code.UNAVAILABLE),
    "unavailable": (faults.Status(status=503), Code.UNAVAILABLE, Code.UNAVAILABLE),
    "gateway timeout": (faults.Status(status=504), Code.UNAVAILABLE, Code.UNAVAILABLE),
    "overloaded": (faults.Status(status=529), Code.UNAVAILABLE, Code.UNAVAILABLE),
    "redirect": (faults.Status(status=307), Code.UNAVAILABLE, Code.UNAVAILABLE),
    "context": (faults.ContextTooLong(), Code.CONTEXT_TOO_LONG, Code.CONTEXT_TOO_LONG),
    "content filter": (faults.ContentFilter(), Code.REFUSED, Code.REFUSED),
    "wrong usage": (faults.WrongUsage(), None, None),
    "wrong content type": (faults.WrongContentType(), None, None),
    "web page": (faults.WrongContentType(page=True), Code.INTERRUPTED, Code.INTERRUPTED),
    "refuse": (faults.Refuse(), Code.UNAVAILABLE, Code.UNAVAILABLE),
}


@BOTH
@STREAMS
@pytest.mark.parametrize("name", FAULTS)
async def test_each_fault_has_its_code(make, emulator, kind, stream, name):
    """A fault ends in its code or is survived; nothing else is raised, and the next request is answered."""
    fault, streamed, whole = FAULTS[name]
    target = make(kind)
    outage = emulator.outage("*", fault)
    expected = streamed if stream else whole
    if expected is None:
        text, _, _ = await _answer(target, _ask(), stream=stream)
        assert text.endswith("= 51.")
    else:
        failure = await _fail(target, stream=stream)
        assert failure.code is expected
        assert "17" not in str(failure)
    outage.end()
    assert (await _answer(target, _ask(), stream=stream))[0].endswith("= 51.")


@BOTH
@STREAMS
async def test_silence_is_a_timeout_and_a_stall(make, emulator, kind, stream):
    """No answer in time is a timeout, one that stops coming a stall."""
    emulator.outage("*", faults.Hang(), times=1)
    assert (await _fail(make(kind, timeout="250ms"), stream=stream)).code is Code.TIMEOUT
    emulator.outage("*", faults.Stall(), times=1)
    assert (await _fail(make(kind, timeout="1500ms"), stream=stream)).code is Code.STALLED


@BOTH
@STREAMS
async def test_an_answer_without_end_is_given_up(make, emulator, monkeypatch, kind, stream):
    """A body of any size is not read into memory."""
    monkeypatch.setattr("hybridinfer.targets.vendor._MOST_BYTES", 100_000)
    monkeypatch.setattr("hybridinfer.targets.vendor._MOST_EVENT_BYTES", 100_000)
    emulator.outage("*", faults.HugeBody(size=4_000_000))
    failure = await _fail(make(kind), stream=stream)
    assert (failure.code, failure.because) == (Code.INTERRUPTED, "the answer is garbled")


@BOTH
@STREAMS
async def test_sdks_do_not_retry(make, emulator, kind, stream):
    """One call is one request: retries have one owner."""
    emulator.outage("*", faults.Status(status=503, should_retry=True))
    failure = await _fail(make(kind), stream=stream)
    assert failure.retry is True
    assert len(emulator.requests) == 1


@BOTH
async def test_what_the_vendor_asks_for_is_told(make, emulator, kind):
    """Retry-After in every form, x-should-retry and the status reach the flow."""
    target = make(kind)
    emulator.script(
        "*",
        [
            faults.Status(status=429, retry_after=7),
            faults.Status(status=429, retry_after_ms=250),
            faults.Status(status=503, retry_after="Wed, 21 Oct 2015 07:28:00 GMT", should_retry=False),
        ],
    )
    told = [await _fail(target, stream=True) for _ in range(3)]
    assert [failure.retry_after for failure in told] == [7.0, 0.25, 0.0]
    assert [failure.retry for failure in told] == [None, None, False]
    assert [failure.status for failure in told] == [429, 429, 503]


@BOTH
async def test_the_vendors_own_error_is_the_cause(make, emulator, kind):
    """Typed errors of the SDK stand in __cause__, for HTTP errors and for those within streams."""
    sdk = openai if kind == "openai" else anthropic
    target = make(kind)
    emulator.script("*", [faults.Status(status=429), faults.StreamError(), faults.ResetConnection()])
    causes = [(await _fail(target, stream=True)).__cause__ for _ in range(3)]
    assert [type(cause) for cause in causes] == [sdk.RateLimitError, sdk.APIError, sdk.APIConnectionError]


@BOTH
@STREAMS
async def test_a_failed_attempts_usage_is_told(make, emulator, kind, stream):
    """A refusal costs money too."""
    emulator.outage("*", faults.ContentFilter())
    failure = await _fail(make(kind), stream=stream)
    assert failure.usage is not None
    assert failure.usage.input_tokens > 0


@BOTH
async def test_a_stream_that_breaks_tells_no_usage(make, emulator, kind):
    """Half a count would be believed: the flow estimates instead."""
    emulator.outage("*", faults.Cut())
    assert (await _fail(make(kind), stream=True)).usage is None


@BOTH
async def test_closing_the_iterator_closes_the_upstream_response(make, emulator, kind):
    """When the caller goes away, the vendor's connection ends."""
    emulator.outage("*", faults.Stall(after=1))
    events = make(kind).stream(_ask(), stream=True)
    while not isinstance(await anext(events), TextDelta):
        pass
    assert emulator.open_connections == 1
    await events.aclose()
    await emulator.idle()
    assert emulator.open_connections == 0


@BOTH
async def test_cancelling_the_task_closes_the_upstream_response(make, emulator, kind):
    """A cancelled call leaves nothing behind."""
    emulator.outage("*", faults.Stall(after=1))
    begun = asyncio.Event()

    async def consume() -> None:
        async for event in make(kind).stream(_ask(), stream=True):
            if isinstance(event, TextDelta):
                begun.set()

    task = asyncio.create_task(consume())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await emulator.idle()
    assert emulator.open_connections == 0


@STREAMS
async def test_both_vendors_use_one_connection_pool(make, emulator, stream):
    """A finished answer leaves its connection to the next request, of whichever target."""
    for kind in (*KINDS, *KINDS):
        await _answer(make(kind), _ask(), stream=stream)
    assert emulator.accepted == 1


@BOTH
async def test_a_full_pool_is_our_own_saturation(make, emulator, monkeypatch, kind):
    """Running out of connections is no fault of the vendor's."""
    monkeypatch.setattr(http, "MAX_CONNECTIONS", 1)
    monkeypatch.setattr(http, "_POOL_SECONDS", 0.01)
    emulator.outage("*", faults.Stall(after=1), times=1)
    target = make(kind)
    events = target.stream(_ask(), stream=True)
    await anext(events)
    assert (await _fail(target, stream=True)).code is Code.SATURATED
    await events.aclose()


@BOTH
async def test_a_missing_key_makes_the_target_unavailable(make, emulator, kind):
    """Nothing is sent, and the variable is named."""
    target = make(kind, environ={})
    failure = await _fail(target, stream=True)
    assert (failure.code, failure.retry) == (Code.UNAUTHORIZED, False)
    assert failure.because == f"{kind.upper()}_API_KEY is not set"
    with pytest.raises(TargetFailed):
        await target.warmup()
    assert emulator.requests == []


@BOTH
async def test_the_key_is_read_at_each_call(make, emulator, kind):
    """A rotated key is used without a restart, from the variable that the policy names."""
    environ = {"HOUSE_KEY": " one\n"}
    target = make(kind, environ=environ, api_key="${env:HOUSE_KEY}")
    await _answer(target, _ask(), stream=False)
    environ["HOUSE_KEY"] = "two"
    await _answer(target, _ask(), stream=False)
    sent = [request.headers.get("authorization") or request.headers.get("x-api-key") for request in emulator.requests]
    assert [key.removeprefix("Bearer ") for key in sent] == ["one", "two"]


@BOTH
async def test_a_server_of_ones_own_needs_no_key(make, emulator, kind):
    """The zone network works without a key."""
    await _answer(make(kind, environ={}, zone="network"), _ask(), stream=False)
    assert "sk-" not in str(emulator.requests[0].headers)


@BOTH
async def test_a_wrong_key_is_unauthorized(make, emulator, kind):
    """The vendor's refusal is told as such, without the key."""
    emulator.keys = frozenset({"another"})
    failure = await _fail(make(kind), stream=True)
    assert failure.code is Code.UNAUTHORIZED
    assert "sk-drill" not in str(failure)


@BOTH
async def test_the_callers_headers_are_sent(make, emulator, kind):
    """Extra headers, such as an idempotency key, reach the vendor."""
    await _answer(make(kind), _ask(extra_headers={"Idempotency-Key": "r1"}), stream=True)
    assert emulator.requests[0].headers["idempotency-key"] == "r1"


@BOTH
async def test_the_routers_idempotency_key_is_sent_where_one_is_taken(make, emulator, kind):
    """The caller's own wins; Anthropic's API has none."""
    target = make(kind)
    await _answer(target, _ask(idempotency_key="ours"), stream=False)
    await _answer(target, _ask(idempotency_key="ours", extra_headers={"idempotency-key": "theirs"}), stream=False)
    assert target.info.idempotent == (kind == "openai")
    if kind == "openai":
        keys = [request.headers["idempotency-key"] for request in emulator.requests]
        assert keys == ["ours", "theirs"]


BEGUN = (*_ask().messages, Message(role="assistant", parts=(Text(text="17 * 3 is"),)))


async def test_a_server_that_continues_is_told_that_the_answer_has_begun(make, emulator):
    """In vLLM's words, and only where the policy says that it can, and only then."""
    begun = Request(messages=BEGUN)
    can, cannot = make("openai", continues=True), make("openai")
    assert (can.info.continues, cannot.info.continues) == (True, False)
    for target, request in ((can, begun), (can, _ask()), (cannot, begun)):
        await _answer(target, request, stream=False)
    asked = [
        (body.get("continue_final_message"), body.get("add_generation_prompt"))
        for body in map(_body, emulator.requests)
    ]
    assert asked == [(True, False), (None, None), (None, None)]
    assert emulator.requests[0].body["messages"][-1] == {"role": "assistant", "content": "17 * 3 is"}


def _body(request):
    return request.body


@BOTH
@STREAMS
async def test_nothing_to_add_is_an_answer_where_it_had_begun(make, emulator, kind, stream):
    """Otherwise it is empty."""
    emulator.outage("*", faults.Empty())
    text, _, finish = await _answer(make(kind, continues=True), Request(messages=BEGUN), stream=stream)
    assert (text, finish.finish_reason) == ("", "stop")
    assert (await _fail(make(kind), stream=stream)).code is Code.EMPTY


@BOTH
@pytest.mark.parametrize("name", ["Authorization", "X-Api-Key", "Host"])
async def test_the_callers_headers_may_not_name_the_key(make, emulator, kind, name):
    """A key for one vendor would travel to every target that is tried."""
    failure = await _fail(make(kind), stream=True, request=_ask(extra_headers={name: "secret-4242"}))
    assert failure.code is Code.INVALID
    assert "secret-4242" not in str(failure)
    assert emulator.requests == []


@BOTH
async def test_a_header_that_cannot_be_written_is_invalid(make, emulator, kind):
    """Neither crash nor retry."""
    failure = await _fail(make(kind), stream=True, request=_ask(extra_headers={"X-Note": "two\nlines"}))
    assert (failure.code, failure.retry) == (Code.INVALID, False)
    assert emulator.requests == []


@BOTH
async def test_what_cannot_be_said_is_unsupported(make, emulator, kind):
    """A block of the other dialect is refused before anything is sent."""
    other = "anthropic" if kind == "openai" else "openai"
    part = Opaque(dialect=other, data={"type": "thinking"})
    request = Request(messages=(Message(role="user", parts=(part,)),))
    failure = await _fail(make(kind), stream=True, request=request)
    assert (failure.code, failure.retry) == (Code.UNSUPPORTED, False)
    assert isinstance(failure.__cause__, Exception)
    assert emulator.requests == []


@BOTH
async def test_values_that_are_not_json_are_invalid(make, kind):
    """A schema with NaN cannot be sent."""
    tool = Tool(name="f", parameters={"type": "object", "default": float("nan")})
    assert (await _fail(make(kind), stream=True, request=_ask(tools=(tool,)))).code is Code.INVALID


@BOTH
async def test_half_a_surrogate_pair_arrives(make, emulator, kind):
    """Text that a front end cut within an emoji is sent as it is."""
    await _answer(make(kind), _ask("cut \ud83d here"), stream=False)
    assert emulator.requests[0].body["messages"][0]["content"] == "cut \ud83d here"


async def test_each_server_gets_the_limit_in_its_own_field(make, emulator):
    """max_tokens for compatible servers, another name where the policy says so."""
    await _answer(make("openai", max_tokens=77), _ask(), stream=False)
    await _answer(
        make("openai", options={"max_tokens_field": "max_completion_tokens"}), _ask(max_tokens=5), stream=False
    )
    old, new = (request.body for request in emulator.requests)
    assert (old["max_tokens"], "max_completion_tokens" in old) == (77, False)
    assert (new["max_completion_tokens"], "max_tokens" in new) == (5, False)


async def test_openai_itself_gets_the_newer_field_and_the_standard_tariff():
    """At api.openai.com the older field is refused by reasoning models; what is reserved is what is asked for."""
    target = OpenAITarget(TargetBlock(kind="openai", model="m"), TargetContext(name="t"))
    assert target._body(_ask(top_k=3), stream=False, session=None) == {
        "model": "m",
        "messages": [{"role": "user", "content": "What is 17 * 3?"}],
        "max_completion_tokens": 1024,
        "service_tier": "default",
    }


@BOTH
async def test_the_policy_adds_and_drops_body_fields(make, emulator, kind):
    """Fine tuning per target, without touching the request."""
    options = {"extra_body": {"service_tier": "auto"}, "drop": ["metadata", "user"]}
    await _answer(make(kind, options=options), _ask(user="u1"), stream=False)
    body = emulator.requests[0].body
    assert body["service_tier"] == "auto"
    assert not {"metadata", "user"} & body.keys()


async def test_sampling_is_sent_where_the_policy_says_so(make, emulator):
    """Older Anthropic models take temperature; the emulator, like today's, refuses it."""
    await _answer(make("anthropic"), _ask(temperature=0.5), stream=False)
    assert "temperature" not in emulator.requests[0].body
    failure = await _fail(make("anthropic", options={"sampling": True}), stream=False, request=_ask(temperature=0.5))
    assert emulator.requests[1].body["temperature"] == 0.5
    assert failure.code is Code.INVALID


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"suports": ["tools"]}, "option 'suports' is unknown; did you mean 'supports'"),
        ({"zzz": 1}, "option 'zzz' is unknown; known are drop"),
        ({"supports": ["telepathy"]}, "options.supports is a list out of files, json"),
        ({"supports": "tools"}, "options.supports is a list"),
        ({"extra_body": {"model": "x"}}, "options.extra_body is a mapping without"),
        ({"extra_body": []}, "options.extra_body is a mapping"),
        ({"drop": "user"}, "options.drop is a list"),
        ({"max_tokens_field": "n_predict"}, "options.max_tokens_field is max_tokens or"),
    ],
)
async def test_wrong_options_are_configuration_errors(options, told):
    """They are found at construction, with what to write instead."""
    with pytest.raises(ConfigurationError, match=told):
        OpenAITarget(TargetBlock(kind="openai", model="m", options=options), TargetContext(name="t"))


async def test_a_target_says_what_it_is():
    """Zone, model, window and abilities are known without a call."""
    block = TargetBlock(
        kind="anthropic", model="m", region="eu", context_window=9, options={"supports": ["tools"]}, zone="network"
    )
    info = AnthropicTarget(block, TargetContext(name="t")).info
    assert (info.name, info.kind, info.zone, info.model, info.region) == ("t", "anthropic", "network", "m", "eu")
    assert (info.supports, info.context_window) == (frozenset({"tools"}), 9)


async def test_everything_is_supported_by_default():
    """Tools, pictures, files and JSON."""
    info = OpenAITarget(TargetBlock(kind="openai", model="m"), TargetContext(name="t")).info
    assert info.supports == {"tools", "vision", "files", "json"}
    assert info.zone == "cloud"


@BOTH
async def test_tokens_are_counted_without_a_call(make, emulator, kind):
    """The count is at least what the words alone have."""
    assert make(kind).count_tokens(_ask()) >= 6
    assert emulator.requests == []


@BOTH
async def test_warmup_loads_without_a_call(make, emulator, kind):
    """Afterwards the first request has nothing left to import."""
    target = make(kind)
    await target.warmup()
    assert target._session is not None
    assert emulator.requests == []


@BOTH
async def test_closing_twice_is_harmless(make, kind):
    """The shared client outlives one of its holders."""
    first, second = make(kind), make(kind)
    await _answer(first, _ask(), stream=False)
    await _answer(second, _ask(), stream=False)
    await first.aclose()
    await first.aclose()
    assert (await _answer(second, _ask(), stream=False))[0]


@pytest.fixture
def played():
    """A list of what the wire gives in turn: responses, or errors to raise."""
    acts: list[httpx2.Response | Exception] = []

    def act(_: httpx2.Request) -> httpx2.Response:
        result = acts.pop(0)
        if isinstance(result, Exception):
            raise result
        return result

    with http.wrapped(lambda _: httpx2.MockTransport(act)):
        yield acts


HI = {"model": "m", "choices": [{"index": 0, "message": {"content": "hi"}, "finish_reason": "stop"}]}


async def test_a_server_that_ignores_streaming_is_understood(make, played):
    """One JSON body in answer to a stream's request is still an answer."""
    played.append(
        httpx2.Response(200, stream=_Pieces(json.dumps(HI).encode()), headers={"content-type": "application/json"})
    )
    assert (await _answer(make("openai"), _ask(), stream=True))[0] == "hi"


async def test_a_server_that_always_streams_is_understood(make, played):
    """A stream in answer to a plain request is still an answer, even without [DONE] and its last blank line."""
    chunk = b'data: {"choices": [{"index": 0, "delta": {"content": "hi"}, "finish_reason": "stop"}]}'
    played.append(httpx2.Response(200, stream=_Pieces(chunk), headers={"content-type": "text/event-stream"}))
    assert (await _answer(make("openai"), _ask(), stream=False))[0] == "hi"


async def test_a_compressed_answer_is_understood(make, played):
    """Content-encoding is undone; damage to it is an interruption."""
    headers = {"content-encoding": "gzip", "content-type": "application/json"}
    packed = gzip.compress(json.dumps(HI).encode())
    played.append(httpx2.Response(200, stream=_Pieces(packed[:9], packed[9:]), headers=headers))
    played.append(httpx2.Response(200, stream=_Pieces(b"not gzip"), headers=headers))
    target = make("openai")
    assert (await _answer(target, _ask(), stream=False))[0] == "hi"
    assert (await _fail(target, stream=False)).code is Code.INTERRUPTED


@BOTH
async def test_a_name_without_an_address_is_unavailable(make, played, kind):
    """DNS trouble is told apart."""
    error = httpx2.ConnectError("no")
    error.__cause__ = socket.gaierror(-2, "no")
    played.append(error)
    failure = await _fail(make(kind), stream=True)
    assert (failure.code, failure.because) == (Code.UNAVAILABLE, "the host's name has no address")


@BOTH
async def test_an_error_in_a_web_page_goes_by_its_status(make, played, kind):
    """Proxies answer in HTML."""
    played.append(httpx2.Response(502, stream=_Pieces(b"<h1>Bad gateway</h1>")))
    failure = await _fail(make(kind), stream=True)
    assert (failure.code, failure.because) == (Code.UNAVAILABLE, "HTTP 502")


@BOTH
async def test_an_error_whose_body_breaks_is_an_interruption(make, played, kind):
    """The SDK reads the bodies of errors itself; what breaks there is typed too."""
    played.append(httpx2.Response(500, stream=_Pieces(b"{", httpx2.ReadError("gone"))))
    assert (await _fail(make(kind), stream=True)).code is Code.INTERRUPTED


@BOTH
async def test_a_connection_that_stays_open_after_the_end_is_not_waited_for(make, played, kind):
    """The answer is complete with its terminal event."""
    end = b"data: [DONE]" if kind == "openai" else b'data: {"type": "message_stop"}'
    openai_said = b'data: {"choices": [{"index": 0, "delta": {"content": "hi"}, "finish_reason": "stop"}]}'
    anthropic_said = (
        b'data: {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "hi"}}\n\n'
        b'data: {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}'
    )
    said = openai_said if kind == "openai" else anthropic_said
    stream = _Pieces(said + b"\n\n" + end + b"\n\n", httpx2.ReadError("reset after the end"))
    played.append(httpx2.Response(200, stream=stream, headers={"content-type": "text/event-stream"}))
    assert (await _answer(make(kind), _ask(), stream=True))[0] == "hi"
    assert stream.closed


THINKING = {
    "openai": (
        b": keep-alive\n\n",
        b'data: {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}\n\n',
        b'data: {"choices": [{"index": 0, "delta": {"reasoning_content": "hm"}}]}\n\n',
        b'data: {"choices": [{"index": 0, "delta": {"content": "hi"}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n',
    ),
    "anthropic": (
        b'event: ping\ndata: {"type": "ping"}\n\n',
        b'data: {"type": "message_start", "message": {"model": "m", "usage": {}}}\n\n',
        b'data: {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hm"}}\n\n',
        (
            b'data: {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": "hi"}}\n\n'
            b'data: {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}\n\ndata: {"type": "message_stop"}\n\n'
        ),
    ),
}


@BOTH
async def test_a_model_that_thinks_shows_progress(make, played, kind):
    """Pings, comments and thoughts carry nothing to show; they are no silence."""
    headers = {"content-type": "text/event-stream"}
    played.append(httpx2.Response(200, stream=_Pieces(*THINKING[kind]), headers=headers))
    events = [event async for event in make(kind).stream(_ask(), stream=True)]
    assert [type(event) for event in events] == [Progress, Progress, Progress, TextDelta, Finish]


class _Pieces(httpx2.AsyncByteStream):
    """A body that comes in these pieces; an exception among them is raised."""

    def __init__(self, *pieces: bytes | Exception) -> None:
        self.pieces = pieces
        self.closed = False

    async def __aiter__(self):
        for piece in self.pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece

    async def aclose(self) -> None:
        self.closed = True


async def test_a_header_outside_ascii_is_invalid_at_openai(make, emulator):
    """This SDK cannot write it, and says so with an error of the wrong type."""
    failure = await _fail(make("openai"), stream=True, request=_ask(extra_headers={"X-Note": "snow \u2603"}))
    assert (failure.code, failure.retry) == (Code.INVALID, False)
    assert emulator.requests == []


@pytest.mark.parametrize(("options", "marks"), [({}, 1), ({"prompt_cache": False}, 0)], ids=["default", "off"])
async def test_instructions_that_come_again_are_marked(make, emulator, options, marks):
    """The vendor is asked to keep what it sees for the second time; the messages stay as they are."""
    target = make("anthropic", options=options)
    instructions = Message(role="system", parts=(Text(text="Be kind to every question. " * 200),))
    for question in ("What is 1 + 1?", "What is 2 + 2?"):
        asked = _ask(question)
        await _answer(target, Request(messages=(instructions, *asked.messages)), stream=False)
    first, second = (request.body for request in emulator.requests)
    assert json.dumps(first).count("cache_control") == 0
    assert json.dumps(second["system"]).count("cache_control") == marks
    assert json.dumps(second["messages"]).count("cache_control") == 0
