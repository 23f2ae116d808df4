"""From scores to a plan: who cannot serve this request, and what it may cost."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from hybridinfer.drill.simulator import stage
from hybridinfer.drill.world import World
from hybridinfer.planning import Planner
from hybridinfer.policy.load import load
from hybridinfer.receipt import Reason
from hybridinfer.signals.base import SignalResult
from hybridinfer.types import Message, Request, Text, Tool

REQUEST = Request(messages=(Message(role="user", parts=(Text(text="hello"),)),))


def planner(request=REQUEST, *, budgets=(), supports=None, tokens=10, counted=None, **targets):
    policy = load(
        {
            "version": 1,
            "targets": {
                "cloud": {"kind": "openai", "model": "m", "price": {"input": 1000, "output": 1000}, "max_tokens": 100},
                "local": {"kind": "onnx", "model": "m"},
                "sorry": {"kind": "canned", "text": "no"},
            }
            | targets,
            "budgets": list(budgets),
            "rules": [{"name": "all", "use": ["cloud", "local", "sorry"]}],
        }
    )
    runtime = stage(policy, World())

    def count(target, _request):
        if counted is not None:
            counted.append(target)
        return tokens

    infos = {
        name: replace(info, supports=(supports or {}).get(name, info.supports)) for name, info in runtime.infos.items()
    }
    return Planner(request, replace(runtime, count_tokens=count, infos=infos)), policy


def scores(policy):
    return {
        name: SignalResult(score=0.25, level=next(iter(block.levels)), because=("so",))
        for name, block in policy.signals.items()
    }


def plan(*arguments, **options):
    made, policy = planner(*arguments, **options)
    return made.plan(scores(policy))


CLOUD = {"kind": "openai", "model": "m", "price": {"input": 1000, "output": 1000}}


def test_everything_fits():
    """Scores, reasons and estimates are on the decision."""
    decision = plan()
    assert decision.plan == decision.ladder == ("cloud", "local", "sorry")
    assert decision.scores["privacy"] == 0.25
    assert decision.because["privacy"] == ("so",)
    assert decision.estimates == {"cloud": Decimal("0.11"), "local": 0, "sorry": 0}


def test_a_capability_that_is_missing_removes():
    """Canned replies serve everything."""
    request = replace(REQUEST, tools=(Tool(name="t", parameters={}),))
    decision = plan(request, supports={"cloud": frozenset({"vision"}), "local": frozenset()})
    assert decision.plan == ("sorry",)
    assert [(r.target, r.reason, r.because) for r in decision.removed] == [
        ("cloud", Reason.CAPABILITY, "cannot do tools"),
        ("local", Reason.CAPABILITY, "cannot do tools"),
    ]


@pytest.mark.parametrize(
    ("max_tokens", "window", "fits"), [(None, 74, True), (None, 73, False), (20, 30, True), (20, 29, False)]
)
def test_the_window_holds_prompt_and_answer(max_tokens, window, fits):
    """With the caller's max_tokens, or 64 for an answer."""
    decision = plan(replace(REQUEST, max_tokens=max_tokens), cloud=CLOUD | {"context_window": window})
    assert ("cloud" in decision.plan) is fits


def test_tokens_are_counted_once_for_each_target_that_needs_it():
    """Free targets without a window need no count."""
    counted = []
    made, policy = planner(counted=counted)
    made.plan(scores(policy))
    made.over_budget("cloud", spent=Decimal(0))
    made.worst_case("cloud")
    assert made.tokens("cloud") == 10
    assert counted == ["cloud"]


def test_the_worst_case_needs_a_limit():
    """The request's, else the target's, else what the window leaves."""
    for request, cloud, usd in (
        (replace(REQUEST, max_tokens=5), {}, "0.015"),
        (REQUEST, {"max_tokens": 50}, "0.06"),
        (REQUEST, {"max_tokens": 500, "context_window": 100}, "0.1"),
    ):
        made, _ = planner(request, cloud=CLOUD | cloud)
        assert made.worst_case("cloud") == Decimal(usd)


def test_a_resolved_request_differs_in_its_limit_only():
    """Everything else is the caller's."""
    made, _ = planner()
    assert made.resolved("cloud") == replace(REQUEST, max_tokens=100)
    given = replace(REQUEST, max_tokens=5)
    assert planner(given)[0].resolved("cloud") is given


def test_budgets_of_a_request_remove_what_is_too_dear():
    """The policy's and the caller's; whichever is hit first is named."""
    decision = plan(budgets=[{"name": "one", "usd": 0.1, "per": "request"}])
    assert decision.removed[0].because.startswith("budget one: ")
    assert decision.removed[0].reason is Reason.BUDGET
    assert plan(replace(REQUEST, budget_usd=Decimal("0.11"))).plan[0] == "cloud"
    assert plan(replace(REQUEST, budget_usd=Decimal("0.10"))).plan[0] == "local"


def test_window_budgets_are_the_ledgers():
    """They remove nothing here."""
    assert plan(budgets=[{"name": "day", "usd": 0.001, "per": "day"}]).plan[0] == "cloud"


def test_what_was_spent_counts():
    """For retries and fallbacks."""
    made, _ = planner(replace(REQUEST, budget_usd=Decimal("0.2")))
    assert made.over_budget("cloud", spent=Decimal("0.09")) == ""
    assert made.over_budget("cloud", spent=Decimal("0.10")).startswith("budget_usd: ")
    assert made.over_budget("local", spent=Decimal(5)) == ""


def test_what_nobody_can_price_is_unaffordable():
    """Unknown means deny."""
    decision = plan(cloud={"kind": "openai", "model": "nobody-knows-it"})
    assert decision.removed[0].reason is Reason.PRICE
    assert "give it a `price:`" in decision.removed[0].because


def test_a_request_that_may_cost_nothing_stays_here():
    """budget_usd=0 is a wish that can be granted."""
    assert plan(replace(REQUEST, budget_usd=Decimal(0))).plan == ("local", "sorry")


def test_a_target_that_bills_only_the_prompt_is_not_free():
    """Its worst case is the prompt's, so money is reserved for it."""
    price = {"input": 1000, "output": 0}
    made, _ = planner(cloud={"kind": "openai", "model": "m", "price": price, "max_tokens": 100}, tokens=10)
    assert made.worst_case("cloud") == Decimal("0.01")


def test_a_receipt_that_is_changed_changes_no_later_decision():
    """Decisions are remembered for requests that are alike; what a caller holds is a copy."""
    plans, policy = planner()
    first = plans.plan(scores(policy))
    first.levels["privacy"] = "secret"
    assert plans.plan(scores(policy)).levels["privacy"] == "public"
