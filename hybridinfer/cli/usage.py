"""`hybridinfer usage`: what was asked, what it cost, and what it saved."""

from __future__ import annotations

import csv
import os
import re
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime
from decimal import Decimal
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from .terminal import UsageError, print_json, talk, usd

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..budget.requests import Record
    from ..budget.usage import Baseline, Line

app = App(name="usage", help="Show what was spent, and what that saved.")

_SINCE = re.compile(r"(\d+)([mhdw])")
_SECONDS = {"m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_BAR = 20


@app.default
def usage(
    *,
    by: str = "target",
    since: str = "30d",
    ledger: Path | None = None,
    policy: Path | None = None,
    baseline: str | None = None,
    json: Annotated[bool, Parameter(negative="")] = False,
    csv: Annotated[bool, Parameter(negative="")] = False,
    html: Path | None = None,
) -> int:
    """Show what was spent, and what that saved.

    Requests are recorded where a policy has a budget for a window of time; never their content.

    Args:
        by: Group by target, rule, day or tag:NAME.
        since: How far to look back (90m, 12h, 7d, 4w), or a date (2026-11-01, in UTC).
        ledger: The ledger's file; otherwise HYBRIDINFER_LEDGER, or the user's own.
        policy: The policy whose prices the comparison uses; otherwise it is looked for.
        baseline: The target that would have answered everything; otherwise the policy's first cloud target.
        json: Print {lines, total, baseline} as JSON.
        csv: Print the lines as CSV.
        html: Write a page with a plot to this file.
    """
    from ..budget.ledger import records_path
    from ..budget.requests import read
    from ..budget.usage import grouping, lines, total

    try:
        grouping(by)
    except ValueError as error:
        raise UsageError(f"--by: {error}") from error
    place = records_path(ledger)
    records = tuple(read(place, since=moment(since)))
    if not records:
        talk(f"no requests are recorded in {place}; they are where a policy has a budget per minute, hour, day, ...")
        return 0
    table, whole = lines(records, by), total(records)
    compared = _compare(records, policy, baseline)
    if html is not None:
        html.write_text(_page(table, whole, compared, by), encoding="utf-8")
        talk(f"written: {html}")
    elif json:
        picture = {"by": by, "lines": [asdict(line) for line in table], "total": asdict(whole)}
        print_json({**picture, "baseline": asdict(compared) if compared else None})
    elif csv:
        _print_csv(table)
    else:
        print("\n".join(_text(table, whole, compared, by)))
    return 0


def moment(since: str) -> float:
    """The time that `--since` means, in seconds since the epoch. Raises UsageError."""
    if match := _SINCE.fullmatch(since):
        return time.time() - int(match[1]) * _SECONDS[match[2]]
    try:
        return datetime.fromisoformat(since).replace(tzinfo=UTC).timestamp()
    except ValueError as error:
        raise UsageError(f"--since {since}: write it as 90m, 12h, 7d, 4w or a date such as 2026-11-01") from error


def _compare(records: Sequence[Record], path: Path | None, target: str | None) -> Baseline | None:
    """The comparison, where a policy with a priced cloud target is at hand."""
    from ..assembly import discover
    from ..budget.prices import PriceBook
    from ..budget.usage import baseline
    from ..errors import HybridinferError
    from ..policy.load import load
    from ..policy.model import zone_of

    try:
        policy = load(path or discover(os.environ))
    except HybridinferError as error:
        if path is not None or target is not None:
            raise
        talk(f"nothing to compare with: {error}")
        return None
    clouds = [name for name, block in policy.targets.items() if zone_of(block) == "cloud"]
    if target is not None and target not in policy.targets:
        raise UsageError(f"--baseline {target}: the policy has no such target; it has {', '.join(policy.targets)}")
    if target is None and not clouds:
        return None
    try:
        return baseline(records, PriceBook(policy), target or clouds[0])
    except LookupError as error:
        talk(f"nothing to compare with: {error.args[0]}")
        return None


def _text(table: Sequence[Line], whole: Line, compared: Baseline | None, by: str) -> list[str]:
    dearest = max((line.cost_usd for line in table), default=Decimal(0))
    rows: list[tuple[str, ...]] = [(by, "requests", "tokens in", "out", "cost", "cloud", "degraded", "p50", "p95", "")]
    for line in (*table, whole):
        filled = round(float(line.cost_usd / dearest) * _BAR) if dearest and line is not whole else 0
        rows.append((*_cells(line), "#" * filled))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    text = [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(widths[n]) for n, cell in enumerate(row[1:-1], 1)), row[-1]]
        ).rstrip()
        for row in rows
    ]
    if whole.estimated_usd:
        text += ["", f"of the cost, {usd(whole.estimated_usd)} are from counted tokens: the target told none"]
    return [*text, "", *_comparison(compared)] if compared else text


def _cells(line: Line) -> tuple[str, ...]:
    return (
        line.key or "(none)",
        f"{line.requests:,}",
        f"{line.input_tokens:,}",
        f"{line.output_tokens:,}",
        usd(line.cost_usd),
        f"{line.cloud_share:.0%}",
        f"{line.degraded_share:.0%}",
        f"{line.p50_seconds:.2f} s",
        f"{line.p95_seconds:.2f} s",
    )


def _comparison(compared: Baseline) -> list[str]:
    return [
        f"saved {usd(compared.saved_usd)}" if compared.saved_usd >= 0 else f"spent {usd(-compared.saved_usd)} more",
        f"  than always {compared.target}: {usd(compared.always_cloud_usd)}",
        f"  a coin with this cloud share: {usd(compared.random_usd)}",
        f"  always local: {usd(compared.always_local_usd)}",
    ]


def _print_csv(table: Sequence[Line]) -> None:
    rows = [asdict(line) for line in table]
    writer = csv.DictWriter(sys.stdout, fieldnames=list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)


_BARS = """td,th{white-space:nowrap}td:not(:first-child):not(.bar),th:not(:first-child){text-align:right}
.bar{width:22%;min-width:90px}.bar i{display:block;height:12px;margin-top:5px;border-radius:2px;background:var(--r1)}
"""


def _page(table: Sequence[Line], whole: Line, compared: Baseline | None, by: str) -> str:
    """The table, a bar of cost in each of its rows, and the comparison; in the drills' colours, light and dark."""
    from ..drill.page import STYLE

    dearest = float(max(line.cost_usd for line in table)) or 1.0
    names = (by, "requests", "tokens in", "out", "cost", "cloud", "degraded", "p50", "p95")
    head = "".join(f"<th>{escape(name)}</th>" for name in names) + "<th>share of the dearest</th>"
    body = "".join(
        "<tr>"
        + "".join(f"<td>{escape(cell or '(none)')}</td>" for cell in _cells(line))
        + (
            f'<td class="bar"><i style="width:{float(line.cost_usd) / dearest:.1%}"></i></td>'
            if line in table
            else "<td></td>"
        )
        + "</tr>"
        for line in (*table, whole)
    )
    notes = "".join(f"<p>{escape(note.strip())}</p>" for note in _comparison(compared)) if compared else ""
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>hybridinfer usage</title><style>{STYLE}{_BARS}</style>"
        f'<h1>Usage by {escape(by)}</h1><div class="plot"><table><tr>{head}</tr>{body}</table></div>{notes}</html>\n'
    )
