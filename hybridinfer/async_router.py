"""`AsyncRouter`: the public face for asynchronous code."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self
from weakref import ref

from .apart import drain
from .auditor import Auditor
from .commands import Result
from .driver import Drive, Equipment
from .errors import ConfigurationError
from .options import Messages, build_request, verdict_of
from .types import End, Request, Response, StreamEvent, TextDelta, Usage
from .underway import UnderWay

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from .budget.ledger import Ledger
    from .chat import AsyncChat
    from .inforce import Reloads
    from .observe.hooks import Hook
    from .policy.model import Policy
    from .receipt import Decision, Receipt
    from .resilience.breaker import Health
    from .resilience.retry import RetryBudget
    from .signals.base import Signal
    from .targets.base import Target

logger = logging.getLogger("hybridinfer")
logger.addHandler(logging.NullHandler())  # the program decides where logs go

BOOKINGS = 5.0
"""Seconds that closing waits for entries the ledger has not taken yet."""


class AsyncRouter:
    """Scores each request, decides by the policy, and answers: from this machine, a cloud, or a canned text.

    `policy` is a path, a mapping, a `Policy`, or None: then the first of HYBRIDINFER_POLICY, ./hybridinfer.yaml,
    ./policies/default.yaml, the user's configuration folder, and the default policy of this package.

    `targets` replaces targets of the policy by objects of your own (see `hybridinfer.testing.FakeTarget`), `signals`
    its signals; `ledger` replaces the SQLite ledger; `environ` replaces the process's environment as the source of
    keys; `hooks` are told of every receipt. `watch`: take the policy's file over whenever it changes. `clock` (monotonic
    seconds), `sleep`, `rng` (0..1) and `retry_budget`, which all routers of a process share otherwise, are for tests and
    simulations.

    One router serves any number of concurrent requests. Close it, or use it as an async context manager.
    """

    def __init__(
        self,
        policy: str | Path | Mapping[str, Any] | Policy | None = None,
        *,
        targets: Mapping[str, Target] | None = None,
        signals: Mapping[str, Signal] | None = None,
        ledger: Ledger | None = None,
        environ: Mapping[str, str] | None = None,
        hooks: Sequence[Hook] = (),
        watch: bool = False,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        rng: Callable[[], float] = random.random,
        retry_budget: RetryBudget | None = None,
    ) -> None:
        from pathlib import Path

        from .assembly import Assembler, discover
        from .inforce import InForce
        from .policy.load import load

        environ = os.environ if environ is None else environ
        source = discover(environ) if policy is None else policy
        path = Path(source) if isinstance(source, (str, Path)) else None
        if watch and path is None:
            raise ConfigurationError("watch=True needs a policy in a file; this one came from the program")
        loaded = load(source)
        assembler = Assembler(
            targets=targets or {},
            signals=signals or {},
            ledger=ledger,
            hooks=hooks,
            environ=environ,
            clock=clock,
            sleep=sleep,
            rng=rng,
            now=lambda: datetime.now(UTC),
            new_id=new_id,
            retry_budget=retry_budget,
        )
        self._under_way = UnderWay()
        self._in_force = InForce(loaded, path, assembler, self._under_way)
        self._auditor = Auditor(self._under_way)
        self._watch = watch

    @classmethod
    def from_policy(cls, policy: str | Path | Mapping[str, Any] | Policy, **options: Any) -> Self:
        """A router for this policy; `options` are the constructor's. Raises PolicyError, ConfigurationError."""
        return cls(policy, **options)

    @property
    def policy(self) -> Policy:
        """The policy in force; immutable."""
        return self._equipment.runtime.policy

    @property
    def policy_error(self) -> Exception | None:
        """Why the policy's file, as it was read last, is not in force; None: it is."""
        return self._in_force.error

    @property
    def policy_reloads(self) -> Reloads:
        """How often the policy's file was read again: taken, unchanged, refused. A metric; refusals deserve an alarm."""
        return self._in_force.reloads

    async def reload(self) -> bool:
        """Read the policy's file again. True: what it says is in force; False: it is broken, and the last one stays.

        Requests under way end on the policy they began with. Raises ConfigurationError where there is no file.
        """
        return await self._in_force.reload()

    async def complete(self, messages: Messages, **options: Any) -> Response:
        """Answer `messages` (a text, or a list of messages in OpenAI's or Anthropic's shape).

        Options: timeout (seconds, the whole deadline), max_tokens, temperature, top_p, top_k, seed, stop, tools,
        tool_choice, response_format, logprobs, metadata, user, extra_headers, privacy (a level: raises, never
        lowers), budget_usd, tags, safe_to_retry, on_interrupt. An unknown option is a TypeError.

        Raises a `RequestError` (with `.receipt`) when nobody answered.
        """
        request = build_request(messages, options)
        self._look()
        drive = Drive(self._equipment, request, hold=True)
        one = _Open(drive, self._until(request))
        self._under_way.enter(one)
        try:
            return _response(await drive.complete(), request)
        finally:
            self._under_way.leave(one)
            self._auditor.consider(drive)

    def stream(self, messages: Messages, **options: Any) -> AsyncStream:
        """Answer piece by piece. Options as in `complete`.

            async with router.stream("...") as stream:
                async for text in stream.text_stream:
                    print(text, end="")

        Iterating the stream itself gives the typed events: Start, deltas, perhaps Reset, End.
        """
        return AsyncStream(self, build_request(messages, options))

    async def decide(self, messages: Messages, **options: Any) -> Decision:
        """What would be done with this request, and why. No call is made, no money is reserved."""
        self._look()
        request = build_request(messages, options)
        drive = Drive(self._equipment, request, hold=True)
        one = _Open(drive, self._until(request))
        self._under_way.enter(one)
        try:
            return await drive.decide()
        finally:
            self._under_way.leave(one)

    async def feedback(self, receipt_id: str, *, score: float | None = None, accepted: bool | None = None) -> bool:
        """Say how good an answer was, for `hybridinfer learn`: `score` from 0 to 1, or `accepted`.

        Only the number is kept, beside the features of the request. False: none are kept under this id, as the request
        was private, is too old, got a canned reply, or ran elsewhere. A second verdict replaces the first.

        Raises ConfigurationError where the policy does not say `learning: {store: features}`.
        """
        verdict = verdict_of(score=score, accepted=accepted)
        memory = self._equipment.memory
        assert memory is not None, "every assembled router has one"
        return await memory.label(receipt_id, verdict)

    async def warmup(self) -> Mapping[str, str]:
        """Load now what the first requests would load: models, clients, tokenizers, the signals' data and detectors.

        Returns what is not ready: target -> why.
        """
        from .warming import warm

        self._look()
        equipment = self._equipment
        targets = equipment.targets
        ends = await asyncio.gather(*(target.warmup() for target in targets.values()), return_exceptions=True)
        await warm(equipment)
        failed: dict[str, str] = {}
        for name, end in zip(targets, ends, strict=True):
            if isinstance(end, Exception):
                failed[name] = str(end) or type(end).__name__
            elif end is not None:
                raise end
        return failed

    def health(self) -> Mapping[str, Health]:
        """The circuit breaker of each target."""
        return {name: breaker.health() for name, breaker in self._equipment.runtime.breakers.items()}

    @cached_property
    def chat(self) -> AsyncChat:
        """OpenAI's face: `await router.chat.completions.create(model="auto", messages=[...])`."""
        from .chat import AsyncChat

        return AsyncChat(self)

    async def aclose(self) -> None:
        """Refuse new requests, wait for those under way (at most to their deadlines), free targets and ledger.

        A stream that nobody reads any more is stopped. A second call does nothing.
        """
        if self._under_way.closed:
            return
        await self._under_way.drain()
        await self._in_force.aclose()
        equipment = self._equipment
        await drain(equipment.behind)
        closing = [target.aclose() for target in equipment.targets.values()]
        ends = list(await asyncio.gather(*closing, return_exceptions=True))
        if equipment.bookings:
            await asyncio.wait(equipment.bookings, timeout=BOOKINGS)
        ends += await asyncio.gather(equipment.ledger.aclose(), return_exceptions=True)
        if equipment.memory is not None:
            await asyncio.to_thread(equipment.memory.close)
        if equipment.log is not None:
            await asyncio.to_thread(equipment.log.close)
        for name, end in zip([*equipment.targets, "(ledger)"], ends, strict=True):
            if isinstance(end, Exception):
                logger.warning("closing %s raised %s", name, type(end).__name__)
            elif end is not None:
                raise end

    async def __aenter__(self) -> Self:
        self._look()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    @property
    def _equipment(self) -> Equipment:
        return self._in_force.equipment

    def _look(self) -> None:
        """Where the file is to be watched, this loop does it from now on."""
        if self._watch and not self._under_way.closed:
            self._in_force.watch()

    def _drive(self, request: Request) -> Drive:
        return Drive(self._equipment, request, hold=False)

    def _until(self, request: Request) -> float:
        seconds = self.policy.resilience.deadline if request.timeout is None else request.timeout
        return asyncio.get_running_loop().time() + seconds


