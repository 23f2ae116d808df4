"""What `check` proves, and what it warns about; each finding with a policy that has it and one that has not."""

from __future__ import annotations

import pytest

from hybridinfer.policy import check as module
from hybridinfer.policy.check import FINDINGS, check, reach
from hybridinfer.policy.load import load
from hybridinfer.policy.model import Policy

GUARD = {"name": "guard", "when": {"privacy": ["personal", "secret"]}, "cloud": "never"}
REST = {"name": "rest", "use": ["cloud", "local", "sorry"]}


def policy(
    *rules: dict, boundaries: list[dict] | None = None, targets: dict | None = None, resilience: dict | None = None
) -> Policy:
    """A guarded policy with three targets; without rules, one that uses them all."""
    return load(
        {
            "version": 1,
            "targets": {
                "local": {"kind": "onnx", "model": "m"},
                "cloud": {"kind": "openai", "model": "m"},
                "sorry": {"kind": "canned", "text": "sorry"},
                **(targets or {}),
            },
            "boundaries": [GUARD] if boundaries is None else boundaries,
            "rules": list(rules) or [REST],
            "resilience": resilience or {},
        }
    )


def found(chosen: Policy, **options) -> list[tuple]:
    """Id, severity, path and text of every finding."""
    return [(each.id, each.severity, each.path, each.what) for each in check(chosen, **options).findings]


def ids(chosen: Policy, **options) -> list[str]:
    """Only the ids."""
    return [each.id for each in check(chosen, **options).findings]


def test_a_sound_policy_has_no_findings():
    """Nothing is said about what is right."""
    report = check(policy())
    assert report.findings == ()
    assert report.combinations == 3


def test_a_request_that_no_rule_matches():
    """The example names the levels."""
    assert found(
        policy({"name": "r", "when": {"complexity": ["low", "medium"]}, "use": ["cloud", "local", "sorry"]})
    ) == [("no-rule", "error", ("rules",), "no rule matches privacy public, complexity high")]


def test_a_rule_that_never_decides():
    """Earlier rules that together take all its requests make it dead."""
    halves = [
        {"name": "a", "when": {"complexity": ["low", "medium"]}, "use": ["local", "sorry"]},
        {"name": "b", "when": {"complexity": "high"}, "use": ["cloud", "sorry"]},
        REST,
    ]
    assert found(policy(*halves)) == [
        ("dead-rule", "error", ("rules", 2), "rule 'rest' can never decide: earlier rules take all its requests")
    ]


def test_a_narrow_rule_behind_a_wide_one_is_dead():
    """The order is the mistake."""
    assert "dead-rule" in ids(
        policy(REST, {"name": "narrow", "when": {"tags": {"team": "a"}}, "use": ["local", "sorry"]})
    )


def test_a_rule_behind_two_tag_values_is_alive():
    """Any other value of a tag is always possible."""
    rules = [
        {"name": "a", "when": {"tags": {"team": ["a", "b"]}}, "use": ["local", "sorry"]},
        REST,
    ]
    assert "dead-rule" not in ids(policy(*rules))


def test_a_plan_that_boundaries_empty():
    """The example says for whom, and the boundary is named."""
    only = {"name": "only", "use": ["cloud"]}
    assert found(policy(only, {"name": "x", "use": ["local", "sorry"]}))[1] == (
        "empty-plan",
        "error",
        ("rules", 0, "use"),
        "rule 'only' has no target left for privacy personal: boundary \"guard\": cloud never",
    )


def test_a_target_that_a_boundary_forbids_and_decide_kept(monkeypatch):
    """If `decide` and the lock ever disagree, check says so."""
    honest = module.decide

    def leaky(chosen, levels, **facts):
        return honest(chosen.model_copy(update={"boundaries": ()}), levels, **facts)

    monkeypatch.setattr(module, "decide", leaky)
    assert found(policy())[0] == (
        "crossed-boundary",
        "error",
        ("rules", 0),
        "rule 'rest' plans 'cloud' for privacy personal, where boundaries say never",
    )


def test_masking_that_decide_forgot(monkeypatch):
    """A target that must see masked text only, and would not, is a crossed boundary."""
    honest = module.decide

    def leaky(chosen, levels, **facts):
        return honest(chosen.model_copy(update={"boundaries": ()}), levels, **facts)

    monkeypatch.setattr(module, "decide", leaky)
    assert ids(policy(boundaries=[GUARD | {"cloud": "masked"}])) == ["crossed-boundary"]


def test_too_many_combinations():
    """What cannot be proved is an error, not a silence."""
    rules = [
        {"name": f"r{i}", "when": {"tags": {f"t{i}": [f"v{j}" for j in range(9)]}}, "use": ["cloud", "local", "sorry"]}
        for i in range(6)
    ]
    report = check(policy(*rules, REST))
    assert report.combinations == 0
    assert report.reach == {}
    assert report.findings[0].id == "too-many-combinations"
    assert "3000000 combinations" in report.findings[0].what


