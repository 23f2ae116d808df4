"""The rows under way: they share every step, and join and leave between two of them.

A round is one chunk of one prompt and one step of everybody who writes. So a long prompt delays the others by a
chunk at most, and a fault, a cancellation or an end touches its own row only.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..errors import ModelError
from ..receipt import Code
from .generate import Done, GenerationFailed, writer_for
from .memory import Memory
from .prefix import BLOCK, PrefixCache, keys
from .schedule import Job, Pace, Schedule
from .session import PREFILL_CHUNK, Stop, Stopped, chunks
from .slots import Slots
from .template import TemplateRefused

if TYPE_CHECKING:
    from collections.abc import Callable

    from .engine import Item, Loaded, Task
    from .session import Logits

SHARED_CHUNK = 32
"""Prompt tokens per round while others write: what they wait for at most."""
_PREFIX_SHARE = 4  # of the memory, for beginnings that nobody uses just now
_logger = logging.getLogger("hybridinfer.edge")


@dataclass(slots=True, kw_only=True, eq=False)
class _Row:
    """A job in a slot."""

    job: Job
    size: int
    """Bytes promised to it."""
    done: int = 0
    """Prompt tokens whose keys and values are there."""
    cached: int = 0
    turn: int = 0


class Batch:
    """At most `count` rows and everybody who waits for one. Runs on the engine's thread only.

    `ended` is told each task that will hear nothing more. Rows that write stand first, then those whose prompt is
    being run.
    """

    def __init__(
        self,
        loaded: Loaded,
        *,
        count: int,
        memory: int,
        halt: Stop,
        ended: Callable[[Task], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.slots = Slots(loaded.session, count)
        self.memory = Memory(memory)
        self.prefixes = PrefixCache(self.memory, memory // _PREFIX_SHARE, loaded.disk)
        self.waiting = Schedule()
        self._vocabulary = loaded.vocabulary
        self._halt = halt
        self._ended = ended
        self._clock = clock
        self._pace = Pace()
        self._rows: list[_Row] = []
        self._writing = 0
        self._turns = 0

    @property
    def busy(self) -> bool:
        """Whether there is anything to do."""
        return bool(self._rows) or len(self.waiting) > 0

    @property
    def writing(self) -> int:
        """Rows whose prompt was run: each gets a token in every round."""
        return self._writing

    def add(self, task: Task) -> None:
        """Prepare `task` and let it wait, or refuse it at once where it cannot be served, or not in time."""
        if task.cancel.requested:
            self._ended(task)
            return
        try:
            prompt = task.prepare(self._vocabulary)
            writer = writer_for(prompt, self._vocabulary.tokenizer)
            names = keys(prompt.scope, prompt.tokens) if prompt.scope is not None else ()
            job = Job(task=task, writer=writer, names=names)
            self._refuse_hopeless(job)
        except Exception as error:  # noqa: BLE001 - one request's fault must not end the others' engine
            self._tell(task, error)
        else:
            self.waiting.add(job)

    def round(self) -> None:
        """Let rows join, run a chunk and a step. Raises `Stopped` or `ModelError` where no row can go on."""
        for index in reversed(range(len(self._rows))):
            if self._rows[index].job.task.cancel.requested:
                self._fail(index, Stopped())
        self._weed()
        self._admit()
        self._prefill()
        self._step()

    def end(self, reason: Exception) -> None:
        """Tell everybody `reason`."""
        for index in reversed(range(len(self._rows))):
            self._fail(index, reason)
        for job in self.waiting:
            self.waiting.remove(job)
            self._tell(job.task, reason)

    def _refuse_hopeless(self, job: Job) -> None:
        size = self.slots.bytes_for(job.writer.positions)
        if size > self.memory.limit:
            raise GenerationFailed(
                Code.CONTEXT_TOO_LONG,
                f"{job.writer.positions} tokens take {size >> 20} MiB and the engine has {self.memory.limit >> 20}; "
                "raise options.memory",
            )
        if job.task.deadline is None:
            return
        own = self._work(job)
        left = job.task.deadline - self._clock()
        if own * self._pace.token > left:
            raise GenerationFailed(Code.OVER_DEADLINE, "the prompt alone takes longer than there is time")
        ahead = [len(row.job.tokens) - row.done for row in self._rows[self._writing :]]
        ahead += [self._work(other) for other in self.waiting if other.task.priority >= job.task.priority]
        shared = own + sum(min(own, work) for work in ahead)  # chunks take turns
        steps = -(-shared // SHARED_CHUNK) * self._pace.step if self._writing else 0.0
        if shared * self._pace.token + steps > left:
            raise GenerationFailed(Code.SATURATED, "others are before it, and its first token would come too late")

    def _work(self, job: Job) -> int:
        """Prompt tokens that have to be run."""
        return len(job.tokens) - self.prefixes.known(job.names) * BLOCK

    def _weed(self) -> None:
        """Who went away, and whose time would be up before the first token, waits no more."""
        now = self._clock()
        for job in self.waiting:
            deadline = job.task.deadline
            if job.task.cancel.requested:
                self.waiting.remove(job)
                self._ended(job.task)
            elif deadline is not None and now + self._work(job) * self._pace.token > deadline:
                self.waiting.remove(job)
                self._tell(job.task, GenerationFailed(Code.SATURATED, "it waited until there was no time left"))

    def _admit(self) -> None:
        while len(self._rows) < self.slots.count and (job := self.waiting.first()) is not None:
            size = self.slots.bytes_for(job.writer.positions)
            if not self.prefixes.make_room(size):
                return  # nobody overtakes: a large one would wait for ever
            self.waiting.serve(job)
            try:
                self.slots.reserve(job.writer.positions)
            except MemoryError:
                self._tell(job.task, GenerationFailed(Code.SATURATED, "the system gives no memory"))
                continue
            self.memory.take(size)
            self._rows.append(_Row(job=job, size=size))

    def _prefill(self) -> None:
        """A chunk of the prompt whose turn it is; with its last one the row begins to write."""
        if len(self._rows) == self._writing:
            return
        index = min(range(self._writing, len(self._rows)), key=lambda number: self._rows[number].turn)
        row = self._rows[index]
        self._turns += 1
        row.turn = self._turns
        self._reuse(index)
        count = len(row.job.tokens)
        start, end = next(chunks(count - row.done, SHARED_CHUNK if self._writing else PREFILL_CHUNK))
        tokens = row.job.tokens[row.done + start : row.done + end]
        begun = time.perf_counter()
        try:
            logits = self.slots.prefill(index, tokens, row.job.task.cancel, logits=row.done + end == count)
        except (Stopped, ModelError) as error:
            self._fail(index, error)
            return
        self._pace.prefilled(len(tokens), time.perf_counter() - begun)
        known = row.done // BLOCK
        row.done += len(tokens)
        self._keep(index, known)
        if logits is not None and self._write(index, logits):
            if index != self._writing:
                self.slots.swap(index, self._writing)
                self._rows[index], self._rows[self._writing] = self._rows[self._writing], row
            self._writing += 1

    def _reuse(self, index: int) -> None:
        """Take what the cache has of the rest of the prompt; another row may have put it there just now."""
        row = self._rows[index]
        if row.done % BLOCK == 0:
            for block in self.prefixes.match(row.job.names[row.done // BLOCK :]):
                self.slots.append(index, block)
                row.done += BLOCK
                row.cached += BLOCK

    def _keep(self, index: int, known: int) -> None:
        """The blocks that are whole now, behind the first `known`."""
        row = self._rows[index]
        for number, name in enumerate(row.job.names[known : row.done // BLOCK], known):
            if name not in self.prefixes:
                start = number * BLOCK
                self.prefixes.add(name, self.slots.read(index, start, start + BLOCK))

    def _step(self) -> None:
        if not self._writing:
            return
        for slot, row in enumerate(self._rows[: self._writing]):
            self.slots.lengths[slot] = row.job.writer.kept or self.slots.lengths[slot]
        begun = time.perf_counter()
        logits = self.slots.step([row.job.writer.token for row in self._rows[: self._writing]], self._halt)
        self._pace.stepped(time.perf_counter() - begun)
        for index in reversed(range(self._writing)):  # who leaves is replaced by a row that had its turn
            self._write(index, logits[index])

    def _write(self, index: int, logits: Logits) -> bool:
        """Let a row choose its next token and say it; False where it ended by that."""
        row = self._rows[index]
        task = row.job.task
        try:
            for item in row.job.writer.take(logits):
                task.emit(replace(item, cached_tokens=row.cached) if isinstance(item, Done) else item)
        except Exception as error:  # noqa: BLE001 - one row's fault must not end the others'
            self._fail(index, error)
            return False
        if row.job.writer.over:
            self._leave(index)
            self._ended(task)
            return False
        return True

    def _fail(self, index: int, error: Exception) -> None:
        task = self._rows[index].job.task
        self._leave(index)
        self._tell(task, error)

    def _leave(self, index: int) -> None:
        """Free a slot and close the gap, so that who writes stands first."""
        self.memory.give(self._rows[index].size)
        if index < self._writing:
            self._writing -= 1
            self._shift(self._writing, index)
            index = self._writing
        last = len(self._rows) - 1
        self._shift(last, index)
        self.slots.clear(last)
        self._rows.pop()

    def _shift(self, source: int, target: int) -> None:
        if source != target:
            self.slots.move(source, target)
            self._rows[target] = self._rows[source]

    def _tell(self, task: Task, error: Exception) -> None:
        task.emit(_told(error))
        self._ended(task)


def _told(error: Exception) -> Item:
    """What a caller may hear of `error`."""
    if isinstance(error, Stopped):
        return GenerationFailed(Code.CANCELLED, "stopped")
    if isinstance(error, (ModelError, GenerationFailed, TemplateRefused)):
        return error
    _logger.error("a request to a local model failed", exc_info=error)
    return GenerationFailed(Code.UNAVAILABLE, f"the engine failed ({type(error).__name__})")
