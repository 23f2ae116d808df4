"""Drills on the virtual clock: what is broken breaks, what is measured is judged, what leaks is found."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from io import StringIO
from xml.etree import ElementTree as ET

import pytest

from hybridinfer.drill.axes import times as round_times
from hybridinfer.drill.coverage import Edge, coverage
from hybridinfer.drill.judge import percentile
from hybridinfer.drill.page import page
from hybridinfer.drill.report import junit, picture, print_coverage, print_drill
from hybridinfer.drill.run import merged, run_drill
from hybridinfer.errors import PolicyError
from hybridinfer.policy.load import load
from hybridinfer.receipt import Code

CARD = "4111 1111 1111 1111"
ASKS = [{"name": "plain", "prompt": "What is the tallest mountain?"}]
PRIVATE = [{"name": "card", "prompt": f"My card is {CARD}.", "private": [CARD]}]


def scenario(*, asks=ASKS, phases=(), rate=2, **expect):
    return {
        "version": 1,
        "name": "<one>",
        "duration": "60s",
        "load": {"rate": rate, "stream": "50%", "requests": list(asks)},
        "phases": list(phases),
        "expect": expect or {"answered_share": "100%"},
    }


def policy(**more):
    return {
        "version": 1,
        "name": "p",
        "targets": {
            "cloud": {"kind": "openai", "model": "m", "price": {"input": 100, "output": 100}},
            "local": {"kind": "onnx", "model": "m"},
            "sorry": {"kind": "canned", "text": "later"},
        },
        "rules": [{"name": "all", "use": ["cloud", "local", "sorry"]}],
        "resilience": {"circuit_breaker": {"failures": 5, "within": "5s", "cool_down": "2s"}},
    } | more


DOWN = {"at": "20s", "faults": {"cloud": "down"}}
BACK = {"at": "40s"}


def verdict(drill):
    [one] = drill.verdicts
    return one


def test_an_outage_moves_the_answers():
    """To the next rung, and back again; the same seed tells the same story."""
    drill = run_drill(scenario(phases=[DOWN, BACK]), policy())
    served = drill.course.served
    assert {one.receipt.target for one in served if one.at < 18} == {"cloud"}
    assert {one.receipt.target for one in served if 20 <= one.at < 38} == {"local"}
    assert {one.receipt.target for one in served if one.at > 50} == {"cloud"}
    assert drill.passed
    again = run_drill(scenario(phases=[DOWN, BACK]), policy())
    assert [one.receipt for one in again.course.served] == [one.receipt for one in served]
    other = run_drill(scenario(phases=[DOWN, BACK]), policy(), seed=1)
    assert [one.at for one in other.course.served] != [one.at for one in served]


def test_a_share_hits_a_share():
    """Half of the calls fail, half do not."""
    fault = {"cloud": {"fault": "status_401", "share": "50%"}}
    drill = run_drill(scenario(rate=20, phases=[{"at": "0s", "faults": fault}]), policy())
    codes = [attempt.code for one in drill.course.served for attempt in one.receipt.attempts]
    assert (
        0.4 < codes.count(Code.UNAUTHORIZED) / sum(one.receipt.target is not None for one in drill.course.served) < 0.6
    )


@pytest.mark.parametrize(
    ("expect", "passed", "measured"),
    [
        ({"answered_share": "100%"}, True, "100.0%"),
        ({"degraded_share": "50%"}, True, ""),
        ({"degraded_share": "1%"}, False, ""),
        ({"p95": "10s"}, True, ""),
        ({"p95": "100ms"}, False, ""),
        ({"rungs": [1, 2]}, True, "1, 2"),
        ({"rungs": [1]}, False, "1, 2"),
        ({"rungs": [1, 2, 3]}, False, "1, 2"),
        ({"answered_by": ["cloud", "local"]}, True, "cloud, local"),
        ({"answered_by": "cloud"}, False, "cloud, local"),
        ({"max_attempts": 4}, True, ""),
        ({"max_attempts": 1}, False, ""),
        ({"cost_usd": 100}, True, ""),
        ({"cost_usd": 0.001}, False, ""),
        ({"recovery": "15s"}, True, ""),
        ({"recovery": "10ms"}, False, ""),
    ],
)
def test_each_expectation_can_pass_and_fail(expect, passed, measured):
    """And a failed one names the requests that speak against it, except where somebody is missing."""
    one = verdict(run_drill(scenario(phases=[DOWN, BACK], **expect), policy()))
    assert one.passed is passed
    assert measured in one.measured
    assert bool(one.culprits) is (not passed and expect != {"rungs": [1, 2, 3]})


def test_nobody_answers():
    """A plan without a canned end loses requests, and says so."""
    rules = [{"name": "all", "use": ["cloud"]}]
    drill = run_drill(scenario(phases=[DOWN, BACK]), policy(rules=rules))
    assert not drill.passed
    assert {one.error for one in drill.course.served if not one.answered} == {"AllTargetsFailed"}


def test_what_never_recovers():
    """A request that is still degraded at the end is no recovery."""
    phases = [{"at": "10s", "faults": {"cloud": "down"}}, {"at": "59s"}]
    one = verdict(run_drill(scenario(phases=phases, rate=5, recovery="10m"), policy()))
    assert (one.passed, one.measured) == (False, "never")


class TestPrivacy:
    def test_a_boundary_holds(self):
        """Nothing arrives in the cloud, and the verdict says what was searched."""
        bounds = [{"name": "stay", "when": {"privacy": ["personal", "secret"]}, "cloud": "never"}]
        drill = run_drill(scenario(asks=PRIVATE, privacy="no_leak"), policy(boundaries=bounds))
        assert drill.passed
        assert drill.course.arrived["cloud"] == 0
        assert "searched" in verdict(drill).measured

    def test_without_a_boundary_it_leaks(self):
        """The verdict comes from what the target received."""
        one = verdict(run_drill(scenario(asks=PRIVATE, privacy="no_leak"), policy()))
        assert (one.passed, one.measured) == (False, "leaked: card in cloud")
        assert one.culprits

    def test_masked_is_no_leak(self):
        """The real lock masks before the target receives."""
        bounds = [{"name": "mask", "when": {"privacy": ["personal", "secret"]}, "cloud": "masked"}]
        drill = run_drill(scenario(asks=PRIVATE, privacy="no_leak"), policy(boundaries=bounds))
        assert drill.passed
        assert drill.course.arrived["cloud"] > 0

    def test_nothing_asked_is_nothing_proved(self):
        """A drill during which no private request came in does not pass."""
        one = verdict(run_drill(scenario(asks=PRIVATE, rate=0.0001, privacy="no_leak"), policy()))
        assert (one.passed, one.measured) == (False, "no private request came in: nothing was tested")

    def test_spaces_hide_nothing(self):
        """What is private is found without its spaces, too."""
        asks = [{"name": "card", "prompt": f"{CARD}", "private": ["4111-1111"]}]
        with pytest.raises(PolicyError, match="not a piece"):
            run_drill(scenario(asks=asks, privacy="no_leak"), policy())
        asks = [{"name": "twice", "prompt": f"{CARD} is not 4111-1111 1111-1111", "private": ["4111-1111 1111-1111"]}]
        assert not run_drill(scenario(asks=asks, privacy="no_leak"), policy()).passed


BUDGET = [{"name": "day", "usd": 5, "per": "day"}]
RULES = [
    {"name": "spent", "when": {"budget": "spent"}, "use": ["local", "sorry"]},
    {"name": "all", "use": ["cloud", "local", "sorry"]},
]


class TestMoney:
    def test_somebody_else_spends(self):
        """From then on nothing is bought: the real ledger says so."""
        phases = [{"at": "30s", "spend_usd": 5}]
        drill = run_drill(scenario(phases=phases), policy(budgets=BUDGET, rules=RULES))
        assert {one.receipt.target for one in drill.course.served if one.at < 30} == {"cloud"}
        assert {one.receipt.target for one in drill.course.served if one.at > 30} == {"local"}

    def test_the_ledger_is_down(self):
        """Money unknown is money denied, until it is back."""
        phases = [{"at": "20s", "faults": {"ledger": "down"}}, {"at": "40s"}]
        drill = run_drill(scenario(phases=phases), policy(budgets=BUDGET))
        during = [one.receipt for one in drill.course.served if 20 <= one.at < 40]
        assert {receipt.target for receipt in during} == {"local"}
        assert {receipt.attempts[0].code for receipt in during} == {Code.OVER_BUDGET}
        assert {one.receipt.target for one in drill.course.served if one.at > 40} == {"cloud"}

    def test_an_allowance_bridges_it(self):
        """Where the policy allows a sum meanwhile."""
        budget = [{**BUDGET[0], "on_ledger_down": {"allow_up_to": 4}}]
        phases = [{"at": "20s", "faults": {"ledger": "down"}}, {"at": "40s"}]
        drill = run_drill(scenario(phases=phases), policy(budgets=budget))
        assert "cloud" in {one.receipt.target for one in drill.course.served if 20 <= one.at < 40}


def test_levels_that_are_given():
    """A request may say what it is like; signals of the program's own count as their highest level."""
    asks = [{"name": "hard", "levels": {"complexity": "high"}}, {"name": "easy", "levels": {"complexity": "low"}}]
    signals = {"mood": {"kind": "own", "levels": {"calm": 0.0, "angry": 0.5}}}
    drill = run_drill(scenario(asks=asks), policy(signals=signals))
    seen = {one.ask: one.receipt.decision.levels for one in drill.course.served}
    assert seen["hard"]["complexity"] == "high"
    assert seen["easy"]["complexity"] == "low"
    assert seen["easy"]["mood"] == "angry"


