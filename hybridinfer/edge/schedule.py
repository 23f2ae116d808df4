"""Who is served next, and who cannot be served in time.

Higher priority first; within a priority tenants take turns by the work they caused (start-time fair queueing, Goyal
et al. 1996), so that one with a hundred requests does not keep out one with a single request; within a tenant first
come, first served.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .engine import Task
    from .generate import Writer
    from .scoring import Scorer


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Job:
    """A task whose prompt is ready. `names` are its blocks in the prefix cache."""

    task: Task
    writer: Writer | Scorer
    names: tuple[bytes, ...] = ()

    @property
    def tokens(self) -> tuple[int, ...]:
        """The prompt."""
        return self.writer.prompt.tokens


class Schedule:
    """The jobs that wait. Not thread-safe."""

    def __init__(self) -> None:
        self._jobs: dict[Job, int] = {}
        self._numbers = itertools.count()
        self._clock = 0.0
        self._served: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._jobs)

    def __iter__(self) -> Iterator[Job]:
        """In no particular order; jobs may be removed meanwhile."""
        return iter(tuple(self._jobs))

    def add(self, job: Job) -> None:
        """`job` waits from now on."""
        self._jobs[job] = next(self._numbers)

    def remove(self, job: Job) -> None:
        """It waits no more, without having been served."""
        del self._jobs[job]

    def first(self) -> Job | None:
        """The one to be served next; it still waits."""
        return min(self._jobs, key=self._rank, default=None)

    def serve(self, job: Job) -> None:
        """`job` begins: it leaves, and its tenant is charged with its tokens."""
        begun = self._start(job.task.tenant)
        self._served[job.task.tenant] = begun + job.writer.positions
        self._clock = begun
        self._served = {tenant: at for tenant, at in self._served.items() if at > self._clock}
        self.remove(job)

    def _rank(self, job: Job) -> tuple[int, float, int]:
        return -job.task.priority, self._start(job.task.tenant), self._jobs[job]

    def _start(self, tenant: str) -> float:
        return max(self._served.get(tenant, 0.0), self._clock)


class Pace:
    """How fast this machine is with this model now: running means of what was measured."""

    _WEIGHT = 0.3

    def __init__(self) -> None:
        self.token = 0.0
        """Seconds for a token of a prompt; 0 until something is known, so that nothing is refused on a guess."""
        self.step = 0.0
        """Seconds for a step of all rows."""

    def prefilled(self, tokens: int, seconds: float) -> None:
        """A chunk of a prompt was run."""
        self.token = self._mean(self.token, seconds / tokens)

    def stepped(self, seconds: float) -> None:
        """A step was run."""
        self.step = self._mean(self.step, seconds)

    def _mean(self, before: float, now: float) -> float:
        return now if not before else before + self._WEIGHT * (now - before)
