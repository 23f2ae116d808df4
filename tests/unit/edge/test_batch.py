"""Rows that share steps: each gets what it would get alone, and leaves nothing behind."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybridinfer.edge.batch import SHARED_CHUNK, Batch
from hybridinfer.edge.engine import Item, Loaded, Task
from hybridinfer.edge.generate import Done, GenerationFailed, Piece, Prompt, generate
from hybridinfer.edge.prefix import BLOCK
from hybridinfer.edge.sampling import Sampling
from hybridinfer.edge.session import Sequence, Session, Stop
from hybridinfer.edge.vocabulary import Vocabulary
from hybridinfer.errors import ModelError
from hybridinfer.receipt import Code

MEMORY = 64 << 20


@pytest.fixture(scope="module")
def loaded(tiny_session: Session, tiny_gguf: Path) -> Loaded:
    return Loaded(session=tiny_session, vocabulary=Vocabulary.of(tiny_gguf))


@dataclass(eq=False)
class Caller:
    """A task and all it was told."""

    prompt: Prompt
    task: Task = field(init=False)
    items: list[Item] = field(default_factory=list)
    ended: bool = False
    priority: int = 0
    tenant: str = ""
    deadline: float | None = None

    def __post_init__(self) -> None:
        self.task = Task(
            prepare=lambda _: self.prompt,
            emit=self.items.append,
            priority=self.priority,
            tenant=self.tenant,
            deadline=self.deadline,
        )

    @property
    def code(self) -> Code | None:
        last = self.items[-1] if self.items else None
        return last.code if isinstance(last, GenerationFailed) else None

    @property
    def done(self) -> Done:
        assert isinstance(self.items[-1], Done), self.items[-1]
        return self.items[-1]

    @property
    def text(self) -> str:
        return "".join(item.text for item in self.items if isinstance(item, Piece))


class Desk:
    """A batch under the test's own hands, with a clock that stands still."""

    def __init__(self, loaded: Loaded, *, count: int = 4, memory: int = MEMORY) -> None:
        self.callers: dict[Task, Caller] = {}
        self.now = 0.0
        self.halt = Stop()
        self.batch = Batch(
            loaded, count=count, memory=memory, halt=self.halt, ended=self._ended, clock=lambda: self.now
        )

    def _ended(self, task: Task) -> None:
        assert not self.callers[task].ended
        self.callers[task].ended = True

    def add(self, caller: Caller) -> Caller:
        self.callers[caller.task] = caller
        self.batch.add(caller.task)
        return caller

    def run(self) -> None:
        while self.batch.busy:
            self.batch.round()

    def leaks(self) -> list[str]:
        """What an idle batch still holds, the cached beginnings left out."""
        batch = self.batch
        held = [f"slot {slot}" for slot, length in enumerate(batch.slots.lengths) if length]
        if batch.memory.taken != batch.prefixes.bytes:
            held.append(f"{batch.memory.taken - batch.prefixes.bytes} bytes")
        return held + [f"task {number}" for number, caller in enumerate(self.callers.values()) if not caller.ended]


def prompt(length: int, *, seed: int = 0, max_tokens: int = 6, **options) -> Prompt:
    tokens = np.random.default_rng([seed, length]).integers(5, 250, length)
    return Prompt(tokens=tuple(int(token) for token in tokens), max_tokens=max_tokens, context=512, **options)


def alone(loaded: Loaded, wanted: Prompt) -> list[Item]:
    """The reference: the same prompt with the model for itself."""
    return list(generate(wanted, Sequence(loaded.session), loaded.vocabulary.tokenizer, Stop()))


def test_rows_of_all_lengths_get_what_they_get_alone(loaded: Loaded) -> None:
    """Ragged prompts, chunks of two sizes, rows that join and leave: the very same pieces and log-probabilities."""
    desk = Desk(loaded)
    callers = [
        desk.add(Caller(prompt(length, seed=length, max_tokens=3 + length % 9, logprobs=True)))
        for length in (1, 2, SHARED_CHUNK + 1, 7, 129, 300, 64, 3)
    ]
    desk.run()
    for caller in callers:
        assert caller.items == alone(loaded, caller.prompt)
    assert desk.leaks() == []


