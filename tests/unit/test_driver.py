"""What the driver does when the ledger, the signals, the hooks or the caller misbehave."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field
from decimal import Decimal

import pytest

from hybridinfer import AllTargetsFailed, AsyncRouter, BudgetExceeded
from hybridinfer.budget.ledger import LedgerDown, OverBudget, Reservation
from hybridinfer.receipt import Code
from hybridinfer.signals.base import SignalResult
from hybridinfer.testing import FakeClock, FakeTarget, Hang, Outage, Reply
from hybridinfer.types import Message, Standing, Text, ToolCall, ToolResult

pytestmark = pytest.mark.anyio

POLICY = {
    "version": 1,
    "targets": {
        "cloud": {"kind": "openai", "model": "m", "price": {"input": 1, "output": 2}},
        "other": {"kind": "openai", "model": "m", "price": {"input": 1, "output": 2}},
        "local": {"kind": "onnx", "model": "m"},
    },
    "budgets": [{"name": "day", "usd": 5, "per": "day"}],
    "boundaries": [{"name": "stay", "when": {"privacy": "secret"}, "cloud": "never"}],
    "rules": [
        {"name": "spent", "when": {"budget": "spent"}, "use": ["local"]},
        {"name": "all", "use": ["cloud", "other", "local"]},
    ],
    "resilience": {"deadline": "60s", "retry": {"attempts": 2, "backoff": "1s", "max_backoff": "1s"}},
}


class Books:
    """A ledger that remembers everything, and fails or hangs on command."""

    def __init__(self, **steps):
        self.steps = steps
        self.open, self.settled, self.released = {}, [], []
        self.reached = asyncio.Event()
        self.go_on = asyncio.Event()
        self.closed = False

    async def _step(self, name, target=""):
        step = self.steps.get(f"{name}:{target}", self.steps.get(name))
        if step == "wait":
            self.reached.set()
            await self.go_on.wait()
        if isinstance(step, BaseException):
            raise step

    async def standing(self, tags):
        await self._step("standing")
        return Standing()

    async def reserve(self, *, receipt_id, target, usd, tags):
        await self._step("reserve", target)
        reservation = Reservation(
            id=f"r{len(self.open)}-{target}", receipt_id=receipt_id, target=target, usd=usd, tags=tags
        )
        self.open[reservation.id] = reservation
        return reservation

    async def settle(self, reservation, usd, *, estimated=False):
        await self._step("settle")
        del self.open[reservation.id]
        self.settled.append((reservation.target, usd, estimated))

    async def release(self, reservation):
        await self._step("release")
        del self.open[reservation.id]
        self.released.append(reservation.target)

    async def aclose(self):
        self.closed = True


@dataclass
class Hook:
    receipts: list = field(default_factory=list)

    def on_receipt(self, receipt):
        self.receipts.append(receipt)


class Says:
    def __init__(self, name, does):
        self.name, self._does = name, does

    def score(self, request, standing):
        return self._does(request, standing)


class Scene:
    def __init__(self, *, books=None, cloud=("hello",), policy=POLICY, **options):
        self.books = books or Books()
        self.hook = Hook()
        self.clock = FakeClock()
        self.tasks = asyncio.all_tasks()
        self.targets = {
            "cloud": FakeTarget("cloud", script=cloud),
            "other": FakeTarget("other"),
            "local": FakeTarget("local", zone="device", script=("from here",)),
        }
        options.setdefault("sleep", self.clock.sleep)
        self.router = AsyncRouter(policy, targets=self.targets, ledger=self.books, hooks=[self.hook], **options)

    async def leave(self, reached, *, stream=False):
        """Ask, wait until `reached`, cancel, and close; returns the only receipt."""
        task = asyncio.create_task(self._read() if stream else self.router.complete("hello"))
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        self.check_clean()
        await self.router.aclose()
        [receipt] = self.hook.receipts
        return receipt

    async def _read(self):
        async with self.router.stream("hello") as stream:
            async for _event in stream:
                pass

    def check_clean(self):
        assert all(target.open == 0 for target in self.targets.values())
        assert self.books.open == {}
        assert asyncio.all_tasks() == self.tasks


class TestTheLedger:
    async def test_a_call_is_reserved_and_settled(self):
        """Worst case first, real cost after."""
        scene = Scene()
        response = await scene.router.complete("hello")
        assert scene.books.settled == [("cloud", response.cost_usd, False)]
        assert response.cost_usd > 0

    async def test_a_failure_is_released(self):
        """Nothing was processed."""
        scene = Scene(cloud=(Outage(Code.UNAVAILABLE),))
        await scene.router.complete("hello")
        assert scene.books.released == ["cloud", "cloud"]
        assert scene.clock.slept

    @pytest.mark.parametrize(
        "step", [OverBudget("day", "budget 'day' is spent"), LedgerDown("gone"), KeyError("bug"), "wait"]
    )
    async def test_no_reservation_no_call(self, step):
        """Refused, unreachable, broken or silent: money unknown is money denied, and the free rung answers."""
        policy = POLICY | {"resilience": POLICY["resilience"] | {"deadline": "2s", "last_rung": "1s"}}
        scene = Scene(books=Books(reserve=step), policy=policy)
        response = await scene.router.complete("hello")
        assert response.target == "local"
        assert scene.targets["cloud"].requests == []
        assert response.receipt.attempts[0].code is Code.OVER_BUDGET
        assert scene.books.open == {}

    async def test_everything_denied_is_budget_exceeded(self):
        """A typed error."""
        scene = Scene(
            books=Books(reserve=OverBudget("day", "spent")),
            policy=POLICY | {"rules": [{"name": "a", "use": ["cloud"]}]},
        )
        with pytest.raises(BudgetExceeded, match="spent"):
            await scene.router.complete("hello")

    @pytest.mark.parametrize("step", [LedgerDown("gone"), RuntimeError("bug"), "wait"])
    async def test_a_standing_that_cannot_be_had_is_spent(self, step):
        """Only the budget signal suffers; the others are measured."""
        policy = POLICY | {"resilience": POLICY["resilience"] | {"deadline": "2s", "last_rung": "1s"}}
        scene = Scene(books=Books(standing=step), policy=policy)
        response = await scene.router.complete("hello")
        levels = response.receipt.decision.levels
        assert (levels["budget"], levels["privacy"]) == ("spent", "public")

    async def test_a_settlement_that_fails_costs_nobody_the_answer(self, caplog):
        """It is logged; the reservation expires as spent."""
        scene = Scene(books=Books(settle=LedgerDown("gone")))
        assert (await scene.router.complete("hello")).text == "hello"
        assert "will expire as spent (LedgerDown)" in caplog.text

    async def test_a_settlement_that_takes_long_goes_on_behind_the_answer(self):
        """The answer does not wait past its deadline; closing the router waits for the booking."""
        scene = Scene(books=Books(settle="wait"))
        response = await scene.router.complete("hello", timeout=1)
        assert response.text == "hello"
        assert scene.books.settled == []
        closing = asyncio.create_task(scene.router.aclose())
        await scene.books.reached.wait()
        for _ in range(10):
            await asyncio.sleep(0)
        assert not scene.books.closed
        scene.books.go_on.set()
        await closing
        assert len(scene.books.settled) == 1
        assert scene.books.closed


class TestSignals:
    async def test_a_signal_that_raises_counts_as_its_highest(self):
        """Unknown means deny: the request stays here."""

        def broken(_request, _standing):
            raise ValueError("the text was hello")

        scene = Scene(signals={"privacy": Says("privacy", broken)})
        response = await scene.router.complete("hello")
        assert (response.target, response.receipt.decision.levels["privacy"]) == ("local", "secret")
        assert response.receipt.decision.because["privacy"] == ("the signal failed (ValueError)",)

    async def test_a_signal_that_hangs_counts_as_its_highest(self):
        """The deadline's last slice is kept: the local rung still answers."""
        stuck = threading.Event()

        def hang(_request, _standing):
            stuck.wait(30)

        policy = POLICY | {"resilience": POLICY["resilience"] | {"deadline": "2s", "last_rung": "1s"}}
        scene = Scene(signals={"privacy": Says("privacy", hang)}, policy=policy)
        try:
            response = await scene.router.complete("hello")
        finally:
            stuck.set()
        assert (response.target, response.receipt.decision.levels["privacy"]) == ("local", "secret")
        assert response.receipt.decision.because["privacy"] == ("not measured in time",)

    async def test_a_signal_that_invents_a_level_counts_as_its_highest(self):
        """A level that no boundary knows would pass through all of them."""
        scene = Scene(signals={"privacy": Says("privacy", lambda _r, _s: SignalResult(score=0.0, level="harmless"))})
        assert (await scene.router.complete("hello")).target == "local"

    async def test_signals_of_ones_own_run_in_a_thread(self):
        """Nobody knows how long they take; the loop goes on meanwhile."""
        seen = []

        def note(_request, _standing):
            seen.append(threading.current_thread())
            return SignalResult(score=0.0, level="low")

        scene = Scene(signals={"complexity": Says("complexity", note)})
        await scene.router.complete("hello")
        assert seen
        assert seen != [threading.main_thread()]

    @pytest.mark.parametrize(
        "message",
        [
            Message(role="user", parts=(Text(text="word " * 5000),)),
            Message(role="assistant", parts=(ToolCall(id="1", name="t", arguments='"' + "a" * 21_000 + '"'),)),
            Message(role="tool", parts=(ToolResult(call_id="1", content=(Text(text="word " * 5000),)),)),
        ],
        ids=["text", "tool call", "tool result"],
    )
    async def test_long_requests_are_scored_and_counted_in_a_thread(self, message, monkeypatch):
        """Whatever part is long; nothing of it is counted on the loop."""
        threads = []
        real = asyncio.to_thread

        async def watched(work, *arguments):
            threads.append(work)
            return await real(work, *arguments)

        monkeypatch.setattr(asyncio, "to_thread", watched)
        scene, counted = Scene(), []
        for target in scene.targets.values():
            target.count_tokens = lambda _request: counted.append(threading.current_thread()) or 7
        await scene.router.complete([message])
        assert len(threads) == 2
        assert len(counted) == 3
        assert threading.main_thread() not in counted
        await scene.router.decide([message])
        assert threading.main_thread() not in counted

    async def test_short_requests_need_no_thread(self, monkeypatch):
        """The built-in signals take bounded time."""
        monkeypatch.delattr(asyncio, "to_thread")
        assert (await Scene().router.complete("hello")).text == "hello"


