"""Cassettes: what was recorded comes back through the real SDKs, and no secret ever stands in the file."""

from __future__ import annotations

import json

import httpx2
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hybridinfer.async_router import AsyncRouter
from hybridinfer.drill import faults
from hybridinfer.drill.cassette import RECORD, Cassette, CassetteError
from hybridinfer.drill.emulator import Emulator
from hybridinfer.drill.scrub import TEXT, Scrub
from hybridinfer.errors import RequestError
from hybridinfer.targets.openai import OpenAITarget

KEY = "sk-live-abcdefghijklmnop0123456789"
ENVIRON = {"OPENAI_API_KEY": KEY, "ANTHROPIC_API_KEY": KEY, "HYBRIDINFER_LEDGER": "memory:"}
PROMPT = "Tell me about the merger with Umbrella"


def policy(url, kind="openai"):
    return {
        "version": 1,
        "targets": {"cloud": {"kind": kind, "model": "m", "base_url": url, "price": {"input": 1, "output": 1}}},
        "rules": [{"name": "all", "use": ["cloud"]}],
        "resilience": {"retry": {"attempts": 1}},
    }


def url_of(emulator, kind):
    return emulator.base_url_openai if kind == "openai" else emulator.base_url_anthropic


async def ask(url, kind="openai", *, stream=False, **options):
    """The answer, or the failed request's code."""
    async with AsyncRouter(policy(url, kind), environ=ENVIRON) as router:
        try:
            return await answer(router, stream=stream, **options)
        except RequestError as error:
            return error.receipt.attempts[-1].code


async def answer(router, *, stream, **options):
    if not stream:
        return await router.complete(PROMPT, **options)
    async with router.stream(PROMPT, **options) as events:
        async for _ in events:
            pass
    return events.response


TOOL = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}


@pytest.mark.anyio
@pytest.mark.parametrize("kind", ["openai", "anthropic"])
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"tools": [TOOL], "tool_choice": "required"},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}},
    ],
    ids=["text", "tool", "json"],
)
async def test_what_was_recorded_comes_back(tmp_path, kind, stream, options):
    """Through the real adapter and without a server: usage, finish and shape are equal, the content is gone."""
    path = tmp_path / "new" / "one.yaml"
    async with Emulator() as emulator:
        url = url_of(emulator, kind)
        with Cassette(path, record=True).installed():
            real = await ask(url, kind, stream=stream, max_tokens=50, **options)
    with Cassette(path, record=False).installed():
        replayed = await ask(url, kind, stream=stream, max_tokens=50, **options)
    assert (replayed.usage, replayed.finish_reason) == (real.usage, real.finish_reason)
    assert len(replayed.tool_calls) == len(real.tool_calls)
    text = path.read_text()
    for secret in (KEY, "merger", "Umbrella", "emulator", "get_weather"):
        assert secret not in text
    assert oct(path.stat().st_mode)[-2:] == "00"
    assert [file.name for file in path.parent.iterdir()] == ["one.yaml"]
    assert text.startswith("# A cassette")


@pytest.mark.anyio
async def test_content_is_kept_on_demand(tmp_path):
    """For prompts of one's own; keys are not kept even then."""
    path = tmp_path / "one.yaml"
    async with Emulator() as emulator:
        with Cassette(path, record=True, keep_content=True).installed():
            real = await ask(emulator.base_url_openai)
    with Cassette(path).installed():
        replayed = await ask(emulator.base_url_openai)
    assert replayed.text == real.text
    assert PROMPT in path.read_text()
    assert KEY not in path.read_text()


@pytest.mark.anyio
@pytest.mark.parametrize(
    "fault",
    [
        faults.Status(status=429, retry_after=0),
        faults.Status(status=401),
        faults.ContextTooLong(),
        faults.Cut(after=2),
        faults.ResetConnection(),
        faults.Malformed(),
        faults.MissingEnd(),
        faults.StreamError(),
        faults.WrongContentType(page=True),
        faults.Empty(),
    ],
    ids=lambda fault: type(fault).__name__,
)
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
async def test_failures_come_back_as_well(tmp_path, fault, stream):
    """With the same code."""
    path = tmp_path / "one.yaml"
    async with Emulator() as emulator:
        emulator.outage("*", fault)
        with Cassette(path, record=True).installed():
            real = await ask(emulator.base_url_openai, stream=stream)
    with Cassette(path).installed():
        assert await ask(emulator.base_url_openai, stream=stream) == real


@pytest.mark.anyio
async def test_what_was_not_recorded_is_an_error(tmp_path):
    """Nothing leaves for the network; the test that asked fails, with what to do."""
    path = tmp_path / "one.yaml"
    async with Emulator() as emulator:
        with Cassette(path, record=True).installed():
            await ask(emulator.base_url_openai)
        emulator.requests.clear()
        said = r"has no answer for POST .* record with HYBRIDINFER_RECORD=1"
        with pytest.raises(CassetteError, match=said), Cassette(path).installed():
            assert [await ask(emulator.base_url_openai) for _ in range(2)][1] == "unavailable"
        assert emulator.requests == []


@pytest.mark.parametrize("text", ["", "a: [", "version: 2", "version: 1\nmore: x", "\xff"])
def test_what_is_no_cassette(tmp_path, text):
    """Is told, and so is none at all."""
    path = tmp_path / "one.yaml"
    with pytest.raises(CassetteError, match="there is no cassette"):
        Cassette(path)
    path.write_bytes(text.encode("latin-1"))
    if text:
        with pytest.raises(CassetteError, match="is no cassette"):
            Cassette(path)


