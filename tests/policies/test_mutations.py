"""Sixty defects that people make, seeded into the shipped policies: loading, check or the policy's tests find them.

That the policies themselves raise no alarm is tested in test_shipped.py.
"""

from __future__ import annotations

import re

import pytest

from hybridinfer.cli.policy import scorer
from hybridinfer.drill.rehearsal import rehearsal
from hybridinfer.errors import PolicyError
from hybridinfer.policy.cases import run_cases
from hybridinfer.policy.check import check
from hybridinfer.policy.load import load, loads, shipped

MUTANTS: list[tuple[str, str, str]] = [
    # a boundary is lost
    ("minimal", "  - {name: private-stays-here, .*\n", ""),
    ("default", "  - {name: private-stays-here, .*\n", ""),
    ("default", r"privacy: \[personal, secret\]", "privacy: secret"),
    ("privacy-first", "  - {name: people-stay-in-the-house, .*\n", ""),
    ("privacy-first", "  - {name: secrets-stay-on-the-desk, .*\n", ""),
    ("privacy-first", "  - {name: patient-files-stay-in-the-house, .*\n", ""),
    ("privacy-first", "  - {name: documents-and-pictures-stay, .*\n", ""),
    ("cost-saver", "  - {name: secrets-stay-here, .*\n", ""),
    ("cost-saver", "  - {name: personal-data-leaves-masked, .*\n", ""),
    ("cost-saver", "  - {name: trial-teams-use-no-cloud, .*\n", ""),
    ("offline-field", "  - {name: private-stays-in-the-vehicle, .*\n", ""),
    ("offline-field", "  - {name: no-cloud-while-roaming, .*\n", ""),
    ("regulated", "  - {name: secrets-stay-here, .*\n", ""),
    ("regulated", "  - {name: personal-data-leaves-us-masked, .*\n", ""),
    ("regulated", "  - {name: customers-in-the-eu, .*\n", ""),
    ("regulated", "  - {name: auditors-use-own-servers, .*\n", ""),
    # a boundary is weakened
    ("minimal", r"privacy: \[personal, secret\]", "privacy: secret"),
    ("default", "cloud: never", "cloud: masked"),
    ("default", r"when: {privacy: \[personal, secret\]}, cloud", "when: {complexity: high}, cloud"),
    ("privacy-first", r"needs: \[files, vision\]", "needs: vision"),
    ("privacy-first", "source: patient-file}}, zones", "source: patient_file}}, zones"),
    ("cost-saver", "plan: trial}}, cloud", "plan: trail}}, cloud"),
    ("regulated", "caller: customer}}, regions: eu", "caller: customer}}, regions: [eu, us]"),
    ("regulated", r"targets: \[desk, bank, sorry\]", "targets: [desk, bank, us-cloud, sorry]"),
    ("regulated", "caller: customer}}, regions", "caller: customers}}, regions"),
    ("staging", "cloud: never", "cloud: masked"),
    # a target is not where it was
    ("default", "model: claude-haiku-5-5,", "model: claude-haiku-5-5, zone: network,"),
    ("privacy-first", "    zone: network\n", ""),
    ("privacy-first", "model: claude-sonnet-5-5,", "model: claude-sonnet-5-5, zone: network,"),
    ("cost-saver", "model: claude-sonnet-5-5,", "model: claude-sonnet-5-5, zone: network,"),
    ("offline-field", "model: claude-haiku-5-5,", "model: claude-haiku-5-5, zone: network,"),
    ("regulated", "region: us", "region: eu"),
    ("regulated", "MISTRAL_API_KEY}\n    region: eu", "MISTRAL_API_KEY}\n    region: us"),
    ("regulated", "    zone: network\n    region: eu", "    zone: cloud\n    region: eu"),
    # a rule is shadowed, lost or in the wrong order
    ("minimal", "name: easy, when: {complexity: low}", "name: easy"),
    ("default", "rules:\n", "rules:\n  - {name: new, use: [small, fast, strong, sorry]}\n"),
    ("default", "  - {name: money-is-spent, .*\n", ""),
    ("default", r"use: \[strong, fast, small, sorry\]", "use: [fast, strong, small, sorry]"),
    ("cost-saver", "(  - {name: spent, .*\n)((?:  - .*\n)+)", r"\2\1"),
    ("privacy-first", r"  - {name: everything-else, .*\n", ""),
    ("regulated", "name: everything-else, use", "name: everything-else, when: {complexity: medium, size: short}, use"),
    ("offline-field", r"use: \[truck, cloud, tablet, sorry\]", "use: [cloud, truck, tablet, sorry]"),
    ("staging", r"use: \[strong, fast, small, sorry\]", "use: [strong, fast, small]"),
    ("minimal", r"use: \[cloud, local, sorry\]", "use: [cloud, sorry, local]"),
    ("regulated", r"use: \[desk, sorry\]", "use: [us-cloud]"),
    # a name is misspelt
    ("default", r"privacy: \[personal, secret\]", "privacy: [personal, sercet]"),
    ("default", r"\[small, fast, strong, sorry\]", "[small, fast, stong, sorry]"),
    ("cost-saver", "when: {budget: spent}", "when: {budgt: spent}"),
    ("offline-field", "boundaries:", "boundries:"),
    ("staging", "kind: anthropic", "kind: antropic"),
    # a number is wrong
    ("default", "personal: 0.5", "personal: 0.85"),
    ("privacy-first", "personal: 0.3", "personal: 0.95"),
    ("default", "deadline: 60s", "deadline: 3s"),
    ("offline-field", "deadline: 90s", "deadline: 10s"),
    ("staging", "deadline: 10s", "deadline: 10"),
    ("staging", "attempts: 2", "attempts: 9"),
    ("default", "  last_rung: 10s", "  fallback_on: [rate_limited]\n  last_rung: 10s"),
    # YAML plays tricks, or a secret is pasted
    ("minimal", "cloud: never", "cloud: no"),
    ("default", "  sorry:", "  fast: {kind: canned, text: hello}\n  sorry:"),
    ("regulated", r"\$\{env:MISTRAL_API_KEY\}", "sk-0123456789abcdef0123456789"),
]  # fmt: skip


def found_by(name: str, old: str, new: str) -> str:
    """Who finds a defect first: load, check or test; empty when nobody does."""
    text = shipped(name).read_text(encoding="utf-8")
    mutant, count = re.subn(old, new, text, count=1)
    assert count, f"{old!r} is not in {name}"
    try:
        policy = loads(mutant)
    except PolicyError:
        return "load"
    if check(policy).findings:
        return "check"
    return (
        "test"
        if any(not case.passed for case in run_cases(policy, run=rehearsal(policy), score=scorer(policy)))
        else ""
    )


def test_there_are_sixty():
    """The number that the claim is about."""
    assert len(MUTANTS) == len(set(MUTANTS)) == 60


@pytest.mark.parametrize(("name", "old", "new"), MUTANTS)
def test_a_defect_is_found(name, old, new):
    """Each defect is refused, warned about, or fails a test of its policy."""
    assert found_by(name, old, new)


def test_the_unchanged_policies_raise_no_alarm():
    """The same three steps find nothing in the originals."""
    for name in {name for name, _, _ in MUTANTS}:
        policy = load(shipped(name))
        assert check(policy).findings == ()
        assert all(case.passed for case in run_cases(policy, run=rehearsal(policy), score=scorer(policy)))
