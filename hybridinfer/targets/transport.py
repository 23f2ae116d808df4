"""HTTP over our own connections: an httpx2 transport on httpcore2's pool, with the connections of `connection`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable
from typing import TYPE_CHECKING, Any, cast

import httpcore2
import httpx2

from .connection import Backend

if TYPE_CHECKING:
    import ssl

_ERRORS = (
    httpcore2.TimeoutException,
    httpcore2.NetworkError,
    httpcore2.ProtocolError,
    httpcore2.ProxyError,
    httpcore2.UnsupportedProtocol,
)


class Transport(httpx2.AsyncBaseTransport):
    """What `httpx2.AsyncHTTPTransport` is, for HTTP/1.1 without a proxy; it raises the same errors."""

    def __init__(self, ssl_context: ssl.SSLContext, limits: httpx2.Limits) -> None:
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=ssl_context,
            max_connections=limits.max_connections,
            max_keepalive_connections=limits.max_keepalive_connections,
            keepalive_expiry=limits.keepalive_expiry,
            network_backend=Backend(),
        )

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send `request`; the response's body is unread. Raises httpx2's `RequestError`."""
        url = request.url
        message = httpcore2.Request(
            request.method,
            httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=request.headers.raw,
            content=cast("httpx2.AsyncByteStream", request.stream),
            extensions=request.extensions,
        )
        try:
            response = await self._pool.handle_async_request(message)
        except _ERRORS as error:
            raise _as_httpx2(error) from error
        body = _Body(cast("AsyncGenerator[bytes, None]", response.stream))
        return httpx2.Response(response.status, headers=response.headers, stream=body, extensions=response.extensions)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._pool.aclose()


class _Body(httpx2.AsyncByteStream):
    """A response's body; its errors are httpx2's."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncGenerator[bytes, None]:
        try:
            async for piece in cast("AsyncIterable[bytes]", self._stream):
                yield piece
        except _ERRORS as error:
            raise _as_httpx2(error) from error

    async def aclose(self) -> None:
        await self._stream.aclose()


def _as_httpx2(error: Exception) -> httpx2.RequestError:
    """The two libraries call their errors by the same names."""
    kind: type[httpx2.RequestError] = getattr(httpx2, type(error).__name__)
    return kind(str(error))
