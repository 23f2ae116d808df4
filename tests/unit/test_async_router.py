"""`AsyncRouter`: streams, closing, discovery of what is wrong early."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path

import pytest

from hybridinfer import AsyncRouter, BadRequestError, ConfigurationError, PolicyError, StreamInterrupted
from hybridinfer.async_router import new_id
from hybridinfer.budget.ledger import MemoryLedger
from hybridinfer.budget.requests import read
from hybridinfer.policy.load import load
from hybridinfer.receipt import Code
from hybridinfer.resilience import retry
from hybridinfer.resilience.breaker import State
from hybridinfer.targets.base import TargetFailed
from hybridinfer.testing import FakeClock, FakeTarget, Hang, Outage, Reply
from hybridinfer.types import End, Start, TextDelta

pytestmark = pytest.mark.anyio

POLICY = {
    "version": 1,
    "name": "small",
    "targets": {
        "cloud": {"kind": "openai", "model": "m", "price": {"input": 1, "output": 2}},
        "local": {"kind": "onnx", "model": "m"},
    },
    "rules": [{"name": "all", "use": ["cloud", "local"]}],
    "resilience": {"deadline": "60s", "retry": {"attempts": 1}},
}


def fakes(*script):
    return {"cloud": FakeTarget("cloud", script=script or ("hello",)), "local": FakeTarget("local", zone="device")}


class TestMaking:
    async def test_from_a_mapping_a_file_and_a_policy(self, tmp_path: Path):
        """The same policy by three ways."""
        first = AsyncRouter.from_policy(POLICY, targets=fakes())
        path = tmp_path / "p.yaml"
        path.write_text(
            "version: 1\nname: small\ntargets: {sorry: {kind: canned, text: no}}\nrules: [{name: a, use: sorry}]\n"
        )
        second = AsyncRouter(path)
        third = AsyncRouter(first.policy, targets=fakes())
        assert first.policy.name == second.policy.name == third.policy.name == "small"
        for router in (first, second, third):
            await router.aclose()

    async def test_a_wrong_policy_is_told_at_once(self):
        """Before the first request."""
        with pytest.raises(PolicyError, match="unknown target 'clout'"):
            AsyncRouter(POLICY | {"rules": [{"name": "all", "use": ["clout"]}]})

    async def test_a_rule_names_each_target_once(self):
        """So attempts per target are what the policy declares."""
        with pytest.raises(PolicyError, match="stands twice"):
            AsyncRouter(POLICY | {"rules": [{"name": "all", "use": ["cloud", "cloud"]}]}, targets=fakes())

    async def test_targets_must_be_in_the_policy(self):
        """A misspelt override would leave the real target in place."""
        with pytest.raises(ConfigurationError, match="targets clout are not in policy 'small', which has cloud, local"):
            AsyncRouter(POLICY, targets={"clout": FakeTarget("clout")})

    async def test_targets_go_by_their_own_name(self):
        """The lock judges a target by the name it bears."""
        with pytest.raises(ConfigurationError, match="'cloud' calls itself 'local'"):
            AsyncRouter(POLICY, targets={"cloud": FakeTarget("local")})

    async def test_all_routers_of_a_process_share_their_retries(self, monkeypatch):
        """A storm knows no routers; a budget of one's own is for tests."""
        monkeypatch.setattr(retry, "PROCESS", retry.RetryBudget(clock=FakeClock()))  # it fills up with time
        down = FakeTarget("cloud", script=(Outage(Code.UNAVAILABLE),))

        async def tries(**options):
            before = len(down.requests)
            twice = POLICY | {"resilience": {"retry": {"attempts": 2, "backoff": "1ms"}}}
            async with AsyncRouter(twice, targets=fakes() | {"cloud": down}, **options) as router:
                await router.complete("hello")
            return len(down.requests) - before

        while retry.PROCESS.spend():
            pass
        assert await tries() == 1
        assert await tries(retry_budget=retry.RetryBudget()) == 2

    async def test_the_environment_names_the_policy(self, tmp_path: Path):
        """HYBRIDINFER_POLICY, and an error when it names nothing."""
        path = tmp_path / "mine.yaml"
        path.write_text(
            "version: 1\nname: mine\ntargets: {sorry: {kind: canned, text: no}}\nrules: [{name: a, use: sorry}]\n"
        )
        router = AsyncRouter(environ={"HYBRIDINFER_POLICY": str(path)})
        assert router.policy.name == "mine"
        assert (await router.complete("hello")).text == "no"
        with pytest.raises(ConfigurationError, match="HYBRIDINFER_POLICY names"):
            AsyncRouter(environ={"HYBRIDINFER_POLICY": "/no/such/file"})

    @pytest.mark.parametrize("place", ["hybridinfer.yaml", "policies/default.yaml", "config/hybridinfer/policy.yaml"])
    async def test_policies_are_discovered(self, place, tmp_path: Path, monkeypatch):
        """In the working directory first, then in the user's configuration."""
        monkeypatch.chdir(tmp_path)
        path = tmp_path / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            "version: 1\nname: found\ntargets: {sorry: {kind: canned, text: no}}\nrules: [{name: a, use: sorry}]\n"
        )
        assert AsyncRouter(environ={}).policy.name == "found"

    async def test_the_environment_names_the_ledger(self):
        """The mapping that was given counts, not the process's own environment."""
        budgets = [{"name": "day", "usd": 1, "per": "day"}]
        with pytest.raises(ConfigurationError, match="no ledger is known for nonsense"):
            AsyncRouter(POLICY | {"budgets": budgets}, targets=fakes(), environ={"HYBRIDINFER_LEDGER": "nonsense://x"})

    def test_ids_sort_by_time_and_differ(self):
        """Thirty characters."""
        ids = [new_id() for _ in range(100)]
        assert len(set(ids)) == 100
        assert {len(one) for one in ids} == {30}
        assert sorted(ids, key=lambda one: one[:16]) == ids


