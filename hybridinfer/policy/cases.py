"""A policy's own `tests:`: what each supposes, what must follow, and what did.

Scoring and running come as callables: the real signals, and the simulator that drives the real flow
(`hybridinfer.drill.rehearsal`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from ..receipt import Code
from .decide import permit
from .model import Policy, TestBlock

Score = Callable[[str, Mapping[str, str]], Mapping[str, str]]
"""A prompt and tags -> the level of each signal."""
Run = Callable[["Situation"], "Walk"]
"""Serves one request: who was tried, and who answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """One request whose levels are known, with these targets down or unsure, and these budgets used up."""

    prompt: str = ""
    levels: Mapping[str, str]
    needs: AbstractSet[str] = frozenset()
    tags: Mapping[str, str]
    down: AbstractSet[str] = frozenset()
    unsure: AbstractSet[str] = frozenset()
    spent: AbstractSet[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """What happened to one request: the rule, its ladder, every call in order, and who answered on which rung."""

    rule: str
    ladder: tuple[str, ...]
    masked: frozenset[str]
    attempted: tuple[str, ...]
    answered_by: str | None
    rung: int | None
    code: Code | None
    """How the last attempt ended; None: nothing was left to try."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One expectation that was not met. `key` is its name in `expect`."""

    key: str
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseResult:
    """One test and its failures; none of them: it passed."""

    name: str
    index: int
    failures: tuple[Failure, ...]

    @property
    def passed(self) -> bool:
        """True when everything expected followed."""
        return not self.failures


def run_cases(policy: Policy, *, run: Run, score: Score | None = None) -> list[CaseResult]:
    """Run every test of the policy, in order.

    Without `score`, tests that give a prompt must give all tested levels too.
    """
    return [
        CaseResult(name=test.name, index=i, failures=tuple(_failures(policy, test, score, run)))
        for i, test in enumerate(policy.tests)
    ]


def levels_of(policy: Policy, test: TestBlock, score: Score | None) -> dict[str, str]:
    """The levels a test supposes: given, else scored from its prompt, else each signal's first."""
    levels = {name: next(iter(block.levels)) for name, block in policy.signals.items()}
    if test.given.prompt and score is not None:
        levels.update(score(test.given.prompt, test.given.tags))
    if test.given.spent:
        blocks = [(name, block) for name, block in policy.signals.items() if (block.kind or name) == "budget"]
        levels.update((name, block.level_of(1.0)) for name, block in blocks)
    return levels | test.given.levels


def _failures(policy: Policy, test: TestBlock, score: Score | None, run: Run) -> Iterator[Failure]:
    given, expect = test.given, test.expect
    levels = levels_of(policy, test, score)
    for signal, level in expect.levels.items():
        if levels[signal] != level:
            yield Failure(key="levels", what=f"{signal} is {levels[signal]!r}, expected {level!r}")
    situation = Situation(
        prompt=given.prompt,
        levels=levels,
        needs=frozenset(given.needs),
        tags=given.tags,
        down=frozenset(given.down),
        unsure=frozenset(given.unsure),
        spent=frozenset(given.spent),
    )
    seen = run(situation)
    story = f"rule {seen.rule!r}, tried {', '.join(seen.attempted) or 'nobody'}"
    if expect.rule is not None and seen.rule != expect.rule:
        yield Failure(key="rule", what=f"rule {seen.rule!r} decided, expected {expect.rule!r}")
    if expect.answered_by is not None and seen.answered_by != expect.answered_by:
        who = repr(seen.answered_by) if seen.answered_by else "nobody"
        yield Failure(key="answered_by", what=f"{who} answered, expected {expect.answered_by!r} ({story})")
    yield from _sights(policy, test, levels, seen, story)
    if expect.rung is not None and seen.rung != expect.rung:
        yield Failure(key="rung", what=f"rung {seen.rung} answered, expected {expect.rung} ({story})")
    if expect.code is not None and seen.code != expect.code:
        ended = f"ended with {seen.code}" if seen.code else "ended with nothing tried"
        yield Failure(key="code", what=f"{ended}, expected {expect.code} ({story})")
    if expect.attempts_at_most is not None and len(seen.attempted) > expect.attempts_at_most:
        what = f"{len(seen.attempted)} attempts, expected at most {expect.attempts_at_most} ({story})"
        yield Failure(key="attempts_at_most", what=what)


def _sights(policy: Policy, test: TestBlock, levels: Mapping[str, str], seen: Walk, story: str) -> Iterator[Failure]:
    """Who may see the request, and how: the expectations never, forbidden, masked and open."""
    given, expect = test.given, test.expect
    for name in expect.never:
        if name in seen.ladder or name in seen.attempted:
            yield Failure(key="never", what=f"{name!r} {_sight(name, seen)}, expected never ({story})")
    for name in expect.forbidden:
        if permit(policy, name, levels, given.tags, frozenset(given.needs)).verdict != "never":
            yield Failure(key="forbidden", what=f"no boundary keeps this request from {name!r} ({story})")
    for name in expect.masked:
        if name not in seen.masked:
            yield Failure(key="masked", what=f"{name!r} {_sight(name, seen)}, expected masked ({story})")
    for name in expect.open:
        if name not in seen.ladder or name in seen.masked:
            yield Failure(key="open", what=f"{name!r} {_sight(name, seen)}, expected open ({story})")


def _sight(name: str, seen: Walk) -> str:
    if name in seen.masked:
        return "may see this request masked"
    return "may see this request" if name in seen.ladder or name in seen.attempted else "does not see this request"
