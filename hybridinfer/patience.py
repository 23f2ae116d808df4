"""A limit of silence that does not take the lateness of our own event loop for somebody else's silence.

`asyncio.timeout` fires before what has just come in is read: after the loop was held up, an answer that has long been
in the socket would count as silence (docs/decisions/0023).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

TURNS = 8
"""Turns of the event loop in which what has come in already may still be read once a limit is reached."""

HELD_UP = 0.05
"""Seconds that a timer may be late without anybody having held the loop up."""

UNFAIR = 0.1
"""Lateness of more than this share of a limit is held against us, not against whoever was waited for."""

OURS = "the event loop was late"
"""What a cancellation says where the silence may be our own."""


def missed(late: float, *, limit: float) -> float:
    """How much of a lateness counts: all of it, or nothing where it is usual or a small part of the limit. Seconds."""
    return late if late >= max(HELD_UP, UNFAIR * limit) else 0.0


class Patience:
    """`with Patience(seconds):` around something to be awaited; TimeoutError when the time is up.

    Where the loop noticed late, the wait goes on for what was missed, though never past `left` seconds in all.
    """

    def __init__(self, seconds: float, *, left: float) -> None:
        self.late = 0.0
        """Seconds that our own loop was late, where that matters."""
        self._limit = seconds
        self.expired = False
        """Whether the time was up."""
        self._loop = asyncio.get_running_loop()
        self._last = self._loop.time() + left
        self._handle: asyncio.Handle | None = None

    def __enter__(self) -> Self:
        task = asyncio.current_task()
        assert task is not None, "only tasks can wait"
        self._task = task
        self._cancelling = task.cancelling()
        self.again(self._limit)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._handle is not None:
            self._handle.cancel()
        if not self.expired or self._task.uncancel() > self._cancelling:
            return
        if kind is not None and issubclass(kind, asyncio.CancelledError):
            raise TimeoutError from error

    def again(self, seconds: float) -> None:
        """There was a sign: from now on, wait for so long."""
        if self._handle is not None:
            self._handle.cancel()
        if not self.expired:
            self._limit = seconds
            self._wait(seconds)

    def _wait(self, seconds: float) -> None:
        self._due = self._loop.time() + seconds
        self._handle = self._loop.call_at(self._due, self._reached)

    def _reached(self) -> None:
        now = self._loop.time()
        late = missed(now - self._due, limit=self._limit)
        self.late += late
        more = min(late, self._limit, self._last - now)
        if more > 0:
            self._wait(more)
        else:
            self._turn(TURNS)

    def _turn(self, turns: int) -> None:
        """Everything that is ready goes first."""
        if turns:
            self._handle = self._loop.call_soon(self._turn, turns - 1)
        else:
            self.expired = True
            self._task.cancel(OURS if self.late else None)