def test_a_phase_changes_the_rate():
    """No request comes while nobody asks."""
    drill = run_drill(scenario(phases=[{"at": "10s", "rate": 0}, {"at": "50s", "rate": 5}]), policy())
    assert not [one for one in drill.course.served if 10 <= one.at < 50]
    assert len([one for one in drill.course.served if one.at >= 50]) > 20


class TestCoverage:
    def test_edges(self):
        """Every code that falls through, from each target to the next; nothing falls from the last one."""
        found = coverage(load(policy()), [])
        assert found.share == 0
        assert Edge("cloud", Code.RATE_LIMITED, "local") in found.possible
        assert Edge("local", Code.RATE_LIMITED, "sorry") not in found.possible, "this process limits nobody"
        assert Edge("local", Code.TIMEOUT, "sorry") in found.possible
        assert {edge.target for edge in found.possible} == {"cloud", "local"}

    def test_what_was_walked(self):
        """An outage walks its edges, and two drills add up."""
        one = run_drill(scenario(phases=[DOWN]), policy())
        two = run_drill(scenario(phases=[{"at": "1s", "faults": {"cloud": "status_429", "local": "hang"}}]), policy())
        assert one.coverage.walked == {
            Edge("cloud", Code.UNAVAILABLE, "local"),
            Edge("cloud", Code.CIRCUIT_OPEN, "local"),
        }
        assert merged([one, two]).walked == one.coverage.walked | two.coverage.walked
        assert len(merged([one, two]).walked) > 3

    def test_budgets_and_queues_make_edges(self):
        """A target that costs money, or takes a few calls at a time, has more ways to say no."""
        tree = policy(budgets=[{"name": "r", "usd": 1, "per": "request"}])
        tree["targets"]["cloud"] = tree["targets"]["cloud"] | {"max_concurrency": 2}
        found = coverage(load(tree), []).possible
        assert {Edge("cloud", Code.OVER_BUDGET, "local"), Edge("cloud", Code.SATURATED, "local")} <= found

    def test_a_policy_without_fallback_is_covered(self):
        """There is nothing to walk."""
        assert coverage(load(policy(rules=[{"name": "all", "use": ["sorry"]}])), []).share == 1


