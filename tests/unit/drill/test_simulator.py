"""The simulator: the real flow, overlapping requests, a clock that costs nothing."""

from __future__ import annotations

import gc
from collections import Counter
from dataclasses import replace
from decimal import Decimal

import pytest

from hybridinfer.commands import Call, Limits
from hybridinfer.drill.played import Played
from hybridinfer.drill.simulator import Arrival, run, simulate, stage
from hybridinfer.drill.world import Answers, Downtime, Fails, Hangs, World
from hybridinfer.errors import AllTargetsFailed, StreamInterrupted
from hybridinfer.opened import Opened
from hybridinfer.policy.load import load
from hybridinfer.receipt import Code
from hybridinfer.targets.base import Finish, TargetFailed
from hybridinfer.types import Message, Request, Reset, Start, Text, TextDelta
from tests.virtual import virtual_time

POLICY = {
    "version": 1,
    "targets": {
        "cloud": {"kind": "openai", "model": "m", "price": {"input": 1000, "output": 1000}, "max_tokens": 100},
        "local": {"kind": "onnx", "model": "m"},
        "sorry": {"kind": "canned", "text": "later"},
    },
    "boundaries": [{"name": "stay", "when": {"privacy": "secret"}, "cloud": "never"}],
    "rules": [{"name": "all", "use": ["cloud", "local", "sorry"]}],
}
REQUEST = Request(messages=(Message(role="user", parts=(Text(text="hello"),)),))
DOWN = Fails(Code.UNAVAILABLE)


def ask(world, *, request=REQUEST, stream=False, **more):
    policy = load(POLICY | more)
    return simulate(request, stage(policy, world), world, stream=stream)


def test_an_answer_takes_its_time():
    """A second, on the world's clock."""
    world = World()
    story = ask(world)
    assert story.result.answer.text == "ok"
    assert (story.began, story.ended, world.now) == (0.0, 1.0, 1.0)
    assert world.calls == [(0.0, "cloud")]
    assert story.receipt.id == "sim_000001"


def test_levels_are_given():
    """And the boundaries hold on them."""
    world = World(levels={"privacy": "secret"})
    story = ask(world)
    assert story.receipt.target == "local"
    assert [target for _, target in world.calls] == ["local"]


def test_levels_may_change():
    """Between two requests, by whoever plays the world."""
    world, policy = World(), load(POLICY)
    arrivals = [Arrival(at=at, request=REQUEST) for at in (0, 10, 20)]
    cues = [(5, lambda: world.levels.update(privacy="secret")), (15, world.levels.clear)]
    stories = run(arrivals, stage(policy, world), world, cues=cues)
    assert [story.receipt.decision.levels["privacy"] for story in stories] == ["public", "secret", "public"]


def test_an_outage_has_a_beginning_and_an_end():
    """Falls back within it, and only within it."""
    policy = load(POLICY)
    world = World(outages=[Downtime(target="cloud", start=10, end=20, does=DOWN)])
    stories = run([Arrival(at=at, request=REQUEST) for at in (0, 12, 60)], stage(policy, world), world)
    assert [story.receipt.target for story in stories] == ["cloud", "local", "cloud"]


def test_arrivals_may_stand_in_any_order():
    """Each is served at its time, those of one moment as they stand, and the stories keep the order of the list."""
    world = World()
    times = (20.0, 5.0, 5.0, 0.0, 6.0)  # at 6 the first call of 5 ends, too
    stories = run([Arrival(at=at, request=REQUEST) for at in times], stage(load(POLICY), world), world)
    assert tuple(story.began for story in stories) == times
    assert [story.receipt.id for story in stories] == [f"sim_{n:06d}" for n in (5, 2, 3, 1, 4)]


def test_a_script_is_one_step_or_many():
    """The last one stays."""
    world = World(scripts={"cloud": [Fails(Code.TIMEOUT), Answers("yes")], "local": Hangs()})
    policy = load(POLICY | {"rules": [{"name": "all", "use": ["cloud"]}]})
    runtime = stage(policy, world)
    with_error = simulate(REQUEST, runtime, world)
    assert isinstance(with_error.error, AllTargetsFailed)
    assert with_error.receipt.code is Code.TIMEOUT
    assert [simulate(REQUEST, runtime, world).result.answer.text for _ in range(2)] == ["yes", "yes"]


def test_everything_down_is_canned():
    """The block's own text, at once and for nothing."""
    world = World(scripts={"cloud": DOWN, "local": DOWN})
    story = ask(world)
    assert story.result.answer.text == "later"
    assert story.receipt.cost_usd == 0


