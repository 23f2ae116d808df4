"""What happened in a drill, request by request: the same records for a simulation and for real HTTP."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ..policy.model import Policy
from ..receipt import Receipt, Zone
from ..resilience.breaker import Health, State
from .scenario import Scenario

if TYPE_CHECKING:
    from .lag import Lag

Against = Literal["simulated", "emulator", "live"]
"""A virtual clock and scripted targets, the real router over real HTTP to this machine, or the real targets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """One request and its end. Times in seconds of the drill."""

    ask: str
    at: float
    seconds: float
    receipt: Receipt
    error: str = ""
    """The name of what was raised; empty where somebody answered."""

    @property
    def answered(self) -> bool:
        """Whether the caller holds an answer."""
        return not self.error

    @property
    def first_choice(self) -> bool:
        """Answered by the first rung."""
        return self.answered and not self.receipt.degraded


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """Something private arrived in a cloud. What it was stands in the scenario, not here."""

    target: str
    zone: Zone
    ask: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The circuit breakers at one moment: target -> closed, open or half_open (from when on a probe may pass)."""

    at: float
    states: Mapping[str, str]


def sample(at: float, health: Mapping[str, Health]) -> Sample:
    """What the breakers say at `at`."""
    waits = {name: one.state is State.OPEN and one.retry_in <= 0 for name, one in health.items()}
    return Sample(at=at, states={name: str(State.HALF_OPEN if waits[name] else health[name].state) for name in health})


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """The whole drill."""

    scenario: Scenario
    policy: Policy
    digest: str
    against: Against
    served: tuple[Served, ...]
    arrived: Mapping[str, int]
    """How many requests each target really received."""
    leaks: tuple[Leak, ...]
    samples: tuple[Sample, ...]
    wall_seconds: float
    """How long the drill took here."""
    lag: Lag | None = None
    """How late it ran; None on the virtual clock."""


class Watch:
    """Looks for the private pieces of a scenario in what a target received, however it is laid out."""

    def __init__(self, scenario: Scenario) -> None:
        self._wanted = [(ask.name, squeeze(text)) for ask in scenario.load.requests for text in ask.private]
        self.leaks: dict[Leak, None] = {}

    def look(self, target: str, zone: Zone, received: str) -> None:
        """Remember a leak, where `received` holds something private and the target is somebody else's."""
        if zone != "cloud" or not self._wanted:
            return
        text = squeeze(received)
        for ask, wanted in self._wanted:
            if wanted in text:
                self.leaks[Leak(target=target, zone=zone, ask=ask)] = None


def squeeze(text: str) -> str:
    """Letters and digits only, in lower case: spaces and dashes hide nothing."""
    return "".join(letter for letter in text.casefold() if letter.isalnum())


def moments(duration: float, count: int = 120) -> Iterable[float]:
    """When to look at the circuit breakers."""
    return (duration * i / count for i in range(count))
