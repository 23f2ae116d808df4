"""Audits: what was answered here is asked of a cloud, too, behind the answer."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybridinfer import AsyncRouter, PolicyError, Router
from hybridinfer.auditor import AT_ONCE
from hybridinfer.budget.ledger_memory import MemoryLedger
from hybridinfer.budget.requests import AUDIT, read
from hybridinfer.learning.journal import read as labels_in
from hybridinfer.learning.memory import JOURNAL
from hybridinfer.observe.records import RecordFile
from hybridinfer.policy.load import load
from hybridinfer.receipt import Code
from hybridinfer.testing import FakeTarget, Hang, Outage, Reply
from hybridinfer.types import ToolCall

pytestmark = pytest.mark.anyio

DAY = {"name": "day", "usd": 1, "per": "day"}
POLICY = {
    "version": 1,
    "targets": {
        "cloud": {"kind": "openai", "model": "m", "price": {"input": 1, "output": 2}, "max_tokens": 100},
        "other": {"kind": "openai", "model": "m", "price": {"input": 1, "output": 2}, "max_tokens": 100},
        "local": {"kind": "onnx", "model": "m"},
        "sorry": {"kind": "canned", "text": "no"},
    },
    "boundaries": [
        {"name": "private", "when": {"privacy": ["personal", "secret"]}, "cloud": "never"},
        {"name": "ours", "when": {"tags": {"team": "legal"}}, "cloud": "never"},
        {"name": "veiled", "when": {"tags": {"team": "sales"}}, "cloud": "masked"},
    ],
    "rules": [{"name": "all", "use": ["local", "cloud", "sorry"]}],
    "learning": {"store": "features", "audit_share": "100%"},
    "resilience": {"deadline": "60s", "retry": {"attempts": 1}},
}


class World:
    """One router, its targets, its receipts, and what it has learned when it is closed."""

    def __init__(self, folder, *, local="Paris", cloud="Paris", policy=None, usd=1, **router):
        self.policy = load(POLICY | {"budgets": [DAY | {"usd": usd}]} | (policy or {}))
        self.receipts = []
        self.ledger = MemoryLedger(self.policy)
        self.folder = folder
        scripts = {
            name: list(one) if isinstance(one, (list, tuple)) else [one]
            for name, one in (("local", local), ("cloud", cloud), ("other", cloud))
        }
        self.targets = {
            name: FakeTarget(name, zone="device" if name == "local" else "cloud", script=script)
            for name, script in scripts.items()
        }
        self.router = AsyncRouter(
            self.policy,
            targets=self.targets,
            ledger=self.ledger,
            environ={"HYBRIDINFER_STATE": str(folder)},
            hooks=[self],
            **router,
        )

    def on_receipt(self, receipt):
        self.receipts.append(receipt)

    @property
    def audits(self):
        return [receipt for receipt in self.receipts if receipt.kind == "audit"]

    @property
    def cloud(self):
        return self.targets["cloud"].requests

    def labels(self):
        return [(row.local, row.cloud, row.sources) for row in labels_in(self.folder / JOURNAL)]

    async def spent(self):
        return sum((receipt.cost_usd for receipt in self.receipts), Decimal(0))

    async def ask(self, prompt="What is the capital of France?", **options):
        async with self.router:
            response = await self.router.complete(prompt, **options)
            await self.settled()
        return response

    async def settled(self):
        """Every audit has ended."""
        if under_way := [one.task for one in self.router._auditor._open]:
            await asyncio.wait(under_way)


async def test_the_same_answer_is_a_good_label(tmp_path):
    """The cloud is asked once, after the answer; nobody has to judge."""
    world = World(tmp_path)
    response = await world.ask()
    assert response.receipt.target == "local"
    assert len(world.cloud) == 1
    assert world.cloud[0].messages[0].text == "What is the capital of France?"
    assert world.labels() == [(1.0, None, {"audit"})]


@pytest.mark.parametrize(
    ("verdict", "label"), [("Yes.", 1.0), ("no", 0.0), ("It depends.", None), (Outage(Code.UNAVAILABLE), None)]
)
async def test_where_the_words_differ_the_cloud_judges(tmp_path, verdict, label):
    """Yes, no; anything else is no label."""
    world = World(tmp_path, local="It is Paris, of course", cloud=["Paris", verdict])
    await world.ask()
    assert len(world.cloud) == 2
    assert world.labels() == ([] if label is None else [(label, None, {"audit"})])
    (audit,) = world.audits
    assert [one.number for one in audit.attempts] == [1, 2]


@pytest.mark.parametrize("cloud", [Outage(Code.UNAVAILABLE), Reply(finish="length"), "   ", Outage(Code.REFUSED)])
async def test_an_answer_that_is_none_judges_nothing(tmp_path, cloud):
    """A cloud that fails, or is cut short, says nothing of the answer here; nobody is called a second time."""
    world = World(tmp_path, cloud=cloud)
    await world.ask()
    assert len(world.cloud) == 1
    assert world.labels() == []


async def test_feedback_counts_more(tmp_path):
    """What the program says of an answer stands above an audit."""
    world = World(tmp_path)
    async with world.router as router:
        response = await router.complete("Where?")
        await router.feedback(response.receipt.id, accepted=False)
        await world.settled()
    assert world.labels() == [(0.0, None, {"audit", "feedback"})]


async def test_an_audit_has_a_receipt_of_its_own(tmp_path):
    """It names the request's, and the sum of all receipts is what the ledger spent, to the last digit."""
    world = World(tmp_path, local="About Paris", cloud=["Paris", "no"])
    response = await world.ask(tags={"team": "core"})
    (audit,) = world.audits
    assert (audit.audits, audit.target, audit.zone) == (response.receipt.id, "cloud", "cloud")
    assert audit.id != response.receipt.id
    assert audit.decision.levels == response.receipt.decision.levels
    assert audit.tags == {"team": "core"}
    assert response.receipt.cost_usd == 0
    assert audit.cost_usd == Decimal("0.000028")
    standing = await world.ledger.standing({})
    assert Decimal(str(standing.used)) == await world.spent()


