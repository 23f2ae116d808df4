"""As much HTTP/1.1 as the emulator needs, on asyncio streams: keep-alive, content-length, chunked answers.

Source: RFC 9112. Clients here are the vendors' SDKs; anything they never send ends the connection.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

_MOST_BYTES = 64 * 1024 * 1024
_HANDSHAKE = b"\x16"
_HANDSHAKE_FAILURE = b"\x15\x03\x03\x00\x02\x02\x28"
"""RFC 8446, 6: a record of type alert, fatal, handshake_failure."""
_NO_LINGER = struct.pack("ii", 1, 0)


class TlsHello(Exception):
    """The client wants TLS, which nobody here speaks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One request as it arrived. Header names are in lower case; `body` is decoded JSON, None where it is none."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: Any

    @property
    def model(self) -> str:
        """The model it asks for."""
        return str(self.body.get("model", "")) if isinstance(self.body, Mapping) else ""


async def read(reader: asyncio.StreamReader) -> Seen | None:
    """The next request of a connection; None when it ends or speaks something else. Raises `TlsHello`."""
    try:
        begin = await reader.readexactly(1)
        if begin == _HANDSHAKE:
            raise TlsHello
        head = (begin + await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
        method, target, _ = first.split(" ", 2)
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", "0"))
        if length > _MOST_BYTES or "transfer-encoding" in headers:
            return None
        raw = await reader.readexactly(length)
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError, ValueError):
        return None
    return Seen(method=method, path=target.partition("?")[0], headers=headers, body=_decoded(raw))


def _decoded(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        return None


class Wire:
    """The answering half of one connection."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._chunked = False

    async def whole(self, status: int, body: bytes, headers: Mapping[str, str], *, keep: int | None = None) -> None:
        """An answer of known length; `keep` sends only its first bytes."""
        self._head(status, {**headers, "content-length": str(len(body))})
        self._writer.write(body[:keep])
        await self._writer.drain()

    def start(self, status: int, headers: Mapping[str, str]) -> None:
        """The head of an answer that comes in chunks."""
        self._chunked = True
        self._head(status, {**headers, "transfer-encoding": "chunked"})

    async def chunk(self, data: bytes) -> None:
        """One chunk."""
        self._writer.write(b"%x\r\n%b\r\n" % (len(data), data))
        await self._writer.drain()

    async def end(self) -> None:
        """The end of the chunks."""
        self._writer.write(b"0\r\n\r\n")
        await self._writer.drain()

    def reset(self) -> None:
        """Drop the connection with a TCP RST."""
        raw: socket.socket = self._writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self._writer.transport.abort()

    def no_tls(self) -> None:
        """Refuse the handshake."""
        self._writer.write(_HANDSHAKE_FAILURE)

    def _head(self, status: int, headers: Mapping[str, str]) -> None:
        phrase = HTTPStatus(status).phrase if status in {known.value for known in HTTPStatus} else "Overloaded"
        lines = [f"HTTP/1.1 {status} {phrase}", *(f"{name}: {value}" for name, value in headers.items())]
        self._writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
