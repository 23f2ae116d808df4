"""Defects in the fields that no shipped policy uses: checks of answers, agreement, drills, shares, prompts, hedges.

Whatever is wrong is refused or warned about, with its place; whatever only differs is told by `policy diff`.
"""

from __future__ import annotations

import pytest

from hybridinfer.errors import PolicyError
from hybridinfer.policy.check import check
from hybridinfer.policy.diff import diff, lines
from hybridinfer.policy.load import loads

BASE = """\
version: 1
targets:
  small: {kind: onnx, model: m}
  fast: {kind: anthropic, model: claude-haiku-5-5}
  strong: {kind: openai, model: gpt-6-luna}
  sorry: {kind: canned, text: sorry}
signals:
  complexity: {levels: {low: 50%, medium: 35%, high: 15%}}
boundaries:
  - {name: private-stays, when: {privacy: [personal, secret]}, cloud: never}
rules:
  - {name: private, when: {privacy: [personal, secret]}, use: [small, sorry]}
  - {name: easy, when: {complexity: low}, use: [{target: small, accept: {confidence: 0.7}}, fast, sorry]}
  - {name: hard, when: {complexity: high}, use: [{agree: [fast, small], judge: exact, else: strong}, sorry]}
  - {name: rest, use: [fast, strong, sorry], hedge: {after: 3s}, prompt: {trim_history: 4k, dedupe: true}}
resilience: {deadline: 60s, on_interrupt: error}
"""
EASY = "{target: small, accept: {confidence: 0.7}}, fast, sorry]"
BOUNDARY = "  - {name: private-stays, when: {privacy: [personal, secret]}, cloud: never}\n"
REFUSED: list[tuple[str, str, str]] = [
    ("version: 1", "version: 1\ndrills: alowed", "2:9: drills: unknown value 'alowed'; did you mean 'allowed'?"),
    ("confidence: 0.7", "confidance: 0.7", "did you mean 'confidence'?"),
    ("confidence: 0.7", "confidence: 70", "must be at most 1"),
    ("accept: {confidence: 0.7}", "accept: {}", "'accept' names no check"),
    ("confidence: 0.7", "samples: 1", "must be at least 2"),
    ("confidence: 0.7", "agree_with: fats", "unknown target 'fats'; did you mean 'fast'?"),
    ("judge: exact", "judge: model", "judge 'model' needs the target that judges"),
    ("judge: exact", "judge: model, by: stong", "unknown target 'stong'; did you mean 'strong'?"),
    ("agree: [fast, small]", "agree: [fast]", "agree"),
    ("agree: [fast, small]", "agree: [fast, fast]", "cannot agree with itself"),
    ("else: strong}, sorry", "else: strong}, strong, sorry", "target 'strong' stands twice in one rule"),
    (EASY, "fast, {agree: [small, strong]}, sorry]", "only the first entry of 'use' can be an agreement"),
    ("high: 15%", "high: 25%", "make up 100%; these sum up to 110%"),
    ("high: 15%", "high: 0.9", "shares and numbers do not mix"),
    ("complexity: {levels", "size: {levels", "only complexity's levels can be shares"),
    ("trim_history", "trim_histroy", "did you mean 'trim_history'?"),
    ("4k", "4 k", "not a number of tokens"),
    ("dedupe: true", "dedupe: yes", "prompt.dedupe: neither true nor false"),
    ("after: 3s", "after: 3", "write it with its unit"),
    ("on_interrupt: error", "on_interrupt: carry-on", "unknown value 'carry-on'"),
]
WARNED: list[tuple[str, str, str]] = [
    ("version: 1", "version: 1\ndrills: allowed", "costly-drills"),
    ("use: [small, sorry]", "use: [small, {target: sorry, accept: {samples: 3}}]", "idle-check"),
    (EASY, "sorry, {target: fast, accept: {samples: 3}}]", "idle-check"),
    ("use: [fast, strong", "use: [{target: fast, accept: {confidence: 0.7}}, strong", "no-confidence"),
    ("use: [small, sorry]", "use: [{target: small, accept: {agree_with: fast}}, sorry]", "lone-agreement"),
    (
        "rules:\n  - {name: private, when: {privacy: [personal, secret]}, use: [small,",
        "rules:\n  - {name: private, when: {privacy: [personal, secret]}, use: [{agree: [small, fast]},",
        "lone-agreement",
    ),
    ("deadline: 60s", "deadline: 10s", "unreachable-rung"),
]
TOLD: list[tuple[str, str, str]] = [
    ("version: 1", "version: 1\ndrills: allowed", "value: drills: never => allowed"),
    ("confidence: 0.7", "confidence: 0.9", "+ small (confidence 0.9) > fast > sorry (rule easy)"),
    ("{target: small, accept: {confidence: 0.7}}", "small", "+ small > fast > sorry (rule easy)"),
    ("{agree: [fast, small], judge: exact, else: strong}", "fast, small, strong", "+ fast > small > strong > sorry"),
    ("high: 15%", "high: 14%", "value: signals.complexity.levels"),
    ("after: 3s", "after: 9s", "value: rules.rest.hedge.after: 3s => 9s"),
    (", hedge: {after: 3s}", "", "value: rules.rest.hedge: {after: 3s} => (none)"),
    ("4k", "2k", "value: rules.rest.prompt.trim_history: 4000 => 2000"),
    (", dedupe: true", "", "value: rules.rest.prompt.dedupe: True => False"),
    ("on_interrupt: error", "on_interrupt: continue", "value: resilience.on_interrupt: error => continue"),
]


def mutant(old, new):
    """The base with one defect."""
    assert BASE.count(old) >= 1
    return BASE.replace(old, new, 1)


def test_the_base_is_sound():
    """No finding without a defect."""
    assert check(loads(BASE)).findings == ()


@pytest.mark.parametrize(("old", "new", "words"), REFUSED)
def test_what_is_wrong_is_refused(old, new, words):
    """At its place, with what to do."""
    with pytest.raises(PolicyError) as caught:
        loads(mutant(old, new), "p.yaml")
    (line,) = [str(problem) for problem in caught.value.problems if words in str(problem)]
    assert line.startswith("p.yaml:")
    assert caught.value.problems[0].line > 1


@pytest.mark.parametrize(("old", "new", "name"), WARNED)
def test_what_cannot_be_meant_is_found(old, new, name):
    """By the check, under its name."""
    assert name in {finding.id for finding in check(loads(mutant(old, new))).findings}


@pytest.mark.parametrize(("old", "new", "words"), TOLD)
def test_what_differs_is_told(old, new, words):
    """By the comparison, in words."""
    changed = mutant(old, new)
    if "14%" in changed:
        changed = changed.replace("35%", "36%")
    assert any(words in line for line in lines(diff(loads(BASE), loads(changed))))


def test_a_helper_in_the_cloud_is_reach():
    """Who is only asked to agree sees the request, too: without the boundary the reach widens, and the check warns."""
    text = mutant(BOUNDARY, "").replace("boundaries:\n", "")
    text = text.replace("use: [small, sorry]", "use: [{target: small, accept: {agree_with: fast}}, sorry]")
    report = check(loads(text))
    assert report.reach["secret"]["fast"] == "open"
    assert "unguarded" in {finding.id for finding in report.findings}
