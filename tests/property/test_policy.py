"""Properties of policies: what passes `check` never leaks, and no text can crash the loader."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hybridinfer.errors import PolicyError, Problem
from hybridinfer.policy.check import check
from hybridinfer.policy.decide import decide, permit
from hybridinfer.policy.diff import diff
from hybridinfer.policy.load import digest, load, loads
from hybridinfer.policy.model import Policy

LEVELS = {"privacy": ["public", "personal", "secret"], "complexity": ["low", "high"]}
TARGETS: dict[str, dict[str, Any]] = {
    "device": {"kind": "onnx", "model": "m"},
    "house": {"kind": "openai", "model": "m", "zone": "network"},
    "house-eu": {"kind": "openai", "model": "m", "zone": "network", "region": "eu"},
    "cloud": {"kind": "anthropic", "model": "m"},
    "cloud-eu": {"kind": "openai", "model": "m", "region": "eu"},
    "cloud-us": {"kind": "openai", "model": "m", "region": "us"},
    "canned": {"kind": "canned", "text": "x"},
}
ZONE = {
    name: block.get("zone") or ("device" if block["kind"] in ("onnx", "canned") else "cloud")
    for name, block in TARGETS.items()
}
TEAMS = ["a", "b", "c"]  # c is named by no policy
NEEDS = ["tools", "vision"]


def some(values: list[str]) -> st.SearchStrategy[list[str]]:
    """A few of these."""
    return st.lists(st.sampled_from(values), min_size=1, unique=True)


conditions = st.fixed_dictionaries(
    {},
    optional={
        "privacy": some(LEVELS["privacy"]),
        "complexity": some(LEVELS["complexity"]),
        "needs": some(NEEDS),
        "tags": st.fixed_dictionaries({"team": some(TEAMS[:2])}),
    },
)
limits = st.one_of(
    st.fixed_dictionaries({"cloud": st.sampled_from(["never", "masked"])}),
    st.fixed_dictionaries({"zones": some(["device", "network", "cloud"])}),
    st.fixed_dictionaries({"regions": some(["eu", "us"])}),
    st.fixed_dictionaries({"targets": some(list(TARGETS))}),
)
boundaries = st.lists(st.tuples(conditions, limits), max_size=4).map(
    lambda pairs: [{"name": f"b{i}", "when": when, **limit} for i, (when, limit) in enumerate(pairs)]
)
rules = st.tuples(st.lists(st.tuples(conditions, some(list(TARGETS))), max_size=5), some(list(TARGETS))).map(
    lambda parts: [
        *({"name": f"r{i}", "when": when, "use": use} for i, (when, use) in enumerate(parts[0])),
        {"name": "rest", "use": parts[1]},
    ]
)
trees = st.fixed_dictionaries(
    {
        "version": st.just(1),
        "targets": st.just(TARGETS),
        "signals": st.just(
            {name: {"levels": {level: i / 4 for i, level in enumerate(LEVELS[name])}} for name in LEVELS}
        ),
        "boundaries": boundaries,
        "rules": rules,
    }
)


def requests():
    """Every combination of levels, needs and tags, levels that were not measured included."""
    needs = [frozenset[str](), frozenset({"tools"}), frozenset({"vision"}), frozenset({"tools", "vision"})]
    tags = [{}, *({"team": team} for team in TEAMS)]
    for privacy, complexity, need, tag in product(
        [*LEVELS["privacy"], None], [*LEVELS["complexity"], None], needs, tags
    ):
        levels = {"privacy": privacy, "complexity": complexity}
        yield {name: level for name, level in levels.items() if level}, need, tag


def holds(when: dict[str, Any], levels: dict[str, str], needs: frozenset[str], tags: dict[str, str]) -> bool:
    """A boundary's condition, written down a second time; what is unknown counts as a yes."""
    for key, wanted in when.items():
        if key == "needs":
            if not needs & set(wanted):
                return False
        elif key == "tags":
            if tags.get("team") not in wanted["team"]:
                return False
        elif key in levels and levels[key] not in wanted:
            return False
    return True


def forbidden(boundary: dict[str, Any], name: str) -> bool:
    """Does this boundary, where it holds, forbid the target? Written down a second time."""
    if "cloud" in boundary:
        return boundary["cloud"] == "never" and ZONE[name] == "cloud"
    if "zones" in boundary:
        return ZONE[name] not in boundary["zones"]
    if "regions" in boundary:
        return ZONE[name] != "device" and TARGETS[name].get("region") not in boundary["regions"]
    return name not in boundary["targets"]