@pytest.fixture(scope="module")
def failed():
    """A drill that fails in two ways, with names that are markup."""
    phases = [
        {"at": "20s", "name": "<b>&", "faults": {"cloud": "down"}},
        {"at": "40s", "name": "everything is well again by now"},
    ]
    asks = [*ASKS, *PRIVATE]
    return run_drill(scenario(asks=asks, phases=phases, rungs=[1], privacy="no_leak", p95="30s"), policy())


class TestReports:
    def test_json(self, failed):
        """Everything measured, and the receipts that speak against it."""
        tree = json.loads(json.dumps(picture(failed)))
        assert tree["passed"] is False
        assert [one["key"] for one in tree["expectations"]] == ["p95", "rungs", "privacy"]
        assert tree["expectations"][1]["receipts"][0]["target"] == "local"
        assert sum(tree["answered_by"].values()) == tree["requests"]
        assert tree["cost_usd"] > 0

    def test_junit(self, failed):
        """One suite, one case per expectation, one failure per failed one."""
        tree = ET.fromstring(junit([failed]))
        [suite] = tree
        assert (tree.get("tests"), tree.get("failures")) == ("3", "2")
        assert suite.get("name") == "<one> (p, simulated)"
        assert [case.get("name") for case in suite if case.find("failure") is not None] == ["rungs", "privacy"]

    def test_the_page_stands_alone(self, failed):
        """No script, nothing from elsewhere, names escaped, all charts there, light and dark."""
        html = page([failed, run_drill(scenario(), policy())])
        assert "<script" not in html
        assert "http" not in html
        assert "<b>&" not in html
        assert html.count("<svg viewBox") == 8
        assert "prefers-color-scheme:dark" in html
        assert "1 of 2 drills passed" in html
        assert "leaked: card in cloud" in html

    def test_no_report_quotes_what_is_private(self, failed):
        """Neither prompts nor what was looked for."""
        for text in (page([failed]), junit([failed]), json.dumps(picture(failed))):
            assert CARD not in text

    def test_a_terminal(self, failed):
        """Verdicts, who answered, some receipts, and the edges that are missing."""
        from rich.console import Console

        console = Console(width=120, record=True, file=StringIO())
        print_drill(failed, console)
        print_coverage(failed.coverage, "p", console)
        text = console.export_text()
        for part in ("FAIL", "<one>", "rungs", "2 local", "unavailable", "missed", "fallback coverage of policy 'p'"):
            assert part in text

    def test_an_empty_drill(self):
        """Nothing asked: nothing to draw, and still a page."""
        drill = run_drill(scenario(rate=0.0001, p95="1s"), policy(rules=[{"name": "all", "use": ["sorry"]}]))
        assert drill.passed
        assert "<svg" in page([drill])
        assert percentile([], 0.5) == 0
        assert page([replace(drill, course=replace(drill.course, samples=()))])


@pytest.mark.parametrize(
    ("duration", "last"), [(0.7, 0.7), (60, 60), (1800, 1800), (86_400, 86_400), (864_000, 864_000)]
)
def test_a_time_axis_has_few_marks(duration, last):
    """At most eleven."""
    times = round_times(duration)
    assert len(times) <= 12
    assert times[-1] == pytest.approx(last, rel=0.2)


def test_which_policy(tmp_path):
    """The scenario's own, by name or beside it; an unknown one is told."""
    tree = scenario(answered_share="100%") | {"policy": "minimal"}
    assert run_drill(tree).course.policy.name == load(run_drill(tree).course.policy).name
    with pytest.raises(PolicyError, match="no such shipped policy"):
        run_drill(tree | {"policy": "nonsense"})
    file = tmp_path / "own.yaml"
    file.write_text(json.dumps(policy()))
    drill = tmp_path / "drill.yaml"
    drill.write_text(json.dumps(tree | {"policy": "own.yaml"}))
    assert run_drill(drill).course.policy.name == "p"


def test_money_is_exact():
    """The sum of the receipts."""
    drill = run_drill(scenario(cost_usd=1000), policy())
    assert sum((one.receipt.cost_usd for one in drill.course.served), Decimal(0)) > 0