def test_the_environment_says_whether_to_record(tmp_path, monkeypatch):
    """Replaying is the rule."""
    monkeypatch.setenv(RECORD, "1")
    assert Cassette(tmp_path / "one.yaml").record
    monkeypatch.setenv(RECORD, "0")
    with pytest.raises(CassetteError):
        Cassette(tmp_path / "one.yaml")


class Fixed(httpx2.AsyncBaseTransport):
    """Always the same body."""

    def __init__(self, body, kind="application/json"):
        self.body, self.kind = body, kind

    async def handle_async_request(self, request):
        return httpx2.Response(200, headers={"content-type": self.kind, "set-cookie": "c=1"}, content=self.body)


def record(cassette, asked, body, *, headers=None, url="https://api.example.com/v1/chat", kind="application/json"):
    """One exchange, recorded by hand."""
    import asyncio

    async def go():
        client = httpx2.AsyncClient(transport=cassette.transport(Fixed(body, kind)))
        async with client:
            await client.post(url, json=asked, headers=headers or {})

    asyncio.run(go())


SECRET = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_", min_size=16, max_size=40).map(
    lambda text: f"Q7{text}"
)
PLACES = ["content", "arguments", "message", "metadata", "unknown", "input", "name", "error"]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(SECRET, SECRET, st.sampled_from(PLACES), st.booleans(), st.sampled_from(["api-key", "authorization", "cookie"]))
def test_no_secret_is_ever_in_the_file(tmp_path, header, inside, place, streamed, name):  # noqa: PLR0917 - drawn
    """Keys in headers and addresses, secrets anywhere in bodies and events: scrubbed, whatever they look like."""
    said = {"choices": [{"index": 0, "delta": {place: inside, "role": "assistant"}}], place: {inside: inside}}
    asked = {"model": "m", "messages": [{"role": "user", "content": inside}], place: inside, inside: 1}
    body = f"data: {json.dumps(said)}\n\ndata: {inside}\n\n" if streamed else json.dumps(said)
    cassette = Cassette(tmp_path / "one.yaml", record=True)
    url = f"https://user:{header}@api.example.com/v1?key={header}#{header}"
    kind = "text/event-stream" if streamed else "application/json"
    record(cassette, asked, body.encode(), headers={name: f"Bearer {header}"}, url=url, kind=kind)
    cassette.save()
    text = cassette.path.read_text()
    assert header not in text
    assert inside not in text
    assert yaml.safe_load(text)["exchanges"][0]["asked"]["url"] == "https://api.example.com/v1"


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(SECRET, st.booleans())
def test_kept_content_with_a_secret_is_not_written(tmp_path, secret, split):
    """An echoed key, even across the pieces of a stream: the old file stays, and no other one is left."""
    path = tmp_path / "kept.yaml"
    path.write_text("old")
    half = len(secret) // 2
    parts = [secret[:half], secret[half:]] if split else [secret]
    body = "".join(f"data: {json.dumps({'text': part})}\n\n" for part in parts)
    cassette = Cassette(path, record=True, keep_content=True)
    record(cassette, {"m": 1}, body.encode(), headers={"x-api-key": secret}, kind="text/event-stream")
    with pytest.raises(CassetteError, match="was not written"):
        cassette.save()
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir() if file.name.startswith(".")] == []


def test_a_secret_that_detectors_know_is_not_written(tmp_path):
    """Kept content is searched for credentials and passwords."""
    cassette = Cassette(tmp_path / "one.yaml", record=True, keep_content=True)
    record(cassette, {"messages": "my password is hunter2"}, b"{}")
    with pytest.raises(CassetteError, match="it would hold a secret"):
        cassette.save()
    assert not cassette.path.exists()


def test_a_write_that_fails_leaves_nothing(tmp_path, monkeypatch):
    """Neither half a file nor a temporary one."""
    from hybridinfer.drill import cassette as module

    def fail(*_):
        raise OSError("full")

    monkeypatch.setattr(module.Path, "replace", fail)
    with pytest.raises(OSError, match="full"):
        Cassette(tmp_path / "one.yaml", record=True).save()
    assert list(tmp_path.iterdir()) == []


def test_scrubbing_says_nothing_of_lengths():
    """Each text is the same; numbers that are not the protocol's, free objects and strange depths go."""
    tree = {
        "choices": [{"message": {"content": "a" * 99}}],
        "usage": {"total_tokens": 3, "pin": 4711},
        "metadata": {"a": 1},
    }
    assert Scrub().body(tree) == {
        "choices": [{"message": {"content": TEXT}}],
        "usage": {"total_tokens": 3},
        "metadata": {},
    }
    assert Scrub().body({"type": "A Secret Word", "content": ["a", {"text": "b"}, 4], "index": 1, "error": 7}) == {
        "type": TEXT,
        "content": [TEXT, {"text": TEXT}, None],
        "index": 1,
        "error": None,
    }
    deep = {"content": "x"}
    for _ in range(40):
        deep = {"message": deep}
    assert "x" not in json.dumps(Scrub().body(deep)).replace(TEXT, "")


def test_it_goes_through_real_connections(tmp_path):
    """Outside of the block nothing is wrapped."""
    from hybridinfer.targets import http

    with Cassette(tmp_path / "one.yaml", record=True).installed():
        assert len(http._wraps) == 1
    assert http._wraps == []
    assert OpenAITarget
