"""What a live drill can cost: every call that a request can lead to, those that only check an answer included."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal

import pytest

from hybridinfer.budget.prices import PriceBook
from hybridinfer.drill.bill import Calls, bill, calls_of
from hybridinfer.drill.emulator import Emulator
from hybridinfer.drill.run import run_drill
from hybridinfer.options import build_request
from hybridinfer.policy.decide import decide
from hybridinfer.policy.load import load
from hybridinfer.sameness import JUDGE_TOKENS
from hybridinfer.testing import FakeTarget

KEYS = {"OPENAI_API_KEY": "sk-live", "HYBRIDINFER_LEDGER": "memory:"}
LEVELS = {"privacy": "public", "complexity": "low", "size": "short", "budget": "ok"}
TOKENS = 10
NAMES = ("one", "two", "judge")


def policy(use, **more):
    clouds = {name: {"kind": "openai", "model": "gpt-6-luna", "price": {"input": 1, "output": 2}} for name in NAMES}
    return load(
        {
            "version": 1,
            "drills": "allowed",
            "targets": clouds | {"sorry": {"kind": "canned", "text": "later"}},
            "rules": [{"name": "all", "use": use}],
            "resilience": {"retry": {"attempts": 3}},
        }
        | more
    )


def calls(loaded, prompt="hello", levels=LEVELS):
    """What one request can lead to, by target: (calls, USD of all of them)."""
    targets = {name: FakeTarget(name, zone="cloud") for name in NAMES}
    for target in targets.values():
        target.count_tokens = lambda request: TOKENS
    decision = decide(loaded, levels)
    object.__setattr__(decision, "estimates", dict.fromkeys(decision.plan, Decimal(1)))
    request = build_request(prompt, {"max_tokens": 100})
    found = Counter[str]()
    usd = Counter[str]()
    for one in calls_of(request, decision, loaded, targets, PriceBook(loaded)):
        found[one.target] += one.times
        usd[one.target] += one.times * one.usd
    return {name: (found[name], usd[name]) for name in NAMES if found[name]}


def worst(read, written):
    return PriceBook(policy("one")).worst_case("one", input_tokens=read, max_tokens=written)


def test_answers_with_their_retries():
    """Each target of the plan, as often as the policy tries."""
    assert calls(policy(["one", "two", "sorry"])) == {"one": (3, 3), "two": (3, 3)}


def test_samples():
    """The first is the answer itself; the others are never retried."""
    assert calls(policy([{"target": "one", "accept": {"samples": 5}}, "sorry"])) == {"one": (3 + 4, 7)}


def test_a_second_opinion_and_its_judge():
    """The other target answers once, and the judge reads both answers at their full length."""
    accept = {"agree_with": "two", "judge": "model", "by": "judge"}
    assert calls(policy([{"target": "one", "accept": accept}, "sorry"])) == {
        "one": (3, 3),
        "two": (1, worst(TOKENS, 100)),
        "judge": (1, worst(TOKENS + 200, JUDGE_TOKENS)),
    }


def test_targets_that_agree_are_asked_once():
    """Side by side, without retries; the judge compares each further answer with the first."""
    agree = {"agree": ["one", "two"], "judge": "model", "by": "judge"}
    assert calls(policy([agree, "sorry"])) == {
        "one": (1, 1),
        "two": (1, 1),
        "judge": (1, worst(TOKENS + 200, JUDGE_TOKENS)),
    }


def test_who_is_alone_is_retried_and_not_judged():
    """A boundary leaves nobody to agree with."""
    agree = {"agree": ["one", "two"], "judge": "model", "by": "judge"}
    only = {"name": "only-one", "when": {"privacy": "secret"}, "targets": ["one", "sorry"]}
    assert calls(policy([agree, "sorry"], boundaries=[only]), levels=LEVELS | {"privacy": "secret"}) == {"one": (3, 3)}


def test_helpers_behind_a_boundary_cost_nothing():
    """Whoever may not see the request is not asked to check its answer."""
    accept = {"agree_with": "two", "judge": "model", "by": "judge"}
    only = {"name": "not-two", "targets": ["one", "judge", "sorry"]}
    found = calls(policy([{"target": "one", "accept": accept}, "sorry"], boundaries=[only]))
    assert "two" not in found


def test_checks_of_targets_off_the_plan():
    """An answer that never comes is not checked."""
    accept = {"agree_with": "two"}
    only = {"name": "two-alone", "when": {"privacy": "secret"}, "targets": ["two", "sorry"]}
    loaded = policy([{"target": "one", "accept": accept}, "two", "sorry"], boundaries=[only])
    assert calls(loaded, levels=LEVELS | {"privacy": "secret"}) == {"two": (3, 3)}


def test_the_sum_and_its_bound():
    """Requests add up, each at most at its own budget; canned replies are no calls."""
    loaded = policy(["one", "sorry"], budgets=[{"name": "each", "usd": 2, "per": "request"}])
    dear, cheap = [Calls("one", 3, Decimal(1)), Calls("sorry", 3, Decimal(0))], [Calls("one", 1, Decimal("0.5"))]
    whole = bill(loaded, [dear, cheap])
    assert (whole.requests, whole.usd, whole.calls) == (2, Decimal("2.5"), {"one": 4})


@pytest.mark.parametrize(
    "first",
    [
        {"target": "one", "accept": {"samples": 3, "agree_with": "two", "judge": "model", "by": "judge"}},
        {"agree": ["one", "two"], "judge": "model", "by": "judge"},
    ],
)
def test_a_drill_keeps_to_its_bill(first):
    """Whoever checks is asked in a live drill as often as the bill says, or less; what was paid is below it, too."""
    bills = []
    with Emulator() as emulator:
        tree = policy([first, "sorry"]).model_dump(mode="json", by_alias=True)
        for name in NAMES:
            tree["targets"][name]["base_url"] = emulator.base_url_openai
        scenario = {
            "version": 1,
            "name": "checked",
            "duration": "1500ms",
            "load": {"rate": 4, "max_tokens": 50, "requests": [{"name": "hello", "prompt": "hello"}]},
            "phases": [{"at": "0s", "faults": {"two": "unsure"}}],
            "expect": {"answered_share": "100%"},
        }
        drill = run_drill(scenario, tree, against="live", environ=KEYS, max_cost=Decimal(1), told=bills.append)
    [said] = bills
    served = drill.course.served
    tried = Counter(attempt.target for one in served for attempt in one.receipt.attempts if attempt.target != "sorry")
    paid = sum(one.receipt.cost_usd for one in served)
    assert tried["judge"]
    assert all(tried[name] <= said.calls[name] for name in NAMES)
    assert 0 < paid <= said.usd
