"""Recorded traffic through another policy."""

from __future__ import annotations

from decimal import Decimal

import pytest

from hybridinfer.drill.replay import replay
from hybridinfer.observe.records import Recorded, RecordedAttempt
from hybridinfer.policy.load import load
from hybridinfer.receipt import Code


def policy(*, use=("cloud", "local"), never="secret", **more):
    """A cloud at 1 USD per million tokens, a local target, and a boundary."""
    return load(
        {
            "version": 1,
            "targets": {
                "cloud": {"kind": "openai", "model": "m", "price": {"input": 1, "output": 1}},
                "local": {"kind": "onnx", "model": "m", "timeout": "8s"},
            },
            "boundaries": [{"name": "stays", "when": {"privacy": never}, "cloud": "never"}],
            "rules": [{"name": "all", "use": list(use)}],
            "resilience": {"retry": {"attempts": 1}},
            **more,
        }
    )


def record(at=100.0, *attempts, privacy=0.0, target="cloud", cost="0.001", **scores):
    """One request that the cloud answered in 2 seconds."""
    chosen = attempts or (attempt("cloud", seconds=2.0),)
    return Recorded(
        at=at,
        seconds=sum(one.seconds for one in chosen),
        levels={},
        scores={"privacy": privacy, "complexity": 0.0, "size": 0.0, **scores},
        target=target,
        zone={"cloud": "cloud", "local": "device"}.get(target),
        degraded=target == "local",
        cost_usd=Decimal(cost),
        tags={},
        attempts=chosen,
    )


def attempt(target, code=Code.OK, seconds=1.0):
    """A call with 1,000 tokens in and 500 out."""
    return RecordedAttempt(target=target, code=code, seconds=seconds, first=None, input_tokens=1000, output_tokens=500)


def test_the_same_policy_gives_the_same_picture():
    """Latencies, shares and money are those of the records."""
    result = replay(policy(), [record(100 + i * 10, cost="0.0015") for i in range(4)])
    assert result.after == result.before
    assert (result.after.cloud_share, result.after.cost_usd, result.after.p95_seconds) == (1, Decimal("0.0060"), 2)
    assert (result.guessed, result.unmeasured) == ((), ())


def test_a_target_without_history_is_guessed_and_named():
    """Half of its timeout; free, and in no cloud."""
    result = replay(policy(use=["local"]), [record()])
    assert (result.guessed, result.after.p50_seconds, result.after.cloud_share) == (("local",), 4, 0)
    assert result.after.cost_usd == 0


def test_what_a_target_did_nearest_in_time_counts():
    """The local target's own times, for requests that never met it; its outage, too."""
    past = [
        record(10, attempt("local", seconds=1), target="local"),
        record(100, attempt("local", Code.UNAVAILABLE, seconds=0.5), target=None),
        record(99),
    ]
    result = replay(policy(use=["local", "cloud"]), past)
    assert (result.after.answered_share, result.before.answered_share) == (1, pytest.approx(2 / 3))
    assert result.after.degraded_share == pytest.approx(2 / 3)


def test_new_boundaries_count_what_crossed_them_before():
    """Afterwards nothing does."""
    result = replay(policy(never=["personal", "secret"]), [record(privacy=0.6), record(110)])
    assert (result.before.violations, result.after.violations) == (1, 0)
    assert result.after.cloud_share == 0.5


def test_a_signal_that_was_not_recorded_counts_as_its_highest_level():
    """Unknown means deny; and it is told."""
    mood = {"mood": {"kind": "size", "levels": {"good": 0.0, "bad": 0.5}}}
    rules = [{"name": "bad", "when": {"mood": "bad"}, "use": "local"}, {"name": "all", "use": "cloud"}]
    result = replay(policy(signals=mood, rules=rules), [record()])
    assert (result.unmeasured, result.after.cloud_share) == (("mood",), 0)


def test_a_budget_is_spent_within_the_replay():
    """The second request of the day finds nothing left, and goes to the free target."""
    budgets = [{"name": "day", "usd": 0.003, "per": "day"}]
    result = replay(policy(budgets=budgets), [record(100), record(200)])
    assert result.after.cloud_share == 0.5


def test_a_truncated_answer_stays_one():
    """It is an answer, and is marked."""
    result = replay(policy(), [record(100, attempt("cloud", Code.TRUNCATED))])
    assert result.after.answered_share == 1


def test_a_boundary_on_needs_is_not_counted_against_requests_without_needs():
    """What a request needs is not recorded: the replay asks without needs, and is judged without."""
    rule = {"name": "files", "when": {"needs": "files"}, "zones": "device"}
    result = replay(policy(boundaries=[rule]), [record()])
    assert (result.before.violations, result.after.violations) == (0, 0)


def test_every_request_has_its_moment_before_and_after():
    """The same requests in the same order, by which plots are drawn."""
    result = replay(
        policy(use=("local",)), [record(100), record(160, attempt("cloud", Code.TIMEOUT, 8.0), target=None)]
    )
    assert [one.at for one in result.moments_before] == [one.at for one in result.moments_after] == [0, 54]
    assert [one.zone for one in result.moments_before] == ["cloud", None]
    assert [one.zone for one in result.moments_after] == ["device", "device"]
