"""Deciding: the first rule that matches, less what boundaries forbid, less what cannot serve the request."""

from __future__ import annotations

import pytest

from hybridinfer.policy.decide import decide, permit
from hybridinfer.policy.load import load
from hybridinfer.policy.model import BoundaryBlock, Policy, TargetBlock, When, zone_of
from hybridinfer.receipt import Reason, Removal

PUBLIC = {"privacy": "public", "complexity": "low"}
SECRET = {"privacy": "secret", "complexity": "low"}


def policy(boundaries: list[dict] | None = None, rules: list[dict] | None = None) -> Policy:
    """Five targets in three zones; by default one rule that uses all of them."""
    return load(
        {
            "version": 1,
            "targets": {
                "local": {"kind": "onnx", "model": "m"},
                "house": {"kind": "openai", "model": "m", "zone": "network", "base_url": "http://llm", "region": "eu"},
                "paris": {"kind": "openai", "model": "m", "region": "eu"},
                "world": {"kind": "anthropic", "model": "m"},
                "sorry": {"kind": "canned", "text": "sorry"},
            },
            "boundaries": boundaries or [],
            "rules": rules or [{"name": "all", "use": ["world", "paris", "house", "local", "sorry"]}],
        }
    )


def ladder(boundary: dict, levels: dict[str, str] = SECRET, **facts) -> tuple[str, ...]:
    """The ladder that one boundary leaves."""
    return decide(policy([{"name": "b", **boundary}]), levels, **facts).ladder


def test_the_first_rule_that_matches_decides():
    """Rules are tried in order."""
    rules = [
        {"name": "a", "when": {"complexity": "high"}, "use": "sorry"},
        {"name": "b", "when": {"complexity": "low"}, "use": "local"},
        {"name": "c", "use": "world"},
    ]
    assert decide(policy(rules=rules), PUBLIC).rule == "b"
    assert decide(policy(rules=rules), {"privacy": "public", "complexity": "medium"}).rule == "c"


def test_without_boundaries_the_plan_is_what_the_rule_says():
    """Nothing else changes the order."""
    decision = decide(policy(), PUBLIC)
    assert decision.plan == decision.ladder == ("world", "paris", "house", "local", "sorry")
    assert decision.removed == ()
    assert decision.masked == frozenset()


def test_all_parts_of_a_condition_must_hold_and_a_list_means_any():
    """`when` is a conjunction of alternatives."""
    when = {
        "privacy": ["public", "personal"],
        "complexity": "low",
        "needs": ["tools", "vision"],
        "tags": {"team": ["a", "b"]},
    }
    rules = [{"name": "narrow", "when": when, "use": "local"}, {"name": "rest", "use": "world"}]
    chosen = policy(rules=rules)
    facts = {"needs": frozenset({"vision"}), "tags": {"team": "b", "x": "y"}}
    assert decide(chosen, PUBLIC, **facts).rule == "narrow"
    assert decide(chosen, SECRET, **facts).rule == "rest"
    assert decide(chosen, PUBLIC | {"complexity": "high"}, **facts).rule == "rest"
    assert decide(chosen, PUBLIC, needs=frozenset({"json"}), tags={"team": "b"}).rule == "rest"
    assert decide(chosen, PUBLIC, needs=frozenset({"tools"}), tags={"team": "c"}).rule == "rest"
    assert decide(chosen, PUBLIC, needs=frozenset({"tools"})).rule == "rest"


def test_no_rule_gives_an_empty_decision():
    """A policy that was not checked fails closed, without an exception."""
    decision = decide(policy(rules=[{"name": "a", "when": {"complexity": "high"}, "use": "world"}]), PUBLIC)
    assert (decision.rule, decision.ladder, decision.plan) == ("", (), ())


