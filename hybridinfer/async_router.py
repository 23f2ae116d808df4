"""`AsyncRouter`: the public face for asynchronous code."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from .commands import Result
from .driver import Drive, Equipment
from .errors import HybridinferError, RequestError
from .observe.hooks import Hook, tell
from .options import Messages, build_request
from .types import End, Request, Response, StreamEvent, TextDelta, Usage

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from .budget.ledger import Ledger
    from .chat import AsyncChat
    from .policy.model import Policy
    from .receipt import Decision, Receipt
    from .resilience.breaker import Health
    from .signals.base import Signal
    from .targets.base import Target

logger = logging.getLogger("hybridinfer")


class AsyncRouter:
    """Scores each request, decides by the policy, and answers: from this machine, a cloud, or a canned text.

    `policy` is a path, a mapping, a `Policy`, or None: then the first of HYBRIDINFER_POLICY, ./hybridinfer.yaml,
    ./policies/default.yaml, the user's configuration folder, and the default policy of this package.

    `targets` replaces targets of the policy by objects of your own (see `hybridinfer.testing.FakeTarget`), `signals`
    its signals; `ledger` replaces the SQLite ledger; `environ` replaces the process's environment as the source of
    keys; `hooks` are told of every receipt. `clock` (monotonic seconds), `sleep` and `rng` (0..1) are for tests and
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
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        rng: Callable[[], float] = random.random,
    ) -> None:
        from .assembly import equip

        self._equipment: Equipment = equip(
            policy,
            targets=targets or {},
            own_signals=signals or {},
            ledger=ledger,
            environ=os.environ if environ is None else environ,
            clock=clock,
            sleep=sleep,
            rng=rng,
            now=lambda: datetime.now(UTC),
            new_id=new_id,
        )
        self._hooks = tuple(hooks)

    @classmethod
    def from_policy(cls, policy: str | Path | Mapping[str, Any] | Policy, **options: Any) -> Self:
        """A router for this policy; `options` are the constructor's. Raises PolicyError, ConfigurationError."""
        return cls(policy, **options)

    @property
    def policy(self) -> Policy:
        """The policy in force; immutable."""
        return self._equipment.runtime.policy

    async def complete(self, messages: Messages, **options: Any) -> Response:
        """Answer `messages` (a text, or a list of messages in OpenAI's or Anthropic's shape).

        Options: timeout (seconds, the whole deadline), max_tokens, temperature, top_p, top_k, seed, stop, tools,
        tool_choice, response_format, logprobs, metadata, user, extra_headers, privacy (a level: raises, never
        lowers), budget_usd, tags, on_interrupt. An unknown option is a TypeError.

        Raises a `RequestError` (with `.receipt`) when nobody answered.
        """
        drive = Drive(self._equipment, build_request(messages, options), hold=True)
        try:
            return self._response(await drive.complete())
        except RequestError as error:
            self._told(error.receipt)
            raise

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
        drive = Drive(self._equipment, build_request(messages, options), hold=True)
        return await drive.decide()

    async def warmup(self) -> Mapping[str, str]:
        """Load now what the first requests would load. Returns what is not ready: target -> why."""
        targets = self._equipment.targets
        ends = await asyncio.gather(*(target.warmup() for target in targets.values()), return_exceptions=True)
        failed = {name: end for name, end in zip(targets, ends, strict=True) if end is not None}
        for end in failed.values():
            if not isinstance(end, (HybridinferError, Exception)):
                raise end
        return {name: str(end) or type(end).__name__ for name, end in failed.items()}

    def health(self) -> Mapping[str, Health]:
        """The circuit breaker of each target."""
        return {name: breaker.health() for name, breaker in self._equipment.runtime.breakers.items()}

    @cached_property
    def chat(self) -> AsyncChat:
        """OpenAI's face: `await router.chat.completions.create(model="auto", messages=[...])`."""
        from .chat import AsyncChat

        return AsyncChat(self)

    async def aclose(self) -> None:
        """Free targets and ledger. Requests under way should be done."""
        for target in self._equipment.targets.values():
            await target.aclose()
        await self._equipment.ledger.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def _drive(self, request: Request, *, hold: bool) -> Drive:
        return Drive(self._equipment, request, hold=hold)

    def _response(self, result: Result) -> Response:
        answer = result.answer
        self._told(result.receipt)
        return Response(
            text=answer.text,
            receipt=result.receipt,
            tool_calls=answer.tool_calls,
            finish_reason=answer.finish_reason,
            usage=answer.usage or Usage(),
            model=answer.model,
            logprobs=answer.logprobs,
        )

    def _told(self, receipt: Receipt) -> None:
        tell(receipt, self._hooks)


class AsyncStream:
    """One streamed answer: an async context manager and an async iterator of `StreamEvent`. Iterate it once."""

    def __init__(self, router: AsyncRouter, request: Request) -> None:
        self._router = router
        self._events = self._run(request)
        self._response: Response | None = None
        self._receipt: Receipt | None = None

    def __aiter__(self) -> AsyncIterator[StreamEvent]:
        return self._events

    @property
    async def text_stream(self) -> AsyncIterator[str]:
        """Only the text, piece by piece."""
        async for event in self._events:
            if isinstance(event, TextDelta):
                yield event.text

    @property
    def response(self) -> Response:
        """The whole answer; there after the `End` event."""
        if self._response is None:
            raise RuntimeError("the stream is not at its end; iterate it first")
        return self._response

    @property
    def receipt(self) -> Receipt | None:
        """The receipt; None until the stream has ended, well or badly."""
        return self._receipt

    async def aclose(self) -> None:
        """Stop: the upstream call is closed and what is owed is booked."""
        await self._events.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _run(self, request: Request) -> AsyncGenerator[StreamEvent, None]:
        drive = self._router._drive(request, hold=False)  # noqa: SLF001 - one module, two classes
        pieces = drive.events()
        try:
            async for piece in pieces:
                yield piece
            assert drive.result is not None
            self._response = self._router._response(drive.result)  # noqa: SLF001
            self._receipt = drive.result.receipt
            yield End(response=self._response)
        except RequestError as error:
            self._receipt = error.receipt
            self._router._told(error.receipt)  # noqa: SLF001
            raise
        finally:
            await pieces.aclose()


def new_id() -> str:
    """A receipt's id: sortable by time, unguessable, 30 characters."""
    return f"req_{time.time_ns() // 1_000_000:012x}{secrets.token_hex(7)}"