class TestStreams:
    def test_pieces(self):
        """Start and pieces; the end is the result."""
        story = ask(World(scripts={"cloud": Answers("abcdef", pieces=3)}), stream=True)
        assert story.events == (Start(target="cloud"), TextDelta(text="ab"), TextDelta(text="cd"), TextDelta(text="ef"))
        assert story.ended == pytest.approx(1.0)

    def test_a_stream_that_dies(self):
        """After its first piece."""
        story = ask(World(scripts={"cloud": Fails(Code.INTERRUPTED, seconds=2, said="half")}), stream=True)
        assert isinstance(story.error, StreamInterrupted)
        assert story.error.partial == "half"
        assert story.events == (Start(target="cloud"), TextDelta(text="half"))

    def test_restart_and_buffer(self):
        """As the request wishes."""
        cut = Fails(Code.STALLED, seconds=2, said="half")
        again = ask(World(scripts={"cloud": cut}), request=replace(REQUEST, on_interrupt="restart"), stream=True)
        assert [type(event) for event in again.events] == [Start, TextDelta, Reset, Start, TextDelta]
        whole = ask(World(scripts={"cloud": cut}), request=replace(REQUEST, on_interrupt="buffer"), stream=True)
        assert whole.events == (Start(target="local"), TextDelta(text="ok"))


class TestHedging:
    POLICY = POLICY | {"rules": [{"name": "all", "use": ["cloud", "local", "sorry"], "hedge": {"after": "800ms"}}]}

    def play(self, **scripts):
        world = World(scripts=scripts)
        return simulate(REQUEST, stage(load(self.POLICY), world), world)

    def test_a_silent_target_is_joined_by_the_next(self):
        """The faster one answers; both stand on the receipt."""
        story = self.play(cloud=Answers(seconds=10), local=Answers(seconds=1))
        assert (story.receipt.target, story.ended) == ("local", pytest.approx(1.8))
        assert [attempt.code for attempt in story.receipt.attempts] == [Code.CANCELLED, Code.OK]

    def test_the_first_may_win_the_race(self):
        """It was only a little late."""
        story = self.play(cloud=Answers(seconds=1), local=Answers(seconds=10))
        assert (story.receipt.target, story.ended) == ("cloud", pytest.approx(1.0))

    def test_both_may_fail(self):
        """Then the last failure ends the race."""
        story = self.play(cloud=Fails(Code.TIMEOUT, seconds=2), local=Fails(Code.TIMEOUT, seconds=4))
        assert (story.receipt.target, story.ended) == ("sorry", pytest.approx(4.8))

    def test_a_quick_answer_is_alone(self):
        """No race."""
        assert [a.target for a in self.play(cloud=Answers(seconds=0.5)).receipt.attempts] == ["cloud"]


class TestLeaving:
    def test_during_a_call(self):
        """The story ends there, with what is owed."""
        policy, world = load(POLICY), World()
        [story] = run([Arrival(at=5, request=REQUEST, leaves_after=0.5)], stage(policy, world), world)
        assert (story.began, story.ended) == (5, 5.5)
        assert story.abandoned.code is Code.CANCELLED
        assert story.receipt is story.abandoned
        assert story.receipt.cost_usd > 0

    def test_during_a_wait(self):
        """Nothing more is owed."""
        policy, world = load(POLICY), World(scripts={"cloud": Fails(Code.RATE_LIMITED, retry_after=5)})
        [story] = run([Arrival(at=0, request=REQUEST, leaves_after=2)], stage(policy, world), world)
        assert story.abandoned.code is Code.RATE_LIMITED
        assert story.receipt.cost_usd == 0

    def test_after_the_end(self):
        """Too late to matter."""
        policy, world = load(POLICY), World()
        [story] = run([Arrival(at=0, request=REQUEST, leaves_after=60)], stage(policy, world), world)
        assert story.result is not None


def test_window_budgets_are_kept():
    """The real ledger, in memory: overlapping requests never overspend."""
    policy = load(POLICY | {"budgets": [{"name": "day", "usd": 0.3, "per": "day"}]})
    world = World()
    stories = run([Arrival(at=i * 0.1, request=REQUEST) for i in range(20)], stage(policy, world), world)
    assert sum(story.receipt.cost_usd for story in stories) <= Decimal("0.3")
    assert Counter(story.receipt.target for story in stories)["local"] > 0


def test_a_failure_gives_its_money_back():
    """What was not processed leaves room for others."""
    policy = load(POLICY | {"budgets": [{"name": "day", "usd": 0.12, "per": "day"}]})
    world = World(scripts={"cloud": [Fails(Code.UNAVAILABLE, retry=False), Answers()]})
    runtime = stage(policy, world)
    stories = run([Arrival(at=at, request=REQUEST) for at in (0, 5)], runtime, world)
    assert [story.receipt.target for story in stories] == ["local", "cloud"]


def test_a_ledger_that_waits_is_refused():
    """Virtual time cannot wait for real things."""

    class Slow:
        async def reserve(self, **_what):
            import asyncio

            await asyncio.sleep(0)

    policy = load(POLICY | {"budgets": [{"name": "day", "usd": 5, "per": "day"}]})
    world = World()
    with pytest.raises(RuntimeError, match="must answer at once"):
        simulate(REQUEST, stage(policy, world), world, ledger=Slow())


