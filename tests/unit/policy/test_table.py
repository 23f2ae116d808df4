"""The decision table for people and for programs."""

from __future__ import annotations

from hybridinfer.policy.load import load
from hybridinfer.policy.model import Policy
from hybridinfer.policy.table import condition, table, text


def policy(rules: list[dict], boundaries: list[dict] | None = None) -> Policy:
    """Three targets, these rules."""
    return load(
        {
            "version": 1,
            "targets": {
                "local": {"kind": "onnx", "model": "m"},
                "cloud": {"kind": "openai", "model": "m"},
                "sorry": {"kind": "canned", "text": "sorry"},
            },
            "boundaries": boundaries or [],
            "rules": rules,
        }
    )


GUARDED = policy(
    [
        {"name": "easy", "when": {"complexity": "low"}, "use": ["local", "cloud", "sorry"]},
        {"name": "rest", "use": ["cloud", "local", "sorry"]},
    ],
    [
        {"name": "s", "when": {"privacy": "secret"}, "cloud": "never"},
        {"name": "p", "when": {"privacy": "personal"}, "cloud": "masked"},
    ],
)


def test_each_rule_has_a_row_for_each_plan():
    """Boundaries split a rule where they change its plan."""
    rows = [(row.rule, row.when, row.plan, row.masked, row.forbidden, row.combinations) for row in table(GUARDED)]
    low, other = {"complexity": ("low",)}, {"complexity": ("medium", "high")}
    assert rows == [
        ("easy", ({"privacy": ("secret",), **low},), ("local", "sorry"), (), ("cloud",), 1),
        ("easy", ({"privacy": ("personal",), **low},), ("local", "cloud", "sorry"), ("cloud",), (), 1),
        ("easy", ({"privacy": ("public",), **low},), ("local", "cloud", "sorry"), (), (), 1),
        ("rest", ({"privacy": ("secret",), **other},), ("local", "sorry"), (), ("cloud",), 2),
        ("rest", ({"privacy": ("personal",), **other},), ("cloud", "local", "sorry"), ("cloud",), (), 2),
        ("rest", ({"privacy": ("public",), **other},), ("cloud", "local", "sorry"), (), (), 2),
    ]


def test_the_table_as_text():
    """Columns line up; ~ is masked, - is forbidden."""
    assert text(table(GUARDED)).splitlines()[:4] == [
        "rule  when                                      plan",
        "----  ----------------------------------------  ----------------------",
        "easy  privacy secret, complexity low            local > sorry  -cloud",
        "easy  privacy personal, complexity low          local > ~cloud > sorry",
    ]


def test_a_condition_that_is_always_true():
    """Said in a word."""
    assert condition({}) == "always"
    assert "always" in text(table(policy([{"name": "r", "use": "local"}])))


def test_an_empty_plan_is_said():
    """Nothing is not an empty cell."""
    rows = table(policy([{"name": "r", "use": "cloud"}], [{"name": "b", "cloud": "never"}]))
    assert text(rows).splitlines()[2] == "r     always  (nothing)  -cloud"


def test_several_conditions_stand_below_each_other():
    """A union of conditions takes a line each."""
    rules = [
        {"name": "a", "when": {"privacy": "secret", "complexity": "low"}, "use": "local"},
        {"name": "rest", "use": "sorry"},
    ]
    assert text(table(policy(rules))).splitlines()[3:] == [
        "rest  privacy public|personal, complexity low  sorry",
        "      complexity medium|high",
    ]


def test_many_conditions_become_one_line():
    """A union of more than six is summed up by the values that occur everywhere."""
    rules = [
        {
            "name": f"r{i}",
            "when": {
                "tags": {"t": f"v{i}"},
                "complexity": ["low", "high"][i % 2],
                "privacy": ["secret", "public"][i % 3 % 2],
            },
            "use": "local",
        }
        for i in range(9)
    ]
    last = text(table(policy([*rules, {"name": "rest", "use": "sorry"}]))).splitlines()[-1]
    assert last.startswith("rest")
    assert "cases)" in last


def test_a_row_as_json():
    """Stable keys, lists, no tuples."""
    assert table(GUARDED)[0].to_dict() == {
        "rule": "easy",
        "when": [{"privacy": ["secret"], "complexity": ["low"]}],
        "combinations": 1,
        "plan": ["local", "sorry"],
        "masked": [],
        "forbidden": ["cloud"],
        "checks": {},
    }
