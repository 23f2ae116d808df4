"""A cloud target of a drill over HTTP: the real adapter, and beside it real adapters whose address leads nowhere.

What a server can play, the emulator plays for exactly the call that meets it. What happens before any server is
reached (nobody listens, no such host, no TLS) happens to another adapter of the same target.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, suppress
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Any, cast

from ..targets.base import Target, TargetContext, TargetEvent, TargetFailed, TargetInfo
from ..targets.registry import build
from .vocabulary import DOORS, on_the_wire

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from ..policy.model import TargetBlock
    from ..types import Request
    from .aim import Met
    from .emulator import Emulator
    from .wire import Seen

HEADER = "x-hybridinfer-drill"
"""Tells the emulator which call meets a fault. Nothing outside of this machine ever sees it."""
_NOWHERE = "nowhere.invalid"
"""RFC 6761: names under .invalid have no address, anywhere."""
_numbers = count(1)


class Doored:
    """`Target` for one cloud of a drill; `met` says what a call meets."""

    def __init__(
        self, name: str, block: TargetBlock, emulator: Emulator, *, met: Callable[[Request], Met | None], speed: float
    ) -> None:
        self._usual = over_http(name, block, emulator)
        self._doors = {word: over_http(name, block, emulator, door=word) for word in sorted(DOORS)}
        self._emulator = emulator
        self._met = met
        self._speed = speed
        self.info: TargetInfo = self._usual.info

    async def stream(self, request: Request, *, stream: bool) -> AsyncIterator[TargetEvent]:
        """The real adapter's answer, or what the fault makes of it."""
        met = self._met(request)
        if met is None:
            called, outage = self._usual, None
        elif met.block.fault in DOORS:
            called, outage = self._doors[met.block.fault], None
        else:
            mark = str(next(_numbers))
            request = replace(request, extra_headers={**request.extra_headers, HEADER: mark})
            called = self._usual
            outage = self._emulator.outage(_for(mark), on_the_wire(met.block, speed=self._speed))
        try:
            events = cast("AsyncGenerator[TargetEvent, None]", called.stream(request, stream=stream))
            async with aclosing(events):
                async for event in events:
                    yield event
        finally:
            if outage is not None:
                outage.end()

    def count_tokens(self, request: Request) -> int:
        """The real adapter's."""
        return self._usual.count_tokens(request)

    async def warmup(self) -> None:
        """All of them, so that no call waits for an import. They carry no request."""
        for one in self._all:
            with suppress(TargetFailed):
                await one.warmup()

    async def aclose(self) -> None:
        """All of them."""
        for one in self._all:
            await one.aclose()

    @property
    def _all(self) -> list[Target]:
        return [self._usual, *self._doors.values()]


def over_http(name: str, block: TargetBlock, emulator: Emulator, *, door: str = "") -> Target:
    """The real adapter, pointed at this machine. Prices and zones stay those of the policy's own block.

    `door`: `down` is a port where nobody listens, `tls` one where nobody speaks TLS, `dns` a name without address.
    """
    url = emulator.base_url_openai if block.kind == "openai" else emulator.base_url_anthropic
    here = f"127.0.0.1:{emulator.port}"
    match door:
        case "down":
            url = url.replace(here, f"127.0.0.1:{emulator.closed_port}")
        case "tls":
            url = url.replace("http://", "https://")
        case "dns":
            url = url.replace(f"http://{here}", f"https://{_NOWHERE}")
        case _:
            pass
    changes: dict[str, Any] = {"base_url": url, "api_key": "DRILL", "replicas": ()}
    here_block = block.model_copy(update=changes)
    return build(here_block, TargetContext(name=name, environ={"DRILL": "the-drill-needs-no-key"}))


def _for(mark: str) -> Callable[[Seen], bool]:
    return lambda seen: seen.headers.get(HEADER) == mark
