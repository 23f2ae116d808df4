"""The transport raises what httpx2's own raises, wherever a connection breaks."""

from __future__ import annotations

import asyncio
import ssl

import httpx2
import pytest

from hybridinfer.targets.transport import _ERRORS, Transport

pytestmark = pytest.mark.anyio


def _named(kind: type[Exception]) -> list[type[Exception]]:
    return [kind, *(below for one in kind.__subclasses__() for below in _named(one))]


@pytest.fixture
def transport():
    return Transport(ssl.create_default_context(), httpx2.Limits(max_connections=1))


def _request(url: str = "http://127.0.0.1:9/") -> httpx2.Request:
    return httpx2.Request("POST", url, content=b"x", extensions={"timeout": {"pool": 0.01}})


@pytest.mark.parametrize("kind", [one for error in _ERRORS for one in _named(error)])
async def test_each_failure_keeps_its_name(monkeypatch, transport, kind):
    """By the name the failure's code is chosen."""

    async def fail(_):
        raise kind("told")

    monkeypatch.setattr(transport._pool, "handle_async_request", fail)
    with pytest.raises(httpx2.RequestError, match="told") as caught:
        await transport.handle_async_request(_request())
    assert type(caught.value).__name__ == kind.__name__
    assert isinstance(caught.value.__cause__, kind)


async def _reply(reply: bytes, transport: Transport) -> httpx2.Response:
    async def serve(reader, writer):
        await reader.read(1000)
        writer.write(reply)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        return await transport.handle_async_request(_request("http://{}:{}/".format(*server.sockets[0].getsockname())))
    finally:
        server.close()


async def test_an_answer_comes_with_status_headers_and_body(transport):
    """As the server sent them."""
    response = await _reply(b"HTTP/1.1 201 Made\r\nX-Kind: a\r\ncontent-length: 2\r\n\r\nhi", transport)
    assert (response.status_code, response.headers["x-kind"]) == (201, "a")
    assert await response.aread() == b"hi"
    await response.aclose()
    await transport.aclose()


async def test_a_cut_body_is_httpx2s_error(transport):
    """A body that breaks off is not an end."""
    response = await _reply(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhi", transport)
    with pytest.raises(httpx2.RemoteProtocolError):
        async for _ in response.stream:
            pass
    await response.stream.aclose()
    await transport.aclose()


async def test_no_answer_is_httpx2s_error(transport):
    """A server that hangs up without a word."""
    with pytest.raises(httpx2.RemoteProtocolError):
        await _reply(b"", transport)
    await transport.aclose()
