"""The flow on a virtual clock: scripted targets, any number of overlapping requests, hours in seconds.

    world = World(outages=(Downtime("cloud", start=60, end=1260, does=Fails(Code.UNAVAILABLE)),), seed=7)
    runtime = stage(load("policies/default.yaml"), world)
    stories = run([Arrival(at=i * 0.2, request=request) for i in range(10_000)], runtime, world)

It drives the very generator that `AsyncRouter` drives, so retries, fallbacks, breakers, deadlines and money are the
real ones. The same world, seed and arrivals give the same stories, to the last digit. No I/O.
"""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from math import inf
from typing import TYPE_CHECKING, Any, TypeVar, assert_never, get_args

from ..budget.ledger import LedgerDown, MemoryLedger, NullLedger, OverBudget
from ..budget.prices import PriceBook
from ..commands import (
    Abandoned,
    Call,
    Command,
    Deliver,
    Denied,
    Outcome,
    Pending,
    Race,
    Relay,
    Release,
    Reserve,
    Restart,
    Result,
    Runtime,
    Score,
    Settle,
    Sleep,
    Together,
    Work,
)
from ..errors import RequestError
from ..flow import Flow
from ..flow import run as flow
from ..policy.load import digest
from ..policy.model import Policy, continues, zone_of
from ..quick import quick
from ..receipt import ANSWERED, Need, Receipt
from ..resilience.breaker import Breaker
from ..resilience.latency import Latency
from ..resilience.retry import RetryBudget
from ..signals.base import SignalResult
from ..targets.base import TargetInfo
from ..types import Request, Reset, Standing, Start, TextDelta, Usage
from .played import Played
from .world import Answers, Step, World

if TYPE_CHECKING:
    from ..budget.ledger import Ledger

_ANSWERS = Answers()
"""What a target does that the world says nothing of."""

RARELY = 100_000
"""New objects between two looks for garbage during a run."""

T = TypeVar("T")

Scorer = Callable[[Request, Standing], Mapping[str, SignalResult]]
"""What the signals say of a request, given what the ledger says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A request that comes in at `at`. `stream`: read piece by piece; `leaves_after`: the caller gives up then."""

    at: float
    request: Request
    stream: bool = False
    leaves_after: float | None = None


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """What became of one request. Exactly one of `result`, `error` and `abandoned` is there."""

    result: Result | None = None
    error: RequestError | None = None
    abandoned: Receipt | None = None
    events: tuple[Start | TextDelta | Reset, ...] = ()
    """What a streaming caller saw, without the end."""
    began: float
    ended: float

    @property
    def receipt(self) -> Receipt:
        """The receipt, however it ended."""
        if self.result is not None:
            return self.result.receipt
        receipt = self.abandoned if self.error is None else self.error.receipt
        assert receipt is not None
        return receipt


def stage(policy: Policy, world: World) -> Runtime:
    """A runtime whose targets exist in `world` only. Every target can do everything its policy does not deny."""
    infos = {
        name: TargetInfo(
            name=name,
            kind=block.kind,
            zone=zone_of(block),
            model=block.model,
            region=block.region,
            supports=frozenset(get_args(Need)),
            context_window=block.context_window,
            continues=continues(block),
        )
        for name, block in policy.targets.items()
    }
    settings = policy.resilience.circuit_breaker
    return Runtime(
        policy=policy,
        digest=digest(policy),
        infos=infos,
        count_tokens=lambda _name, request: sum(len(message.text) for message in request.messages) // 3 + 8,
        count_text=lambda _name, text: len(text) // 3 + 1,
        prices=PriceBook(policy, clock=world.timestamp),
        breakers={name: Breaker(name, settings, world.clock) for name, info in infos.items() if info.kind != "canned"},
        latencies={name: Latency() for name in infos},
        retry_budget=RetryBudget(clock=world.clock),
        clock=world.clock,
        now=world.date,
        random=world.random.random,
        new_id=world.new_id,
        window_budgets=any(budget.per != "request" for budget in policy.budgets),
    )


