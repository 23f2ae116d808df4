"""One model at work: a thread of its own, a bounded queue, and as many answers at once as its memory carries.

The event loop never waits for the model, and the model never waits for a caller.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..errors import ModelError
from ..receipt import Code
from .batch import Batch
from .generate import Done, GenerationFailed, Piece
from .memory import default_limit
from .session import Stop, Stopped

if TYPE_CHECKING:
    from collections.abc import Callable

    from .generate import Prompt
    from .prefix_disk import PrefixDisk
    from .session import Session
    from .vocabulary import Vocabulary

_logger = logging.getLogger("hybridinfer.edge")
Item = Piece | Done | Exception
"""What a task is told: pieces and then `Done`, or an exception at any point."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A model in memory."""

    session: Session
    vocabulary: Vocabulary
    disk: PrefixDisk | None = None
    """Where beginnings of prompts outlive the process; None: nowhere."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Task:
    """One answer wanted. Both functions are called on the engine's thread.

    `prepare` makes the prompt (chat template and tokenizer are work, too); `emit` takes every item. The
    exceptions are `ModelError`, `GenerationFailed` and `TemplateRefused`. Nothing is promised after `cancel`.
    """

    prepare: Callable[[Vocabulary], Prompt]
    emit: Callable[[Item], None]
    cancel: Stop = field(default_factory=Stop)
    priority: int = 0
    """The higher, the earlier."""
    tenant: str = ""
    """Tenants of one priority take turns."""
    deadline: float | None = None
    """Of the first token, on the engine's clock (monotonic seconds): refused as soon as it cannot be met."""


class Engine:
    """Loads its model on its own thread at the first task, and keeps it until `close`.

    Where loading fails, or the runtime itself, every task is told and the engine is `dead`: a new one may try again.
    """

    def __init__(
        self,
        load: Callable[[], Loaded],
        *,
        name: str,
        waiting: int = 16,
        rows: int = 8,
        memory: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`rows` answers at once and `waiting` more; `memory` bytes for keys and values, None: `default_limit`."""
        self._load = load
        self._most = waiting + rows
        self._rows = rows
        self._memory = memory
        self._clock = clock
        self._arrived: list[Task] = []
        self._open: set[Task] = set()
        self._changed = threading.Condition()
        self._halt = Stop()
        self._thread: threading.Thread | None = None
        self._name = name
        self.dead = False
        self.provider = ""
        """What computes, once the model is loaded; see `providers`."""

    def submit(self, task: Task) -> None:
        """Queue `task`. Raises `GenerationFailed(SATURATED)` where too many wait already."""
        with self._changed:
            if self.dead:
                raise GenerationFailed(Code.UNAVAILABLE, f"{self._name} was closed")
            if sum(not other.cancel.requested for other in self._open) >= self._most:
                raise GenerationFailed(Code.SATURATED, f"{self._most} requests are at {self._name} already")
            self._arrived.append(task)
            self._open.add(task)
            self._changed.notify()
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name=f"hybridinfer-{self._name}", daemon=True)
                self._thread.start()

    def close(self, timeout: float | None = None) -> None:
        """Stop what runs, refuse what waits, free the model. Waits for the thread, at most `timeout` seconds."""
        with self._changed:
            self.dead = True
            self._halt()
            for task in self._open:
                task.cancel()
            self._changed.notify()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout)

    def _work(self) -> None:
        try:
            loaded = self._load()
        except ModelError as error:
            self._end(error)
        except Exception as error:  # a task left without an answer would wait for ever, whatever went wrong
            _logger.exception("loading %s failed", self._name)
            self._end(ModelError(f"{self._name} could not be loaded ({type(error).__name__})"))
        else:
            self.provider = loaded.session.provider
            self._end(self._serve(loaded))

    def _serve(self, loaded: Loaded) -> Exception:
        """Until it ends; returns why."""
        memory = default_limit() if self._memory is None else self._memory
        batch = Batch(loaded, count=self._rows, memory=memory, halt=self._halt, ended=self._forget, clock=self._clock)
        reason: Exception = GenerationFailed(Code.UNAVAILABLE, f"{self._name} was closed")
        try:
            while (arrived := self._next(idle=not batch.busy)) is not None:
                for task in arrived:
                    batch.add(task)
                batch.round()
        except Stopped:
            pass
        except ModelError as error:
            reason = error
        except Exception as error:  # as in _work
            _logger.exception("%s failed", self._name)
            reason = ModelError(f"{self._name} failed ({type(error).__name__})")
        with self._changed:
            self.dead = True
        batch.end(reason)
        if loaded.disk is not None:
            loaded.disk.close()
        return reason

    def _next(self, *, idle: bool) -> list[Task] | None:
        """Who came since the last round; waits for somebody where there is nothing else to do. None: closed."""
        with self._changed:
            while idle and not self._arrived and not self.dead:
                self._changed.wait()
            arrived, self._arrived = self._arrived, []
            if self.dead:
                self._arrived = arrived
                return None
            return arrived

    def _forget(self, task: Task) -> None:
        with self._changed:
            self._open.discard(task)

    def _end(self, reason: Exception) -> None:
        with self._changed:
            self.dead = True
            waiting, self._arrived = self._arrived, []
            self._open.clear()
        for task in waiting:
            task.emit(reason)
