"""A policy's own tests: what they suppose, what must follow, and how a failure reads."""

from __future__ import annotations

import pytest

from hybridinfer.drill.rehearsal import rehearsal
from hybridinfer.errors import PolicyError
from hybridinfer.policy.cases import Failure, Situation, Walk, run_cases
from hybridinfer.policy.load import load
from hybridinfer.policy.model import Policy


def policy(*cases: dict, resilience: dict | None = None) -> Policy:
    """A ladder of three with a masked and a forbidden cloud, and these tests."""
    return load(
        {
            "version": 1,
            "targets": {
                "local": {"kind": "onnx", "model": "m"},
                "cloud": {"kind": "openai", "model": "m", "price": {"input": 1, "output": 1}},
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
            "budgets": [
                {"name": "one", "usd": 1, "per": "request"},
                {"name": "day", "usd": 1, "per": "day"},
                {"name": "team", "usd": 1, "per": "day", "by": "team"},
            ],
            "tests": [{"name": f"t{i}", **case} for i, case in enumerate(cases)],
        }
    )


def failures(given: dict, expect: dict, **options) -> list[Failure]:
    """What one test says."""
    chosen = policy({"given": given, "expect": expect})
    (result,) = run_cases(chosen, **{"run": rehearsal(chosen)} | options)
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
        ({"needs": ["vision", "files", "json"]}, {"answered_by": "cloud"}),
        ({"spent": "one"}, {"answered_by": "local", "rung": 2, "attempts_at_most": 1}),
        ({"spent": "day"}, {"answered_by": "local", "rung": 2, "attempts_at_most": 1}),
        ({"spent": "team", "tags": {"team": "b"}}, {"answered_by": "local", "levels": {"budget": "spent"}}),
        ({"spent": "day", "levels": {"budget": "ok"}}, {"levels": {"budget": "ok"}, "answered_by": "local"}),
        ({"down": "cloud"}, {"code": "ok", "attempts_at_most": 3}),
        ({"down": ["cloud", "local", "sorry"]}, {"answered_by": "sorry"}),
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
            {"down": "cloud"},
            {"code": "unavailable"},
            Failure(key="code", what="ended with ok, expected unavailable (rule 'rest', tried cloud, cloud, local)"),
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


def test_any_runner_can_be_plugged_in():
    """It is given the whole situation."""
    seen = []

    def run(situation):
        seen.append(situation)
        ladder = ("local",)
        return Walk(
            rule="x",
            ladder=ladder,
            masked=frozenset(),
            attempted=("local", "cloud"),
            answered_by="local",
            rung=1,
            code=None,
        )

    given = {"levels": {"privacy": "secret"}, "needs": ["tools"], "tags": {"a": "b"}, "down": ["local"]}
    assert [failure.key for failure in failures(given, {"never": "cloud"}, run=run)] == ["never"]
    ((situation),) = seen
    assert (situation.levels["privacy"], situation.needs, situation.tags, situation.down, situation.spent) == (
        "secret",
        frozenset({"tools"}),
        {"a": "b"},
        frozenset({"local"}),
        frozenset(),
    )
    what = "ended with nothing tried, expected ok (rule 'x', tried local, cloud)"
    assert failures({}, {"code": "ok"}, run=run) == [Failure(key="code", what=what)]


def rehearsed(resilience):
    """The cloud is down."""
    chosen = policy(resilience=resilience)
    levels = {"privacy": "public", "complexity": "low", "size": "short", "budget": "ok"}
    return rehearsal(chosen)(Situation(levels=levels, tags={}, down=frozenset({"cloud"})))


def test_unavailable_without_retry_is_one_attempt():
    """The rehearsal retries what the policy retries."""
    assert rehearsed({"retry_on": ["timeout"]}).attempted == ("cloud", "local")


def test_unavailable_without_fallback_ends_there():
    """The rehearsal falls back on what the policy falls back on."""
    seen = rehearsed({"fallback_on": ["timeout"], "retry": {"attempts": 1}})
    assert (seen.attempted, seen.answered_by, seen.rung, seen.code) == (("cloud",), None, None, "unavailable")


def test_waits_that_pass_the_deadline_are_not_waited():
    """Backoff counts against the deadline, as in production."""
    retry = {"attempts": 10, "backoff": "40s", "max_backoff": "60s"}
    assert len(rehearsed({"retry": retry, "deadline": "5s"}).attempted) < 5


def test_an_unknown_budget_is_told(tmp_path):
    """Like every other name."""
    with pytest.raises(PolicyError, match="unknown budget 'dai'; did you mean 'day'"):
        policy({"given": {"spent": "dai"}, "expect": {}})
