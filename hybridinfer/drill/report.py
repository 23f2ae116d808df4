"""What a drill proved, for people (a terminal), for programs (JSON) and for CI (JUnit XML). No prompt stands in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from .judge import cost, percentile
from .lag import warning

if TYPE_CHECKING:
    from rich.console import Console

    from .course import Course, Served
    from .coverage import Coverage
    from .judge import Verdict
    from .lag import Lag
    from .run import Drill

_ON_TERMINAL = 2
"""Receipts for each failed expectation; the other reports show more."""


def who_answered(course: Course) -> Counter[str]:
    """How many requests ended on which rung: `1 fast`, `4 sorry`, and `nobody`."""
    return Counter(
        f"{one.receipt.rung} {one.receipt.target}" if one.answered and one.receipt.target else "nobody"
        for one in course.served
    )


def print_drill(drill: Drill, console: Console, *, brief: bool = False) -> None:
    """One drill: its verdicts, who answered, and the receipts that speak against it. `brief`: one line if it passed."""
    from rich.table import Table
    from rich.text import Text

    course = drill.course
    mark = Text(" PASS ", "bold green") if drill.passed else Text(" FAIL ", "bold red")
    about = f"{len(course.served)} requests in {course.scenario.duration:g} s, {course.against}, "
    console.print(mark, Text(course.scenario.name, "bold"), Text(f"{about}{course.wall_seconds:.1f} s here", "dim"))
    if drill.parts and not brief:
        console.print(Text(f"  {who_plays(drill.parts)}", "dim"))
    if brief and drill.passed:
        return
    table = Table(box=None, padding=(0, 2), show_header=False)
    for verdict in drill.verdicts:
        style = "green" if verdict.passed else "red"
        sign = Text("ok" if verdict.passed else "FAILED", style)
        table.add_row(sign, verdict.key, verdict.wanted, verdict.measured)
    console.print(table)
    if course.lag is not None and course.lag.busy:
        console.print(Text(f"  {warning(course.lag, hurried=course.against == 'emulator')}", "yellow"), soft_wrap=True)
    if not drill.passed:
        answered = ", ".join(f"{name}: {count}" for name, count in sorted(who_answered(course).items()))
        console.print(Text(f"  rung and who: {answered}", "dim"))
        for verdict in drill.verdicts:
            for one in verdict.culprits[:_ON_TERMINAL]:
                console.print(Text(f"  {verdict.key}: {line(one)}", "dim"), soft_wrap=True)


def who_plays(parts: Mapping[str, str]) -> str:
    """What became of a shipped drill's targets in another policy."""
    return "; ".join(
        f"{part!r} of the drill is {player!r} here" if player else f"nothing here can fail as {part!r} does"
        for part, player in parts.items()
    )


def print_coverage(found: Coverage, policy: str, console: Console, *, missed: bool = True) -> None:
    """The share, and with `missed` a table of the edges that nobody walked."""
    from rich.table import Table

    from .walks import by_pair

    walked, possible = len(found.walked), len(found.possible)
    console.print(f"fallback coverage of policy {policy!r}: {found.share:.0%}, {walked} of {possible} edges walked")
    if not found.missed or not missed:
        return
    table = Table("target", "next", "never ended with", box=None, padding=(0, 2), title="missed", title_justify="left")
    for (target, following), codes in by_pair(found).items():
        table.add_row(target, following, ", ".join(codes))
    console.print(table)


def line(one: Served) -> str:
    """A request in one line: when, which, every attempt, who answered."""
    receipt = one.receipt
    tried = ", ".join(f"{attempt.target} {attempt.code}" for attempt in receipt.attempts) or "nothing tried"
    end = f"answered by {receipt.target}" if one.answered else one.error
    return f"at {one.at:.1f} s {one.ask} ({receipt.id}): {tried}; {end} after {one.seconds:.2f} s, ${receipt.cost_usd.normalize():f}"


def picture(drill: Drill) -> dict[str, Any]:
    """The shape of `drill run --json`; stable between minor versions."""
    course = drill.course
    return {
        "scenario": course.scenario.name,
        "policy": course.policy.name,
        "policy_digest": course.digest,
        "against": course.against,
        "parts": dict(drill.parts),
        "passed": drill.passed,
        "requests": len(course.served),
        "answered": sum(one.answered for one in course.served),
        "p50_seconds": round(percentile((one.seconds for one in course.served), 0.5), 4),
        "p95_seconds": round(percentile((one.seconds for one in course.served), 0.95), 4),
        "cost_usd": float(cost(course)),
        "answered_by": dict(sorted(who_answered(course).items())),
        "arrived": dict(course.arrived),
        "expectations": [_verdict(verdict) for verdict in drill.verdicts],
        "coverage": picture_of_coverage(drill.coverage),
        "wall_seconds": round(course.wall_seconds, 3),
        "lag": picture_of_lag(course.lag),
    }


def picture_of_lag(found: Lag | None) -> dict[str, Any] | None:
    """How late the drill's event loop ran, in seconds of this machine; None on the virtual clock."""
    if found is None:
        return None
    times = {"worst_seconds": found.worst, "p99_seconds": found.p99, "shortest_patience_seconds": found.patience}
    return {**{name: round(seconds, 4) for name, seconds in times.items()}, "busy": found.busy}


def picture_of_coverage(found: Coverage) -> dict[str, Any]:
    """Share, counts and the missed edges."""
    missed = [{"target": edge.target, "code": str(edge.code), "next": edge.next} for edge in found.missed]
    share = round(found.share, 4)
    return {"share": share, "walked": len(found.walked), "possible": len(found.possible), "missed": missed}


def junit(drills: Sequence[Drill]) -> str:
    """A test suite per scenario, a test case per expectation (the de-facto schema that CI servers read)."""
    suites = [_suite(drill) for drill in drills]
    tests = sum(len(drill.verdicts) for drill in drills)
    failures = sum(not verdict.passed for drill in drills for verdict in drill.verdicts)
    head = f'<testsuites name="hybridinfer drill" tests="{tests}" failures="{failures}" errors="0">'
    return "\n".join(['<?xml version="1.0" encoding="UTF-8"?>', head, *suites, "</testsuites>\n"])


def _suite(drill: Drill) -> str:
    course = drill.course
    failures = sum(not verdict.passed for verdict in drill.verdicts)
    seconds = f"{course.wall_seconds:.3f}"
    name = _attribute(f"{course.scenario.name} ({course.policy.name}, {course.against})")
    count = len(drill.verdicts)
    head = f'  <testsuite name={name} tests="{count}" failures="{failures}" errors="0" skipped="0" time="{seconds}">'
    return "\n".join([head, *(_case(drill, verdict) for verdict in drill.verdicts), "  </testsuite>"])


def _case(drill: Drill, verdict: Verdict) -> str:
    where = _attribute(f"drill.{drill.course.scenario.name}")
    head = f'    <testcase classname={where} name={_attribute(verdict.key)} time="0"'
    if verdict.passed:
        return f"{head}/>"
    message = _attribute(f"wanted {verdict.wanted}, measured {verdict.measured}")
    body = escape("\n".join(line(one) for one in verdict.culprits), quote=False)
    return f'{head}>\n      <failure type="expectation" message={message}>{body}</failure>\n    </testcase>'


def _attribute(text: str) -> str:
    return f'"{escape(text)}"'


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "key": verdict.key,
        "wanted": verdict.wanted,
        "measured": verdict.measured,
        "passed": verdict.passed,
        "receipts": [one.receipt.to_dict() for one in verdict.culprits],
    }
