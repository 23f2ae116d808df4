"""`Router`: the public face for synchronous code, over one event-loop thread per process.

Adapters, connection pools, breakers and budgets exist once, in `AsyncRouter`. The thread is made at first use, is
made anew after a fork, and never keeps the process alive. Works in scripts, threads, notebooks and inside running
event loops (where it blocks them: use `AsyncRouter` there).
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import Future
from functools import cached_property
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Self, TypeVar

from .errors import ConfigurationError
from .types import Response, StreamEvent, TextDelta

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from .async_router import AsyncRouter, AsyncStream
    from .budget.ledger import Ledger
    from .chat import Chat
    from .observe.hooks import Hook
    from .options import Messages
    from .policy.model import Policy
    from .receipt import Decision, Receipt
    from .resilience.breaker import Health
    from .signals.base import Signal
    from .targets.base import Target

T = TypeVar("T")


class _LoopThread:
    """The event loop that all routers of this process share."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Run `work` on the loop."""
        loop = self._running()
        if threading.current_thread() is self._thread:
            work.close()
            raise ConfigurationError(
                "Router was called from its own event loop (by a target or a hook of yours); use AsyncRouter there"
            )
        return asyncio.run_coroutine_threadsafe(work, loop)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` and wait for it. An interrupt of the waiting thread cancels it."""
        future = self.submit(work)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, name="hybridinfer", daemon=True)
                self._thread.start()
            return self._loop


_loop_thread = _LoopThread()


def _after_fork() -> None:
    # The child has no thread behind the parent's loop: forget both, begin anew at first use.
    global _loop_thread  # noqa: PLW0603 - one per process is the point
    _loop_thread = _LoopThread()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class Router:
    """Scores each request, decides by the policy, and answers: from this machine, a cloud, or a canned text.

        with Router.from_policy("policies/default.yaml") as router:
            print(router.complete("Translate to French: good morning").text)

    Arguments as in `AsyncRouter`. May be used from many threads at once.
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
    ) -> None:
        from .async_router import AsyncRouter

        self._router: AsyncRouter = AsyncRouter(
            policy, targets=targets, signals=signals, ledger=ledger, environ=environ, hooks=hooks
        )

    @classmethod
    def from_policy(cls, policy: str | Path | Mapping[str, Any] | Policy, **options: Any) -> Self:
        """A router for this policy; `options` are the constructor's. Raises PolicyError, ConfigurationError."""
        return cls(policy, **options)

    @property
    def policy(self) -> Policy:
        """The policy in force; immutable."""
        return self._router.policy

    def complete(self, messages: Messages, **options: Any) -> Response:
        """Answer; see `AsyncRouter.complete` for the options and errors."""
        return _loop_thread.run(self._router.complete(messages, **options))

    def stream(self, messages: Messages, **options: Any) -> Stream:
        """Answer piece by piece; see `AsyncRouter.stream`.

        with router.stream("...") as stream:
            for text in stream.text_stream:
                print(text, end="")
        """
        return Stream(self._router.stream(messages, **options))

    def decide(self, messages: Messages, **options: Any) -> Decision:
        """What would be done with this request, and why. No call is made."""
        return _loop_thread.run(self._router.decide(messages, **options))

    def warmup(self) -> Mapping[str, str]:
        """Load now what the first requests would load. Returns what is not ready: target -> why."""
        return _loop_thread.run(self._router.warmup())

    def health(self) -> Mapping[str, Health]:
        """The circuit breaker of each target."""
        return self._router.health()

    @cached_property
    def chat(self) -> Chat:
        """OpenAI's face: `router.chat.completions.create(model="auto", messages=[...])`."""
        from .chat import Chat

        return Chat(self)

    def close(self) -> None:
        """Free targets and ledger. Requests under way should be done."""
        _loop_thread.run(self._router.aclose())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Stream:
    """One streamed answer: a context manager and an iterator of `StreamEvent`. Iterate it once, close it."""

    def __init__(self, stream: AsyncStream) -> None:
        self._stream = stream
        self._queue: SimpleQueue[StreamEvent | BaseException | None] = SimpleQueue()
        self._pump: asyncio.Task[None] | None = None
        self._over = False

    def __iter__(self) -> Iterator[StreamEvent]:
        if self._pump is None and not self._over:
            _loop_thread.run(self._begin())
        while not self._over:
            item = self._queue.get()
            if item is None or isinstance(item, BaseException):
                self._over = True
                if item is not None:
                    raise item
                return
            yield item

    @property
    def text_stream(self) -> Iterator[str]:
        """Only the text, piece by piece."""
        for event in self:
            if isinstance(event, TextDelta):
                yield event.text

    @property
    def response(self) -> Response:
        """The whole answer; there after the `End` event."""
        return self._stream.response

    @property
    def receipt(self) -> Receipt | None:
        """The receipt; None until the stream has ended, well or badly."""
        return self._stream.receipt

    def close(self) -> None:
        """Stop: the upstream call is closed and what is owed is booked before this returns."""
        self._over = True
        if self._pump is not None and not self._pump.done():
            _loop_thread.run(self._end())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def _begin(self) -> None:
        self._pump = asyncio.create_task(self._fill())

    async def _end(self) -> None:
        assert self._pump is not None
        self._pump.cancel()
        await asyncio.wait([self._pump])

    async def _fill(self) -> None:
        """On the loop's thread: pass every event on. The answer's own size bounds the queue."""
        try:
            async for event in self._stream:
                self._queue.put(event)
            self._queue.put(None)
        except Exception as error:  # noqa: BLE001 - raised again where the caller iterates
            self._queue.put(error)
        finally:
            await self._stream.aclose()
