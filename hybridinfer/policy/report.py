"""Findings on their way out: located in their file, as text, JSON, GitHub annotations or SARIF 2.1.0."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from .. import _version
from .check import FINDINGS

if TYPE_CHECKING:
    from ..errors import Problem
    from .cases import CaseResult
    from .check import Finding, Report
    from .diff import Difference
    from .model import BudgetBlock, Policy, RuleBlock
    from .source import Path, Source
    from .table import Row

Format = Literal["text", "json", "github", "sarif"]

INVALID = "invalid"
"""The id of everything the loader refuses."""
TEST_FAILED = "test-failed"
"""The id of a policy's own test that does not hold."""

CHANGED = "changed"
"""The id of whatever differs in meaning from another policy."""
CROSSED_IN_REPLAY = "crossed-in-replay"
"""The id of recorded traffic that would cross a boundary."""

_RULES = {
    **FINDINGS,
    INVALID: "The file is not a policy.",
    TEST_FAILED: "A test of the policy fails.",
    CHANGED: "The policy means something else than the one it is compared with.",
    CROSSED_IN_REPLAY: "Recorded traffic would cross a boundary.",
}
_LEVELS = {"error": "error", "warning": "warning", "info": "notice"}
_MARKS = {"open": "open", "masked": "masked", "never": "-"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One finding in its file. `id` is one of `check.FINDINGS`, invalid or test-failed."""

    id: str
    severity: str
    file: str
    line: int
    column: int
    what: str
    hint: str = ""

    def __str__(self) -> str:
        hint = f"; {self.hint}" if self.hint else ""
        return f"{self.file}:{self.line}:{self.column}: {self.severity}: {self.what}{hint} [{self.id}]"

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready form, without the file."""
        return {name: getattr(self, name) for name in ("id", "severity", "line", "column", "what", "hint")}


@dataclass(frozen=True, slots=True, kw_only=True)
class FileReport:
    """What is known of one file. `combinations` is 0 where nothing could be proved."""

    file: str
    lines: tuple[Line, ...] = ()
    combinations: int = 0
    reach: Mapping[str, Mapping[str, str]] = field(default_factory=dict[str, "Mapping[str, str]"])
    rows: tuple[Row, ...] | None = None
    """The decision table, where it was asked for."""

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready form; `ok` is whether there is no error."""
        table = {} if self.rows is None else {"table": [row.to_dict() for row in self.rows]}
        return {
            "file": self.file,
            "ok": not any(line.severity == "error" for line in self.lines),
            "combinations": self.combinations,
            "findings": [line.to_dict() for line in self.lines],
            "reach": {level: dict(targets) for level, targets in self.reach.items()},
            **table,
        }


def of_problems(problems: Sequence[Problem]) -> tuple[Line, ...]:
    """What the loader refused."""
    return tuple(
        Line(
            id=INVALID,
            severity=each.severity,
            file=each.file,
            line=each.line,
            column=each.column,
            what=each.what,
            hint=each.hint,
        )
        for each in problems
    )


def of_check(report: Report, source: Source) -> tuple[Line, ...]:
    """What `check` found, in the order of the file."""
    lines = [_locate(finding, source) for finding in report.findings]
    return tuple(sorted(lines, key=lambda line: (line.line, line.column)))


def of_cases(results: Sequence[CaseResult], source: Source) -> tuple[Line, ...]:
    """The failed expectations of a policy's own tests."""
    found = []
    for result in results:
        for failure in result.failures:
            line, column = source.position(("tests", result.index, "expect", failure.key))
            what = f"test {result.name!r}: {failure.what}"
            found.append(Line(id=TEST_FAILED, severity="error", file=source.file, line=line, column=column, what=what))
    return tuple(found)


def of_difference(difference: Difference, after: Policy, source: Source) -> tuple[Line, ...]:
    """What changes, at the place of the new policy that makes it so. A wider reach is a warning, the rest is told."""
    from .diff import word
    from .table import condition

    ranks = {"never": 0, "masked": 1, "open": 2}
    rules = {rule.name: number for number, rule in enumerate(after.rules)}
    found: list[tuple[Path, str, str]] = []
    for reach in difference.reach:
        wider = ranks[reach.after] > ranks[reach.before]
        what = f"privacy {reach.privacy} -> {reach.target}: {reach.before} => {reach.after}"
        found.append((("targets", reach.target), "warning" if wider else "info", what))
    for plan in difference.plans:
        way: Path = ("rules", rules[plan.after.rule]) if plan.after.rule in rules else ("rules",)
        cases = " or ".join(condition(box) for box in plan.when)
        found.append((way, "info", f"{cases}: {plan.before} => {plan.after}"))
    for value in difference.values:
        what = f"{value.path}: {word(value.before)} => {word(value.after)}"
        found.append((_way(value.path, after), "info", what))
    return tuple(_line(source, CHANGED, severity, path, what) for path, severity, what in found)


def of_replay(violations: int, source: Source) -> tuple[Line, ...]:
    """An error where recorded traffic would cross a boundary, nothing otherwise."""
    what = f"{violations} calls of the recorded traffic would cross a boundary"
    hint = "this is a fault of hybridinfer, please report it"
    return (_line(source, CROSSED_IN_REPLAY, "error", ("boundaries",), what, hint=hint),) if violations else ()


def _way(path: str, policy: Policy) -> Path:
    """`budgets.day.usd` as the way in the file, where budgets and rules are lists."""
    first, *rest = path.split(".")
    blocks: Mapping[str, Sequence[BudgetBlock | RuleBlock]] = {"budgets": policy.budgets, "rules": policy.rules}
    if first not in blocks or not rest:
        return (first, *rest)
    numbers = {block.name: number for number, block in enumerate(blocks[first])}
    return (first, numbers[rest[0]], *rest[1:]) if rest[0] in numbers else (first,)


def render(reports: Sequence[FileReport], output_format: Format) -> str:
    """All files in one of the formats; text ends without a newline and may be empty."""
    lines = [line for report in reports for line in report.lines]
    match output_format:
        case "json":
            return json.dumps({"files": [report.to_dict() for report in reports]}, indent=2, ensure_ascii=False)
        case "github":
            return "\n".join(map(_annotation, lines))
        case "sarif":
            return json.dumps(_sarif(lines), indent=2, ensure_ascii=False)
        case "text":
            return "\n".join(part for report in reports for part in _text(report))


def _locate(finding: Finding, source: Source) -> Line:
    return _line(source, finding.id, finding.severity, finding.path, finding.what, hint=finding.hint)


def _line(source: Source, name: str, severity: str, path: Path, what: str, *, hint: str = "") -> Line:
    line, column = source.position(path)
    return Line(id=name, severity=severity, file=source.file, line=line, column=column, what=what, hint=hint)


def _text(report: FileReport) -> Iterator[str]:
    yield from map(str, report.lines)
    if report.combinations:
        from .table import columns, text

        targets = list(next(iter(report.reach.values())))
        cells = [(level, *(_MARKS[seen[target]] for target in targets)) for level, seen in report.reach.items()]
        yield f"{report.file}: what each target may see, over {report.combinations} combinations"
        yield _indented(columns([("privacy", *targets), *cells]))
        if report.rows is not None:
            yield _indented(text(report.rows))


def _indented(block: str) -> str:
    return "\n".join(f"  {line}" for line in block.split("\n"))


def _annotation(line: Line) -> str:
    """A workflow command (docs.github.com/actions/reference/workflow-commands-for-github-actions)."""
    text = f"{line.what}; {line.hint}" if line.hint else line.what
    place = f"file={_property(line.file)},line={line.line},col={line.column},title={_property(line.id)}"
    return f"::{_LEVELS[line.severity]} {place}::{_escaped(text)}"


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _escaped(text).replace(":", "%3A").replace(",", "%2C")


def _sarif(lines: Sequence[Line]) -> dict[str, Any]:
    """A log with one run (docs.oasis-open.org/sarif/sarif/v2.1.0)."""
    used = [rule for rule in _RULES if any(line.id == rule for line in lines)]
    rules = [{"id": rule, "shortDescription": {"text": _RULES[rule]}} for rule in used]
    driver = {"name": "hybridinfer policy", "version": _version.__version__, "rules": rules}
    results = [_result(line, used.index(line.id)) for line in lines]
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}],
    }


def _result(line: Line, rule: int) -> dict[str, Any]:
    uri = line.file.replace("\\", "/").removeprefix("./")
    place = {
        "artifactLocation": {"uri": uri},
        "region": {"startLine": line.line, "startColumn": line.column},
    }
    return {
        "ruleId": line.id,
        "ruleIndex": rule,
        "level": {"info": "note"}.get(line.severity, line.severity),
        "message": {"text": f"{line.what}; {line.hint}" if line.hint else line.what},
        "locations": [{"physicalLocation": place}],
    }