FORBIDDEN = {
    "a private request": {"prompt": "my card is 4111 1111 1111 1111"},
    "a forbidden tag": {"tags": {"team": "legal"}},
    "a privacy label": {"privacy": "secret"},
    "a tool": {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]},
    "a request that acts": {"safe_to_retry": False},
}


@pytest.mark.parametrize("options", FORBIDDEN.values(), ids=FORBIDDEN)
async def test_some_requests_are_never_audited(tmp_path, options):
    """No boundary is crossed, nothing acts twice: neither cloud sees anything."""
    world = World(tmp_path)
    await world.ask(**options)
    assert not world.cloud
    assert not world.targets["other"].requests
    assert not world.audits


ELSEWHERE = {
    "answered by a cloud": {"policy": {"rules": [{"name": "all", "use": ["cloud", "other"]}]}},
    "fallen back from a cloud": {
        "policy": {"rules": [{"name": "all", "use": ["other", "local", "cloud"]}]},
        "cloud": [Outage(Code.UNAVAILABLE)],
    },
    "a canned reply": {"policy": {"rules": [{"name": "all", "use": ["sorry", "cloud"]}]}},
    "no cloud behind it": {"policy": {"rules": [{"name": "all", "use": ["local", "sorry"]}]}},
    "an answer cut short": {"local": Reply(finish="length")},
    "a tool call": {
        "local": Reply(chunks=(), tool_calls=(ToolCall(id="1", name="f", arguments="{}"),), finish="tool_calls")
    },
    "no share": {"policy": {"learning": {"store": "features"}}},
    "not drawn": {"rng": lambda: 0.999, "policy": {"learning": {"store": "features", "audit_share": "99%"}}},
}


@pytest.mark.parametrize("setup", ELSEWHERE.values(), ids=ELSEWHERE)
async def test_only_whole_answers_from_here_are_audited(tmp_path, setup):
    """Nobody is asked behind any other."""
    world = World(tmp_path, **setup)
    await world.ask()
    assert not world.audits