@st.composite
def stories(draw: st.DrawFn) -> list[tuple]:
    """What happens between rounds: somebody comes, somebody goes away, nothing."""
    event = st.one_of(
        st.tuples(
            st.just("come"),
            st.integers(1, 150),
            st.integers(1, 12),
            st.integers(0, 3),
            st.sampled_from([None, "a", "b"]),
            st.booleans(),
        ),
        st.tuples(st.just("go"), st.integers(0, 20)),
        st.tuples(st.just("round"), st.integers(1, 5)),
    )
    return draw(st.lists(event, min_size=1, max_size=25))


@given(story=stories())
@settings(max_examples=60)
def test_no_story_mixes_rows_or_leaks_slots(loaded: Loaded, story: list[tuple]) -> None:
    """Random arrivals, lengths, cancellations, scopes and memory pressure: who stays is answered as if alone."""
    desk = Desk(loaded, count=3, memory=400 * loaded.session.position_bytes)
    callers: list[Caller] = []
    for what, *details in story:
        if what == "come":
            length, max_tokens, seed, scope, hot = details
            sampling = Sampling(temperature=1.0 if hot else 0.0, seed=seed)
            wanted = prompt(length, seed=seed, max_tokens=max_tokens, scope=scope, sampling=sampling)
            callers.append(desk.add(Caller(wanted)))
        elif what == "go" and details[0] < len(callers):
            callers[details[0]].task.cancel()
        elif what == "round":
            for _ in range(details[0]):
                desk.batch.round()
    desk.run()
    assert desk.leaks() == []
    for caller in callers:
        if caller.task.cancel.requested:
            continue
        wanted = alone(loaded, caller.prompt)
        assert caller.text == "".join(item.text for item in wanted if isinstance(item, Piece))
        assert caller.done.output_tokens == wanted[-1].output_tokens  # type: ignore[union-attr]


def test_a_cached_beginning_gives_the_answer_of_a_cold_one(loaded: Loaded) -> None:
    """Bit for bit, log-probabilities included; the usage tells how much was there."""
    desk, wanted = Desk(loaded), prompt(300, scope="a", logprobs=True)
    cold = desk.add(Caller(wanted))
    desk.run()
    second = desk.add(Caller(wanted))
    desk.run()
    assert cold.done.cached_tokens == 0
    assert second.done.cached_tokens == 300 // BLOCK * BLOCK
    assert second.items[:-1] == cold.items[:-1] == alone(loaded, wanted)[:-1]


def test_a_longer_conversation_reuses_the_shorter_one(loaded: Loaded) -> None:
    """What was asked before is not run again when the conversation goes on."""
    desk, before = Desk(loaded), prompt(200, scope="a")
    desk.add(Caller(before))
    desk.run()
    longer = Prompt(tokens=before.tokens + (9, 8, 7) * 20, max_tokens=5, context=512, scope="a")
    after = desk.add(Caller(longer))
    desk.run()
    assert after.done.cached_tokens == 200 // BLOCK * BLOCK
    assert after.items[:-1] == alone(loaded, longer)[:-1]


@pytest.mark.parametrize(("one", "other"), [("a", "b"), ("a", None), (None, None)])
def test_scopes_share_nothing(loaded: Loaded, one: str | None, other: str | None) -> None:
    """Another tenant or privacy class, or an unknown one, finds nothing of what was computed for somebody else."""
    desk = Desk(loaded)
    for scope in (one, other):
        caller = desk.add(Caller(prompt(200, scope=scope)))
        desk.run()
    assert caller.done.cached_tokens == 0