def simulate(
    request: Request, runtime: Runtime, world: World, *, stream: bool = False, ledger: Ledger | None = None
) -> Story:
    """One request, alone, now. The world's clock stands at its end afterwards."""
    return run([Arrival(at=world.now, request=request, stream=stream)], runtime, world, ledger=ledger)[0]


def run(
    arrivals: Iterable[Arrival],
    runtime: Runtime,
    world: World,
    *,
    ledger: Ledger | None = None,
    score: Scorer | None = None,
    cues: Iterable[tuple[float, Callable[[], None]]] = (),
) -> list[Story]:
    """All of `arrivals`, overlapping as their times say. The stories stand in the order of the arrivals.

    `ledger` must answer without waiting, as `MemoryLedger` does; None makes the one that the policy needs.
    `score` scores each request; None: the world says its levels. Of `cues`, which stand in the order of their times,
    each is called when the clock shows its time.
    """
    if ledger is None:
        ledger = MemoryLedger(runtime.policy, clock=world.timestamp) if runtime.window_budgets else NullLedger()
    coming = deque(sorted(enumerate(arrivals), key=lambda one: one[1].at))
    stories: dict[int, Story] = {}
    order = count()
    agenda: list[tuple[float, int, int, _Caller]] = []  # those under way
    cued = deque(cues)
    with _collecting_rarely():
        while coming or agenda:
            if coming and not (agenda and agenda[0][0] < coming[0][1].at):
                number, arrival = coming.popleft()
                due, call = arrival.at, _Caller(arrival, runtime, world, ledger, score)
            else:
                due, _, number, call = heappop(agenda)
            while cued and cued[0][0] <= due:
                world.now, act = cued.popleft()
                act()
            world.now = due
            if call.go_on():
                heappush(agenda, (call.wakes, next(order), number, call))
            else:
                stories[number] = call.story
    return [stories[number] for number in range(len(stories))]