def test_a_rung_that_gets_no_time():
    """Silence on the rungs before it uses the deadline up."""
    targets = {name: {"kind": "openai", "model": "m", "first_token": "10s"} for name in ("cloud", "b", "c")}
    rule = {"name": "all", "use": ["cloud", "b", "c", "local", "sorry"]}
    assert found(policy(rule, targets=targets, resilience={"deadline": "20s", "last_rung": "2s"})) == [
        (
            "unreachable-rung",
            "warning",
            ("rules", 0, "use", 2),
            "rule 'all' gives 'c' no time when the targets before it stay silent: they take 20s of a deadline of 20s",
        )
    ]
    assert ids(policy(rule, targets=targets, resilience={"deadline": "40s", "last_rung": "2s"})) == []


def test_retries_of_silence_count_as_time():
    """Two attempts take twice as long."""
    targets = {name: {"kind": "openai", "model": "m", "first_token": "6s"} for name in ("cloud", "b")}
    rule = {"name": "all", "use": ["cloud", "b", "sorry"]}
    times = {"deadline": "12s", "retry": {"attempts": 2}}
    assert ids(policy(rule, targets=targets, resilience=times | {"retry_on": ["unavailable"]})) == ["unused-target"]
    assert ids(policy(rule, targets=targets, resilience=times | {"retry_on": ["stalled"]}))[0] == "unreachable-rung"


def test_a_timeout_below_the_first_token_is_what_counts():
    """An attempt ends at the shorter of both."""
    targets = {name: {"kind": "openai", "model": "m", "timeout": "3s"} for name in ("cloud", "b")}
    rule = {"name": "all", "use": ["cloud", "b", "sorry"]}
    assert "unreachable-rung" not in ids(policy(rule, targets=targets, resilience={"deadline": "6s"}))
    retried = {"deadline": "6s", "retry_on": ["timeout"]}
    assert "unreachable-rung" in ids(policy(rule, targets=targets, resilience=retried))


def test_the_local_rung_and_a_canned_reply_are_always_reachable():
    """The local rung keeps its slice, a canned reply needs no time."""
    slow = {"cloud": {"kind": "openai", "model": "m", "first_token": "30s"}}
    rule = {"name": "all", "use": ["cloud", "sorry"]}
    assert "unreachable-rung" not in ids(policy(rule, targets=slow, resilience={"deadline": "5s"}))


def test_nothing_comes_after_a_canned_reply():
    """It always answers."""
    assert found(policy({"name": "r", "use": ["cloud", "sorry", "local"]})) == [
        (
            "after-canned",
            "warning",
            ("rules", 0, "use", 2),
            "rule 'r' never gets past 'sorry': a canned reply always answers",
        )
    ]


@pytest.mark.parametrize("last", ["cloud", "house"])
def test_a_plan_that_ends_on_the_network(last):
    """Only this process answers without a network."""
    targets = {"house": {"kind": "openai", "model": "m", "zone": "network"}}
    rules = [{"name": "r", "use": ["local", last]}, {"name": "s", "use": ["house", "cloud", "sorry"]}]
    problems = [each for each in found(policy(*rules, targets=targets)) if each[0] == "no-last-resort"]
    assert [(path, what) for _, _, path, what in problems] == [
        (("rules", 0, "use"), f"rule 'r' ends on {last!r}, which can fail with the network")
    ]


def test_a_boundary_that_takes_the_last_resort_away():
    """What counts is the plan that boundaries leave, not the one that is written."""
    targets = {"house": {"kind": "openai", "model": "m", "zone": "network"}}
    own = {"name": "own-servers", "when": {"privacy": "secret"}, "targets": ["house"]}
    rule = {"name": "r", "use": ["house", "cloud", "local", "sorry"]}
    assert found(policy(rule, boundaries=[GUARD, own], targets=targets)) == [
        (
            "no-last-resort",
            "warning",
            ("rules", 0, "use"),
            "rule 'r' ends on 'house' for privacy secret, which can fail with the network",
        )
    ]


def test_a_boundary_that_restricts_nothing():
    """A boundary without effect is probably a mistake."""
    idle = {"name": "idle", "zones": ["device", "cloud"]}
    assert found(policy(boundaries=[GUARD, idle])) == [
        (
            "idle-boundary",
            "warning",
            ("boundaries", 1),
            "boundary 'idle' restricts no target in use: only zones device, cloud",
        )
    ]


def test_a_boundary_is_not_idle_where_rules_happen_to_obey_it():
    """Braces and belt are welcome."""
    rules = [{"name": "private", "when": {"privacy": ["personal", "secret"]}, "use": ["local", "sorry"]}, REST]
    assert ids(policy(*rules)) == []


def test_private_requests_that_nothing_binds():
    """Every private level that may reach a cloud freely is named."""
    only_secrets = {"name": "guard", "when": {"privacy": "secret"}, "cloud": "never"}
    assert found(policy(boundaries=[only_secrets])) == [
        (
            "unguarded",
            "warning",
            ("rules",),
            "requests of privacy 'personal' may reach a cloud, and no boundary binds them",
        )
    ]
    assert ids(policy(boundaries=[])) == ["unguarded", "unguarded"]