class TestStreams:
    async def test_events_and_response(self):
        """Start, text, End; the response is the one of the End."""
        async with AsyncRouter(POLICY, targets=fakes()) as router, router.stream("hi") as stream:
            events = [event async for event in stream]
            assert [type(event) for event in events] == [Start, TextDelta, End]
            assert stream.response is events[-1].response
            assert stream.receipt is stream.response.receipt

    async def test_text_stream(self):
        """Only the text."""
        async with (
            AsyncRouter(POLICY, targets=fakes(Reply(chunks=("a", "b")))) as router,
            router.stream("hi") as stream,
        ):
            assert [text async for text in stream.text_stream] == ["a", "b"]

    async def test_the_response_is_not_there_before_the_end(self):
        """Half an answer is no answer."""
        async with AsyncRouter(POLICY, targets=fakes()) as router, router.stream("hi") as stream:
            await anext(aiter(stream))
            assert stream.receipt is None
            with pytest.raises(RuntimeError, match="not at its end"):
                _ = stream.response

    async def test_closing_twice_or_unread_is_fine(self):
        """No call was made for a stream that nobody read."""
        targets = fakes()
        async with AsyncRouter(POLICY, targets=targets) as router:
            stream = router.stream("hi")
            await stream.aclose()
            await stream.aclose()
            assert [event async for event in stream] == []
        assert targets["cloud"].requests == []

    async def test_a_failed_stream_has_its_receipt(self):
        """The error's."""
        targets = fakes(Outage(Code.INTERRUPTED, after=("half",)))
        async with AsyncRouter(POLICY, targets=targets) as router, router.stream("hi") as stream:
            with pytest.raises(StreamInterrupted) as caught:
                [event async for event in stream]
            assert stream.receipt is caught.value.receipt

    async def test_a_dropped_stream_is_closed(self):
        """Whoever forgets the `with` block leaves no call open."""
        targets = fakes(Hang(after=("half",)))
        async with AsyncRouter(POLICY, targets=targets) as router:
            stream = router.stream("hi")
            await anext(aiter(stream))
            await anext(aiter(stream))
            assert targets["cloud"].open == 1
            del stream
            gc.collect()
            for _ in range(5):
                await asyncio.sleep(0)
            assert targets["cloud"].open == 0

    async def test_wrong_options_are_told_at_once(self):
        """Not at the first piece."""
        async with AsyncRouter(POLICY, targets=fakes()) as router:
            with pytest.raises(TypeError, match="did you mean 'max_tokens'"):
                router.stream("hi", max_token=5)