async def test_without_a_share_no_number_is_drawn(tmp_path):
    """Runs with a seed stay what they were."""
    drawn = []
    world = World(tmp_path, policy={"learning": {"store": "features"}}, rng=lambda: drawn.append(1) or 0.5)
    await world.ask()
    assert not drawn


async def test_a_masking_boundary_masks_the_audit(tmp_path):
    """The lock stands before audits as before everything else."""
    lenient = {"signals": {"privacy": {"levels": {"public": 0.0, "personal": 0.7, "secret": 0.9}}}}
    world = World(tmp_path, policy=lenient, local="I wrote to kim@example.com", cloud=["Written to", "no"])
    await world.ask("Write to kim@example.com", tags={"team": "sales"})
    assert len(world.cloud) == 2
    assert not any("kim@" in str(request.messages) for request in world.cloud)
    assert world.labels() == [(0.0, None, {"audit"})]


async def test_an_answer_that_is_private_is_shown_to_no_judge(tmp_path):
    """What the model here said is measured before it leaves."""
    world = World(tmp_path, local="It is 4111 1111 1111 1111", cloud="I do not know")
    await world.ask("Which number?")
    assert len(world.cloud) == 1
    assert world.labels() == []


@settings(max_examples=40, deadline=None)
@given(
    prompt=st.sampled_from(
        ["Where?", "I am kim@example.com", "my card is 4111 1111 1111 1111", "pay DE89 3704 0044 0532 0130 00"]
    ),
    answer=st.sampled_from(["There", "kim@example.com", "4111 1111 1111 1111"]),
    team=st.sampled_from(["core", "legal"]),
    never=st.sets(st.sampled_from(["cloud", "other"])),
)
def test_no_forbidden_request_is_ever_audited(tmp_path_factory, prompt, answer, team, never):
    """Whatever is asked and answered: a canary never reaches a cloud, nor does a forbidden team, nor a barred target."""
    allowed = [name for name in ("cloud", "other") if name not in never] or ["local"]
    barred = {"name": "barred", "when": {"tags": {"team": "core"}}, "targets": [*allowed, "local", "sorry"]}
    policy = {
        "boundaries": [*POLICY["boundaries"][:2], barred],
        "rules": [{"name": "all", "use": ["local", "cloud", "other", "sorry"]}],
    }
    world = World(tmp_path_factory.mktemp("state"), local=answer, cloud=["Elsewhere", "no"], policy=policy)
    asyncio.run(world.ask(prompt, tags={"team": team}))
    for name in ("cloud", "other"):
        seen = world.targets[name].requests
        assert not seen or (team == "core" and name not in never and prompt == "Where?")
        assert not any(word in str(seen) for word in ("kim@", "4111", "DE89"))


async def test_nothing_is_audited_beyond_a_budget(tmp_path):
    """The worst case has to fit; what does not leaves no receipt, no cost and no call."""
    world = World(tmp_path, usd=Decimal("0.0001"))
    await world.ask()
    assert not world.cloud
    assert not world.audits
    assert (await world.ledger.standing({})).used == 0


async def test_a_request_and_its_audit_share_the_requests_own_budget(tmp_path):
    """What the caller pays at most holds for both together."""
    priced = POLICY["targets"] | {
        "local": {"kind": "onnx", "model": "m", "price": {"input": 10, "output": 10}, "max_tokens": 5}
    }
    world = World(tmp_path, policy={"targets": priced})
    assert (await world.ask(budget_usd=0.0003)).receipt.cost_usd == Decimal("0.00012")
    assert not world.cloud


async def test_the_caller_waits_for_no_audit(tmp_path):
    """The answer is there while the cloud is silent; closing stops the audit and books what is owed."""
    world = World(tmp_path, cloud=Hang())
    async with world.router as router:
        assert (await router.complete("Where?")).text == "Paris"
        await world.targets["cloud"].called.wait()
        assert world.targets["cloud"].open == 1
    assert world.targets["cloud"].open == 0
    (audit,) = world.audits
    assert audit.attempts[0].code is Code.CANCELLED
    assert audit.cost_usd > 0
    assert Decimal(str((await world.ledger.standing({})).used)) == await world.spent()


