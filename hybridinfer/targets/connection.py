"""One TCP or TLS connection for httpcore2, straight on asyncio.

httpcore2 does its I/O through a `network_backend`; its own one goes through anyio, which for each request costs two
turns of the loop to write, four system calls to switch reading on and off, and a cancel scope for every wait: 0.4 of a
whole POST's CPU (benchmarks/overhead.py, decision 0026). This one leaves reading on, sends head and body in one piece,
and waits only where there is nothing to read.

Source of the interface: `httpcore2.AsyncNetworkBackend`, `httpcore2.AsyncNetworkStream`.
"""

from __future__ import annotations

import asyncio
import select
import sys
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from socket import SOCK_STREAM
from typing import TYPE_CHECKING, Any, cast

import httpcore2
from aiohappyeyeballs import start_connection

if TYPE_CHECKING:
    import ssl

_MOST_UNSENT = 64 * 1024
"""Bytes that wait for the next read, or for more to write, before they are sent."""
_MOST_UNREAD = 256 * 1024
"""Bytes after which the peer has to wait until somebody reads."""
_HAPPY_EYEBALLS = 0.25
"""Seconds before the host's next address is tried beside the last one. Source: RFC 8305, section 5."""


class Connection(asyncio.Protocol, httpcore2.AsyncNetworkStream):
    """A connection of one reader and one writer."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport
        self._unsent = bytearray()
        self._unread = bytearray()
        self._reading = True
        self._over = False
        self._error: Exception | None = None
        self._arrival: asyncio.Future[bool] | None = None
        self._outflow: asyncio.Future[bool] | None = None
        """There while the transport takes nothing more."""

    # What the event loop tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The first call of the event loop."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Something came; the peer waits where nobody reads it."""
        self._unread += data
        _wake(self._arrival)
        if len(self._unread) > _MOST_UNREAD and self._reading:
            self._reading = False
            self._transport.pause_reading()

    def eof_received(self) -> None:
        """The peer has nothing more to say: the transport closes itself."""
        self._over = True
        _wake(self._arrival)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over. What came before can still be read."""
        self._over = True
        self._error = exc
        _wake(self._arrival)
        self.resume_writing()

    def pause_writing(self) -> None:
        """The peer takes less than we send."""
        self._outflow = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        """It has caught up."""
        _wake(self._outflow)
        self._outflow = None

    # What httpcore2 asks for.

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """What has come, at least a byte; nothing at the end.

        Raises httpcore2's ReadTimeout after `timeout` seconds of silence, ReadError where the connection broke.
        """
        self._send()
        if not self._unread and not self._over:
            self._arrival = asyncio.get_running_loop().create_future()
            if not await _in_time(self._arrival, timeout):
                raise httpcore2.ReadTimeout
        if not self._unread and self._error is not None:
            raise httpcore2.ReadError(self._error) from self._error
        piece = bytes(self._unread[:max_bytes])
        del self._unread[:max_bytes]
        if not self._reading and len(self._unread) < _MOST_UNREAD:
            self._reading = True
            with suppress(RuntimeError):  # it was closed meanwhile
                self._transport.resume_reading()
        return piece

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send `buffer`, small ones together with what follows: at the latest with the next read.

        Raises httpcore2's WriteTimeout where the peer takes nothing for `timeout` seconds. A connection that broke is
        found out by the next read, which may still find the peer's answer.
        """
        self._unsent += buffer
        if len(self._unsent) < _MOST_UNSENT:
            return
        self._send()
        if self._outflow is not None and not await _in_time(self._outflow, timeout):
            raise httpcore2.WriteTimeout

    async def aclose(self) -> None:
        """Break it off: a connection that is not kept is not worth a farewell."""
        self._transport.abort()
        await asyncio.sleep(0)  # the transport lets go of its socket in the next turn

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> Connection:
        """The same connection, encrypted from here on. Raises httpcore2's ConnectTimeout, ConnectError."""
        loop = asyncio.get_running_loop()
        self._send()
        try:
            async with asyncio.timeout(timeout):
                transport = await loop.start_tls(self._transport, self, ssl_context, server_hostname=server_hostname)
        except BaseException as error:
            self._transport.abort()
            if isinstance(error, TimeoutError):
                raise httpcore2.ConnectTimeout from error
            if isinstance(error, OSError):  # ssl.SSLError is one
                raise httpcore2.ConnectError(error) from error
            raise
        if transport is None:
            raise httpcore2.ConnectError("the connection was closed within the TLS handshake")
        self._transport = transport
        return self

    def get_extra_info(self, info: str) -> Any:
        """`is_readable`: there is something to read, were it only the end. Else what asyncio's transport tells."""
        if info == "is_readable":
            return self._over or bool(self._unread) or _readable(self._transport)
        names = {"client_addr": "sockname", "server_addr": "peername"}
        return self._transport.get_extra_info(names.get(info, info))

    def _send(self) -> None:
        if self._unsent:
            if not self._transport.is_closing():
                self._transport.write(bytes(self._unsent))
            self._unsent.clear()


class Backend(httpcore2.AsyncNetworkBackend):
    """Opens connections on the running event loop."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> Connection:
        """A connection to the first address of `host` that answers. Raises httpcore2's ConnectTimeout, ConnectError."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout):
                there = await loop.getaddrinfo(host, port, type=SOCK_STREAM)
                here = None if local_address is None else await loop.getaddrinfo(local_address, 0, type=SOCK_STREAM)
                # asyncio's own one may lose a socket when it is cancelled.
                socket = await start_connection(there, local_addr_infos=here, happy_eyeballs_delay=_HAPPY_EYEBALLS)
                for option in socket_options or ():
                    socket.setsockopt(*option)
                return (await loop.create_connection(Connection, sock=socket))[1]
        except TimeoutError as error:
            raise httpcore2.ConnectTimeout from error
        except (OSError, RuntimeError) as error:  # uvloop's may be the second
            raise httpcore2.ConnectError(error) from error


def _wake(waiter: asyncio.Future[bool] | None, *, done: bool = True) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(done)


async def _in_time(waiter: asyncio.Future[bool], seconds: float | None) -> bool:
    """Whether it came within so many seconds. A timer costs a third of what `asyncio.timeout` does."""
    if seconds is None:
        return await waiter
    timer = waiter.get_loop().call_later(seconds, partial(_wake, waiter, done=False))
    try:
        return await waiter
    finally:
        timer.cancel()


def _readable(transport: asyncio.Transport) -> bool:
    """Whether the socket has news that the loop has not seen yet; a closed one has."""
    socket = transport.get_extra_info("socket")
    if socket is None or (number := socket.fileno()) < 0:
        return True
    if sys.platform == "win32":
        return bool(select.select([number], [], [], 0)[0])
    poll = select.poll()
    poll.register(number, select.POLLIN)
    return bool(poll.poll(0))
