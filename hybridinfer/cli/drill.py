"""`hybridinfer drill`: outages on purpose, against a policy, before they happen by themselves."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from ..errors import ConfigurationError, PolicyError
from .terminal import UsageError, hanging, print_json, talk

if TYPE_CHECKING:
    from ..drill.bill import Bill
    from ..drill.coverage import Coverage
    from ..drill.run import Drill
    from ..drill.walks import Walk

app = App(name="drill", help="Rehearse outages against a policy, and see every fallback happen.")

BRIEF = 3
"""Drills of one run that are told in full; of more, those that passed get one line each."""
Flag = Annotated[bool, Parameter(negative="")]
Files = Annotated[tuple[Path, ...], Parameter(negative="")]


@app.command
def run(
    scenarios: Annotated[tuple[str, ...], Parameter(negative="")],
    /,
    *,
    policy: str | None = None,
    against: Literal["simulated", "emulator", "live"] = "simulated",
    speed: float = 10.0,
    real_local: Flag = False,
    seed: int = 0,
    max_cost: float | None = None,
    json: Flag = False,
    html: Path | None = None,
    junit: Path | None = None,
    coverage: Path | None = None,
    fail_under: float | None = None,
) -> int:
    """Run drills: scripted outages against a policy, with what must hold all the same.

    Exit code 0: every expectation was met. 1: one was not, or the coverage is too small. 2: a scenario or a policy
    is wrong, or the command line is. Nothing leaves this machine, and no key is needed, except with --against live.
    Of more than three drills those that passed get one line each.

    --json prints {passed, drills: [{scenario, policy, against, parts, passed, requests, answered, p95_seconds, cost_usd,
    answered_by, arrived, expectations: [{key, wanted, measured, passed, receipts}], coverage}], coverage}.

    Args:
        scenarios: Files, names from `drill list`, or "all" for every shipped one.
        policy: The policy's file or a shipped one's name; otherwise the one that each scenario names.
        against: simulated is a virtual clock; emulator is the real router over real HTTP to this machine; live calls
            the real targets, in the scenario's own time, if the policy says 'drills: allowed'.
        speed: With the emulator, how many times as fast as the scenario says.
        real_local: With the emulator, call the real local models, and break them for real; otherwise they are played.
        seed: Of everything that is random; the same seed gives the same simulation.
        max_cost: Live: the USD that it may cost. It does not start where it could cost more, and never spends more.
        json: Print everything as JSON.
        html: Write a page with the timeline of every drill to this file.
        junit: Write JUnit XML for CI to this file.
        coverage: Write the fallbacks that were walked to this file, for `drill coverage`.
        fail_under: Exit with 1 when the drills together walk less than this percentage of the policy's fallbacks.
    """
    from ..drill.report import junit as xml

    if not speed > 0:
        raise UsageError("--speed: must be more than zero")
    may_cost = None if max_cost is None else Decimal(str(max_cost))
    how = {"against": against, "speed": speed, "real_local": real_local, "seed": seed, "max_cost": may_cost}
    drills = _run(_named(scenarios), policy, **how, told=_tell)
    covered = _coverages(drills)
    for target, text in ((junit, xml), (html, _page)):
        if target is not None:
            target.write_text(text(drills), encoding="utf-8")
            talk(f"written: {target}")
    if coverage is not None:
        from ..drill.walks import write

        write(coverage, _walks(drills))
        talk(f"written: {coverage}")
    if json:
        _print_json(drills, covered)
    else:
        _print(drills, covered, missed=len(drills) > 1 or fail_under is not None)
    small = [name for name, one in covered.items() if fail_under is not None and one.share * 100 < fail_under]
    for name in small:
        talk(_too_little(name, covered[name].share, fail_under))
    return int(bool(small) or not all(drill.passed for drill in drills))


@app.command(name="coverage")
def coverage_(files: Files, /, *, fail_under: float | None = None, json: Flag = False) -> int:
    """Merge the fallback coverage of several runs, and show what none of them walked.

    The files come from `drill run --coverage FILE` and `pytest --hybridinfer-coverage=FILE`. Exit code 0: enough was
    walked. 1: less than --fail-under, or a file is none of these. 2: the command line is wrong.

    Args:
        files: What the runs wrote.
        fail_under: Exit with 1 when less than this percentage of a policy's fallbacks was walked.
        json: Print {version, policies: [{policy, digest, walked: [[target, code, next]], missed}]}, itself such a file.
    """
    from ..drill.walks import lines, merge, read, tree

    if not files:
        raise UsageError("name the files that `hybridinfer drill run --coverage FILE` wrote")
    walks = merge(walk for file in files for walk in read(file))
    if json:
        print_json(tree(walks))
    for walk in walks if not json else ():
        print("\n".join(lines(walk)))
    small = [walk for walk in walks if fail_under is not None and walk.coverage.share * 100 < fail_under]
    for walk in small:
        talk(_too_little(walk.policy, walk.coverage.share, fail_under))
    return int(bool(small))


@app.command(name="list")
def list_(*, json: Flag = False) -> int:
    """List the shipped drills.

    Args:
        json: Print [{name, file, description}].
    """
    from ..drill.scenario import load_scenario, shipped_drills

    rows = [(name, path, load_scenario(path)[0].description) for name, path in shipped_drills().items()]
    if json:
        print_json([{"name": name, "file": str(path), "description": about} for name, path, about in rows])
        return 0
    wide = max((len(name) for name, *_ in rows), default=0)
    for name, _, about in rows:
        print(hanging(f"{name:<{wide}}  ", about))
    return 0


@app.command
def schema() -> int:
    """Print the JSON Schema of scenarios, for editors."""
    from ..drill.schema import FILE

    print(FILE.read_text(encoding="utf-8"), end="")
    return 0


def _named(scenarios: tuple[str, ...]) -> list[str]:
    from ..drill.scenario import shipped_drills

    if not scenarios:
        raise UsageError("name a scenario: a file, a name from `hybridinfer drill list`, or all")
    return [name for given in scenarios for name in (shipped_drills() if given == "all" else [given])]


def _run(scenarios: list[str], policy: str | None, **how: Any) -> list[Drill]:
    from ..drill.run import run_drill
    from ..policy.load import shipped, shipped_names

    chosen = shipped(policy) if policy in shipped_names() else policy
    try:
        return [run_drill(name, chosen, **how) for name in scenarios]
    except (PolicyError, ConfigurationError) as error:
        talk(f"hybridinfer: {error}")
        raise SystemExit(2) from None


def _tell(bill: Bill) -> None:
    calls = ", ".join(f"{name} {count} times" for name, count in bill.calls.items()) or "nobody"
    talk(f"live: {bill.requests} requests, ${bill.usd:f} at most, calling {calls} at most")


def _coverages(drills: list[Drill]) -> dict[str, Coverage]:
    """By policy, over all of its drills."""
    from ..drill.run import merged

    by_policy: dict[str, list[Drill]] = {}
    for drill in drills:
        by_policy.setdefault(drill.course.digest, []).append(drill)
    return {group[0].course.policy.name: merged(group) for group in by_policy.values()}


def _walks(drills: list[Drill]) -> list[Walk]:
    from ..drill.walks import Walk, merge

    return merge(Walk(policy=one.course.policy.name, digest=one.course.digest, coverage=one.coverage) for one in drills)


def _too_little(policy: str, share: float, wanted: float | None) -> str:
    return f"the fallback coverage of policy {policy!r} is {share:.0%}, less than {wanted:g}%"


def _print_json(drills: list[Drill], covered: dict[str, Coverage]) -> None:
    from ..drill.report import picture, picture_of_coverage

    print_json(
        {
            "passed": all(drill.passed for drill in drills),
            "drills": [picture(drill) for drill in drills],
            "coverage": {name: picture_of_coverage(one) for name, one in covered.items()},
        }
    )


def _print(drills: list[Drill], covered: dict[str, Coverage], *, missed: bool) -> None:
    """`missed`: also the table of the fallbacks that nobody walked, which after one drill alone says little."""
    from rich.console import Console

    from ..drill.report import print_coverage, print_drill, who_plays

    console = Console(highlight=False)
    for drill in drills:
        print_drill(drill, console, brief=len(drills) > BRIEF)
    parts = dict(part for drill in drills for part in drill.parts.items())
    if parts and len(drills) > BRIEF:
        console.print(who_plays(parts), style="dim")
    for name, one in covered.items():
        print_coverage(one, name, console, missed=missed)


def _page(drills: list[Drill]) -> str:
    from ..drill.page import page

    return page(drills)