async def test_only_a_few_audits_run_side_by_side(tmp_path):
    """The others are left out, not queued."""
    world = World(tmp_path, cloud=Hang())
    async with world.router as router:
        for _ in range(AT_ONCE + 3):
            await router.complete("Where?")
        await world.targets["cloud"].called.wait()
    assert len(world.cloud) == AT_ONCE


async def test_streams_are_audited_too(tmp_path):
    """Once they have been read."""
    world = World(tmp_path)
    async with world.router as router:
        async with router.stream("Where?") as stream:
            assert [text async for text in stream.text_stream] == ["Paris"]
            assert not world.cloud
        await world.settled()
    assert len(world.cloud) == 1


async def test_a_resting_circuit_is_left_alone(tmp_path):
    """An audit is no reason to disturb a target that has failed."""
    breaker = {"resilience": {"deadline": "60s", "retry": {"attempts": 1}, "circuit_breaker": {"failures": 1}}}
    world = World(tmp_path, cloud=Outage(Code.UNAVAILABLE), policy=breaker)
    async with world.router as router:
        for _ in range(3):
            await router.complete("Where?")
            await world.settled()
    assert len(world.cloud) == 1
    assert len(world.audits) == 1


async def test_a_long_request_is_counted_in_a_thread(tmp_path):
    """And audited like any other."""
    world = World(tmp_path)
    await world.ask("word " * 5000)
    assert world.labels() == [(1.0, None, {"audit"})]


async def test_the_next_cloud_of_the_plan_is_asked(tmp_path):
    """Not any cloud of the policy."""
    world = World(tmp_path, policy={"rules": [{"name": "all", "use": ["local", "other", "cloud"]}]})
    await world.ask()
    assert len(world.targets["other"].requests) == 1
    assert not world.cloud


async def test_an_audit_that_breaks_is_logged_without_content(tmp_path, caplog, monkeypatch):
    """And costs nobody anything."""

    def broken(*_):
        raise ValueError("Paris")

    monkeypatch.setattr("hybridinfer.auditing.key", broken)
    world = World(tmp_path)
    await world.ask()
    assert "an audit raised ValueError" in caplog.text
    assert "Paris" not in caplog.text


async def test_records_of_traffic_have_no_audits(tmp_path):
    """Simulations and calibration see what callers asked."""
    world = World(tmp_path)
    file = RecordFile(tmp_path / "decisions.jsonl")
    await world.ask()
    for receipt in world.receipts:
        file.on_receipt(receipt)
    assert len((tmp_path / "decisions.jsonl").read_text("utf-8").splitlines()) == 1


def test_from_synchronous_code(tmp_path):
    """The money stands in the records of the ledger's file, as nobody's request."""
    book = tmp_path / "ledger.sqlite3"
    environ = {"HYBRIDINFER_STATE": str(tmp_path), "HYBRIDINFER_LEDGER": str(book)}
    targets = {
        "local": FakeTarget("local", zone="device", script=["Paris"]),
        "cloud": FakeTarget("cloud", script=["Paris"]),
        "other": FakeTarget("other"),
    }
    with Router(POLICY | {"budgets": [DAY]}, targets=targets, environ=environ) as router:
        router.complete("Where?")
    rules = {row.rule: row for row in read(book)}
    assert set(rules) == {"all", AUDIT}
    assert rules[AUDIT].cost_usd > 0


@pytest.mark.parametrize(
    ("learning", "said"),
    [
        ({"audit_share": "2%"}, "store: features"),
        ({"store": "features", "audit_share": "120%"}, "such as 2%"),
        ({"store": "features", "audit_share": 2}, "such as 2%"),
    ],
)
def test_a_share_is_written_with_its_sign(learning, said):
    """And is of use only where labels are kept."""
    with pytest.raises(PolicyError, match=said):
        load(POLICY | {"learning": learning})


def test_nothing_is_remembered_where_the_state_is_off(tmp_path, monkeypatch):
    """As in drills: nothing is learned, so nobody is audited."""
    monkeypatch.chdir(tmp_path)
    world = World("off")
    asyncio.run(world.ask())
    assert not world.cloud
    assert not list(tmp_path.iterdir())
