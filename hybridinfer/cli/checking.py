"""The work of `hybridinfer policy check`. Imports nothing heavy: an editor or a commit hook runs it at every save."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal

from ..errors import PolicyError
from .terminal import talk

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ..policy.model import TargetBlock
    from ..policy.report import FileReport

OutputFormat = Literal["text", "json", "github", "sarif"]

os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # looking for them costs a start 50 ms


def check_files(
    files: Sequence[Path],
    *,
    table: bool = False,
    strict: bool = False,
    output_format: OutputFormat = "text",
    environment: bool = True,
    prices: bool = True,
) -> int:
    """Check the policies, print what was found, and return the exit code. The options are those of the command."""
    reports = [_checked(file, table=table, environment=environment, prices=prices) for file in files]
    print_reports(reports, output_format)
    bad = {"error", "warning"} if strict else {"error"}
    for report in reports:
        talk(_summary(report))
    return int(any(line.severity in bad for report in reports for line in report.lines))


def print_reports(reports: Sequence[FileReport], output_format: OutputFormat) -> None:
    """All of them on stdout; nothing where there is nothing to say."""
    from ..policy.report import render

    if text := render(reports, output_format):
        print(text)


def _checked(file: Path, *, table: bool, environment: bool, prices: bool) -> FileReport:
    from ..policy.check import check
    from ..policy.load import load_with_source
    from ..policy.report import FileReport, of_check, of_problems

    try:
        policy, source = load_with_source(file)
    except PolicyError as error:
        return FileReport(file=str(file), lines=of_problems(error.problems))
    found = check(policy, priced=_priced if prices else None, environ=os.environ if environment else None)
    rows = None
    if table and found.combinations:
        from ..policy.table import table as decision_table

        rows = tuple(decision_table(policy))
    return FileReport(
        file=str(file),
        lines=of_check(found, source),
        combinations=found.combinations,
        reach=found.reach,
        rows=rows,
    )


def _priced(block: TargetBlock) -> bool:
    """Does somebody know what this target costs? The price list is loaded for the first that it is needed for."""
    if block.kind == "canned":
        return True
    from ..budget.listed import certainly_priced

    if certainly_priced(block):
        return True
    from ..budget.tariffs import find

    return find(block) is not None


def _summary(report: FileReport) -> str:
    counts = {word: sum(line.severity == word for line in report.lines) for word in ("error", "warning")}
    found = ", ".join(f"{count} {word}{'s' * (count > 1)}" for word, count in counts.items() if count) or "no findings"
    proof = f"{report.combinations} combinations tried" if report.combinations else "nothing proved"
    return f"{report.file}: {found}, {proof}"
