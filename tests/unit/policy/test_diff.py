"""A difference is one of meaning: plans, reach, numbers."""

from __future__ import annotations

from hybridinfer.policy.diff import Plan, diff, lines
from hybridinfer.policy.load import loads

BEFORE = """\
version: 1
targets:
  local: {kind: onnx, model: m}
  cloud: {kind: openai, model: m}
  sorry: {kind: canned, text: sorry}
budgets:
  - {name: day, usd: 5, per: day}
boundaries:
  - {name: stay, when: {privacy: [personal, secret]}, cloud: never}
rules:
  - {name: easy, when: {complexity: low}, use: [local, cloud, sorry]}
  - {name: rest, use: [cloud, local, sorry]}
resilience: {deadline: 20s}
"""


def changed(*replacements: tuple[str, str]) -> list[str]:
    """The lines of the difference that replacing makes."""
    after = BEFORE
    for old, new in replacements:
        assert old in after
        after = after.replace(old, new)
    return list(lines(diff(loads(BEFORE), loads(after))))


def test_the_same_policy_differs_in_nothing():
    """No difference is false."""
    assert not diff(loads(BEFORE), loads(BEFORE))
    assert changed() == []


def test_what_means_the_same_is_no_change():
    """Order of targets, spelling of durations, conditions written otherwise, names of boundaries."""
    assert (
        changed(
            ("20s", "20000ms"),
            ("complexity: low", "complexity: [low]"),
            ("  local: {kind: onnx, model: m}\n  cloud: {kind: openai, model: m}\n", "  cloud: {kind: openai, model: m}\n  local: {kind: onnx, model: m}\n"),
            ("name: stay", "name: stays"),
        )
        == []
    )  # fmt: skip


def test_a_boundary_removed_shows_whom_it_exposes():
    """Reach comes first: it is what matters most."""
    assert changed(("[personal, secret]", "secret")) == [
        "reach: privacy personal -> cloud: never => open",
        "plan: privacy personal, complexity low (1 of 9 combinations)",
        "  - local > sorry (rule easy)",
        "  + local > cloud > sorry (rule easy)",
        "plan: privacy personal, complexity medium|high (2 of 9 combinations)",
        "  - local > sorry (rule rest)",
        "  + cloud > local > sorry (rule rest)",
    ]


def test_masking_is_a_change_of_plan():
    """A target that newly sees masked text only is marked."""
    found = diff(loads(BEFORE), loads(BEFORE.replace("cloud: never", "cloud: masked")))
    assert found.plans[0].after == Plan(rule="easy", plan=("local", "cloud", "sorry"), masked=("cloud",))
    assert str(found.plans[0].after) == "local > ~cloud > sorry (rule easy)"
    assert {(change.before, change.after) for change in found.reach} == {("never", "masked")}


def test_requests_that_lose_their_rule_are_shown():
    """No rule is a plan of its own."""
    found = changed(("  - {name: rest, use: [cloud, local, sorry]}\n", ""))
    assert "  + (no rule)" in found


def test_numbers_that_change():
    """Budgets are compared by their names, everything with its path."""
    assert changed(
        ("usd: 5", "usd: 50"), ("deadline: 20s", "deadline: 5s"), ("model: m}\n  sorry", "model: n}\n  sorry")
    ) == [
        "value: targets.cloud.model: m => n",
        "value: budgets.day.usd: 5.0 => 50.0",
        "value: resilience.deadline: 20s => 5s",
    ]


def test_a_budget_that_is_gone_is_shown_whole():
    """With what it allowed."""
    (line,) = changed(("budgets:\n  - {name: day, usd: 5, per: day}\n", ""))
    assert line.startswith("value: budgets.day: {usd: 5.0, per: day")
    assert line.endswith("=> (none)")


def test_a_threshold_that_moves_is_a_value():
    """Levels keep their names; where they begin is a number."""
    moved = "signals: {privacy: {levels: {public: 0, personal: 0.3, secret: 0.9}}}\nresilience: {deadline: 20s}"
    assert changed(("resilience: {deadline: 20s}", moved)) == ["value: signals.privacy.levels.personal: 0.5 => 0.3"]


def test_a_list_is_shown_as_a_list():
    """Codes are listed."""
    (line,) = changed(("deadline: 20s", "deadline: 20s, retry_on: [timeout]"))
    assert line.startswith("value: resilience.retry_on: [")
    assert line.endswith("=> [timeout]")


def test_a_target_that_is_new_reaches_from_never():
    """A target that was not there could see nothing."""
    found = changed(
        ("  sorry:", "  far: {kind: anthropic, model: m}\n  sorry:"), ("use: [cloud, local", "use: [cloud, far, local")
    )
    assert found[0] == "reach: privacy public -> far: never => open"


def test_a_difference_as_json():
    """Plain data with stable keys."""
    tree = diff(loads(BEFORE), loads(BEFORE.replace("usd: 5", "usd: 6"))).to_dict()
    assert tree == {
        "plans": (),
        "combinations": 9,
        "reach": (),
        "values": ({"path": "budgets.day.usd", "before": 5.0, "after": 6.0},),
    }
