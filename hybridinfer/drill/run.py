"""Run one scenario against one policy and judge it: on a virtual clock, over real HTTP on this machine, or live."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ConfigurationError
from ..observe.hooks import watched
from ..policy.load import load, shipped, shipped_names
from ..policy.model import Policy
from .casting import cast
from .course import Against, Course
from .coverage import Coverage, coverage
from .judge import Verdict, judge
from .scenario import Scenario, fits, is_shipped, load_scenario

if TYPE_CHECKING:
    from .bill import Bill

logging.getLogger("hybridinfer").addHandler(logging.NullHandler())  # the program decides where logs go

SPEED = 10.0
"""How many times as fast as its file a drill runs over real HTTP."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drill:
    """One scenario that was run, and what it proved."""

    course: Course
    verdicts: tuple[Verdict, ...]
    coverage: Coverage
    parts: Mapping[str, str] = field(default_factory=dict)
    """A shipped drill before a policy with other targets: by the drill's name, who failed instead; empty: nobody."""

    @property
    def passed(self) -> bool:
        """Every expectation was met."""
        return all(verdict.passed for verdict in self.verdicts)


def run_drill(
    source: str | Path | Mapping[str, Any],
    policy: str | Path | Mapping[str, Any] | Policy | None = None,
    *,
    against: Against = "simulated",
    speed: float = SPEED,
    real_local: bool = False,
    seed: int = 0,
    max_cost: Decimal | None = None,
    told: Callable[[Bill], None] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Drill:
    """Play a scenario and judge it. Raises `PolicyError` where scenario or policy are wrong or do not fit.

    Raises `ConfigurationError` where a live drill is not allowed, or could cost more than `max_cost`.

    Args:
        source: The scenario: a file, a shipped drill's name, or a mapping.
        policy: The policy; None: the one that the scenario names, or else the shipped default.
        against: `simulated` is a virtual clock; `emulator` is the real router over real HTTP to this machine;
            `live` calls the real targets, for a policy that says `drills: allowed`.
        speed: With the emulator: so many times as fast as the scenario says. Below 30 what is measured stays true to
            a few tens of milliseconds times `speed`.
        real_local: With the emulator: call the real local models, and break them for real; otherwise they are played.
        seed: Of everything that is random.
        max_cost: Live: USD that it may cost; None: it is only told what it could cost, which is an error.
        told: Live: called with what it can cost at most, before anything is called.
        environ: Live: where keys and the ledger are looked up; None: the process's environment.
    """
    scenario, text = load_scenario(source)
    loaded = load(_policy_of(scenario, source) if policy is None else policy)
    parts: Mapping[str, str] = {}
    if policy is not None and is_shipped(source):
        scenario, parts = cast(scenario, loaded)
    fits(scenario, text, loaded)
    if against == "simulated":
        from .simulated import play

        course = play(scenario, loaded, seed=seed)
    elif against == "live":
        course = asyncio.run(_live(scenario, loaded, max_cost=max_cost, told=told, environ=environ, seed=seed))
    else:
        from .emulated import play as play_for_real

        course = asyncio.run(play_for_real(scenario, loaded, speed=speed, real_local=real_local, seed=seed))
    receipts = [one.receipt for one in course.served]
    for hook in watched(loaded, ()):
        for receipt in receipts:
            hook.on_receipt(receipt)
    return Drill(course=course, verdicts=judge(course), coverage=coverage(loaded, receipts), parts=parts)


async def _live(
    scenario: Scenario,
    policy: Policy,
    *,
    max_cost: Decimal | None,
    told: Callable[[Bill], None] | None,
    environ: Mapping[str, str] | None,
    seed: int,
) -> Course:
    from .live import LiveDrill

    async with LiveDrill(scenario, policy, max_cost=max_cost or Decimal(0), environ=environ, seed=seed) as drill:
        bill = await drill.bill()
        if told is not None:
            told(bill)
        if bill.usd > (max_cost or 0):
            why = "nobody has said what it may" if max_cost is None else f"more than the ${max_cost:f} that it may"
            raise ConfigurationError(
                f"{scenario.name!r} can cost ${bill.usd:f} at most, {why}; say --max-cost {bill.usd:f}"
            )
        return await drill.play()


def merged(drills: list[Drill]) -> Coverage:
    """The coverage of several drills of one policy together."""
    receipts = (one.receipt for drill in drills for one in drill.course.served)
    return coverage(drills[0].course.policy, receipts)


def _policy_of(scenario: Scenario, source: str | Path | Mapping[str, Any]) -> Path:
    named = scenario.policy or "default"
    if named in shipped_names():
        return shipped(named)
    beside = Path() if isinstance(source, Mapping) else Path(source).parent
    path = beside / named
    if not path.exists() and not path.suffix:
        return shipped(named)  # raises, and says which there are
    return path
