"""Hot reload: real files, replaced as editors and Kubernetes replace them."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import threading
from weakref import ref

import pytest

from hybridinfer import AsyncRouter, ConfigurationError, PolicyError, Router
from hybridinfer.assembly import targets as registry
from hybridinfer.budget.ledger import MemoryLedger
from hybridinfer.budget.requests import read
from hybridinfer.inforce import EVERY, Reloads
from hybridinfer.policy.load import load
from hybridinfer.receipt import Code
from hybridinfer.resilience.breaker import State
from hybridinfer.testing import FakeTarget, Hang, Outage

pytestmark = pytest.mark.anyio


def text(*rules, cloud="m", budget="", extra="", failures=1):
    """A policy with a cloud, a local target and a canned reply; `rules` is the plan."""
    return f"""\
version: 1
targets:
  cloud: {{kind: openai, model: {cloud}, price: {{input: 1, output: 2}}}}
  local: {{kind: onnx, model: m}}
  sorry: {{kind: canned, text: sorry}}
{extra}
{budget}
rules: [{{name: all, use: [{", ".join(rules)}]}}]
resilience: {{deadline: 60s, retry: {{attempts: 1}}, circuit_breaker: {{failures: {failures}}}}}
"""


def replace(path, new):
    """As careful programs write: beside it, then over it."""
    beside = path.with_name("beside")
    beside.write_text(new, encoding="utf-8")
    beside.replace(path)


class Ticks:
    """A clock for the watch: it rests until `tick`, which returns once it has looked and rests again."""

    def __init__(self):
        self._go = asyncio.Queue()
        self._rests = asyncio.Event()
        self.asked = []

    async def __call__(self, seconds):
        self.asked.append(seconds)
        self._rests.set()
        await self._go.get()

    async def first(self):
        """The first look is over."""
        await self._rests.wait()

    async def tick(self):
        """One more look."""
        await self._rests.wait()
        self._rests.clear()
        self._go.put_nowait(None)
        await self._rests.wait()


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "policy.yaml"
    file.write_text(text("cloud", "local", "sorry"))
    return file


@pytest.fixture
def built(monkeypatch):
    """Every target that a policy made the registry build, in order."""
    made = []

    def build(block, context):
        if block.kind == "canned":
            return build_really(block, context)
        made.append(FakeTarget(context.name, zone="device" if block.kind == "onnx" else "cloud"))
        return made[-1]

    build_really = registry.build
    monkeypatch.setattr(registry, "build", build)
    return made


@pytest.fixture
async def router(path, built):
    router = AsyncRouter(path)
    yield router
    await router.aclose()


async def watched(path):
    """A watching router after its first look, and its clock."""
    ticks = Ticks()
    router = AsyncRouter.from_policy(path, watch=True, sleep=ticks)
    async with asyncio.timeout(120):
        await router.__aenter__()
        await ticks.first()
    return router, ticks


class TestWatch:
    async def test_an_atomic_replacement_is_taken_over(self, path, built):
        """The next look sees it, and the receipt bears the new digest."""
        router, ticks = await watched(path)
        before = (await router.complete("hello")).receipt
        replace(path, text("local", "sorry"))
        await ticks.tick()
        after = (await router.complete("hello")).receipt
        assert (before.target, after.target) == ("cloud", "local")
        assert before.policy_digest != after.policy_digest
        assert set(ticks.asked) == {EVERY}
        await router.aclose()

    async def test_the_swap_of_a_config_map_is_seen(self, tmp_path, built):
        """Kubernetes swaps a link to a directory; the file's own link never changes."""
        for name, plan in (("one", "cloud"), ("two", "local")):
            (tmp_path / name).mkdir()
            (tmp_path / name / "policy.yaml").write_text(text(plan, "sorry"))
        (tmp_path / "..data").symlink_to("one")
        (tmp_path / "policy.yaml").symlink_to("..data/policy.yaml")
        router, ticks = await watched(tmp_path / "policy.yaml")
        (tmp_path / "..tmp").symlink_to("two")
        (tmp_path / "..tmp").replace(tmp_path / "..data")
        await ticks.tick()
        assert (await router.complete("hello")).target == "local"
        await router.aclose()

    async def test_a_broken_file_is_refused_once_and_its_repair_is_seen(self, path, built, caplog):
        """The last good policy serves on; one line in the log, not one a second."""
        router, ticks = await watched(path)
        digest = (await router.complete("hello")).receipt.policy_digest
        replace(path, text("clout") + "what: 3\n")
        with caplog.at_level(logging.ERROR, logger="hybridinfer"):
            await ticks.tick()
            await ticks.tick()
        (line,) = [record.getMessage() for record in caplog.records]
        assert line.startswith(f"policy {path} is refused, {digest} stays in force: {path}:")
        assert "\n" not in line
        assert isinstance(router.policy_error, PolicyError)
        assert (await router.complete("hello")).receipt.policy_digest == digest
        replace(path, text("local"))
        await ticks.tick()
        assert router.policy_error is None
        assert (await router.complete("hello")).target == "local"
        assert (router.policy_reloads.taken, router.policy_reloads.refused) == (1, 1)
        await router.aclose()

    async def test_every_receipt_carries_the_revision_of_its_policy(self, path, built):
        """Your own words for the version, beside the digest; a new one is another policy."""
        path.write_text(text("cloud") + "revision: v1\n")
        router, ticks = await watched(path)
        first = (await router.complete("hello")).receipt
        replace(path, text("cloud") + "revision: v2\n")
        await ticks.tick()
        second = (await router.complete("hello")).receipt
        assert (first.policy_revision, second.policy_revision) == ("v1", "v2")
        assert first.policy_digest != second.policy_digest
        await router.aclose()

    async def test_reloads_are_counted(self, path, built):
        """Taken, unchanged, refused: a metric that costs nothing to read."""
        router = AsyncRouter(path)
        for content in (text("local"), text("local") + "# a comment\n", "what: 3\n"):
            replace(path, content)
            await router.reload()
        assert router.policy_reloads == Reloads(taken=1, unchanged=1, refused=1)
        await router.aclose()

    def test_the_synchronous_router_counts_too(self, path, built):
        """The same figures on both faces; a hang-up signal reloads from a thread, as the docs say."""
        with Router(path) as router:
            done = threading.Event()

            def reload():
                router.reload()
                done.set()

            before = signal.signal(signal.SIGHUP, lambda *_: threading.Thread(target=reload).start())
            try:
                replace(path, text("local"))
                signal.raise_signal(signal.SIGHUP)
                assert done.wait(60)
            finally:
                signal.signal(signal.SIGHUP, before)
            assert router.policy_reloads.taken == 1
            assert router.complete("hello").target == "local"

    async def test_a_file_that_is_gone_changes_nothing(self, path, built):
        """Between deleting and writing anew there is nothing to read."""
        router, ticks = await watched(path)
        path.unlink()
        await ticks.tick()
        assert "cannot be read" in str(router.policy_error)
        path.write_text(text("local"))
        await ticks.tick()
        assert router.policy_error is None
        await router.aclose()

    async def test_a_change_before_the_watch_began_is_seen(self, path, built):
        """Between loading and the first look nothing is missed."""
        ticks = Ticks()
        router = AsyncRouter(path, watch=True, sleep=ticks)
        replace(path, text("local"))
        await router.complete("this starts the watch")
        await ticks.first()
        assert router.policy.rules[0].use == ("local",)
        await router.aclose()

    async def test_a_dropped_router_is_not_kept_by_its_watch(self, path, built):
        """The watch ends by itself."""
        router, ticks = await watched(path)
        gone, task = ref(router._in_force), router._in_force._watching
        del router
        gc.collect()
        assert gone() is None
        ticks._go.put_nowait(None)
        async with asyncio.timeout(120):
            await task

    async def test_only_a_file_can_be_watched(self, path):
        """A mapping does not change."""
        with pytest.raises(ConfigurationError, match="watch=True needs a policy in a file"):
            AsyncRouter(load(path), watch=True)

    def test_the_synchronous_router_watches_on_its_own_thread(self, path, built):
        """From the first moment on, without a request."""
        with Router.from_policy(path, watch=True) as router:
            task = router._router._in_force._watching
            assert task is not None
            assert not task.done()
            replace(path, text("local"))
            assert router.reload()
            assert router.complete("hello").target == "local"
            assert router.policy_error is None