@settings(max_examples=60, deadline=None)
@given(trees)
def test_no_request_ever_reaches_a_target_that_a_boundary_forbids(tree):
    """For random policies that pass `check`: no levels, needs and tags yield a forbidden target, or a bare masked one."""
    policy = load(tree)
    assume(not check(policy).worst("error"))
    for levels, needs, tags in requests():
        binding = [each for each in tree["boundaries"] if holds(each["when"], levels, needs, tags)]
        decision = decide(policy, levels, needs=needs, tags=tags)
        assert decision.plan == decision.ladder
        for name in TARGETS:
            never = any(forbidden(boundary, name) for boundary in binding)
            masked = ZONE[name] == "cloud" and any(boundary.get("cloud") == "masked" for boundary in binding)
            verdict = permit(policy, name, levels, tags, needs).verdict
            assert verdict == ("never" if never else "masked" if masked else "open")
            if name in decision.ladder:
                assert not never
                assert (name in decision.masked) == masked


@settings(max_examples=50, deadline=None)
@given(trees)
def test_what_check_passes_always_has_a_plan(tree):
    """No measured request of a policy without errors meets an empty plan or no rule."""
    policy = load(tree)
    report = check(policy)
    plans = [
        decide(policy, levels, needs=needs, tags=tags)
        for levels, needs, tags in requests()
        if len(levels) == len(LEVELS)
    ]
    empty = any(not decision.plan for decision in plans)
    dead = {rule.name for rule in policy.rules} - {decision.rule for decision in plans}
    assert empty == any(finding.id in ("empty-plan", "no-rule") for finding in report.findings)
    assert bool(dead) == any(finding.id == "dead-rule" for finding in report.findings)


@settings(max_examples=50, deadline=None)
@given(trees)
def test_reach_is_exactly_what_requests_can_reach(tree):
    """The printed table neither hides nor invents an exposure."""
    policy = load(tree)
    order = ["never", "masked", "open"]
    most = {level: dict.fromkeys(TARGETS, "never") for level in LEVELS["privacy"]}
    for levels, needs, tags in requests():
        if len(levels) == len(LEVELS):
            decision = decide(policy, levels, needs=needs, tags=tags)
            for name in decision.ladder:
                seen = "masked" if name in decision.masked else "open"
                most[levels["privacy"]][name] = max(most[levels["privacy"]][name], seen, key=order.index)
    assert check(policy).reach == most


@settings(max_examples=50, deadline=None)
@given(trees, trees)
def test_a_difference_is_empty_exactly_when_all_plans_are_equal(first, second):
    """`diff` finds every request that is served otherwise, and nothing else."""
    before, after = load(first), load(second)
    differs = any(
        (old.ladder, old.masked) != (new.ladder, new.masked)
        for levels, needs, tags in requests()
        if len(levels) == len(LEVELS)
        for old, new in [
            (decide(policy, levels, needs=needs, tags=tags) for policy in (before, after)),
        ]
    )
    assert bool(diff(before, after).plans) == differs


@settings(max_examples=50, deadline=None)
@given(trees, st.randoms())
def test_a_digest_does_not_depend_on_the_order_of_keys(tree, random):
    """Two mappings with the same entries are the same policy."""

    def shuffled(node):
        if isinstance(node, dict):
            items = [(key, shuffled(value)) for key, value in node.items()]
            if "public" not in node and "low" not in node:  # levels rise in their order
                random.shuffle(items)
            return dict(items)
        return [shuffled(item) for item in node] if isinstance(node, list) else node

    assert digest(load(shuffled(tree))) == digest(load(tree))


@settings(max_examples=50, deadline=None)
@given(trees)
def test_a_policy_survives_being_dumped_and_loaded(tree):
    """The dump is a policy file with the same meaning."""
    policy = load(tree)
    assert load(policy.model_dump(mode="json")) == policy


def refused(call: Callable[[], Policy]) -> tuple[Problem, ...]:
    """The problems of what `call` loads; none where it loads."""
    try:
        call()
    except PolicyError as error:
        return error.problems
    return ()


yaml_like = st.text(
    alphabet=st.one_of(st.sampled_from(list("{}[]:,-&*!|>'\"#%@`? \n\tab01")), st.characters(codec="utf-8")),
    max_size=80,
)


@settings(max_examples=300, deadline=None)
@given(yaml_like)
def test_no_text_crashes_the_loader(text):
    """Any text is a policy or a PolicyError with a place, and nothing else."""
    assert all(problem.line >= 1 and problem.column >= 1 for problem in refused(lambda: loads(text, "f")))


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([*Policy.model_fields, "kind", "when", "use", "cloud", "x"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from([*Policy.model_fields]), json_like, max_size=6))
def test_no_mapping_crashes_the_loader(tree):
    """Any mapping is a policy or a PolicyError, and nothing else."""
    assert all(problem.file == "<dict>" for problem in refused(lambda: load({"version": 1, **tree})))


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60))
def test_no_file_crashes_the_loader(tmp_path_factory, raw):
    """Random bytes are no policy; each is a PolicyError, and nothing else."""
    file = tmp_path_factory.mktemp("p") / "p.yaml"
    file.write_bytes(raw)
    assert refused(lambda: load(file))