class TestClosing:
    async def test_requests_under_way_are_finished(self):
        """And new ones are refused meanwhile."""
        release = asyncio.Event()

        class Slow(FakeTarget):
            async def stream(self, request, *, stream):
                self.called.set()
                await release.wait()
                async for event in super().stream(request, stream=stream):
                    yield event

        targets = fakes() | {"cloud": Slow("cloud", script=("done",))}
        router = AsyncRouter(POLICY, targets=targets)
        answering = asyncio.create_task(router.complete("hi"))
        await targets["cloud"].called.wait()
        closing = asyncio.create_task(router.aclose())
        await asyncio.sleep(0)
        with pytest.raises(ConfigurationError, match="closed"):
            await router.complete("another")
        assert not targets["cloud"].closed
        release.set()
        assert (await answering).text == "done"
        await closing
        assert targets["cloud"].closed

    async def test_a_stream_that_nobody_reads_does_not_hold_it_up(self, monkeypatch):
        """It is stopped, and whoever reads on is told so: never a quiet end."""
        monkeypatch.setattr("hybridinfer.underway.IDLE", 0.01)
        targets = fakes(Hang(after=("half",)))
        router = AsyncRouter(POLICY, targets=targets)
        stream = router.stream("hi", timeout=3600)
        events = aiter(stream)
        await anext(events)
        async with asyncio.timeout(60):  # long before the request's own deadline
            await router.aclose()
        assert targets["cloud"].open == 0
        with pytest.raises(ConfigurationError, match="closed before this stream was read to its end"):
            await anext(events)

    async def test_a_stream_after_closing_is_refused(self):
        """When it is read."""
        router = AsyncRouter(POLICY, targets=fakes())
        stream = router.stream("hi")
        await router.aclose()
        with pytest.raises(ConfigurationError, match="this router is closed"):
            await anext(aiter(stream))

    async def test_one_broken_target_does_not_keep_the_others_open(self, caplog):
        """Everything is closed, and the fault is logged."""

        class Broken(FakeTarget):
            async def aclose(self):
                raise OSError("details")

        targets = {"cloud": Broken("cloud"), "local": FakeTarget("local", zone="device")}
        await AsyncRouter(POLICY, targets=targets).aclose()
        assert targets["local"].closed
        assert "closing cloud raised OSError" in caplog.text

    async def test_a_second_close_does_nothing(self):
        """As with files."""
        targets = fakes()
        router = AsyncRouter(POLICY, targets=targets)
        await router.aclose()
        await router.aclose()
        assert all(target.closed for target in targets.values())