class TestLeaving:
    async def test_during_a_call(self):
        """Upstream closed, the worst case booked, the receipt told."""
        scene = Scene(cloud=(Hang(),))
        receipt = await scene.leave(scene.targets["cloud"].called)
        assert receipt.code is Code.CANCELLED
        [(target, usd, estimated)] = scene.books.settled
        assert (target, usd, estimated) == ("cloud", receipt.cost_usd, True)
        assert usd > Decimal("0.002")

    async def test_during_a_stream(self):
        """What came is counted and booked."""
        scene = Scene(cloud=(Hang(after=("half",)),))
        receipt = await scene.leave(scene.targets["cloud"].called, stream=True)
        assert receipt.code is Code.CANCELLED
        assert len(scene.books.settled) == 1

    async def test_during_a_reservation(self):
        """Nothing is held, nothing was called."""
        scene = Scene(books=Books(reserve="wait"))
        receipt = await scene.leave(scene.books.reached)
        assert receipt.attempts == ()
        assert scene.targets["cloud"].requests == []

    async def test_during_the_second_reservation(self):
        """An earlier call is not booked twice."""
        scene = Scene(books=Books(**{"reserve:other": "wait"}), cloud=(Outage(Code.TIMEOUT),))
        receipt = await scene.leave(scene.books.reached)
        assert [a.code for a in receipt.attempts] == [Code.TIMEOUT]
        assert len(scene.books.settled) == 1

    async def test_during_a_wait(self):
        """Nothing is owed for a retry that was not made."""
        reached = asyncio.Event()

        async def forever(_seconds):
            reached.set()
            await asyncio.Event().wait()

        scene = Scene(cloud=(Outage(Code.UNAVAILABLE),), sleep=forever)
        receipt = await scene.leave(reached)
        assert receipt.code is Code.UNAVAILABLE
        assert scene.books.released == ["cloud"]

    async def test_during_the_booking(self):
        """The booking goes on, and the attempt is on the receipt."""
        scene = Scene(books=Books(settle="wait"))
        task = asyncio.create_task(scene.router.complete("hello"))
        await scene.books.reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        scene.books.go_on.set()
        await scene.router.aclose()
        assert scene.books.open == {}
        [receipt] = scene.hook.receipts
        assert receipt.attempts[0].code is Code.OK
        assert receipt.cost_usd > 0

    async def test_by_closing_the_stream(self):
        """The usual way: a break, and the end of the `with` block."""
        scene = Scene(cloud=(Reply(chunks=("a", "b", "c")),))
        async with scene.router.stream("hello") as stream:
            async for _text in stream.text_stream:
                break
        scene.check_clean()
        assert stream.receipt.code is Code.CANCELLED
        assert scene.hook.receipts == [stream.receipt]

    async def test_during_a_buffered_delivery(self):
        """Everything was booked already; the receipt still comes, once."""
        scene = Scene()
        async with scene.router.stream("hello", on_interrupt="buffer") as stream:
            await anext(stream)
        scene.check_clean()
        assert [receipt.attempts[0].code for receipt in scene.hook.receipts] == [Code.OK]
        assert len(scene.books.settled) == 1

    @pytest.mark.parametrize("stream", [False, True])
    async def test_a_target_that_will_not_close_delays_nobody(self, stream):
        """Whoever leaves has left before its cleanup ends; the money is booked, and closing the router waits for it."""
        go_on, tidied = asyncio.Event(), []

        class Stubborn(FakeTarget):
            async def stream(self, request, *, stream):
                try:
                    async for event in super().stream(request, stream=stream):
                        yield event
                finally:
                    await go_on.wait()
                    tidied.append(True)

        scene = Scene()
        scene.targets["cloud"] = target = Stubborn("cloud", script=(Hang(after=("half",)),))
        scene.router = AsyncRouter(POLICY, targets=scene.targets, ledger=scene.books, hooks=[scene.hook])
        task = asyncio.create_task(scene._read() if stream else scene.router.complete("hello"))
        await target.called.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert scene.books.open == {}
        assert len(scene.books.settled) == 1
        assert scene.hook.receipts[0].code is Code.CANCELLED
        assert not tidied
        go_on.set()
        await scene.router.aclose()
        assert tidied
        scene.check_clean()