def test_equal_beginnings_that_come_together_are_computed_once(loaded: Loaded) -> None:
    """Rows that run their prompts side by side take over each other's blocks."""
    desk = Desk(loaded)
    callers = [desk.add(Caller(prompt(400, scope="a"))) for _ in range(3)]
    desk.run()
    assert sum(caller.done.cached_tokens for caller in callers) >= 400
    assert all(caller.items[:-1] == alone(loaded, caller.prompt)[:-1] for caller in callers)


def test_a_cancelled_row_leaves_the_others_alone(loaded: Loaded) -> None:
    """Also in the middle of a step's batch; the slot is filled by another one."""
    desk = Desk(loaded)
    callers = [desk.add(Caller(prompt(20, seed=seed, max_tokens=20))) for seed in range(4)]
    for _ in range(8):
        desk.batch.round()
    callers[1].task.cancel()
    desk.run()
    assert callers[1].code is Code.CANCELLED
    for caller in (callers[0], *callers[2:]):
        assert caller.items == alone(loaded, caller.prompt)
    assert desk.leaks() == []


class Breaking:
    """A constraint that fails at its third token."""

    done = False

    def __init__(self) -> None:
        self.count = 0

    def mask(self, logits: np.ndarray) -> None:
        self.count += 1
        if self.count == 3:
            raise ZeroDivisionError("private")

    def accept(self, token: int) -> None:
        pass


class Only:
    """A constraint that allows one token after another of a list, and is then done."""

    def __init__(self, *tokens: int) -> None:
        self.tokens = list(tokens)

    @property
    def done(self) -> bool:
        return not self.tokens

    def mask(self, logits: np.ndarray) -> None:
        allowed = logits[self.tokens[0]]
        logits[:] = -np.inf
        logits[self.tokens[0]] = allowed

    def accept(self, token: int) -> None:
        assert token == self.tokens.pop(0)


class Nothing:
    """A constraint that allows nothing."""

    done = False

    def mask(self, logits: np.ndarray) -> None:
        logits[:] = -np.inf

    def accept(self, token: int) -> None:
        raise AssertionError


class Broken:
    """Numbers that break."""

    done = False

    def mask(self, logits: np.ndarray) -> None:
        logits[:] = np.nan

    def accept(self, token: int) -> None:
        raise AssertionError


@pytest.mark.parametrize(
    ("constraint", "code"),
    [(Breaking, Code.UNAVAILABLE), (Nothing, Code.INVALID_OUTPUT), (Broken, Code.UNAVAILABLE)],
)
def test_a_fault_in_one_row_ends_only_that_row(
    loaded: Loaded, caplog: pytest.LogCaptureFixture, constraint: type, code: Code
) -> None:
    """A broken constraint, one that allows nothing, or NaN: a code without content, and the others go on."""
    desk = Desk(loaded)
    bad = desk.add(Caller(prompt(10, constraint=lambda _: constraint())))
    good = [desk.add(Caller(prompt(10, seed=seed))) for seed in (1, 2)]
    desk.run()
    assert bad.code is code
    assert "private" not in str(bad.items[-1])
    assert all(caller.items == alone(loaded, caller.prompt) for caller in good)
    assert desk.leaks() == []


def test_rows_with_and_without_constraints_share_a_batch(loaded: Loaded) -> None:
    """The constrained one writes what it may and stops when its constraint is done; the others are untouched."""
    desk, tokenizer = Desk(loaded), loaded.vocabulary.tokenizer
    ids = tokenizer.encode("hello world")
    bound = desk.add(Caller(prompt(10, max_tokens=50, logprobs=True, constraint=lambda _: Only(*ids))))
    free = desk.add(Caller(prompt(10, seed=1)))
    desk.run()
    assert bound.text == "hello world"
    assert (bound.done.reason, bound.done.output_tokens) == ("stop", len(ids))
    logprobs = [entry for item in bound.items if isinstance(item, Piece) for entry in item.logprobs]
    assert all(entry.logprob < -0.01 for entry in logprobs)  # the model's own opinion, not the mask's
    assert free.items == alone(loaded, free.prompt)