def test_a_boundary_of_another_kind_guards_too():
    """Regions, zones and lists are decisions about private data as well."""
    targets = {"cloud": {"kind": "openai", "model": "m", "region": "eu"}}
    eu = {"name": "eu", "when": {"privacy": ["personal", "secret"]}, "regions": "eu"}
    assert "unguarded" not in ids(policy(boundaries=[eu], targets=targets))


def test_a_boundary_for_some_tags_leaves_the_others_unguarded():
    """A condition on tags may or may not hold."""
    some = {"name": "some", "when": {"privacy": ["personal", "secret"], "tags": {"team": "a"}}, "cloud": "never"}
    assert ids(policy(boundaries=[some])) == ["unguarded", "unguarded"]


def test_a_target_that_no_rule_uses():
    """It is probably forgotten."""
    assert found(policy({"name": "r", "use": ["cloud", "sorry"]})) == [
        ("unused-target", "warning", ("targets", "local"), "no rule uses target 'local'")
    ]


def test_models_that_nobody_can_price():
    """The caller says what has a price; without that nothing is said."""
    assert ids(policy()) == []
    assert found(policy(), priced=lambda block: block.kind != "openai") == [
        (
            "unpriced",
            "warning",
            ("targets", "cloud", "model"),
            "nobody can price 'm' of target 'cloud', so it is never affordable",
        )
    ]


def test_keys_that_this_environment_lacks():
    """The vendor's usual variable, or the one the policy names; own servers need none."""
    targets = {
        "claude": {"kind": "anthropic", "model": "m", "api_key": "${env:MINE}"},
        "house": {"kind": "openai", "model": "m", "zone": "network", "base_url": "http://llm"},
    }
    rule = {"name": "r", "use": ["cloud", "claude", "house", "local", "sorry"]}
    chosen = policy(rule, targets=targets, resilience={"deadline": "60s"})
    assert [(each.path, each.hint) for each in check(chosen, environ={}).findings] == [
        (("targets", "cloud"), "set OPENAI_API_KEY"),
        (("targets", "claude"), "set MINE"),
    ]
    assert ids(chosen, environ={"OPENAI_API_KEY": "x", "MINE": "x"}) == []
    assert ids(chosen, environ={"OPENAI_API_KEY": "", "MINE": "x"}) == ["missing-key"]


def test_reach_is_the_most_that_a_target_may_see():
    """Open if any combination is open, masked if some is masked, never otherwise."""
    boundaries = [
        {"name": "secret", "when": {"privacy": "secret"}, "cloud": "never"},
        {"name": "personal", "when": {"privacy": "personal"}, "cloud": "masked"},
        {"name": "trial", "when": {"tags": {"plan": "trial"}}, "cloud": "never"},
    ]
    rules = [
        {"name": "hard", "when": {"complexity": "high"}, "use": ["cloud", "sorry"]},
        {"name": "r", "use": ["local", "sorry"]},
    ]
    assert reach(policy(*rules, boundaries=boundaries)) == {
        "public": {"local": "open", "cloud": "open", "sorry": "open"},
        "personal": {"local": "open", "cloud": "masked", "sorry": "open"},
        "secret": {"local": "open", "cloud": "never", "sorry": "open"},
    }


def test_reach_without_any_condition_on_privacy():
    """Where nothing tests privacy every level is treated alike."""
    table = reach(policy({"name": "r", "use": ["local", "sorry"]}, boundaries=[]))
    assert table["secret"] == table["public"] == {"local": "open", "cloud": "never", "sorry": "open"}


def test_every_finding_has_a_description():
    """Ids are stable words with a line each, for SARIF and the docs."""
    assert all(text.endswith(".") for text in FINDINGS.values())


def test_findings_can_be_picked_by_severity():
    """Errors and warnings are told apart."""
    report = check(policy({"name": "r", "when": {"complexity": "low"}, "use": ["cloud", "sorry"]}))
    assert [each.id for each in report.worst("error")] == ["no-rule"]
    assert [each.id for each in report.worst("warning")] == ["unused-target"]


def test_drills_against_paid_clouds_without_a_budget():
    """Each live drill is bounded, and any number of them should be, too; without leave or clouds nothing is said."""
    tree = {
        "version": 1,
        "drills": "allowed",
        "targets": {"cloud": {"kind": "openai", "model": "m"}, "sorry": {"kind": "canned", "text": "sorry"}},
        "boundaries": [GUARD],
        "rules": [{"name": "all", "use": ["cloud", "sorry"]}],
    }
    day = {"name": "day", "usd": 1, "per": "day"}
    assert "costly-drills" in {key for key, *_ in found(load(tree))}
    own = tree | {"targets": tree["targets"] | {"cloud": tree["targets"]["cloud"] | {"zone": "network"}}}
    for harmless in (tree | {"budgets": [day]}, tree | {"drills": "never"}, own):
        assert "costly-drills" not in {key for key, *_ in found(load(harmless))}