def test_twenty_minutes_of_outage_twice():
    """Ten thousand overlapping requests; the same seed tells the same story, to the last digit."""
    policy = load(POLICY)

    def play(seed):
        spread = Answers(spread=0.5)
        world = World(
            scripts={"cloud": spread, "local": spread},
            outages=[Downtime(target="cloud", start=60, end=1260, does=DOWN)],
            seed=seed,
        )
        arrivals = [Arrival(at=i * 0.15, request=REQUEST, stream=i % 2 == 0) for i in range(10_000)]
        return run(arrivals, stage(policy, world), world), world

    stories, world = play(7)
    assert {story.receipt.target for story in stories if 90 < story.began < 1200} == {"local"}
    assert {story.receipt.target for story in stories if story.began > 1300} == {"cloud"}
    calls_in_outage = [at for at, target in world.calls if target == "cloud" and 60 <= at < 1260]
    assert len(calls_in_outage) < 300, "of 8,000: until the circuit opens, and a probe now and then"
    again, _ = play(7)
    assert [story.receipt for story in again] == [story.receipt for story in stories]
    other, _ = play(8)
    assert [story.ended for story in other] != [story.ended for story in stories]


STEPS = [
    Answers("abcdef", pieces=3, first=0.02, seconds=0.06),
    Answers("", first=0.02, seconds=0.02),
    Answers("abc", first=0.02, seconds=0.02, finish="length"),
    Answers("abc", first=0.02, seconds=0.02, finish="content_filter"),
    Answers("abc", first=0.02, seconds=0.02, finish=None),
    Fails(Code.RATE_LIMITED, seconds=0.02, retry_after=3.0, retry=False),
    Fails(Code.INTERRUPTED, seconds=0.04, said="half"),
    Hangs(),
    Hangs(said="half", first=0.02),
]
LIMITS = [
    Limits(total=0.3, first_token=0.3, stall=0.3),
    Limits(total=0.2, first_token=0.1, stall=0.1),
]


@pytest.mark.parametrize("hold", [True, False], ids=["whole", "stream"])
@pytest.mark.parametrize("limits", LIMITS, ids=["wide", "narrow"])
@pytest.mark.parametrize("step", STEPS, ids=repr)
def test_the_simulator_and_the_driver_agree(step, limits, hold):
    """The same call, simulated and driven, ends with the same code, text and details."""
    call = Call(target="cloud", number=1, request=REQUEST, levels={}, limits=limits, hold=hold)
    world = World()
    played = Played(call, step, stage(load(POLICY), world), world)
    _, simulated = played.called()
    if simulated.opened is not None:
        _, simulated = played.relayed()

    async def driven():
        opened = Opened(call, _events(step), judged=True)
        outcome = await (opened.whole() if hold else opened.first())
        if outcome.opened is None:
            return outcome
        while await opened.next() is not None:
            pass
        return opened.outcome

    with virtual_time() as loop:
        real = loop.run_until_complete(driven())
    for field in ("code", "answer", "retry_after", "retry"):
        assert getattr(simulated, field) == getattr(real, field)
    assert simulated.seconds == pytest.approx(real.seconds)
    assert simulated.first_token_seconds == pytest.approx(real.first_token_seconds)


async def _events(step):
    """What a target that follows `step` really does."""
    import asyncio

    match step:
        case Answers(text=text, pieces=pieces, first=first, seconds=seconds):
            size = -(-len(text) // pieces) or 1
            texts = [text[i : i + size] for i in range(0, len(text), size)]
            await asyncio.sleep(first)
            for number, piece in enumerate(texts):
                await asyncio.sleep((seconds - first) / (len(texts) - 1) if number else 0)
                yield TextDelta(text=piece)
            if step.finish is not None:
                yield Finish(finish_reason=step.finish, usage=step.usage)
        case Fails(code=code, seconds=seconds, said=said):
            await asyncio.sleep(seconds / 2)
            if said:
                yield TextDelta(text=said)
            await asyncio.sleep(seconds / 2)
            raise TargetFailed(code, "scripted", retry_after=step.retry_after, retry=step.retry)
        case Hangs(said=said, first=first):
            if said:
                await asyncio.sleep(first)
                yield TextDelta(text=said)
            await asyncio.Event().wait()


@pytest.mark.parametrize("before", [(700, 10, 10), (0, 10, 10), (500_000, 5, 5)])
def test_the_garbage_collector_is_as_it_was(before):
    """A run looks for garbage rarely, but does; whoever had switched it off, or wants it rarer, has their way."""
    own, seen = gc.get_threshold(), []
    gc.set_threshold(*before)
    try:
        world = World()
        arrivals = [Arrival(at=1.0, request=REQUEST)]
        run(arrivals, stage(load(POLICY), world), world, cues=[(0.5, lambda: seen.append(gc.get_threshold()[0]))])
        after = gc.get_threshold()
    finally:
        gc.set_threshold(*own)
    assert after == before
    assert seen == [max(before[0], 100_000) if before[0] else 0]
