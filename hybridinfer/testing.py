"""Test doubles for your own tests: targets that fail on command, a clock, a guard against the network.

down = FakeTarget("cloud", zone="cloud", script=[Outage(Code.UNAVAILABLE), "hello"])
router = Router.from_policy("policies/default.yaml", targets={"cloud": down})
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from typing import Any, get_args
from unittest.mock import patch

from .receipt import Code, Need, Zone
from .targets.base import Finish, TargetEvent, TargetFailed, TargetInfo
from .types import FinishReason, Request, TextDelta, ToolCall, ToolCallDelta, Usage

_USAGE = Usage(input_tokens=10, output_tokens=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A scripted answer. Each of `chunks` is one piece; `finish=None` ends without the terminal event."""

    chunks: tuple[str, ...] = ("hel", "lo")
    tool_calls: tuple[ToolCall, ...] = ()
    finish: FinishReason | None = "stop"
    usage: Usage | None = _USAGE
    model: str = "fake"
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class Outage:
    """A scripted failure with `code`, after `after` (chunks that were delivered before it)."""

    code: Code
    because: str = "scripted outage"
    after: tuple[str, ...] = ()
    retry_after: float | None = None
    retry: bool | None = None
    status: int | None = None
    usage: Usage | None = None


@dataclass(frozen=True, slots=True)
class Hang:
    """Says `after`, then nothing more until it is cancelled."""

    after: tuple[str, ...] = ()


Step = str | Reply | Outage | Hang | BaseException
"""What one call does: a text, a reply, an outage, silence, or an exception that breaks the contract."""


class FakeTarget:
    """A target that follows a script: each call takes the next step, the last one stays.

    `requests` holds every request that reached it; `open` counts calls that are not finished or closed.
    """

    def __init__(
        self,
        name: str,
        *,
        zone: Zone = "cloud",
        kind: str = "fake",
        script: Sequence[Step] = (Reply(),),
        supports: frozenset[Need] = frozenset(get_args(Need)),
        context_window: int | None = None,
        region: str | None = None,
        continues: bool = False,
    ) -> None:
        self.info = TargetInfo(
            name=name,
            kind=kind,
            zone=zone,
            model="fake",
            region=region,
            supports=supports,
            context_window=context_window,
            continues=continues,
        )
        self.script = list(script)
        self.requests: list[Request] = []
        self.open = 0
        self.closed = False
        self.called = asyncio.Event()

    async def stream(self, request: Request, *, stream: bool) -> AsyncIterator[TargetEvent]:  # noqa: ARG002 - the protocol's
        """Do the next step."""
        self.requests.append(request)
        step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        self.open += 1
        self.called.set()
        try:
            async with aclosing(_perform(step)) as events:
                async for event in events:
                    yield event
        finally:
            self.open -= 1

    def count_tokens(self, request: Request) -> int:
        """One token for each word, at least one."""
        return max(1, sum(len(message.text.split()) for message in request.messages))

    async def warmup(self) -> None:
        """Nothing to load."""

    async def aclose(self) -> None:
        """Remembers that it was closed."""
        self.closed = True


async def _perform(step: Step) -> AsyncGenerator[TargetEvent, None]:
    match step:
        case str():
            yield TextDelta(text=step)
            yield Finish(finish_reason="stop", usage=_USAGE, model="fake")
        case Reply():
            for chunk in step.chunks:
                yield TextDelta(text=chunk)
            for index, call in enumerate(step.tool_calls):
                yield ToolCallDelta(index=index, id=call.id, name=call.name, arguments=call.arguments)
            if step.finish is not None:
                yield Finish(finish_reason=step.finish, usage=step.usage, model=step.model, confidence=step.confidence)
        case Outage():
            for chunk in step.after:
                yield TextDelta(text=chunk)
            raise TargetFailed(
                step.code,
                step.because,
                retry_after=step.retry_after,
                retry=step.retry,
                status=step.status,
                usage=step.usage,
            )
        case Hang():
            for chunk in step.after:
                yield TextDelta(text=chunk)
            await asyncio.Event().wait()
        case BaseException():
            raise step


class FakeClock:
    """A clock that moves only when told, or when something sleeps on it."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now
        self.slept: list[float] = []

    def __call__(self) -> float:
        """Monotonic seconds."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds

    async def sleep(self, seconds: float) -> None:
        """Pass the time at once, and remember it in `slept`."""
        self.slept.append(seconds)
        self.now += seconds


@contextmanager
def forbid_network() -> Iterator[list[str]]:
    """Inside, every connection that leaves this process is an error; yields the addresses that were tried.

    Unix sockets stay allowed: event loops use them.
    """
    tried: list[str] = []

    connect, connect_ex = socket.socket.connect, socket.socket.connect_ex

    def refuse(one: socket.socket, address: Any) -> None:
        if one.family == getattr(socket, "AF_UNIX", None):
            connect(one, address)
            return
        tried.append(str(address))
        raise ConnectionRefusedError("the network is forbidden here (hybridinfer.testing.forbid_network)")

    def refuse_ex(one: socket.socket, address: Any) -> int:
        if one.family == getattr(socket, "AF_UNIX", None):
            return connect_ex(one, address)
        tried.append(str(address))
        return errno.ECONNREFUSED

    def no_names(host: Any, *_args: Any, **_options: Any) -> Any:
        tried.append(str(host))
        raise socket.gaierror("the network is forbidden here (hybridinfer.testing.forbid_network)")

    with (
        patch.object(socket.socket, "connect", refuse),
        patch.object(socket.socket, "connect_ex", refuse_ex),
        patch.object(socket, "getaddrinfo", no_names),
    ):
        yield tried
