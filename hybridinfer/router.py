"""`Router`: the public face for synchronous code, over one event-loop thread per process.

Adapters, connection pools, breakers and budgets exist once, in `AsyncRouter`. The thread is made at first use, is
made anew after a fork, and never keeps the process alive. Works in scripts, threads, notebooks and inside running
event loops (where it blocks them: use `AsyncRouter` there).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from functools import cached_property
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Self, TypeVar
from weakref import finalize

from .errors import ConfigurationError
from .types import Response, StreamEvent, TextDelta

if TYPE_CHECKING:
    import asyncio
    from pathlib import Path
    from types import TracebackType

    from .async_router import AsyncRouter, AsyncStream
    from .budget.ledger import Ledger
    from .chat import Chat
    from .inforce import Reloads
    from .observe.hooks import Hook
    from .options import Messages
    from .policy.model import Policy
    from .receipt import Decision, Receipt
    from .resilience.breaker import Health
    from .resilience.retry import RetryBudget
    from .signals.base import Signal
    from .targets.base import Target

T = TypeVar("T")

TIDYING = 2.0
"""Seconds that an interrupted call waits for its upstream call to be closed and its money to be booked."""


class _LoopThread:
    """The event loop that all routers of this process share."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` on the loop and wait for it.

        An interrupt of the waiting thread cancels the work, and passes on once what was open upstream is closed.
        """
        import asyncio  # with all it brings, half of the time that this module would take to import

        loop = self._running()
        if threading.current_thread() is self._thread:
            work.close()
            raise ConfigurationError(
                "Router was called from its own event loop (by a target or a hook of yours); use AsyncRouter there"
            )
        job = _Job()
        try:
            return asyncio.run_coroutine_threadsafe(job.carry_out(work), loop).result()
        except BaseException:  # the work's own error, or an interrupt of this thread
            if not job.ended.is_set():
                loop.call_soon_threadsafe(job.stop)
                job.ended.wait(TIDYING)
            raise

    def soon(self, work: Callable[[], object]) -> None:
        """Run a short function on the loop, if there still is one."""
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(work)

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                import asyncio

                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, name="hybridinfer", daemon=True)
                self._thread.start()
            return self._loop


class _Job:
    """Work on the loop that can be stopped whenever an interrupt strikes, even before it has begun."""

    def __init__(self) -> None:
        self.ended = threading.Event()
        self._task: asyncio.Task[Any] | None = None
        self._unwanted = False

    async def carry_out(self, work: Coroutine[Any, Any, T]) -> T:
        """Do it."""
        import asyncio

        try:
            if self._unwanted:
                work.close()
                raise asyncio.CancelledError
            self._task = asyncio.current_task()
            return await work
        finally:
            self.ended.set()

    def stop(self) -> None:
        """On the loop's thread: cancel it."""
        self._unwanted = True
        if self._task is not None:
            self._task.cancel()


_loop_thread = _LoopThread()
_parents: list[_LoopThread] = []