class TestReload:
    async def test_requests_under_way_end_on_their_policy(self, path, router, built):
        """A stream that began before the swap keeps its target; what was dropped closes after it."""
        cloud, local = built
        cloud.script = [Hang(after=("hel",))]
        stream = router.stream("hello")
        first = [await anext(stream), await anext(stream)]
        replace(path, text("local").replace("  cloud:", "  other:"))
        assert await router.reload()
        assert (await router.complete("hello")).target == "local"
        assert (first[0].target, cloud.open, cloud.closed) == ("cloud", 1, False)
        await stream.aclose()
        assert stream.receipt.policy_digest != (await router.complete("hello")).receipt.policy_digest
        await asyncio.gather(*router._in_force._retiring)
        assert cloud.closed
        assert not local.closed

    async def test_an_unread_stream_goes_by_the_policy_of_its_first_piece(self, path, router, built):
        """It was not under way yet, so it must not meet a closed target."""
        stream = router.stream("hello")
        assert stream.receipt is None
        replace(path, text("local").replace("  cloud:", "  other:"))
        await router.reload()
        events = [event async for event in stream]
        assert events[0].target == "local"

    async def test_unchanged_targets_keep_connections_breakers_and_latencies(self, path, router, built):
        """An open circuit stays open, by the new settings; a changed target begins anew."""
        cloud, _ = built
        cloud.script = [Outage(Code.UNAVAILABLE)]
        await router.complete("hello")
        assert router.health()["cloud"].state is State.OPEN
        replace(path, text("cloud", "sorry", failures=3))
        await router.reload()
        assert len(built) == 2
        assert router.health()["cloud"].state is State.OPEN
        replace(path, text("cloud", "sorry", cloud="n", failures=3))
        await router.reload()
        assert len(built) == 3
        assert router.health()["cloud"].state is State.CLOSED
        await asyncio.gather(*router._in_force._retiring)
        assert cloud.closed

    async def test_the_same_meaning_is_no_change(self, path, router, built):
        """Comments and the order of keys replace nothing."""
        before = router._equipment
        replace(path, "# a comment\n" + path.read_text())
        assert await router.reload()
        assert router._equipment is before

    async def test_a_factory_that_fails_leaves_everything_as_it_was(self, path, router, built, monkeypatch, caplog):
        """Whatever it raises, and without quoting it."""

        def fail(block, context):
            raise ValueError("hunter2")

        monkeypatch.setattr(registry, "build", fail)
        replace(path, text("cloud", cloud="n"))
        assert not await router.reload()
        assert "ValueError" in caplog.text
        assert "hunter2" not in caplog.text
        assert (await router.complete("hello")).text

    async def test_a_target_that_fails_to_close_harms_nobody(self, path, router, built, caplog):
        """A line in the log."""

        async def fail():
            raise ValueError("hunter2")

        built[0].aclose = fail
        replace(path, text("local").replace("  cloud:", "  other:"))
        await router.reload()
        await asyncio.gather(*router._in_force._retiring)
        assert "closing cloud raised ValueError" in caplog.text

    async def test_targets_handed_over_are_never_closed_by_a_reload(self, path):
        """They are the program's; also when their block changed."""
        cloud, local = FakeTarget("cloud"), FakeTarget("local", zone="device")
        async with AsyncRouter(path, targets={"cloud": cloud, "local": local}) as router:
            replace(path, text("cloud", cloud="n"))
            assert await router.reload()
            assert (await router.complete("hello")).target == "cloud"
            assert not cloud.closed

    async def test_there_must_be_a_file_and_an_open_router(self, path, built):
        """Otherwise nothing could be reloaded."""
        router = AsyncRouter(path)
        await router.aclose()
        with pytest.raises(ConfigurationError, match="closed"):
            await router.reload()
        async with AsyncRouter(router.policy) as other:
            with pytest.raises(ConfigurationError, match="not from a file"):
                await other.reload()


