"""`hybridinfer policy`: check, test, compare and describe policies. Nothing here calls a target."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from ..errors import PolicyError
from .arguments import Flag
from .checking import OutputFormat, check_files, print_reports
from .terminal import UsageError, print_json, talk
from .traffic import recorded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..drill.replay import Replay
    from ..observe.records import Recorded
    from ..policy.cases import CaseResult, Score
    from ..policy.model import Policy
    from ..policy.report import FileReport
    from ..policy.source import Source

app = App(name="policy", help="Check, test, compare and simulate policies. Nothing here calls a target.")

Files = Annotated[tuple[Path, ...], Parameter(negative="")]


@app.command
def check(
    files: Files,
    /,
    *,
    table: Flag = False,
    strict: Flag = False,
    output_format: OutputFormat = "text",
    environment: bool = True,
    prices: bool = True,
) -> int:
    """Check policies and prove their boundaries over every combination of levels.

    Exit code 0: no error. 1: an error, or with --strict a warning. 2: the command line is wrong.

    Args:
        files: The policies.
        table: Print the decision table too (text and json).
        strict: Warnings count as errors.
        output_format: text for people; json; github annotations; sarif for code scanning.
        environment: Look for the API keys that the targets need.
        prices: Look the models up in the price list.
    """
    return check_files(
        files, table=table, strict=strict, output_format=output_format, environment=environment, prices=prices
    )


@app.command(name="test")
def run_tests(files: Files, /, *, output_format: OutputFormat = "text") -> int:
    """Run the tests that policies carry, through the real flow on a virtual clock. They call nobody.

    Targets that are `down` fail with `unavailable`, budgets that are `spent` refuse; all others answer at once. Prices
    count: a cloud target that nobody can price is never called.

    Exit code 0: all passed. 1: one failed, or a policy is broken. 2: the command line is wrong.

    Args:
        files: The policies.
        output_format: text for people; json; github annotations; sarif for code scanning.
    """
    from ..policy.report import FileReport, of_cases, of_problems

    reports: list[FileReport] = []
    outcomes: list[list[CaseResult]] = []
    for file in files:
        try:
            policy, source = _load(file)
        except PolicyError as error:
            reports.append(FileReport(file=str(file), lines=of_problems(error.problems)))
            outcomes.append([])
            continue
        results = _tested(policy)
        outcomes.append(results)
        reports.append(FileReport(file=str(file), lines=of_cases(results, source)))
    if output_format == "json":
        print_json({"files": [_tests(each, results) for each, results in zip(reports, outcomes, strict=True)]})
    else:
        print_reports(reports, output_format)
    for report, results in zip(reports, outcomes, strict=True):
        passed = sum(result.passed for result in results)
        untested = "no tests in it; write some under 'tests:' (docs/change-a-policy.md)"
        untested = "not a policy, nothing tested" if report.lines else untested
        told = f"{passed} of {len(results)} tests passed" if results else untested
        talk(f"{report.file}: {told}")
    return int(any(report.lines for report in reports))


@app.command
def diff(before: Path, after: Path, /, *, output_format: OutputFormat = "text") -> int:
    """Show what a new policy changes in meaning: plans, reach, budgets, numbers.

    Exit code 0: nothing changes. 1: something does, or a policy is broken. 2: the command line is wrong.

    Args:
        before: The policy in force.
        after: The policy that shall replace it.
        output_format: text for people; json; github annotations; sarif for code scanning.
    """
    from ..policy.diff import diff as compare
    from ..policy.diff import lines
    from ..policy.report import FileReport, of_difference, of_problems
    from ..policy.space import TooManyCombinations

    broken: list[FileReport] = []
    loaded: list[tuple[Policy, Source]] = []
    for file in (before, after):
        try:
            loaded.append(_load(file))
        except PolicyError as error:
            broken.append(FileReport(file=str(file), lines=of_problems(error.problems)))
    if broken:
        print_reports(broken, output_format)
        return 1
    (old, _), (new, source) = loaded
    try:
        difference = compare(old, new)
    except TooManyCombinations as error:
        raise UsageError(
            f"{error} are too many to compare; test fewer signals, tag values or needs in 'when'"
        ) from None
    if output_format == "text":
        for line in lines(difference):
            print(line)
    elif output_format == "json":
        print_json(difference.to_dict())
    else:
        print_reports([FileReport(file=str(after), lines=of_difference(difference, new, source))], output_format)
    talk(f"{before} -> {after}: " + ("the meaning changes" if difference else "no change in meaning"))
    return int(bool(difference))


@app.command
def simulate(
    *,
    policy: Path,
    traffic: Path,
    html: Path | None = None,
    output_format: OutputFormat = "text",
    json: Flag = False,
) -> int:
    """Replay recorded traffic through a new policy, and compare. Nobody is called.

    `hybridinfer.observe.records.RecordFile` records it, without content. Exit code 0: no boundary is crossed. 1: one
    is, or the policy is broken. 2: the command line is wrong.

    Args:
        policy: The new policy.
        traffic: The recorded requests, one JSON line each.
        html: Write a page with the plots before and after to this file.
        output_format: text for people; json; github annotations; sarif for code scanning.
        json: The same as --output-format json: {before, after, guessed, unmeasured}.
    """
    from ..drill.compared import page
    from ..drill.replay import replay
    from ..policy.load import digest
    from ..policy.report import FileReport, of_problems, of_replay

    output_format = "json" if json else output_format
    try:
        loaded, source = _load(policy)
    except PolicyError as error:
        print_reports([FileReport(file=str(policy), lines=of_problems(error.problems))], output_format)
        return 1
    result = replay(loaded, _recorded(traffic))
    _show(result, output_format, FileReport(file=str(policy), lines=of_replay(result.after.violations, source)))
    if html is not None:
        _write(html, page(result, policy=loaded.name, digest=digest(loaded), traffic=traffic.name))
    if result.guessed:
        talk(f"no history of {', '.join(result.guessed)}: its times are guessed as half of its timeout")
    if result.unmeasured:
        talk(f"records lack {', '.join(result.unmeasured)}: it counts as its highest level there")
    return int(bool(result.after.violations))


def _recorded(traffic: Path) -> list[Recorded]:
    records = recorded(traffic)
    if not records:
        raise UsageError(f"{traffic} holds no records")
    return records


def _show(result: Replay, output_format: OutputFormat, report: FileReport) -> None:
    from dataclasses import asdict

    from ..drill.compared import rows
    from ..policy.table import columns

    if output_format == "text":
        print(columns([("", "before", "after", "change"), *rows(result)]))
    elif output_format == "json":
        before, after = asdict(result.before), asdict(result.after)
        print_json({"before": before, "after": after, "guessed": result.guessed, "unmeasured": result.unmeasured})
    else:
        print_reports([report], output_format)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error
    talk(f"written: {path}")


@app.command
def schema() -> int:
    """Print the JSON Schema of the policy file, for editors."""
    from ..policy.schema import FILE

    print(FILE.read_text(encoding="utf-8"), end="")
    return 0


def _load(file: Path) -> tuple[Policy, Source]:
    from ..policy.load import load_with_source

    return load_with_source(file)


def _tested(policy: Policy) -> list[CaseResult]:
    from ..drill.rehearsal import rehearsal
    from ..policy.cases import run_cases

    if not policy.tests:
        return []
    asks = any(case.given.prompt for case in policy.tests)
    return run_cases(policy, run=rehearsal(policy), score=scorer(policy) if asks else None)


def scorer(policy: Policy) -> Score:
    """The real signals of the policy, on an empty ledger."""
    from ..signals.base import Standing
    from ..signals.registry import build, score_all
    from ..types import Message, Request, Text

    signals = build(policy)

    def score(prompt: str, tags: Mapping[str, str]) -> Mapping[str, str]:
        request = Request(messages=(Message(role="user", parts=(Text(text=prompt),)),), tags=tags)
        results = score_all(policy, signals, request, Standing())
        return {name: result.level for name, result in results.items()}

    return score


def _tests(report: FileReport, results: list[CaseResult]) -> dict[str, object]:
    """One file of `policy test --output-format json`."""
    return {
        "file": report.file,
        "ok": not report.lines,
        "findings": [line.to_dict() for line in report.lines],
        "tests": [
            {
                "name": result.name,
                "passed": result.passed,
                "failures": [{"key": failure.key, "what": failure.what} for failure in result.failures],
            }
            for result in results
        ],
    }