class TestTheRest:
    async def test_warmup_tells_what_is_not_ready(self):
        """Target -> why."""

        class Cold(FakeTarget):
            async def warmup(self):
                raise TargetFailed(Code.UNAUTHORIZED, "KEY is not set")

        async with AsyncRouter(POLICY, targets=fakes() | {"cloud": Cold("cloud")}) as router:
            assert await router.warmup() == {"cloud": "unauthorized: KEY is not set"}

    async def test_warmup_can_be_cancelled(self):
        """A target's cancellation is not a message."""

        class Gone(FakeTarget):
            async def warmup(self):
                raise asyncio.CancelledError

        async with AsyncRouter(POLICY, targets=fakes() | {"cloud": Gone("cloud")}) as router:
            with pytest.raises(asyncio.CancelledError):
                await router.warmup()

    async def test_health_shows_the_breakers(self):
        """One for each target that can fail."""
        async with AsyncRouter(POLICY, targets=fakes(Outage(Code.UNAVAILABLE))) as router:
            for _ in range(5):
                await router.complete("hi")
            health = router.health()
        assert health["cloud"].state is State.OPEN
        assert 0 < health["cloud"].retry_in <= 15
        assert health["local"].state is State.CLOSED

    async def test_a_request_that_fits_nowhere(self):
        """Typed, with the reasons."""
        targets = {
            "cloud": FakeTarget("cloud", context_window=65),
            "local": FakeTarget("local", zone="device", context_window=65),
        }
        async with AsyncRouter(POLICY, targets=targets) as router:
            with pytest.raises(BadRequestError, match="pass its window of 65"):
                await router.complete("one two three")

    async def test_the_callers_deadline_counts(self):
        """Seconds for everything."""
        async with AsyncRouter(POLICY, targets=fakes(Hang())) as router:
            response = await router.complete("hi", timeout=2)
        assert response.target == "local"
        assert response.receipt.seconds < 30

    async def test_many_streams_in_one_loop(self):
        """Twenty at once, each with its own words."""
        targets = fakes(Reply(chunks=tuple("abcdef")))
        async with AsyncRouter(POLICY, targets=targets) as router:

            async def read():
                async with router.stream("hi") as stream:
                    return "".join([text async for text in stream.text_stream])

            assert await asyncio.gather(*(read() for _ in range(20))) == ["abcdef"] * 20


class TestUsage:
    DAY = POLICY | {"budgets": [{"name": "day", "usd": 5, "per": "day"}]}

    async def test_requests_are_recorded_beside_their_money(self, tmp_path: Path):
        """`hybridinfer usage` reads them from the ledger's file once the router is closed."""
        place = tmp_path / "ledger.sqlite3"
        async with AsyncRouter(self.DAY, targets=fakes(), environ={"HYBRIDINFER_LEDGER": str(place)}) as router:
            response = await router.complete("hello")
        (record,) = read(place)
        assert (record.id, record.target, record.cost_usd) == (response.receipt.id, "cloud", response.cost_usd)

    async def test_a_ledger_that_was_handed_over_is_not_joined_by_a_file(self, tmp_path: Path):
        """Whoever brings a ledger has asked for no other file."""
        place = tmp_path / "ledger.sqlite3"
        ledger = MemoryLedger(load(self.DAY))
        environ = {"HYBRIDINFER_LEDGER": str(place)}
        async with AsyncRouter(self.DAY, targets=fakes(), ledger=ledger, environ=environ) as router:
            await router.complete("hello")
        assert not place.exists()

    @pytest.mark.parametrize(("when", "asked"), [({}, 0), ({"budget": "ok"}, 1)])
    async def test_the_ledger_is_asked_beforehand_only_where_the_answer_matters(self, when, asked):
        """A policy that tests no budget level saves the question; the receipt says so; `decide` always asks."""
        rules = [{"name": "first", "when": when, "use": ["local", "cloud"]}, {"name": "rest", "use": ["cloud"]}]
        policy = load(self.DAY | {"rules": rules if when else rules[:1]})
        ledger = CountingLedger(policy)
        async with AsyncRouter(policy, targets=fakes(), ledger=ledger) as router:
            response = await router.complete("hello")
            assert ledger.questions == asked
            reasons = response.receipt.decision.because["budget"]
            assert any("not asked" in reason for reason in reasons) is not bool(asked)
            decision = await router.decide("hello")
        assert ledger.questions == asked + 1
        assert "used to 0%" in decision.because["budget"][0]


class CountingLedger(MemoryLedger):
    """Counts how often its standing is asked for."""

    questions = 0

    async def standing(self, tags):
        self.questions += 1
        return await super().standing(tags)
