"""What a router remembers of its traffic, through the public face."""

from __future__ import annotations

import pytest

from hybridinfer import AsyncRouter, ConfigurationError, Router
from hybridinfer.errors import RequestError
from hybridinfer.learning.journal import read
from hybridinfer.learning.memory import JOURNAL, Memory
from hybridinfer.policy.load import load
from hybridinfer.receipt import Code
from hybridinfer.signals.weights import state_folder
from hybridinfer.testing import FakeTarget, Outage

pytestmark = pytest.mark.anyio

POLICY = {
    "version": 1,
    "name": "mine",
    "targets": {
        "cloud": {"kind": "openai", "model": "m", "price": {"input": 1, "output": 2}},
        "local": {"kind": "onnx", "model": "m"},
        "sorry": {"kind": "canned", "text": "no"},
    },
    "signals": {"complexity": {"levels": {"low": "60%", "high": "40%"}}},
    "boundaries": [{"name": "private", "when": {"privacy": ["personal", "secret"]}, "cloud": "never"}],
    "rules": [{"name": "all", "use": ["local", "cloud", "sorry"]}],
    "learning": {"store": "features"},
    "resilience": {"retry": {"attempts": 1}},
}


def targets(*script, cloud=("far",) * 50):
    return {
        "local": FakeTarget("local", zone="device", script=script or ("near",) * 500),
        "cloud": FakeTarget("cloud", script=cloud),
    }


@pytest.fixture
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("HYBRIDINFER_STATE", str(tmp_path / "learned"))
    return tmp_path / "learned"


async def test_feedback_lands_beside_the_features(state):
    """By `accepted` or by `score`, for the side that answered."""
    async with AsyncRouter(POLICY, targets=targets("near", Outage(Code.UNAVAILABLE))) as router:
        first, second = await router.complete("one"), await router.complete("two")
        assert await router.feedback(first.receipt.id, accepted=True)
        assert await router.feedback(second.receipt.id, score=0.25)
    near, far = read(state / JOURNAL)
    assert (near.local, near.cloud) == (1.0, None)
    assert (far.local, far.cloud) == (None, 0.25)


def test_feedback_from_synchronous_code(state):
    """The same face."""
    with Router(POLICY, targets=targets()) as router:
        assert router.feedback(router.complete("one").receipt.id, accepted=False)
        assert not router.feedback("req_unknown", accepted=False)


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({}, TypeError),
        ({"score": 0.5, "accepted": True}, TypeError),
        ({"score": 2}, ValueError),
        ({"score": "good"}, TypeError),
        ({"accepted": 1}, TypeError),
    ],
)
async def test_a_verdict_is_one_number(state, wrong, error):
    """0 to 1, or yes or no; nothing is guessed."""
    async with AsyncRouter(POLICY, targets=targets()) as router:
        with pytest.raises(error):
            await router.feedback("req", **wrong)


async def test_without_leave_nothing_is_kept(state):
    """The default: no file at all, and feedback says what to write into the policy."""
    policy = {key: value for key, value in POLICY.items() if key not in {"learning", "signals"}}
    async with AsyncRouter(policy, targets=targets()) as router:
        answer = await router.complete("one")
        with pytest.raises(ConfigurationError, match=r"learning: \{store: features\}"):
            await router.feedback(answer.receipt.id, accepted=True)
    assert not state.exists()


async def test_private_requests_leave_no_trace(state):
    """Above the lowest privacy level, not even numbers are kept."""
    async with AsyncRouter(POLICY, targets=targets()) as router:
        answer = await router.complete("my card is 4111 1111 1111 1111")
        assert answer.receipt.decision.levels["privacy"] != "public"
        assert not await router.feedback(answer.receipt.id, accepted=True)


async def test_canned_replies_are_nobodys_answer(state):
    """They say nothing of a model."""
    everything_down = targets(Outage(Code.UNAVAILABLE), cloud=[Outage(Code.UNAVAILABLE)])
    async with AsyncRouter(POLICY, targets=everything_down) as router:
        answer = await router.complete("one")
        assert answer.receipt.target == "sorry"
        assert not await router.feedback(answer.receipt.id, accepted=True)


async def test_an_answer_that_breaks_its_schema_is_a_label(state):
    """Nobody has to say so."""
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}
    async with AsyncRouter(POLICY, targets=targets("no json", cloud=["{}"])) as router:
        await router.complete("one", response_format=form)
    (row,) = read(state / JOURNAL)
    assert (row.local, row.cloud, row.sources) == (0.0, None, {"schema"})