@contextmanager
def _collecting_rarely() -> Iterator[None]:
    """Every story is kept to the end: looking through them again and again for garbage takes a fifth of the time.

    Rarely, not never: a request that fails leaves a few objects in a cycle, its error's traceback.
    """
    before = gc.get_threshold()
    if 0 < before[0] < RARELY:  # 0: somebody has switched it off
        gc.set_threshold(RARELY, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


class _Caller:
    """One request under way: a driver whose waiting is a number."""

    story: Story

    def __init__(self, arrival: Arrival, runtime: Runtime, world: World, ledger: Ledger, score: Scorer | None) -> None:
        self._arrival = arrival
        self._score = score
        self._runtime = runtime
        self._world = world
        self._ledger = ledger
        self._flow: Flow | None = None
        self._answer: Any = None
        self._calls: dict[str, Played] = {}  # by target; those that are booked already are harmless
        self._events: list[Start | TextDelta | Reset] = []
        self._leaves = inf if arrival.leaves_after is None else arrival.at + arrival.leaves_after
        self.wakes = arrival.at

    def go_on(self) -> bool:
        """Carry commands out until one takes time; False when the request has ended."""
        try:
            if self._flow is None:
                self._flow = flow(self._arrival.request, self._runtime, hold=not self._arrival.stream)
            elif self._world.now >= self._leaves:
                self._leave(self._flow)
            while True:
                seconds, self._answer = self._carry_out(self._flow.send(self._answer))
                if seconds > 0:
                    self.wakes = min(self._world.now + seconds, self._leaves)
                    return True
        except StopIteration as done:
            self._end(result=done.value)
        except RequestError as error:
            self._end(error=error)
        except Abandoned as gone:
            self._end(abandoned=gone.receipt)
        return False

    def _end(
        self, *, result: Result | None = None, error: RequestError | None = None, abandoned: Receipt | None = None
    ) -> None:
        self.story = Story(
            result=result,
            error=error,
            abandoned=abandoned,
            events=tuple(self._events),
            began=self._arrival.at,
            ended=self._world.now,
        )

    def _leave(self, steps: Flow) -> None:
        outcomes = {target: call.until(self._world.now) for target, call in self._calls.items()}
        command = steps.throw(Abandoned(outcomes))
        while True:  # only bookings are left: they take no time
            command = steps.send(self._carry_out(command)[1])

    def _carry_out(self, command: Command) -> tuple[float, Any]:
        """(seconds it takes, the answer)."""
        match command:
            case Score(request=request) if self._score is not None:
                return 0.0, self._score(request, at_once(self._ledger.standing(request.tags)))
            case Score():
                return 0.0, self._world.scores(self._runtime.policy.signals)
            case Work(does=does):
                return 0.0, does()
            case Call():
                seconds, outcome = self._begin(command).called()
                if command.patience is not None and seconds > command.patience:
                    pending = Pending(target=command.target, handle=self._calls[command.target])
                    return command.patience, pending
                return seconds, outcome
            case Race():
                return self._race(command)
            case Together(calls=calls):
                ends = {call.target: self._begin(call).called() for call in calls}
                slowest = max(seconds for seconds, _ in ends.values())
                return slowest, {target: outcome for target, (_, outcome) in ends.items()}
            case Relay(target=target, opened=opened, joins=joins):
                if not joins:
                    self._events.append(Start(target=target))
                return self._relay(opened)
            case Deliver(target=target, answer=answer):
                self._events += [Start(target=target), TextDelta(text=answer.text)]
                return 0.0, None
            case Restart(because=because):
                self._events.append(Reset(because=because))
                return 0.0, None
            case Sleep(seconds=seconds):
                return seconds, None
            case Reserve():
                return 0.0, self._reserve(command)
            case Settle(reservation=reservation, usd=usd, estimated=estimated):
                return 0.0, at_once(self._ledger.settle(reservation, usd, estimated=estimated))
            case Release(reservation=reservation):
                return 0.0, at_once(self._ledger.release(reservation))
            case _:  # pragma: no cover
                assert_never(command)

    def _begin(self, call: Call) -> Played:
        step = self._world.refuses(call) or self._does(call.target)
        played = Played(call, step, self._runtime, self._world)
        self._calls[call.target] = played
        return played

    def _race(self, race: Race) -> tuple[float, dict[str, Outcome]]:
        """The first answer wins; without one, the last failure ends it."""
        now, played = self._world.now, {race.pending.target: race.pending.handle}
        if race.call is not None:
            played[race.call.target] = self._begin(race.call)
        ends = {
            target: (one.began + seconds, outcome)
            for target, one in played.items()
            for seconds, outcome in [one.called()]
        }
        answered = [target for target, (_, outcome) in ends.items() if outcome.code in ANSWERED]
        if not answered:
            return max(end for end, _ in ends.values()) - now, {
                target: outcome for target, (_, outcome) in ends.items()
            }
        winner = min(answered, key=lambda target: ends[target][0])
        over, outcomes = ends[winner][0], dict[str, Outcome]()
        for target, (end, outcome) in ends.items():
            lost = target != winner and (end > over or outcome.code in ANSWERED)
            outcomes[target] = played[target].until(over) if lost else outcome
        return over - now, outcomes

    def _does(self, target: str) -> Step:
        block = self._runtime.policy.targets[target]
        if block.kind == "canned":
            return Answers(text=block.text, first=0.0, seconds=0.0, usage=Usage())
        return self._world.does(target, _ANSWERS)

    def _relay(self, played: Played) -> tuple[float, Outcome]:
        seconds, outcome = played.relayed()
        self._events += played.shown
        return seconds, outcome

    def _reserve(self, command: Reserve) -> Any:
        try:
            return at_once(
                self._ledger.reserve(
                    receipt_id=command.receipt_id, target=command.target, usd=command.usd, tags=command.tags
                )
            )
        except OverBudget as over:
            return Denied(because=str(over))
        except LedgerDown:
            return Denied(because="the ledger cannot be reached, so money is unknown")


def at_once(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that does not wait."""
    try:
        work.send(None)
    except StopIteration as done:
        value: T = done.value
        return value
    work.close()
    raise RuntimeError("the ledger of a simulation must answer at once; use MemoryLedger")