BUDGET = "budgets: [{name: day, usd: 1, per: day}]"


class TestLedger:
    async def test_it_stays_while_the_budgets_do(self, path, built):
        """Its connection and what it knows, too."""
        path.write_text(text("cloud", budget=BUDGET))
        async with AsyncRouter(path, environ={"HYBRIDINFER_LEDGER": "memory:"}) as router:
            ledger = router._equipment.ledger
            replace(path, text("local", budget=BUDGET))
            await router.reload()
            assert router._equipment.ledger is ledger

    async def test_a_changed_budget_counts_what_is_spent(self, path, built):
        """A smaller limit finds the money gone."""
        path.write_text(text("cloud", "sorry", budget=BUDGET))
        async with AsyncRouter(path, environ={"HYBRIDINFER_LEDGER": "memory:"}) as router:
            assert (await router.complete("hello", max_tokens=10)).target == "cloud"
            replace(path, text("cloud", "sorry", budget=BUDGET.replace("usd: 1", "usd: 0.00003")))
            assert await router.reload()
            assert (await router.complete("hello", max_tokens=10)).target == "sorry"

    async def test_requests_are_recorded_from_the_first_budget_on(self, path, built, tmp_path, monkeypatch):
        """A reload that adds a budget starts the records of `hybridinfer usage`; one that drops it ends them."""
        place = tmp_path / "ledger.sqlite3"
        monkeypatch.setenv("HYBRIDINFER_LEDGER", str(place))
        path.write_text(text("cloud"))
        async with AsyncRouter(path) as router:
            for budget in ("", BUDGET, BUDGET.replace("usd: 1", "usd: 2"), ""):
                replace(path, text("cloud", "sorry", budget=budget))
                assert await router.reload()
                await router.complete("hi", max_tokens=4)
        assert len(list(read(place))) == 2

    async def test_a_ledger_handed_over_refuses_other_budgets(self, path, built):
        """It would go on with the old limits."""
        path.write_text(text("cloud", budget=BUDGET))
        first = AsyncRouter(path)
        async with first, AsyncRouter(path, ledger=MemoryLedger(first.policy)) as router:
            replace(path, text("cloud", budget=BUDGET.replace("usd: 1", "usd: 2")))
            assert not await router.reload()
            assert "budgets changed" in str(router.policy_error)