class TestHedging:
    """Calls side by side, for real."""

    @staticmethod
    def policy(after="20ms"):
        return POLICY | {"rules": [{"name": "all", "use": ["cloud", "other", "local"], "hedge": {"after": after}}]}

    @pytest.mark.parametrize("stream", [False, True])
    async def test_the_faster_one_answers_and_the_slower_one_is_closed(self, stream):
        """Both are billed."""
        scene = Scene(cloud=(Hang(),), policy=self.policy())
        if stream:
            async with scene.router.stream("hello") as read:
                events = [type(event).__name__ async for event in read]
            assert events == ["Start", "TextDelta", "TextDelta", "End"]
            response = read.response
        else:
            response = await scene.router.complete("hello")
        assert (response.target, response.text) == ("other", "hello")
        assert [(a.target, a.code) for a in response.receipt.attempts] == [
            ("cloud", Code.CANCELLED),
            ("other", Code.OK),
        ]
        assert {target for target, _, _ in scene.books.settled} == {"cloud", "other"}
        scene.check_clean()

    async def test_a_quick_answer_is_alone(self):
        """Nobody else is called."""
        scene = Scene(policy=self.policy("5s"))
        assert (await scene.router.complete("hello")).target == "cloud"
        assert scene.targets["other"].requests == []
        scene.check_clean()

    async def test_an_answer_that_comes_while_money_is_put_aside(self):
        """The second call is never made, and costs nothing."""
        release, said = asyncio.Event(), asyncio.Event()

        class Slow(FakeTarget):
            async def stream(self, request, *, stream):
                await release.wait()
                async for event in super().stream(request, stream=stream):
                    yield event
                said.set()

        scene = Scene(books=Books(**{"reserve:other": "wait"}), policy=self.policy())
        scene.targets["cloud"] = Slow("cloud")
        scene.router = AsyncRouter(self.policy(), targets=scene.targets, ledger=scene.books)
        asking = asyncio.create_task(scene.router.complete("hello"))
        await scene.books.reached.wait()
        release.set()
        await said.wait()
        for _ in range(3):  # until the call's task has ended
            await asyncio.sleep(0)
        scene.books.go_on.set()
        response = await asking
        assert response.target == "cloud"
        assert scene.targets["other"].requests == []
        assert scene.books.released == ["other"]
        scene.check_clean()

    async def test_when_both_fail_the_next_rung_answers(self):
        """Neither is asked again."""
        scene = Scene(cloud=(Hang(),), policy=self.policy() | {"targets": quick("cloud")})
        scene.targets["other"].script = [Outage(Code.UNAVAILABLE)]
        response = await scene.router.complete("hello")
        assert response.target == "local"
        assert [a.code for a in response.receipt.attempts] == [Code.TIMEOUT, Code.UNAVAILABLE, Code.OK]
        scene.check_clean()

    @pytest.mark.parametrize("stream", [False, True])
    async def test_a_caller_who_leaves_during_the_race(self, stream):
        """Both calls are closed and booked."""
        scene = Scene(cloud=(Hang(),), policy=self.policy())
        scene.targets["other"].script = [Hang()]
        receipt = await scene.leave(scene.targets["other"].called, stream=stream)
        assert [(a.target, a.code) for a in receipt.attempts] == [("cloud", Code.CANCELLED), ("other", Code.CANCELLED)]
        assert len(scene.books.settled) == 2


