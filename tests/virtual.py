"""An event loop on a virtual clock: what would wait an hour is over at once, and takes exactly an hour."""

from __future__ import annotations

import asyncio
import selectors
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from unittest.mock import patch


class _Instant(selectors.DefaultSelector):
    """Waits for nobody: where nothing is ready, the clock goes on."""

    loop: VirtualLoop

    def select(self, timeout=None):
        """What is ready now."""
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "everybody waits, and nobody will ever come"
            self.loop.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """Its time passes only while nothing is to be done. What it is given for a thread it does at once."""

    def __init__(self) -> None:
        self.now = 0.0
        selector = _Instant()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        """Virtual seconds."""
        return self.now

    def run_in_executor(self, executor, func, *args):
        """Here and now."""
        done = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - it is the future's
            done.set_exception(error)
        return done


@contextmanager
def virtual_time():
    """Inside, a `VirtualLoop` that the driver's own clocks follow; whatever is left over at the end is an error."""
    loop = VirtualLoop()

    async def at_once(func, *args, **_):
        return func(*args)

    with ExitStack() as stack:
        stack.callback(loop.close)
        stack.enter_context(patch("hybridinfer.opened.time", SimpleNamespace(perf_counter=loop.time)))
        stack.enter_context(patch("anyio.to_thread.run_sync", at_once))
        yield loop
        left = asyncio.all_tasks(loop)
        assert not left, f"{len(left)} tasks are left over"
        loop.run_until_complete(loop.shutdown_asyncgens())
