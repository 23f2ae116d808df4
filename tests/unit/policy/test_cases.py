"""A policy's own tests: what they suppose, what must follow, and how a failure reads."""

from __future__ import annotations

import pytest

from hybridinfer.policy.cases import Failure, Walk, run_cases, walk
from hybridinfer.policy.load import load
from hybridinfer.policy.model import Policy


def policy(*cases: dict, resilience: dict | None = None) -> Policy:
    """A ladder of three with a masked and a forbidden cloud, and these tests."""
    return load(
        {
            "version": 1,
            "targets": {
                "local": {"kind": "onnx", "model": "m"},
                "cloud": {"kind": "openai", "model": "m"},
                "sorry": {"kind": "canned", "text": "sorry"},
            },
            "boundaries": [
                {"name": "s", "when": {"privacy": "secret"}, "cloud": "never"},
                {"name": "p", "when": {"privacy": "personal"}, "cloud": "masked"},
            ],
            "rules": [
                {"name": "tools", "when": {"needs": "tools", "tags": {"team": "a"}}, "use": ["cloud", "sorry"]},
                {"name": "rest", "use": ["cloud", "local", "sorry"]},
            ],
            "resilience": resilience or {},
            "tests": [{"name": f"t{i}", **case} for i, case in enumerate(cases)],
        }
    )


def failures(given: dict, expect: dict, **options) -> list[Failure]:
    """What one test says."""
    (result,) = run_cases(policy({"given": given, "expect": expect}), **options)
    assert result.passed == (not result.failures)
    return list(result.failures)


@pytest.mark.parametrize(
    ("given", "expect"),
    [
        ({}, {"rule": "rest", "answered_by": "cloud", "rung": 1, "attempts_at_most": 1}),
        ({"down": "cloud"}, {"answered_by": "local", "rung": 2}),
        ({"down": ["cloud", "local"]}, {"answered_by": "sorry", "rung": 3}),
        ({"levels": {"privacy": "secret"}}, {"never": "cloud", "answered_by": "local", "rung": 1}),
        ({"levels": {"privacy": "secret"}}, {"forbidden": "cloud"}),
        ({"levels": {"privacy": "personal"}}, {"masked": "cloud", "open": "local", "answered_by": "cloud"}),
        ({"needs": "tools", "tags": {"team": "a"}}, {"rule": "tools", "never": "local"}),
        ({"needs": "tools"}, {"rule": "rest"}),
    ],
)
def test_expectations_that_hold(given, expect):
    """Each kind of supposition and expectation, where it is right."""
    assert failures(given, expect) == []