def quick(name):
    return POLICY["targets"] | {name: POLICY["targets"][name] | {"timeout": "500ms"}}


class TestFaultsOfOurOwn:
    async def test_a_counter_that_raises_costs_nobody_an_answer(self, caplog):
        """An upper bound takes its place."""

        class Uncounted(FakeTarget):
            def count_tokens(self, request):
                raise RuntimeError(request)

        targets = {
            "cloud": Uncounted("cloud"),
            "other": FakeTarget("other"),
            "local": FakeTarget("local", zone="device"),
        }
        async with AsyncRouter(POLICY, targets=targets, ledger=Books()) as router:
            response = await router.complete("hello")
        assert response.target == "cloud"
        assert response.receipt.decision.estimates["cloud"] > 0
        assert "counting tokens raised RuntimeError" in caplog.text

    async def test_an_unexpected_fault_still_books(self, monkeypatch):
        """Whatever breaks in the middle of a call, its reservation does not stay open."""
        scene = Scene()

        async def broken(_opened):
            raise MemoryError

        monkeypatch.setattr("hybridinfer.opened.Opened.whole", broken)
        with pytest.raises(MemoryError):
            await scene.router.complete("hello")
        scene.check_clean()
        assert len(scene.books.settled) == 1

    async def test_a_hook_that_raises_changes_nothing(self, caplog):
        """It is logged by type."""

        class Broken:
            def on_receipt(self, receipt):
                raise ValueError("details")

        scene = Scene()
        hook = Hook()
        async with AsyncRouter(POLICY, targets=scene.targets, ledger=scene.books, hooks=[Broken(), hook]) as router:
            assert (await router.complete("hello")).text == "hello"
        assert len(hook.receipts) == 1
        assert "hook Broken raised ValueError" in caplog.text
        assert "details" not in caplog.text


