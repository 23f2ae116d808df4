"""One HTTP client per event loop, shared by every target on it.

A client belongs to the loop that first used it, so there is one per loop, built in a thread when the first target
needs it. Targets hold it by a lease; the last one to let go
closes it. A vendor SDK's object is never closed, as that would close this client under everybody else.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
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
# The environment's proxies are for the world outside; nobody wants them between two processes of one machine.
_NEVER_PROXIED = ("all://localhost", "all://127.0.0.1", "all://[::1]")


@dataclass(slots=True)
class _Shared:
    client: httpx2.AsyncClient
    holders: set[int] = field(default_factory=set[int])


_shared: WeakKeyDictionary[asyncio.AbstractEventLoop, _Shared] = WeakKeyDictionary()


async def lease(holder: object) -> httpx2.AsyncClient:
    """The running loop's client, held for `holder` until `release`."""
    loop = asyncio.get_running_loop()
    shared = _shared.get(loop)
    if shared is None:
        # Others may build one meanwhile: the first to return is kept, an unused client holds nothing.
        shared = _shared.setdefault(loop, _Shared(await asyncio.to_thread(_build)))
    shared.holders.add(id(holder))
    return shared.client


async def release(holder: object) -> None:
    """Let go of the running loop's client; the last holder closes it. Harmless without a lease."""
    loop = asyncio.get_running_loop()
    shared = _shared.get(loop)
    if shared is None:
        return
    shared.holders.discard(id(holder))
    if not shared.holders:
        del _shared[loop]
        await shared.client.aclose()


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


def _build() -> httpx2.AsyncClient:
    import httpx2

    limits = httpx2.Limits(
        max_connections=MAX_CONNECTIONS,
        max_keepalive_connections=_KEEPALIVE_CONNECTIONS,
        keepalive_expiry=_KEEPALIVE_SECONDS,
    )
    if _wraps:
        transport: httpx2.AsyncBaseTransport = httpx2.AsyncHTTPTransport(verify=_tls(), limits=limits)
        for wrap in _wraps:
            transport = wrap(transport)
        return httpx2.AsyncClient(transport=transport, follow_redirects=False)
    return httpx2.AsyncClient(
        verify=_tls(),
        limits=limits,
        mounts=dict.fromkeys(_NEVER_PROXIED),
        # A redirect would carry the prompt to an address that no policy names.
        follow_redirects=False,
    )


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
