"""The shared HTTP client, and where prompts may travel."""

from __future__ import annotations

import asyncio

import httpx2
import pytest

from hybridinfer.errors import ConfigurationError
from hybridinfer.targets import http


@pytest.mark.anyio
async def test_targets_of_one_loop_share_one_client():
    """Two holders get the same line, and it stays open until the last lets go."""
    one, two = object(), object()
    line = await http.lease(one)
    assert await http.lease(two) is line
    await http.release(one)
    assert not line.client.is_closed
    await http.release(two)
    assert line.client.is_closed


@pytest.mark.anyio
async def test_a_client_is_built_once_for_holders_that_come_together():
    """Concurrent first calls end with one client."""
    holders = [object() for _ in range(3)]
    lines = await asyncio.gather(*(http.lease(holder) for holder in holders))
    assert len({id(line) for line in lines}) == 1
    for holder in holders:
        await http.release(holder)
    assert lines[0].client.is_closed


@pytest.mark.anyio
async def test_letting_go_without_a_lease_is_harmless():
    """A target that was never called can be closed; whoever holds a line keeps it."""
    holder = object()
    line = await http.lease(holder)
    await http.release(object())
    assert not line.client.is_closed
    await http.release(holder)


def test_each_loop_has_its_own_client():
    """A client used from a second loop fails, so none is."""

    async def borrow() -> object:
        holder = object()
        client = await http.lease(holder)
        await http.release(holder)
        return client

    assert asyncio.run(borrow()) is not asyncio.run(borrow())


async def _answers(heard: list[bytes], status: bytes) -> asyncio.Server:
    """A server that notes the first line of each request and answers with this status."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append((await reader.readuntil(b"\r\n\r\n")).splitlines()[0])
        writer.write(b"HTTP/1.1 " + status + b"\r\nlocation: http://a.example/\r\ncontent-length: 0\r\n\r\n")
        writer.close()

    return await asyncio.start_server(serve, "127.0.0.1", 0)


def _address(server: asyncio.Server) -> str:
    return "http://{}:{}".format(*server.sockets[0].getsockname())


async def _send(url: str) -> int:
    holder = object()
    line = await http.lease(holder)
    try:
        response = await line.send(httpx2.Request("POST", url, content=b"prompt"))
        await response.aclose()
        return response.status_code
    finally:
        await http.release(holder)


@pytest.mark.anyio
@pytest.mark.parametrize("proxied", [True, False])
async def test_redirects_are_not_followed(monkeypatch, proxied):
    """A prompt goes where the policy says, and nowhere else."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    if proxied:
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    heard: list[bytes] = []
    async with await _answers(heard, b"307 Go") as server:
        assert await _send(_address(server) + "/v1") == 307
    assert heard == [b"POST /v1 HTTP/1.1"]


@pytest.mark.anyio
@pytest.mark.parametrize("name", ["HTTP_PROXY", "ALL_PROXY"])
async def test_the_environments_proxy_is_for_the_world_outside(monkeypatch, name):
    """Another host is reached through it, this machine without it."""
    seen_by_proxy: list[bytes] = []
    seen_here: list[bytes] = []
    async with await _answers(seen_by_proxy, b"204 Done") as proxy, await _answers(seen_here, b"200 OK") as here:
        monkeypatch.setenv(name, _address(proxy))
        assert await _send("http://a.example/v1") == 204
        assert await _send(_address(here)) == 200
    assert seen_by_proxy == [b"POST http://a.example/v1 HTTP/1.1"]
    assert seen_here == [b"POST / HTTP/1.1"]


def test_limits_fit_into_the_attempts_time():
    """No single wait is longer than the attempt."""
    assert http.timeouts(30.0).as_dict() == {"connect": 10.0, "read": 30.0, "write": 30.0, "pool": 2.0}
    assert http.timeouts(0.5).as_dict() == {"connect": 0.5, "read": 0.5, "write": 0.5, "pool": 0.5}


@pytest.mark.parametrize(
    ("url", "zone"),
    [
        ("https://api.example.com/v1", "cloud"),
        ("http://127.0.0.1:8000/v1", "cloud"),
        ("http://localhost:11434/v1", "cloud"),
        ("http://[::1]:8000", "cloud"),
        ("http://10.0.0.5:8000/v1", "network"),
    ],
)
def test_safe_addresses_pass(url, zone):
    """https anywhere; http on this machine, or to one's own network."""
    assert http.checked_url(url, target="t", zone=zone) == url


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://api.example.com/v1", "plain http; use https"),
        ("http://127.0.0.1.example.com/v1", "plain http"),
        ("http://localhost.example.com/v1", "plain http"),
        ("ftp://api.example.com", "is not a URL"),
        ("api.example.com/v1", "is not a URL"),
        ("http://[::1", "is not a URL"),
        ("https://me:pass@api.example.com", "holds a password"),
    ],
)
def test_unsafe_addresses_are_configuration_errors(url, told):
    """The error names the target and says what to write; it does not repeat a password."""
    with pytest.raises(ConfigurationError, match=f"target 't': base_url.*{told}") as caught:
        http.checked_url(url, target="t", zone="cloud")
    assert "pass@" not in str(caught.value)
