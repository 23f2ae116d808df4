"""The emulator is believed by the vendors' own SDKs: their typed models, streams and errors."""

from __future__ import annotations

import socket

import anthropic
import openai
import pytest
from openai.types.chat import ChatCompletion
from openai.types.responses import Response

from hybridinfer.drill import faults
from hybridinfer.drill.emulator import Emulator
from hybridinfer.drill.replies import DISCLAIMER

HELLO = [{"role": "user", "content": "hello"}]
TOOL = {"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}
CLAUDE_TOOL = {"name": "get_weather", "input_schema": TOOL["parameters"]}


@pytest.fixture
def gpt(emulator):
    """OpenAI's own client."""
    return openai.AsyncOpenAI(api_key="k", base_url=emulator.base_url_openai, max_retries=0)


@pytest.fixture
def claude(emulator):
    """Anthropic's own client."""
    return anthropic.AsyncAnthropic(
        api_key="k", base_url=emulator.base_url_anthropic, max_retries=0, open_telemetry=False
    )


@pytest.mark.anyio
async def test_openais_sdk_reads_an_answer(gpt):
    """A typed ChatCompletion, which passes strict validation."""
    async with gpt:
        completion = await gpt.chat.completions.create(model="gpt", messages=HELLO)
    ChatCompletion.model_validate(completion.model_dump(), strict=True)
    assert completion.choices[0].message.content.startswith(DISCLAIMER)
    assert completion.usage.total_tokens == completion.usage.prompt_tokens + completion.usage.completion_tokens


@pytest.mark.anyio
async def test_openais_sdk_reads_a_stream(gpt):
    """Pieces, a finish reason, and usage at the end."""
    async with (
        gpt,
        gpt.chat.completions.stream(model="gpt", messages=HELLO, stream_options={"include_usage": True}) as stream,
    ):
        async for _ in stream:
            pass
        completion = await stream.get_final_completion()
    assert completion.choices[0].message.content.startswith(DISCLAIMER)
    assert completion.choices[0].finish_reason == "stop"
    assert completion.usage.completion_tokens > 0


@pytest.mark.anyio
async def test_openais_sdk_reads_a_streamed_call(gpt):
    """The deltas add up to one call."""
    tools = [{"type": "function", "function": TOOL}]
    async with (
        gpt,
        gpt.chat.completions.stream(model="gpt", messages=HELLO, tools=tools, tool_choice="required") as stream,
    ):
        async for _ in stream:
            pass
        call = (await stream.get_final_completion()).choices[0].message.tool_calls[0]
    assert (call.function.name, call.function.arguments) == ("get_weather", '{"city": "example"}')


@pytest.mark.anyio
async def test_anthropics_sdk_reads_an_answer(claude):
    """A typed Message."""
    async with claude:
        message = await claude.messages.create(model="claude", max_tokens=50, messages=HELLO)
    assert message.content[0].text.startswith(DISCLAIMER)
    assert (message.stop_reason, message.usage.input_tokens > 0) == ("end_turn", True)


@pytest.mark.anyio
async def test_anthropics_sdk_reads_a_stream(claude):
    """Blocks and the final message."""
    async with claude, claude.messages.stream(model="claude", max_tokens=50, messages=HELLO) as stream:
        pieces = [piece async for piece in stream.text_stream]
        message = await stream.get_final_message()
    assert len(pieces) > 3
    assert "".join(pieces) == message.content[0].text
    assert message.usage.output_tokens > 1


@pytest.mark.anyio
async def test_anthropics_sdk_reads_a_streamed_call(claude):
    """The partial JSON adds up."""
    async with (
        claude,
        claude.messages.stream(
            model="claude",
            max_tokens=50,
            messages=HELLO,
            tools=[CLAUDE_TOOL],
            tool_choice={"type": "tool", "name": "get_weather"},
        ) as stream,
    ):
        message = await stream.get_final_message()
    assert message.stop_reason == "tool_use"
    assert message.content[0].input == {"city": "example"}


@pytest.mark.anyio
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(
    ("status", "errors"),
    [
        (400, (openai.BadRequestError, anthropic.BadRequestError, "invalid_request_error")),
        (401, (openai.AuthenticationError, anthropic.AuthenticationError, "authentication_error")),
        (403, (openai.PermissionDeniedError, anthropic.PermissionDeniedError, "permission_error")),
        (404, (openai.NotFoundError, anthropic.NotFoundError, "not_found_error")),
        (408, (openai.APIStatusError, anthropic.RequestTimeoutError, "api_error")),
        (413, (openai.APIStatusError, anthropic.ContentTooLargeError, "request_too_large")),
        (429, (openai.RateLimitError, anthropic.RateLimitError, "rate_limit_error")),
        (500, (openai.InternalServerError, anthropic.InternalServerError, "api_error")),
        (502, (openai.InternalServerError, anthropic.InternalServerError, "api_error")),
        (503, (openai.InternalServerError, anthropic.InternalServerError, "api_error")),
        (504, (openai.InternalServerError, anthropic.InternalServerError, "timeout_error")),
        (529, (openai.InternalServerError, anthropic.OverloadedError, "overloaded_error")),
    ],
)
async def test_the_sdks_raise_their_typed_errors(gpt, claude, emulator, *, status, errors, stream):
    """Errors are shaped as each vendor shapes them: class, type, request id and Retry-After."""
    emulator.outage("*", faults.Status(status=status, retry_after=2))
    async with gpt, claude:
        with pytest.raises(errors[0]) as of_openai:
            await gpt.chat.completions.create(model="gpt", messages=HELLO, stream=stream)
        with pytest.raises(errors[1]) as of_anthropic:
            await claude.messages.create(model="claude", max_tokens=5, messages=HELLO, stream=stream)
    assert of_anthropic.value.type == errors[2]
    for one in (of_openai.value, of_anthropic.value):
        assert (one.status_code, one.response.headers["retry-after"]) == (status, "2")
        assert one.request_id


@pytest.mark.anyio
async def test_a_request_that_the_vendor_would_refuse_is_refused(gpt, claude):
    """Unknown roles, and what Anthropic's API demands."""
    async with gpt, claude:
        with pytest.raises(openai.BadRequestError, match="role"):
            await gpt.chat.completions.create(model="gpt", messages=[{"role": "robot", "content": "x"}])
        with pytest.raises(anthropic.BadRequestError, match="max_tokens"):
            await claude.messages.create(model="claude", max_tokens=0, messages=HELLO)


@pytest.mark.anyio
async def test_outages_are_for_a_path_a_model_or_everything(gpt, claude, emulator):
    """One vendor can be down while the other is up, and one model of it too."""
    async with gpt, claude:
        only_claude = emulator.outage("/v1/messages", faults.Status(status=503))
        await gpt.chat.completions.create(model="gpt", messages=HELLO)
        with pytest.raises(anthropic.InternalServerError):
            await claude.messages.create(model="claude", max_tokens=5, messages=HELLO)
        only_claude.end()
        only_claude.end()  # harmless
        emulator.outage("gpt-big", faults.Status(status=503))
        await gpt.chat.completions.create(model="gpt-small", messages=HELLO)
        with pytest.raises(openai.InternalServerError):
            await gpt.chat.completions.create(model="gpt-big", messages=HELLO)
        emulator.heal()
        await gpt.chat.completions.create(model="gpt-big", messages=HELLO)


async def _statuses(gpt, number: int) -> list[int]:
    said = []
    for _ in range(number):
        try:
            await gpt.chat.completions.create(model="gpt", messages=HELLO)
            said.append(200)
        except openai.APIStatusError as error:
            said.append(error.status_code)
    return said


@pytest.mark.anyio
async def test_an_outage_ends_after_its_times(gpt, emulator):
    """So many requests fail, the next is answered."""
    emulator.outage("*", faults.Status(status=503), times=2)
    async with gpt:
        assert await _statuses(gpt, 3) == [503, 503, 200]


@pytest.mark.anyio
async def test_a_script_gives_each_request_its_fault(gpt, emulator):
    """In order, with requests that pass in between."""
    emulator.script("*", [faults.Status(status=429), None, faults.Status(status=500)])
    async with gpt:
        assert await _statuses(gpt, 4) == [429, 200, 500, 200]


@pytest.mark.anyio
async def test_the_first_outage_that_fits_counts(gpt, emulator):
    """Two outages do not add up; when the first is used up, the second has its turn."""
    emulator.outage("*", faults.Status(status=429), times=1)
    emulator.outage("*", faults.Status(status=503), times=1)
    async with gpt:
        assert await _statuses(gpt, 3) == [429, 503, 200]


@pytest.mark.anyio
async def test_outages_with_a_probability_all_have_their_share(gpt, emulator):
    """A request that the first one's dice spare may meet the second, and few are spared by both."""
    emulator.outage("*", faults.Status(status=429), probability=0.5)
    emulator.outage("*", faults.Status(status=503), probability=0.9)
    async with gpt:
        statuses = await _statuses(gpt, 40)
    assert {429, 503} <= set(statuses)
    assert statuses.count(200) < 10


@pytest.mark.anyio
async def test_a_probability_is_reproducible(gpt, emulator):
    """The same seed gives the same failures, and some but not all requests fail."""
    async with gpt:
        emulator.outage("*", faults.Status(status=503), probability=0.5)
        first = await _statuses(gpt, 12)
    async with (
        Emulator(seed=0) as again,
        openai.AsyncOpenAI(api_key="k", base_url=again.base_url_openai, max_retries=0) as client,
    ):
        again.outage("*", faults.Status(status=503), probability=0.5)
        assert await _statuses(client, 12) == first
    assert {200, 503} == set(first)


@pytest.mark.anyio
async def test_what_left_can_be_proved(gpt, emulator):
    """Method, path, headers and body of every request are kept."""
    async with gpt:
        await gpt.chat.completions.create(model="gpt", messages=HELLO, extra_headers={"X-Note": "n"})
    seen = emulator.requests[0]
    assert (seen.method, seen.path, seen.model, seen.headers["x-note"]) == ("POST", "/v1/chat/completions", "gpt", "n")
    assert seen.body["messages"] == HELLO


def test_refusing_is_for_the_whole_emulator():
    """A socket has no paths: the error says what to do instead."""
    with Emulator() as emulator:
        with pytest.raises(ValueError, match="one emulator for each target"):
            emulator.outage("/v1/messages", faults.Refuse())
        with pytest.raises(ValueError, match="one emulator for each target"):
            emulator.outage("*", faults.Refuse(), times=3)


def _say(emulator: Emulator, raw: bytes) -> bytes:
    """What comes back for these bytes, up to the end of the head or of the connection."""
    port = int(emulator.base_url_anthropic.rsplit(":", 1)[1])
    heard = b""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(raw)
        while b"\r\n\r\n" not in heard and (piece := client.recv(65536)):
            heard += piece
    return heard


def test_what_it_does_not_know_is_not_found():
    """Other methods and paths, and bodies that are not JSON objects, get a vendor-shaped 404."""
    with Emulator() as emulator:
        for raw in (b"GET /v1/models HTTP/1.1\r\n\r\n", b"POST /v1/messages HTTP/1.1\r\ncontent-length: 2\r\n\r\n[]"):
            assert _say(emulator, raw).startswith(b"HTTP/1.1 404 Not Found")


@pytest.mark.parametrize(
    "raw",
    [
        b"nonsense\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: many\r\n\r\n",
        b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: 99999999999\r\n\r\n",
    ],
)
def test_what_is_not_http_ends_the_connection(raw):
    """No client of the vendors speaks so."""
    with Emulator() as emulator:
        assert _say(emulator, raw) == b""
        assert emulator.requests == []


def test_it_runs_in_a_thread_for_code_without_a_loop():
    """Synchronous programs use it too; outages are switched from any thread, even the closing of the socket."""
    with Emulator() as emulator:
        client = openai.OpenAI(api_key="k", base_url=emulator.base_url_openai, max_retries=0)
        with client:
            assert client.chat.completions.create(model="gpt", messages=HELLO).choices
            down = emulator.outage("*", faults.Refuse())
            with pytest.raises(openai.APIConnectionError):
                client.chat.completions.create(model="gpt", messages=HELLO)
            again = emulator.outage("*", faults.Refuse())
            again.end()
            with pytest.raises(openai.APIConnectionError):
                client.chat.completions.create(model="gpt", messages=HELLO)
            down.end()
            assert client.chat.completions.create(model="gpt", messages=HELLO).choices


def test_stopping_ends_everything_at_once():
    """A request that hangs does not hold the stop back, and stopping twice is harmless."""
    emulator = Emulator().start_in_thread()
    emulator.outage("*", faults.Hang())
    port = int(emulator.base_url_anthropic.rsplit(":", 1)[1])
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(b"POST /v1/messages HTTP/1.1\r\ncontent-length: 0\r\n\r\n")
        emulator.arrived.wait()
        emulator.stop()
        emulator.stop()
        assert client.recv(1) == b""
    with pytest.raises(ConnectionError):
        socket.create_connection(("127.0.0.1", port), timeout=20)


def test_switching_needs_a_running_emulator():
    """The error says how to start one."""
    with pytest.raises(RuntimeError, match="async with Emulator"):
        Emulator().outage("*", faults.Refuse())


RESPONSES_TOOL = {"type": "function", **TOOL, "strict": False}


@pytest.mark.anyio
class TestResponses:
    """OpenAI's second API, through its own SDK."""

    async def test_an_answer(self, gpt):
        """A typed Response, which passes strict validation."""
        async with gpt:
            response = await gpt.responses.create(model="gpt", instructions="Be brief.", input="hello")
        Response.model_validate(response.model_dump(), strict=True)
        assert response.status == "completed"
        assert response.output_text.startswith(DISCLAIMER)
        assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens

    async def test_a_stream(self, gpt):
        """The events are typed and numbered; the SDK's own accumulator builds the same answer from them."""
        async with gpt, gpt.responses.stream(model="gpt", input="hello") as stream:
            events = [event async for event in stream]
            final = await stream.get_final_response()
        assert [event.sequence_number for event in events] == list(range(len(events)))
        deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
        assert len(deltas) > 3
        assert "".join(deltas) == final.output_text
        assert final.usage.output_tokens > 0

    async def test_a_call_and_its_result(self, gpt):
        """Demanded, streamed, and answered in the next turn."""
        asked = [{"role": "user", "content": [{"type": "input_text", "text": "hello"}]}]
        choice = {"type": "function", "name": "get_weather"}
        async with gpt:
            async with gpt.responses.stream(
                model="gpt", input=asked, tools=[RESPONSES_TOOL], tool_choice=choice
            ) as stream:
                async for _ in stream:
                    pass
                [call] = (await stream.get_final_response()).output
            assert (call.type, call.name, call.arguments) == ("function_call", "get_weather", '{"city": "example"}')
            told = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
            turn = [
                *asked,
                {"type": "function_call", "call_id": call.call_id, "name": "get_weather", "arguments": "{}"},
            ]
            answer = await gpt.responses.create(model="gpt", input=[*turn, told], tools=[RESPONSES_TOOL])
        assert "sunny" in answer.output_text

    async def test_a_format(self, gpt):
        """A schema is kept, an image is read, and a cut answer says so."""
        schema = {"type": "object", "properties": {"city": {"type": "string"}}}
        image = {"type": "input_image", "image_url": "https://example.com/a.png"}
        asked = [{"role": "user", "content": [{"type": "input_text", "text": "where?"}, image]}]
        async with gpt:
            wanted = {"format": {"type": "json_schema", "name": "place", "schema": schema}}
            kept = await gpt.responses.create(model="gpt", input=asked, text=wanted)
            cut = await gpt.responses.create(model="gpt", input="hello", max_output_tokens=16)
            shorter = await gpt.responses.create(model="gpt", input="hello", max_output_tokens=2)
        assert kept.output_text == '{"city": "example"}'
        assert cut.status == "completed" or cut.incomplete_details
        assert (shorter.status, shorter.incomplete_details.reason) == ("incomplete", "max_output_tokens")

    @pytest.mark.parametrize(
        ("fault", "error"),
        [
            (faults.Status(status=429), openai.RateLimitError),
            (faults.Status(status=401), openai.AuthenticationError),
            (faults.ContextTooLong(), openai.BadRequestError),
            (faults.ResetConnection(), openai.APIConnectionError),
        ],
    )
    async def test_errors(self, gpt, emulator, fault, error):
        """Typed, as for chat completions."""
        emulator.outage("/v1/responses", fault)
        async with gpt:
            with pytest.raises(error):
                await gpt.responses.create(model="gpt", input="hello")

    async def test_an_error_within_a_stream(self, gpt, emulator):
        """The SDK hands it on as a typed event; without a terminal event the stream just ends."""
        async with gpt:
            emulator.outage("*", faults.StreamError(), times=1)
            events = [event async for event in await gpt.responses.create(model="gpt", input="hello", stream=True)]
            assert (events[-1].type, events[-1].code) == ("error", "server_error")
            emulator.outage("*", faults.MissingEnd(), times=1)
            kinds = [event.type async for event in await gpt.responses.create(model="gpt", input="hello", stream=True)]
            assert "response.completed" not in kinds

    async def test_a_withheld_answer(self, gpt, emulator):
        """Status 200, incomplete, and the reason."""
        emulator.outage("*", faults.ContentFilter())
        async with gpt:
            response = await gpt.responses.create(model="gpt", input="hello")
        assert (response.incomplete_details.reason, response.output) == ("content_filter", [])

    @pytest.mark.parametrize(
        "wrong",
        [
            {"previous_response_id": "resp_1"},
            {"input": [{"type": "reasoning"}]},
            {"input": [{"role": "user", "content": [{"type": "input_audio"}]}]},
            {"tools": [{"type": "web_search"}]},
            {"input": []},
        ],
    )
    async def test_what_it_does_not_know(self, gpt, wrong):
        """Is refused as the vendor refuses it, and not ignored."""
        async with gpt:
            with pytest.raises(openai.BadRequestError):
                await gpt.responses.create(**{"model": "gpt", "input": "hello", **wrong})