class _Open:
    """One request under way; see `underway.Pending`. `stream`: who reads it, where it is streamed."""

    def __init__(self, drive: Drive | None = None, until: float = 0.0, stream: AsyncStream | None = None) -> None:
        self.drive = drive
        """None: a stream that nobody has begun to read; it will go by the policy of that moment."""
        self.until = until
        self.idle_since: float | None = None
        self.response: Response | None = None
        self._stream = None if stream is None else ref(stream)  # weak: a stream that is dropped shall go

    async def aclose(self) -> None:
        """Stop the stream; whoever waits for a whole answer holds the task himself."""
        stream = None if self._stream is None else self._stream()
        if stream is not None:
            await stream.aclose()


class AsyncStream:
    """One streamed answer: an async context manager and an async iterator of `StreamEvent`. Iterate it once."""

    def __init__(self, router: AsyncRouter, request: Request) -> None:
        self._router = router
        self._open = _Open(stream=self)
        self._events = _events(router, request, self._open)
        self._cut = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> StreamEvent:
        try:
            return await anext(self._events)
        except StopAsyncIteration:
            if self._cut:
                raise ConfigurationError("the router was closed before this stream was read to its end") from None
            raise

    @property
    def text_stream(self) -> AsyncIterator[str]:
        """Only the text, piece by piece. After a `Reset` it begins anew: use the events where that can happen."""
        return _Texts(self)

    @property
    def response(self) -> Response:
        """The whole answer; there after the `End` event."""
        if self._open.response is None:
            raise RuntimeError("the stream is not at its end; iterate it first")
        return self._open.response

    @property
    def receipt(self) -> Receipt | None:
        """The receipt; None until the stream has ended, well or badly."""
        return None if self._open.drive is None else self._open.drive.receipt

    async def aclose(self) -> None:
        """Stop: the upstream call is closed and what is owed is booked. RuntimeError while another task is reading."""
        self._cut = self._router._under_way.closed and self._open.response is None  # noqa: SLF001
        await self._events.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


