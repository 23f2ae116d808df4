"""An entry of `use`: a name, a target whose answer must pass a check, or several that must agree."""

from __future__ import annotations

import pytest

from hybridinfer.errors import PolicyError
from hybridinfer.policy.check import check, reach
from hybridinfer.policy.diff import diff, lines
from hybridinfer.policy.load import digest, load, loads
from hybridinfer.policy.table import table, text

TEXT = """\
version: 1
targets:
  small: {kind: onnx, model: m}
  fast: {kind: openai, model: m}
  strong: {kind: openai, model: m}
  sorry: {kind: canned, text: later}
boundaries:
  - {name: stay, when: {privacy: [personal, secret]}, cloud: never}
rules:
  - {name: private, when: {privacy: [personal, secret]}, use: [small, sorry]}
  - name: open
    use: USE
"""
ACCEPT = "[{target: small, accept: {confidence: 0.7}}, fast, strong, sorry]"
AGREE = "[{agree: [small, fast], else: strong}, sorry]"


def policy(use, more=""):
    return loads(TEXT.replace("USE", use) + more)


def error(use):
    with pytest.raises(PolicyError) as caught:
        policy(use)
    return str(caught.value).removeprefix("<text>:12:")


def findings(chosen, *ids):
    return [(each.id, each.path, each.what) for each in check(chosen).findings if each.id in ids]


def test_use_is_names_whatever_is_written():
    """Plans are made of names; the checks stand beside them."""
    accept, agree = policy(ACCEPT).rules[1], policy(AGREE).rules[1]
    assert accept.use == ("small", "fast", "strong", "sorry")
    assert accept.accept["small"].confidence == 0.7
    assert agree.use == ("small", "fast", "strong", "sorry")
    assert agree.agree is not None
    assert agree.agree.targets == ("small", "fast")


@pytest.mark.parametrize("use", [ACCEPT, AGREE, "small", "[small, sorry]"])
def test_a_dumped_policy_loads_again(use):
    """What is serialised is what people write, so nothing gets lost on the way."""
    chosen = policy(use)
    again = load(chosen.model_dump(mode="json"))
    assert again == chosen
    assert digest(again) == digest(chosen)


def test_a_check_changes_the_digest():
    """Two policies that accept differently are two policies."""
    assert digest(policy(ACCEPT)) != digest(policy(ACCEPT.replace("0.7", "0.8")))


@pytest.mark.parametrize(
    ("use", "said"),
    [
        ("[{target: small, acept: {}}]", "27: unknown key 'acept' in rules[1].use[0]; did you mean 'accept'?"),
        (
            "[{target: small, accept: {confidens: 1}}]",
            "36: unknown key 'confidens' in rules[1].use[0].accept; did you mean 'confidence'?",
        ),
        (
            "[{target: small, accept: {confidence: 7}}]",
            "48: rules[1].use[0].accept.confidence: must be at most 1; change the number",
        ),
        (
            "[{target: small, accept: {}}]",
            "35: rules[1].use[0].accept: 'accept' names no check; give it confidence, samples or agree_with",
        ),
        ("[{target: smal, accept: {samples: 3}}]", "20: unknown target 'smal'; did you mean 'small'?"),
        ("[{target: small, accept: {agree_with: fest}}]", "48: unknown target 'fest'; did you mean 'fast'?"),
        (
            "[{agree: [small, small]}]",
            "19: rules[1].use[0].agree: a target cannot agree with itself; name others, or use 'samples'",
        ),
        (
            "[{target: small, accept: {agree_with: small}}]",
            "48: a target cannot agree with itself; name another one, or use 'samples'",
        ),
        (
            "[{agree: [small, sorry]}]",
            "27: target 'sorry' is canned: it says the same to everybody; name a target that answers",
        ),
        (
            "[{target: small, accept: {agree_with: sorry}}]",
            "48: target 'sorry' is canned: it says the same to everybody; name a target that answers",
        ),
        (
            "[{agree: [small, fast], judge: model, by: sorry}]",
            "52: target 'sorry' is canned: it says the same to everybody; name a target that answers",
        ),
        ("[{agree: [small, fasst], else: strong}]", "27: unknown target 'fasst'; did you mean 'fast'?"),
        ("[{agree: [small, fast], else: fast}]", "40: target 'fast' stands twice in one rule; keep the first"),
        (
            "[sorry, {agree: [small, fast]}]",
            "10: rules[1].use: only the first entry of 'use' can be an agreement; move it to the front",
        ),
        (
            "[{agree: [small, fast], judge: model}]",
            "41: rules[1].use[0].judge: judge 'model' needs the target that judges; add 'by: ...'",
        ),
        (
            "[{agree: [small, fast], by: strong}]",
            "38: rules[1].use[0].by: 'by' names the target that judges; add 'judge: model', or leave it out",
        ),
        (
            "[{agree: [small, fast], accept: {samples: 3}}]",
            "42: rules[1].use[0].accept: 'accept' belongs to 'target'; leave it out: agreement is the check",
        ),
        (
            "[{target: small, else: fast}]",
            "11: rules[1].use[0]: 'judge', 'by' and 'else' belong to 'agree'; write them into 'accept', or leave them out",
        ),
        (
            "[{judge: exact}]",
            "11: rules[1].use[0]: an entry has either 'target' or 'agree'; write a name, or {target: ...}, or {agree: [...]}",
        ),
        ("[7]", "11: rules[1].use[0]: not text; put it into quotes"),
    ],
)
def test_mistakes_are_named_where_they_stand(use, said):
    """Line, column, what is wrong, what to do."""
    assert error(use) == said