async def test_a_failed_request_is_no_lesson(state):
    """An outage says nothing of the answer."""
    policy = POLICY | {"rules": [{"name": "all", "use": ["local"]}]}
    async with AsyncRouter(
        policy,
        targets={"local": FakeTarget("local", zone="device", script=[Outage(Code.UNAVAILABLE)])}
        | {"cloud": FakeTarget("cloud")},
    ) as router:
        with pytest.raises(RequestError):
            await router.complete("one")
    assert not (state / JOURNAL).exists()


async def test_shares_hold_through_the_router(state):
    """One prompt over and over: 40% of the answers are on the high level."""
    async with AsyncRouter(POLICY, targets=targets()) as router:
        levels = [(await router.complete("hello")).receipt.decision.levels["complexity"] for _ in range(300)]
    assert levels.count("high") / len(levels) == pytest.approx(0.4, abs=0.06)


async def test_deciding_is_no_traffic(state):
    """`decide` says what is in force and moves nothing."""
    async with AsyncRouter(POLICY, targets=targets()) as router:
        await router.complete("hello")
        for _ in range(5):
            decision = await router.decide("hello")
        assert "latest of 1 requests" in decision.because["complexity"][-1]


async def test_a_new_policy_goes_on_with_what_it_does_not_change(state):
    """Bands and journal stay where their blocks stay; otherwise they are written and begin anew."""
    import os

    policy = load(POLICY)
    memory = Memory(policy, os.environ)
    same = Memory(load(POLICY | {"description": "new"}), os.environ, memory)
    assert same.levels is memory.levels
    assert same.journal is memory.journal
    memory.leave(same)
    changed = Memory(load(POLICY | {"learning": {"store": "features", "keep": "5h"}, "signals": {}}), os.environ, same)
    assert changed.levels is not same.levels
    assert changed.journal is not same.journal
    same.leave(changed)
    changed.close()


async def test_reloading_keeps_the_bands(state, tmp_path):
    """A changed file takes the traffic's bands over."""
    import yaml

    path = tmp_path / "p.yaml"
    path.write_text(yaml.safe_dump(POLICY))
    async with AsyncRouter(path, targets=targets()) as router:
        await router.complete("hello")
        path.write_text(yaml.safe_dump(POLICY | {"description": "changed"}))
        assert await router.reload()
        decision = await router.decide("hello")
        assert "latest of 1 requests" in decision.because["complexity"][-1]


async def test_only_the_callers_own_words_are_kept_and_counted(state, monkeypatch):
    """A judge's question is measured too, but it is nobody's traffic; and where the request is private, nothing is kept."""
    use = [{"agree": ["local", "second"], "judge": "model", "by": "cloud", "else": "sorry"}]
    policy = POLICY | {
        "targets": POLICY["targets"] | {"second": {"kind": "onnx", "model": "m"}},
        "rules": [{"name": "all", "use": use}],
    }
    counted, place = [], Memory.place

    def noted(self, results, *, count):
        counted.append(count)
        return place(self, results, count=count)

    monkeypatch.setattr(Memory, "place", noted)
    own = targets("north", cloud=("yes",)) | {"second": FakeTarget("second", zone="device", script=("up",))}
    messages = [
        {"role": "system", "content": "The card is 4111 1111 1111 1111."},
        {"role": "user", "content": "Where?"},
    ]
    async with AsyncRouter(policy, targets=own) as router:
        private = await router.complete(messages)
        assert private.receipt.decision.levels["privacy"] != "public"
        assert not await router.feedback(private.receipt.id, accepted=True)
        public = await router.complete("Where?")
        assert len(own["cloud"].requests) == 1
        assert await router.feedback(public.receipt.id, accepted=True)
    assert counted.count(True) == 2
    assert False in counted
    [kept] = read(state / JOURNAL)
    assert kept.id == public.receipt.id


async def test_off_keeps_nothing(tmp_path, monkeypatch):
    """`HYBRIDINFER_STATE=off`: bands stay where they begin, and feedback says why it keeps nothing."""
    monkeypatch.setenv("HYBRIDINFER_STATE", "off")
    monkeypatch.chdir(tmp_path)
    async with AsyncRouter(POLICY, targets=targets()) as router:
        first = await router.complete("one")
        assert "by the latest of" not in str(first.receipt.decision.because)
        with pytest.raises(ConfigurationError, match="HYBRIDINFER_STATE is off"):
            await router.feedback(first.receipt.id, accepted=True)
    with pytest.raises(ConfigurationError, match="name a folder"):
        state_folder()
    assert not list(tmp_path.iterdir())


def test_a_state_that_comes_and_goes(state):
    """A router under a new policy takes over what there is, also where there was none."""
    policy = load(POLICY)
    off = Memory(policy, {"HYBRIDINFER_STATE": "off"})
    on = Memory(policy, {"HYBRIDINFER_STATE": str(state)}, off)
    assert on.levels is not None
    off.leave(on)
    off.close()
    on.close()