class TestDecide:
    async def test_nothing_is_called_or_reserved(self):
        """The decision alone, with scores and estimates."""
        scene = Scene()
        decision = await scene.router.decide("hello")
        assert (decision.rule, decision.plan) == ("all", ("cloud", "other", "local"))
        assert decision.estimates["cloud"] > 0
        assert scene.books.open == {}
        assert scene.targets["cloud"].requests == []
        assert scene.hook.receipts == []

    async def test_it_can_be_cancelled(self):
        """Nothing is left behind."""
        scene = Scene(books=Books(standing="wait"))
        task = asyncio.create_task(scene.router.decide("hello"))
        await scene.books.reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        scene.check_clean()


async def test_fifty_at_once_share_one_router():
    """Receipts, money and answers do not mix."""
    scene = Scene(cloud=("hello", Outage(Code.TIMEOUT), "hello"))
    answers = await asyncio.gather(*(scene.router.complete(f"hello {i}", tags={"n": str(i)}) for i in range(50)))
    assert [response.receipt.tags["n"] for response in answers] == [str(i) for i in range(50)]
    assert len({response.receipt.id for response in answers}) == 50
    assert sum(usd for _, usd, _ in scene.books.settled) == sum(response.cost_usd for response in answers)
    scene.check_clean()


async def test_all_failed_carries_the_receipt_and_is_told_once():
    """One receipt for one request."""
    scene = Scene(cloud=(Outage(Code.UNAVAILABLE),), policy=POLICY | {"rules": [{"name": "a", "use": ["cloud"]}]})
    with pytest.raises(AllTargetsFailed) as caught:
        await scene.router.complete("hello")
    assert scene.hook.receipts == [caught.value.receipt]


async def test_callers_without_a_pause_do_not_keep_a_target_from_coming_back():
    """While every circuit is open an answer waits for nothing; the probe still gets its turns, and closes the circuit."""

    class Waits(FakeTarget):
        async def stream(self, request, *, stream):
            for _ in range(5):
                await asyncio.sleep(0)
            async for event in super().stream(request, stream=stream):
                yield event

    clock = FakeClock()
    plain = {
        "version": 1,
        "targets": {"cloud": POLICY["targets"]["cloud"], "sorry": {"kind": "canned", "text": "later"}},
        "rules": [{"name": "all", "use": ["cloud", "sorry"]}],
        "resilience": {
            "deadline": "60s",
            "retry": {"attempts": 1},
            "circuit_breaker": {"failures": 1, "cool_down": "1s"},
        },
    }
    cloud = Waits("cloud", script=[Outage(Code.UNAVAILABLE), "back"])
    async with AsyncRouter(plain, targets={"cloud": cloud}, clock=clock) as router:
        assert (await router.complete("hello")).target == "sorry"
        clock.advance(1)
        asked = []

        async def caller():
            while len(asked) < 300 and (not asked or asked[-1] != "cloud"):
                asked.append((await router.complete("hello")).target)

        await asyncio.gather(caller(), caller())
    assert asked[-1] == "cloud"
    assert len(asked) < 50