@pytest.mark.parametrize(
    ("given", "expect", "failure"),
    [
        ({}, {"rule": "tools"}, Failure(key="rule", what="rule 'rest' decided, expected 'tools'")),
        (
            {"down": "cloud"},
            {"answered_by": "cloud"},
            Failure(
                key="answered_by",
                what="'local' answered, expected 'cloud' (rule 'rest', tried cloud, cloud, local)",
            ),
        ),
        (
            {"down": ["cloud", "sorry"], "needs": "tools", "tags": {"team": "a"}},
            {"answered_by": "sorry"},
            Failure(
                key="answered_by",
                what="nobody answered, expected 'sorry' (rule 'tools', tried cloud, cloud, sorry, sorry)",
            ),
        ),
        (
            {"down": "local"},
            {"never": "local"},
            Failure(key="never", what="'local' may see this request, expected never (rule 'rest', tried cloud)"),
        ),
        (
            {"levels": {"privacy": "personal"}},
            {"never": "cloud"},
            Failure(key="never", what="'cloud' may see this request masked, expected never (rule 'rest', tried cloud)"),
        ),
        (
            {},
            {"masked": "cloud"},
            Failure(key="masked", what="'cloud' may see this request, expected masked (rule 'rest', tried cloud)"),
        ),
        (
            {"levels": {"privacy": "secret"}},
            {"masked": "cloud"},
            Failure(key="masked", what="'cloud' does not see this request, expected masked (rule 'rest', tried local)"),
        ),
        (
            {"levels": {"privacy": "personal"}},
            {"open": "cloud"},
            Failure(key="open", what="'cloud' may see this request masked, expected open (rule 'rest', tried cloud)"),
        ),
        (
            {"needs": "tools", "tags": {"team": "a"}},
            {"open": "local"},
            Failure(key="open", what="'local' does not see this request, expected open (rule 'tools', tried cloud)"),
        ),
        (
            {"needs": "tools", "tags": {"team": "a"}},
            {"forbidden": "local"},
            Failure(key="forbidden", what="no boundary keeps this request from 'local' (rule 'tools', tried cloud)"),
        ),
        ({}, {"rung": 2}, Failure(key="rung", what="rung 1 answered, expected 2 (rule 'rest', tried cloud)")),
        (
            {"down": "cloud"},
            {"attempts_at_most": 2},
            Failure(
                key="attempts_at_most",
                what="3 attempts, expected at most 2 (rule 'rest', tried cloud, cloud, local)",
            ),
        ),
        (
            {"levels": {"privacy": "secret"}},
            {"levels": {"privacy": "public"}},
            Failure(key="levels", what="privacy is 'secret', expected 'public'"),
        ),
    ],
)
def test_expectations_that_do_not_hold(given, expect, failure):
    """A failure names the expectation, what was seen, and the story."""
    assert failures(given, expect) == [failure]


def test_a_rung_counts_from_the_ladder_that_boundaries_leave():
    """The first choice that is allowed is rung 1."""
    assert failures({"levels": {"privacy": "secret"}}, {"rung": 1, "answered_by": "local"}) == []


def test_a_prompt_is_scored_with_its_tags_and_given_levels_win():
    """The scorer sees what the test gives; levels that are given override it."""
    asked = []

    def score(prompt, tags):
        asked.append((prompt, dict(tags)))
        return {"privacy": "secret", "complexity": "high"}

    given = {"prompt": "hello", "tags": {"team": "b"}, "levels": {"complexity": "low"}}
    assert failures(given, {"levels": {"privacy": "secret", "complexity": "low"}, "never": "cloud"}, score=score) == []
    assert asked == [("hello", {"team": "b"})]


def test_without_a_prompt_nothing_is_scored():
    """Each signal then stands at its first level."""

    def score(_prompt, _tags):
        raise AssertionError

    assert failures({}, {"levels": {"privacy": "public", "budget": "ok"}}, score=score) == []


def test_another_runner_can_be_plugged_in():
    """The simulator runs the same tests as the plain walk."""
    seen = []

    def run(levels, needs, tags, down):
        seen.append((levels["privacy"], needs, tags, down))
        return Walk(
            rule="x", ladder=("local",), masked=frozenset(), attempted=("local", "cloud"), answered_by="local", rung=1
        )

    given = {"levels": {"privacy": "secret"}, "needs": ["tools"], "tags": {"a": "b"}, "down": ["local"]}
    assert [failure.key for failure in failures(given, {"never": "cloud"}, run=run)] == ["never"]
    assert seen == [("secret", frozenset({"tools"}), {"a": "b"}, frozenset({"local"}))]


def test_unavailable_without_retry_is_one_attempt():
    """The walk retries what the policy retries."""
    chosen = policy(resilience={"retry_on": ["timeout"]})
    assert walk(chosen, {"privacy": "public"}, frozenset(), {}, frozenset({"cloud"})).attempted[:2] == (
        "cloud",
        "local",
    )


def test_unavailable_without_fallback_ends_the_walk():
    """The walk falls back on what the policy falls back on."""
    chosen = policy(resilience={"fallback_on": ["timeout"], "retry": {"attempts": 1}})
    seen = walk(chosen, {"privacy": "public"}, frozenset(), {}, frozenset({"cloud"}))
    assert (seen.attempted, seen.answered_by, seen.rung) == (("cloud",), None, None)