def _after_fork() -> None:
    # The child has no thread behind the parent's loop: begin anew at first use. The loop itself is kept, as
    # collecting it would take the parent's wake-up pipe out of the selector that both processes share.
    global _loop_thread  # noqa: PLW0603 - one per process is the point
    _parents.append(_loop_thread)
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
        watch: bool = False,
        retry_budget: RetryBudget | None = None,
    ) -> None:
        from .async_router import AsyncRouter

        self._router: AsyncRouter = AsyncRouter(
            policy,
            targets=targets,
            signals=signals,
            ledger=ledger,
            environ=environ,
            hooks=hooks,
            watch=watch,
            retry_budget=retry_budget,
        )
        if watch:
            _loop_thread.run(self._router.__aenter__())  # nothing but the watch begins there

    @classmethod
    def from_policy(cls, policy: str | Path | Mapping[str, Any] | Policy, **options: Any) -> Self:
        """A router for this policy; `options` are the constructor's. Raises PolicyError, ConfigurationError."""
        return cls(policy, **options)

    @property
    def policy(self) -> Policy:
        """The policy in force; immutable."""
        return self._router.policy

    @property
    def policy_error(self) -> Exception | None:
        """Why the policy's file, as it was read last, is not in force; None: it is."""
        return self._router.policy_error

    @property
    def policy_reloads(self) -> Reloads:
        """How often the policy's file was read again: taken, unchanged, refused. A metric; refusals deserve an alarm."""
        return self._router.policy_reloads

    def reload(self) -> bool:
        """Read the policy's file again; see `AsyncRouter.reload`. From a signal handler, call it in a thread."""
        return _loop_thread.run(self._router.reload())

    def complete(self, messages: Messages, **options: Any) -> Response:
        """Answer; see `AsyncRouter.complete` for the options and errors."""
        return _loop_thread.run(self._router.complete(messages, **options))

    def stream(self, messages: Messages, **options: Any) -> Stream:
        """Answer piece by piece; see `AsyncRouter.stream`.

        ```python
        with router.stream("...") as stream:
            for text in stream.text_stream:
                print(text, end="")
        ```
        """
        return Stream(self._router.stream(messages, **options))

    def decide(self, messages: Messages, **options: Any) -> Decision:
        """What would be done with this request, and why. No call is made."""
        return _loop_thread.run(self._router.decide(messages, **options))

    def feedback(self, receipt_id: str, *, score: float | None = None, accepted: bool | None = None) -> bool:
        """Say how good an answer was; see `AsyncRouter.feedback`."""
        return _loop_thread.run(self._router.feedback(receipt_id, score=score, accepted=accepted))

    def warmup(self) -> Mapping[str, str]:
        """Load now what the first requests would load; see `AsyncRouter.warmup`. Returns what is not ready: target -> why."""
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
        """Refuse new requests, wait for those under way (at most to their deadlines), free targets and ledger."""
        _loop_thread.run(self._router.aclose())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Stream:
    """One streamed answer: a context manager and an iterator of `StreamEvent`. Iterate it once, close it.

    A stream that is dropped unread stops as well, when Python collects it.
    """

    def __init__(self, stream: AsyncStream) -> None:
        self._stream = stream
        self._pump: _Pump | None = None
        self._over = False

    def __iter__(self) -> Iterator[StreamEvent]:
        if self._pump is None and not self._over:
            self._pump = _Pump(self._stream)
            finalize(self, _loop_thread.soon, self._pump.stop).atexit = False
            _loop_thread.run(self._pump.begin())
        while self._pump is not None and not self._over:
            item = self._pump.queue.get()
            if item is None or isinstance(item, BaseException):
                self._over = True
                if item is not None:
                    raise item
                return
            yield item

    @property
    def text_stream(self) -> Iterator[str]:
        """Only the text, piece by piece. After a `Reset` it begins anew: use the events where that can happen."""
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
        """Stop: the upstream call is closed and what is owed is booked before this returns. From any thread."""
        self._over = True
        if self._pump is not None:
            _loop_thread.run(self._pump.end())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Pump:
    """On the loop's thread: passes every event on. The answer's own size bounds the queue.

    It does not know its `Stream`, so that one that is dropped can be collected.
    """

    def __init__(self, stream: AsyncStream) -> None:
        self._stream = stream
        self._task: asyncio.Task[None] | None = None
        self.queue: SimpleQueue[StreamEvent | BaseException | None] = SimpleQueue()

    async def begin(self) -> None:
        """Start."""
        import asyncio

        self._task = asyncio.create_task(self._fill())

    def stop(self) -> None:
        """Stop soon."""
        if self._task is not None:
            self._task.cancel()

    async def end(self) -> None:
        """Stop, and wait until everything is closed."""
        self.stop()
        if self._task is not None:
            import asyncio

            await asyncio.wait([self._task])

    async def _fill(self) -> None:
        try:
            async for event in self._stream:
                self.queue.put(event)
        except Exception as error:  # noqa: BLE001 - raised again where the caller iterates
            self.queue.put(error)
        finally:
            await self._stream.aclose()
            self.queue.put(None)
