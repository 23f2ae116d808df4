"""One model at work: a thread of its own, a bounded first-come-first-served queue, one answer at a time.

The event loop never waits for the model, and the model never waits for a caller.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..errors import ModelError
from ..receipt import Code
from .generate import Done, GenerationFailed, Piece, generate
from .session import Sequence, Stop, Stopped
from .template import TemplateRefused

if TYPE_CHECKING:
    from collections.abc import Callable

    from .generate import Prompt
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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Task:
    """One answer wanted. Both functions are called on the engine's thread.

    `prepare` makes the prompt (chat template and tokenizer are work, too); `emit` takes every item. The
    exceptions are `ModelError`, `GenerationFailed` and `TemplateRefused`. Nothing is promised after `cancel`.
    """

    prepare: Callable[[Vocabulary], Prompt]
    emit: Callable[[Item], None]
    cancel: Stop = field(default_factory=Stop)


class Engine:
    """Loads its model on its own thread at the first task, and keeps it until `close`.

    Where loading fails, every waiting task is told and the engine is `dead`: a new one may try again.
    """

    def __init__(self, load: Callable[[], Loaded], *, name: str, waiting: int = 16) -> None:
        self._load = load
        self._waiting = waiting
        self._tasks: deque[Task] = deque()
        self._running: Task | None = None
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._name = name
        self.dead = False

    def submit(self, task: Task) -> None:
        """Queue `task`. Raises `GenerationFailed(SATURATED)` where too many wait already."""
        with self._changed:
            if self.dead:
                raise GenerationFailed(Code.UNAVAILABLE, f"{self._name} was closed")
            if sum(not waiting.cancel.requested for waiting in self._tasks) >= self._waiting:
                raise GenerationFailed(Code.SATURATED, f"{self._waiting} requests wait for {self._name} already")
            self._tasks.append(task)
            self._changed.notify()
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name=f"hybridinfer-{self._name}", daemon=True)
                self._thread.start()

    def close(self, timeout: float | None = None) -> None:
        """Stop what runs, refuse what waits, free the model. Waits for the thread, at most `timeout` seconds."""
        with self._changed:
            self.dead = True
            if self._running is not None:
                self._running.cancel()
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
            sequence = Sequence(loaded.session)
            while (task := self._next()) is not None:
                self._answer(task, sequence, loaded.vocabulary)
            self._end(GenerationFailed(Code.UNAVAILABLE, f"{self._name} was closed"))

    def _next(self) -> Task | None:
        with self._changed:
            self._running = None
            while not self.dead:
                while self._tasks:
                    task = self._tasks.popleft()
                    if not task.cancel.requested:
                        self._running = task
                        return task
                self._changed.wait()
            return None

    def _answer(self, task: Task, sequence: Sequence, vocabulary: Vocabulary) -> None:
        sequence.length = 0
        try:
            prompt = task.prepare(vocabulary)
            for item in generate(prompt, sequence, vocabulary.tokenizer, task.cancel):
                task.emit(item)
        except Stopped:
            task.emit(GenerationFailed(Code.CANCELLED, "stopped"))
        except (ModelError, GenerationFailed, TemplateRefused) as error:
            task.emit(error)
        except Exception as error:  # one request's fault must not end the others' engine
            _logger.exception("a request to %s failed", self._name)
            task.emit(GenerationFailed(Code.UNAVAILABLE, f"the engine failed ({type(error).__name__})"))

    def _end(self, reason: Exception) -> None:
        with self._changed:
            self.dead = True
            waiting, self._tasks = list(self._tasks), deque()
        for task in waiting:
            task.emit(reason)
