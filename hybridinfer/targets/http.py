"""One line to the world per event loop, shared by every target on it.

Connections belong to the loop that opened them, so there is one line per loop, built in a thread when the first target
needs it. Targets hold it by a lease; the last one to let go closes it. A vendor SDK's object is never closed, as that
would close the client under everybody else.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from ..errors import ConfigurationError

if TYPE_CHECKING:
    import ssl

    import httpx2

    from ..receipt import Zone

MAX_CONNECTIONS = 512
"""Per event loop, over all targets; a request that finds none free is `saturated`."""
_KEEPALIVE_CONNECTIONS = 128
_KEEPALIVE_SECONDS = 30.0
_POOL_SECONDS = 2.0
_CONNECT_SECONDS = 10.0
_LOOPBACK = re.compile(r"localhost|127(?:\.\d{1,3}){3}|::1")
_PROXIED = frozenset({"http", "https", "all"})
# The environment's proxies are for the world outside; nobody wants them between two processes of one machine.
_NEVER_PROXIED = ("all://localhost", "all://127.0.0.1", "all://[::1]")


@dataclass(slots=True)
class Line:
    """One loop's connections to the world."""

    client: httpx2.AsyncClient
    send: Callable[[httpx2.Request], Awaitable[httpx2.Response]]
    """Send a request as it stands, past what a client adds (redirects, cookies, a log line); the body is unread."""
    holders: set[int] = field(default_factory=set[int])


_lines: WeakKeyDictionary[asyncio.AbstractEventLoop, Line] = WeakKeyDictionary()


async def lease(holder: object) -> Line:
    """The running loop's line, held for `holder` until `release`."""
    loop = asyncio.get_running_loop()
    line = _lines.get(loop)
    if line is None:
        # Others may build one meanwhile: the first to return is kept, an unused client holds nothing.
        line = _lines.setdefault(loop, await asyncio.to_thread(_build))
    line.holders.add(id(holder))
    return line


async def release(holder: object) -> None:
    """Let go of the running loop's line; the last holder closes it. Harmless without a lease."""
    loop = asyncio.get_running_loop()
    line = _lines.get(loop)
    if line is None:
        return
    line.holders.discard(id(holder))
    if not line.holders:
        del _lines[loop]
        await line.client.aclose()


@cache
def _tls() -> ssl.SSLContext:
    """One for all loops of the process: reading the certificates is most of the 20 ms."""
    import httpx2

    return httpx2.create_ssl_context()


Wrap = Callable[["httpx2.AsyncBaseTransport"], "httpx2.AsyncBaseTransport"]
_wraps: list[Wrap] = []


@contextmanager
def wrapped(wrap: Wrap) -> Iterator[None]:
    """Clients that are built meanwhile send through `wrap` of their transport: for recording and replaying in tests.

    A loop that has a client keeps it; the environment's proxies are not used.
    """
    _wraps.append(wrap)
    try:
        yield
    finally:
        _wraps.remove(wrap)


def _build() -> Line:
    from urllib.request import getproxies

    import httpx2

    from .transport import Transport

    limits = httpx2.Limits(
        max_connections=MAX_CONNECTIONS,
        max_keepalive_connections=_KEEPALIVE_CONNECTIONS,
        keepalive_expiry=_KEEPALIVE_SECONDS,
    )
    # A redirect would carry the prompt to an address that no policy names.
    if not _wraps and not _PROXIED.isdisjoint(getproxies()):  # httpx2 knows which host goes through which of them
        mounts: dict[str, httpx2.AsyncBaseTransport | None] = dict.fromkeys(_NEVER_PROXIED)
        client = httpx2.AsyncClient(verify=_tls(), limits=limits, mounts=mounts, follow_redirects=False)
        return Line(client, partial(client.send, stream=True))
    transport: httpx2.AsyncBaseTransport = Transport(_tls(), limits)
    for wrap in _wraps:
        transport = wrap(transport)

    async def send(request: httpx2.Request) -> httpx2.Response:
        response = await transport.handle_async_request(request)
        response.request = request
        return response

    return Line(httpx2.AsyncClient(transport=transport, follow_redirects=False), send)


def timeouts(seconds: float) -> httpx2.Timeout:
    """Limits for one attempt of `seconds`: the driver's clock decides, these are the floor under it."""
    import httpx2

    return httpx2.Timeout(seconds, connect=min(_CONNECT_SECONDS, seconds), pool=min(_POOL_SECONDS, seconds))


def checked_url(url: str, *, target: str, zone: Zone) -> str:
    """`url`, if prompts may travel to it: https, or http to this machine or to the zone `network`.

    Raises:
        ConfigurationError: It is none of these, or holds a password.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        parts, host = urlsplit(""), None
    if not host or parts.scheme not in ("http", "https"):
        raise ConfigurationError(
            f"target {target!r}: base_url is not a URL; write it such as https://api.example.com/v1"
        )
    if parts.username or parts.password:
        raise ConfigurationError(f"target {target!r}: base_url holds a password; use api_key: ${{env:NAME}}")
    if parts.scheme == "http" and zone != "network" and not _LOOPBACK.fullmatch(host):
        raise ConfigurationError(
            f"target {target!r}: base_url is plain http; use https, or say 'zone: network' for a server of your own"
        )
    return url