def test_an_answer_that_goes_in_circles_ends_in_a_code(loaded: Loaded) -> None:
    """A cycle that fills the limit is no answer; without a limit it is let be."""

    class Cycle(Only):
        done = False

        def __init__(self) -> None:
            super().__init__(*[20, 21, 22] * 200)

    desk = Desk(loaded)
    watched = desk.add(Caller(prompt(5, max_tokens=60, loop=30, constraint=lambda _: Cycle())))
    unwatched = desk.add(Caller(prompt(5, max_tokens=60, constraint=lambda _: Cycle())))
    desk.run()
    assert watched.code is Code.INVALID_OUTPUT
    assert unwatched.done.output_tokens == 60


def test_a_failing_step_ends_every_row_with_a_code(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the runtime itself fails, nobody waits for ever."""
    desk = Desk(loaded)
    callers = [desk.add(Caller(prompt(10, seed=seed, max_tokens=30))) for seed in range(6)]
    for _ in range(6):
        desk.batch.round()

    def fail(*_: object) -> None:
        raise ModelError("onnxruntime failed: X")

    monkeypatch.setattr(loaded.session, "run", fail)
    with pytest.raises(ModelError) as caught:
        desk.run()
    desk.batch.end(caught.value)
    assert all(isinstance(caller.items[-1], ModelError) for caller in callers)
    assert desk.leaks() == []


def test_a_long_prompt_delays_the_others_by_a_chunk(loaded: Loaded) -> None:
    """In every round everybody who writes gets a token, whatever else is run."""
    desk = Desk(loaded)
    writer = desk.add(Caller(prompt(5, max_tokens=40)))
    desk.batch.round()
    long = desk.add(Caller(prompt(400)))
    for _ in range(5):
        before = len(writer.items)
        desk.batch.round()
        assert len(writer.items) > before or not writer.items
    assert not long.items
    desk.run()
    assert long.done


def test_a_short_prompt_overtakes_a_long_one(loaded: Loaded) -> None:
    """Chunks take turns, so a short prompt that came later writes first."""
    desk = Desk(loaded)
    long, short = desk.add(Caller(prompt(400, max_tokens=1))), desk.add(Caller(prompt(10, max_tokens=1)))
    while not short.items:
        desk.batch.round()
    assert not long.items
    desk.run()


def order(desk: Desk, callers: list[Caller]) -> list[Caller]:
    """In which order they end, with one slot."""
    for caller in callers:
        desk.add(caller)
    ended: list[Caller] = []
    while desk.batch.busy:
        desk.batch.round()
        ended += [caller for caller in callers if caller.ended and caller not in ended]
    return ended


def test_priority_goes_first(loaded: Loaded) -> None:
    """Whoever has more of it is served before those who wait."""
    low, high, mid = (Caller(prompt(5), priority=priority) for priority in (0, 2, 1))
    assert order(Desk(loaded, count=1), [low, high, mid]) == [high, mid, low]


def test_tenants_take_turns(loaded: Loaded) -> None:
    """A tenant with many requests does not keep out one with a single request."""
    many = [Caller(prompt(5), tenant="many") for _ in range(4)]
    one = Caller(prompt(5), tenant="one")
    assert order(Desk(loaded, count=1), [*many, one]).index(one) == 1


def test_memory_bounds_who_is_admitted(loaded: Loaded) -> None:
    """Rows begin only where their whole answer fits; the others wait for them."""
    desk = Desk(loaded, memory=250 * loaded.session.position_bytes)
    callers = [desk.add(Caller(prompt(100, seed=seed, max_tokens=12))) for seed in range(3)]
    seen = 0
    while desk.batch.busy:
        desk.batch.round()
        seen = max(seen, int(np.count_nonzero(desk.batch.slots.lengths)))
        assert desk.batch.memory.taken <= desk.batch.memory.limit
    assert seen == 2
    assert all(caller.done for caller in callers)


def test_what_never_fits_is_refused_at_once(loaded: Loaded) -> None:
    """With a code that sends the plan to a larger target."""
    desk = Desk(loaded, memory=50 * loaded.session.position_bytes)
    caller = desk.add(Caller(prompt(100)))
    assert caller.code is Code.CONTEXT_TOO_LONG
    assert caller.ended


def test_cached_beginnings_make_room_for_rows(loaded: Loaded) -> None:
    """They are kept only in memory that nobody needs."""
    desk = Desk(loaded, memory=1000 * loaded.session.position_bytes)
    desk.add(Caller(prompt(200, scope="a")))
    desk.run()
    assert desk.batch.prefixes.bytes > 0
    large = desk.add(Caller(prompt(500, max_tokens=12)))
    small = desk.add(Caller(prompt(400, max_tokens=12, seed=3)))
    desk.run()
    assert large.done
    assert small.done
    assert desk.leaks() == []


def paced(desk: Desk, token: float, step: float = 0.0) -> None:
    """As if that had been measured."""
    desk.batch._pace.token, desk.batch._pace.step = token, step


def test_a_prompt_that_alone_takes_too_long_is_over_the_deadline(loaded: Loaded) -> None:
    """It is told before any work."""
    desk = Desk(loaded)
    paced(desk, 0.1)
    assert desk.add(Caller(prompt(100), deadline=5.0)).code is Code.OVER_DEADLINE
    assert not desk.batch.busy
    desk.add(Caller(prompt(100), deadline=15.0))
    assert desk.batch.busy


def test_a_prompt_behind_too_many_others_is_saturated(loaded: Loaded) -> None:
    """Alone it would be in time; behind the others it is refused at once, so that the plan moves on."""
    desk = Desk(loaded)
    paced(desk, 0.1)
    for seed in range(3):
        desk.add(Caller(prompt(100, seed=seed)))
    assert desk.add(Caller(prompt(100, seed=9), deadline=15.0)).code is Code.SATURATED
    urgent = desk.add(Caller(prompt(100, seed=9), deadline=15.0, priority=1))
    assert urgent.code is None


def test_a_cached_prompt_is_in_time(loaded: Loaded) -> None:
    """What the cache has costs no time."""
    desk = Desk(loaded)
    desk.add(Caller(prompt(200, scope="a")))
    desk.run()
    paced(desk, 0.1)
    assert desk.add(Caller(prompt(200, scope="a"), deadline=5.0)).code is None
    assert desk.add(Caller(prompt(200, scope="b"), deadline=5.0)).code is Code.OVER_DEADLINE


def test_who_waited_until_there_is_no_time_left_is_refused(loaded: Loaded) -> None:
    """Not when the caller has given up already, but before."""
    desk = Desk(loaded, count=1)
    desk.add(Caller(prompt(5, max_tokens=50)))
    desk.batch.round()
    late = desk.add(Caller(prompt(100), deadline=15.0))
    desk.batch.round()
    assert late.code is None
    paced(desk, 0.1)
    desk.now = 10.0
    desk.batch.round()
    assert late.code is Code.SATURATED
    desk.run()


def test_rows_move_into_larger_room(loaded: Loaded) -> None:
    """A request with a longer context than any before makes room, and those under way lose nothing."""
    desk = Desk(loaded)
    running = desk.add(Caller(prompt(30, max_tokens=30)))
    for _ in range(4):
        desk.batch.round()
    before = desk.batch.slots.capacity
    desk.batch.slots.reserve(before + 1)
    assert desk.batch.slots.capacity == 2 * before
    desk.run()
    assert running.items == alone(loaded, running.prompt)


def test_a_system_without_memory_is_saturated(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    """The row is refused, not the engine."""
    desk = Desk(loaded)

    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(desk.batch.slots, "reserve", fail)
    caller = desk.add(Caller(prompt(5)))
    desk.run()
    assert caller.code is Code.SATURATED
    assert desk.leaks() == []