async def _events(router: AsyncRouter, request: Request, one: _Open) -> AsyncGenerator[StreamEvent, None]:
    router._look()  # noqa: SLF001 - one module, two classes
    drive = one.drive = router._drive(request)  # noqa: SLF001
    one.until = router._until(request)  # noqa: SLF001
    under_way = router._under_way  # noqa: SLF001
    under_way.enter(one)
    clock = asyncio.get_running_loop().time
    pieces = drive.events()
    try:
        async for piece in pieces:
            one.idle_since = clock()
            yield piece
            one.idle_since = None
        assert drive.result is not None
        one.response = _response(drive.result, request)
        yield End(response=one.response)
    finally:
        await pieces.aclose()
        under_way.leave(one)
        router._auditor.consider(drive)  # noqa: SLF001


class _Texts:
    """The text of a stream's events. A class, as a generator left halfway would need a task to be closed."""

    def __init__(self, stream: AsyncStream) -> None:
        self._stream = stream

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        while True:
            event = await anext(self._stream)
            if isinstance(event, TextDelta):
                return event.text


def _response(result: Result, request: Request) -> Response:
    answer, wanted = result.answer, request.response_format
    known = dict(zip(wanted.choices if wanted else (), answer.probabilities, strict=False))
    return Response(
        text=answer.text,
        receipt=result.receipt,
        tool_calls=answer.tool_calls,
        finish_reason=answer.finish_reason,
        usage=answer.usage or Usage(),
        model=answer.model,
        logprobs=answer.logprobs,
        confidence=answer.confidence,
        probabilities=known or None,
    )


def new_id() -> str:
    """A receipt's id: sortable by time, unguessable, 30 characters."""
    return f"req_{time.time_ns() // 1_000_000:012x}{os.urandom(7).hex()}"