@pytest.mark.parametrize(
    ("boundary", "left"),
    [
        ({"cloud": "never"}, ("house", "local", "sorry")),
        ({"cloud": "masked"}, ("world", "paris", "house", "local", "sorry")),
        ({"zones": "device"}, ("local", "sorry")),
        ({"zones": ["device", "cloud"]}, ("world", "paris", "local", "sorry")),
        ({"regions": "eu"}, ("paris", "house", "local", "sorry")),
        ({"regions": ["us", "ch"]}, ("local", "sorry")),
        ({"targets": ["paris", "sorry"]}, ("paris", "sorry")),
    ],
)
def test_each_kind_of_boundary(boundary, left):
    """Zones, regions and target lists take targets off the ladder; masking does not."""
    assert ladder(boundary) == left


def test_a_boundary_binds_only_where_its_condition_holds():
    """Other requests are untouched."""
    assert ladder({"when": {"privacy": "secret"}, "cloud": "never"}, PUBLIC)[0] == "world"
    assert ladder({"when": {"privacy": "secret"}, "cloud": "never"}, SECRET)[0] == "house"
    assert ladder({"when": {"tags": {"team": "a"}}, "cloud": "never"}, PUBLIC)[0] == "world"
    assert ladder({"when": {"tags": {"team": "a"}}, "cloud": "never"}, PUBLIC, tags={"team": "a"})[0] == "house"
    assert ladder({"when": {"needs": "vision"}, "cloud": "never"}, PUBLIC)[0] == "world"
    assert ladder({"when": {"needs": "vision"}, "cloud": "never"}, PUBLIC, needs=frozenset({"vision"}))[0] == "house"


@pytest.mark.parametrize("levels", [{}, {"privacy": "unheard-of"}])
def test_an_unknown_level_binds_every_boundary_that_asks_for_it(levels):
    """Unknown means deny."""
    assert ladder({"when": {"privacy": "secret"}, "cloud": "never"}, levels) == ("house", "local", "sorry")


def test_an_unknown_level_matches_no_rule():
    """A rule is permission, so unknown means no."""
    rules = [{"name": "a", "when": {"privacy": "public"}, "use": "world"}, {"name": "b", "use": "local"}]
    assert decide(policy(rules=rules), {}).rule == "b"


def test_a_removal_names_its_boundary_and_limit():
    """The receipt says why a target left."""
    decision = decide(policy([{"name": "stay", "when": {"privacy": "secret"}, "cloud": "never"}]), SECRET)
    assert decision.removed == (
        Removal(target="world", reason=Reason.BOUNDARY, because='boundary "stay": cloud never'),
        Removal(target="paris", reason=Reason.BOUNDARY, because='boundary "stay": cloud never'),
    )


@pytest.mark.parametrize(
    ("boundary", "words"),
    [
        ({"zones": ["device", "network"]}, "only zones device, network"),
        ({"regions": "eu"}, "only regions eu"),
        ({"targets": "sorry"}, "only targets sorry"),
    ],
)
def test_a_boundary_says_what_it_allows(boundary, words):
    """Every kind of boundary has its words."""
    decision = decide(policy([{"name": "b", **boundary}]), SECRET)
    assert decision.removed[0].because == f'boundary "b": {words}'


def test_all_boundaries_must_permit():
    """What any of them forbids is forbidden; what any of them masks is masked."""
    both = policy([{"name": "mask", "cloud": "masked"}, {"name": "eu", "regions": "eu"}])
    decision = decide(both, SECRET)
    assert decision.ladder == ("paris", "house", "local", "sorry")
    assert decision.masked == {"paris"}
    assert permit(both, "world", SECRET, {}).verdict == "never"
    assert permit(both, "world", SECRET, {}).boundary == "eu"
    assert permit(both, "paris", SECRET, {}).verdict == "masked"
    assert permit(both, "paris", SECRET, {}).boundary == "mask"
    assert permit(both, "house", SECRET, {}).verdict == "open"
    assert permit(both, "house", SECRET, {}).boundary == ""


def test_never_wins_over_masked_in_any_order():
    """The order of boundaries does not matter."""
    for order in (["masked", "never"], ["never", "masked"]):
        chosen = policy([{"name": word, "cloud": word} for word in order])
        assert permit(chosen, "world", {}, {}).verdict == "never"
        assert decide(chosen, {}).ladder == ("house", "local", "sorry")


