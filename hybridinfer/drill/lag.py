"""How late a drill in real time ran: a busy machine makes answers late, and nobody should look for that in the policy."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .judge import percentile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..policy.model import Policy

BEAT = 0.02
"""Seconds between two looks at the clock."""

OFTEN, ONCE = 0.1, 0.5
"""Of the shortest patience: a lateness that is noticed where one beat in a hundred, or a single one, has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lag:
    """The lateness of a drill's own event loop, which carries the router and the emulated clouds. Seconds of this machine."""

    worst: float
    p99: float
    patience: float
    """The shortest that the policy waits for anything in this drill."""

    @property
    def busy(self) -> bool:
        """What came late may have been late because of this machine."""
        return self.worst >= ONCE * self.patience or self.p99 >= OFTEN * self.patience


def shortest(policy: Policy) -> float:
    """The shortest patience of a policy, in its own seconds."""
    waits = [min(one.timeout, one.first_token, one.stall) for one in policy.targets.values() if one.kind != "canned"]
    return min([policy.resilience.deadline, *waits])


def lag(late: Sequence[float], policy: Policy) -> Lag:
    """`late`: what `measured` gave; `policy`: as it was played, hurried or not."""
    return Lag(worst=max(late, default=0.0), p99=percentile(late, 0.99), patience=shortest(policy))


@contextmanager
def measured() -> Iterator[list[float]]:
    """Inside, by how many seconds each beat came late; on the running event loop."""
    late: list[float] = []

    async def beat() -> None:
        clock = asyncio.get_running_loop().time
        while True:
            due = clock() + BEAT
            await asyncio.sleep(BEAT)
            late.append(clock() - due)

    beating = asyncio.get_running_loop().create_task(beat())
    try:
        yield late
    finally:
        beating.cancel()


def warning(found: Lag, *, hurried: bool) -> str:
    """For people, where `found.busy`. `hurried`: the drill can be slowed down."""
    what = "run again, or lower --speed" if hurried else "run again when less is going on"
    return (
        f"this machine was busy: the drill's event loop ran up to {found.worst:.2f} s late (p99 {found.p99:.2f} s), "
        f"where the policy's shortest patience is {found.patience:.2f} s; {what}"
    )