def test_the_table_and_the_difference_speak_of_checks():
    """A reader of either sees that an answer must pass something."""
    shown = text(table(policy(ACCEPT)))
    assert "small (confidence 0.7) > fast > strong > sorry" in shown
    assert "small (agrees with fast) > fast (agrees with small) > strong > sorry" in text(table(policy(AGREE)))
    changed = "\n".join(lines(diff(policy(ACCEPT), policy(ACCEPT.replace("0.7", "0.9")))))
    assert "small (confidence 0.7)" in changed
    assert "small (confidence 0.9)" in changed
    assert not diff(policy(ACCEPT), policy(ACCEPT))


def test_words_of_a_check():
    """Every part of a check is told."""
    use = "[{target: small, accept: {samples: 3, agree_with: fast, judge: model, by: strong, deliver: at_once}}, sorry]"
    (row, *_) = [row for row in table(policy(use)) if row.rule == "open"]
    assert row.checks == {"small": "3 samples, agrees with fast, judged by strong, shown at once"}


def test_whoever_checks_an_answer_counts_as_seeing_the_request():
    """A second target is not on the plan, and still gets the request: the proof of the boundaries has to know it."""
    use = "[{target: small, accept: {agree_with: fast, judge: model, by: strong}}, sorry]"
    seen = reach(policy(use))["public"]
    assert seen["fast"] == seen["strong"] == "open"
    assert findings(policy(use), "unused-target") == []
    unguarded = loads(
        TEXT.replace("USE", use).replace("{privacy: [personal, secret]}, cloud", "{privacy: secret}, cloud")
    )
    assert reach(unguarded)["personal"]["fast"] == "never"  # the first rule takes those


def test_checks_that_change_nothing_are_warned_of():
    """On a canned reply, and where nobody stands behind."""
    use = "[{target: small, accept: {confidence: 0.7}}, {target: sorry, accept: {confidence: 0.1}}]"
    assert findings(policy(use), "idle-check") == [
        (
            "idle-check",
            ("rules", 1, "use", 1),
            "nothing follows from the check of 'sorry': a canned reply always counts",
        )
    ]
    assert findings(policy("[{target: small, accept: {confidence: 0.7}}]"), "idle-check") == [
        (
            "idle-check",
            ("rules", 1, "use", 0),
            "rule 'open' has nobody behind 'small': an answer that fails its check is an error",
        )
    ]


def test_a_confidence_that_nobody_reports_is_warned_of():
    """Vendors report none, so such a check never passes; with samples the share counts."""
    use = "[{target: fast, accept: {confidence: 0.7}}, sorry]"
    (found,) = findings(policy(use), "no-confidence")
    assert found[2] == "kind openai reports no confidence, so no answer of 'fast' is ever accepted"
    assert findings(policy(use.replace("0.7", "0.7, samples: 3")), "no-confidence") == []


@pytest.mark.parametrize(
    ("use", "way", "tail"),
    [
        (AGREE, ("use", 0, "agree", 1), "so there the others answer unchecked"),
        (
            "[{target: small, accept: {agree_with: fast}}, sorry]",
            ("use", 0, "accept", "agree_with"),
            "so there no answer passes its check",
        ),
    ],
)
def test_boundaries_that_part_the_two_are_warned_of(use, way, tail):
    """Where one may not be asked, nothing can be compared."""
    chosen = loads(TEXT.replace("USE", use).replace("{privacy: [personal, secret]}, use", "{privacy: secret}, use"))
    ((_, path, what),) = findings(chosen, "lone-agreement")
    assert path == ("rules", 1, *way)
    assert what == f"rule 'open' may not ask 'fast' for privacy personal, {tail}"
    assert findings(policy(use), "lone-agreement") == []


def test_a_hedge_beside_a_check_is_warned_of():
    """The first answer has to pass its check, so nothing races it."""
    assert findings(policy(ACCEPT, "    hedge: {after: 1s}\n"), "idle-hedge")
    assert not findings(policy("[fast, strong, sorry]", "    hedge: {after: 1s}\n"), "idle-hedge")


def test_targets_that_are_asked_together_are_silent_together():
    """Two silent targets side by side take the time of one."""
    slow = TEXT.replace("model: m}", "model: m, first_token: 10s}")
    side_by_side = loads(slow.replace("USE", AGREE))
    one_by_one = loads(slow.replace("USE", "[small, fast, strong, sorry]"))
    assert findings(side_by_side, "unreachable-rung") == []
    assert [path for _, path, _ in findings(one_by_one, "unreachable-rung")] == [("rules", 1, "use", 2)]