def test_the_lock_forbids_a_target_that_the_policy_does_not_know():
    """Unknown means deny."""
    assert permit(policy(), "elsewhere", PUBLIC, {}).verdict == "never"


def test_the_lock_denies_when_nobody_knows_the_needs():
    """A boundary on needs binds where needs are not told."""
    chosen = policy([{"name": "b", "when": {"needs": "vision"}, "cloud": "never"}])
    assert permit(chosen, "world", PUBLIC, {}).verdict == "never"
    assert permit(chosen, "world", PUBLIC, {}, frozenset()).verdict == "open"
    assert permit(chosen, "world", PUBLIC, {}, frozenset({"vision"})).verdict == "never"


def test_a_target_in_this_process_needs_no_region_but_keeps_the_one_it_names():
    """The request is there already; a region that is named counts."""
    block = {"kind": "onnx", "model": "m"}
    for region, verdict in ((None, "open"), ("eu", "open"), ("us", "never")):
        chosen = load(
            {
                "version": 1,
                "targets": {"t": block | ({"region": region} if region else {})},
                "boundaries": [{"name": "eu", "regions": "eu"}],
                "rules": [{"name": "r", "use": "t"}],
            }
        )
        assert permit(chosen, "t", {}, {}).verdict == verdict


def test_a_target_that_cannot_serve_stays_on_the_ladder_and_leaves_the_plan():
    """A rung is a position on the ladder, whoever is able."""
    why = Removal(target="paris", reason=Reason.CONTEXT, because="too long")
    decision = decide(policy(), PUBLIC, unable={"paris": why})
    assert decision.ladder == ("world", "paris", "house", "local", "sorry")
    assert decision.plan == ("world", "house", "local", "sorry")
    assert decision.removed == (why,)


def test_a_boundary_counts_before_inability():
    """A forbidden target is removed once, by its boundary."""
    why = Removal(target="world", reason=Reason.PRICE, because="unknown")
    decision = decide(policy([{"name": "b", "cloud": "never"}]), SECRET, unable={"world": why})
    assert [(removal.target, removal.reason) for removal in decision.removed] == [
        ("world", Reason.BOUNDARY),
        ("paris", Reason.BOUNDARY),
    ]


def test_a_boundary_on_a_signal_that_the_policy_lost_still_binds():
    """A policy that was built around the loader fails closed."""
    chosen = policy([{"name": "b", "when": {"privacy": "secret"}, "cloud": "never"}])
    chosen = chosen.model_copy(update={"signals": {}})
    assert permit(chosen, "world", {"privacy": "public"}, {}).verdict == "never"


def test_a_boundary_without_a_limit_forbids():
    """One that was constructed around its validator allows nothing."""
    empty = BoundaryBlock.model_construct(name="b", when=When.model_construct())
    chosen = policy().model_copy(update={"boundaries": (empty,)})
    assert permit(chosen, "local", {}, {}).verdict == "never"
    assert empty.allows == "nothing"


@pytest.mark.parametrize(
    ("block", "zone"),
    [
        ({"kind": "onnx", "model": "m"}, "device"),
        ({"kind": "canned", "text": "x"}, "device"),
        ({"kind": "openai", "model": "m"}, "cloud"),
        ({"kind": "openai", "model": "m", "base_url": "http://127.0.0.1"}, "cloud"),
        ({"kind": "openai", "model": "m", "zone": "network"}, "network"),
        ({"kind": "own"}, "cloud"),
        ({"kind": "own", "zone": "device"}, "device"),
    ],
)
def test_zones(block, zone):
    """In-process kinds are on the device; everything else is a cloud until it says otherwise."""
    assert zone_of(TargetBlock(**block)) == zone


def test_a_score_falls_into_the_last_band_that_it_reaches():
    """Bands begin at their floor."""
    levels = policy().signals["privacy"]
    assert [levels.level_of(score) for score in (0.0, 0.49, 0.5, 0.89, 0.9, 1.0)] == [
        "public", "public", "personal", "personal", "secret", "secret"
    ]  # fmt: skip
