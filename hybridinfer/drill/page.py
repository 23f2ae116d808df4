"""Drills as one self-contained page: no script, no font, no picture from anywhere; readable in light and dark."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from itertools import groupby
from typing import TYPE_CHECKING

from .axes import BUCKETS
from .chart import band, bars, legend, phases, spend, strips
from .judge import cost, percentile
from .report import line, who_plays
from .run import merged
from .walks import by_pair

if TYPE_CHECKING:
    from .coverage import Coverage
    from .judge import Verdict
    from .run import Drill

STYLE = """
:root{color-scheme:light dark;--paper:#fff;--ink:#1c2430;--dim:#5d6877;--line:#dde2e8;--card:#f6f8fa;--good:#1a7f4b;
--bad:#c62f3b;--r1:#3b7dd8;--r2:#59b0a8;--r3:#d9a441;--r4:#b8763b;--canned:#9aa3ae;--nobody:#c62f3b;--phase:#c62f3b14;
--open:#c62f3b;--half:#d9a441;--closed:#59b08a}
@media(prefers-color-scheme:dark){:root{--paper:#12161c;--ink:#e4e9ef;--dim:#97a3b2;--line:#2b333e;--card:#1a2028;
--good:#4cc38a;--bad:#ff6b75;--r1:#5b9bf0;--r2:#5fc0b6;--r3:#e3b457;--r4:#c98a52;--canned:#6d7886;--nobody:#ff6b75;
--phase:#ff6b751c;--open:#ff6b75;--half:#e3b457;--closed:#3f8f6b}}
*{box-sizing:border-box}body{margin:0 auto;max-width:1000px;padding:28px 20px 60px;background:var(--paper);
color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif}
h1{font-size:24px;margin:0 0 4px}h2{font-size:19px;margin:0}h3{font-size:13px;font-weight:600;margin:18px 0 2px}
p{margin:4px 0}.dim{color:var(--dim)}.drill{border-top:1px solid var(--line);margin-top:34px;padding-top:22px}
.mark{display:inline-block;padding:1px 9px;border-radius:9px;color:#fff;font-size:12px;font-weight:700;
vertical-align:2px;margin-right:8px}.pass{background:var(--good)}.fail{background:var(--bad)}
@media(prefers-color-scheme:dark){.mark{color:#12161c}}
table{border-collapse:collapse;width:100%;margin:10px 0;font-size:14px}
td,th{text-align:left;padding:4px 14px 4px 0;border-bottom:1px solid var(--line);vertical-align:top}
th{color:var(--dim);font-weight:500}td.ok{color:var(--good)}td.no{color:var(--bad);font-weight:600}.bad{color:var(--bad)}
.facts{display:flex;flex-wrap:wrap;gap:10px;margin:14px 0}.fact{background:var(--card);border-radius:8px;
padding:7px 14px;min-width:112px}.fact b{display:block;font-size:18px}.fact span{color:var(--dim);font-size:12px}
.plot{overflow-x:auto;padding-top:2px}svg{display:block;width:100%;min-width:620px;height:auto}
.plot svg svg{min-width:0;overflow:visible}svg text{fill:var(--dim);font-size:11px}
.key{font-size:12px;color:var(--dim);display:flex;flex-wrap:wrap;gap:4px 14px;margin:2px 0 6px}
.key i{display:inline-block;width:10px;height:10px;border-radius:2px;margin-right:5px}
details{margin:4px 0 10px;font-size:13px}summary{cursor:pointer}li{margin:2px 0;overflow-wrap:anywhere}
code{font-size:12px}a{color:inherit}nav a{display:inline-block;margin-right:14px}
"""


def page(drills: Sequence[Drill]) -> str:
    """The page: a summary, each drill with its charts and verdicts, and what no drill walked."""
    passed = sum(drill.passed for drill in drills)
    count = len(drills)
    title = f"{passed} of {count} drills passed"
    return "".join(
        [
            '<!doctype html><html lang="en"><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width,initial-scale=1">',
            f"<title>{title}</title><style>{STYLE}</style>",
            f"<h1>{mark(passed == count)}{title}</h1>",
            f'<p class="dim">hybridinfer drill: {escape(_where(drills))}</p>',
            *_contents(drills),
            *(_section(number, drill) for number, drill in enumerate(drills)),
            *_coverages(drills),
            "</html>\n",
        ]
    )


def _where(drills: Sequence[Drill]) -> str:
    policies = sorted({f"policy {drill.course.policy.name} ({drill.course.digest})" for drill in drills})
    how = sorted({_HOW.get(drill.course.against, drill.course.against) for drill in drills})
    return f"{', '.join(policies)}, {' and '.join(how)}"


def _contents(drills: Sequence[Drill]) -> Iterator[str]:
    if len(drills) > 1:
        links = (
            f'<a href="#d{number}"{"" if drill.passed else _RED}>{escape(drill.course.scenario.name)}</a>'
            for number, drill in enumerate(drills)
        )
        yield f"<nav>{''.join(links)}</nav>"


_HOW = {
    "simulated": "on a virtual clock",
    "emulator": "over real HTTP to this machine",
    "live": "with faults before the real targets",
}
_RED = ' style="color:var(--bad)"'


def _section(number: int, drill: Drill) -> str:
    course = drill.course
    scenario = course.scenario
    return "".join(
        [
            f'<section class="drill" id="d{number}"><h2>{mark(drill.passed)}{escape(scenario.name)}</h2>',
            f'<p class="dim">{escape(scenario.description)}</p>',
            f'<p class="dim">{escape(who_plays(drill.parts))}</p>' if drill.parts else "",
            _facts(drill),
            _verdicts(drill),
            f"<h3>Who answered, by rung ({scenario.duration / BUCKETS:g} s per bar)</h3>",
            legend(course),
            bars(course, phases(course)),
            "<h3>Seconds to the end of the answer: median, and up to the 95th percentile</h3>",
            band(course, phases(course)),
            "<h3>Circuit breakers</h3>",
            key({"closed": "closed", "half": "half-open", "open": "open"}),
            strips(course),
            "<h3>Spent, in USD</h3>",
            spend(course, phases(course)),
            *_receipts(drill),
            "</section>",
        ]
    )


def _facts(drill: Drill) -> str:
    course = drill.course
    seconds = [one.seconds for one in course.served]
    answered = sum(one.answered for one in course.served)
    facts = {
        "requests": f"{len(course.served):,}",
        "answered": f"{answered / max(len(course.served), 1):.1%}",
        "first choice": f"{sum(one.first_choice for one in course.served) / max(len(course.served), 1):.1%}",
        "median": f"{percentile(seconds, 0.5):.2f} s",
        "95th percentile": f"{percentile(seconds, 0.95):.2f} s",
        "spent": f"${cost(course):.4f}",
        "fallback edges": f"{len(drill.coverage.walked)} of {len(drill.coverage.possible)}",
    }
    cells = "".join(f'<div class="fact"><b>{value}</b><span>{name}</span></div>' for name, value in facts.items())
    return f'<div class="facts">{cells}</div>'


def _verdicts(drill: Drill) -> str:
    rows = "".join(map(_row, drill.verdicts))
    return f"<table><tr><th>expectation</th><th>wanted</th><th>measured</th><th></th></tr>{rows}</table>"


def _row(verdict: Verdict) -> str:
    cells = "".join(f"<td>{escape(text)}</td>" for text in (verdict.key, verdict.wanted, verdict.measured))
    sign = '<td class="ok">met</td>' if verdict.passed else '<td class="no">failed</td>'
    return f"<tr>{cells}{sign}</tr>"


def _receipts(drill: Drill) -> Iterator[str]:
    """For each failed expectation, the requests that speak against it."""
    blamed = [verdict for verdict in drill.verdicts if verdict.culprits]
    if blamed:
        yield "<h3>Requests that speak against a failed expectation</h3>"
    for verdict in blamed:
        items = "".join(f"<li>{escape(line(one))}</li>" for one in verdict.culprits)
        about = f"{verdict.key}: wanted {verdict.wanted}, measured {verdict.measured}"
        yield f"<details open><summary>{escape(about)}</summary><ol>{items}</ol></details>"


def _coverages(drills: Sequence[Drill]) -> Iterator[str]:
    ordered = sorted(drills, key=lambda drill: drill.course.digest)
    for _, some in groupby(ordered, key=lambda drill: drill.course.digest):
        group = list(some)
        yield _coverage(group[0].course.policy.name, merged(group))


def _coverage(policy: str, found: Coverage) -> str:
    head = (
        f'<section class="drill"><h2>Fallback coverage of policy {escape(policy)}: {found.share:.0%}</h2>'
        f'<p class="dim">{len(found.walked)} of {len(found.possible)} ways to fall from one target to the next were '
        "walked by these drills together.</p>"
    )
    missed = by_pair(found)
    if not missed:
        return f"{head}</section>"
    rows = "".join(
        f"<tr><td>{escape(target)}</td><td>{escape(following)}</td><td>{escape(', '.join(codes))}</td></tr>"
        for (target, following), codes in missed.items()
    )
    table = f"<table><tr><th>target</th><th>next</th><th>never ended with</th></tr>{rows}</table>"
    return f"{head}{table}</section>"


def key(words: Mapping[str, str]) -> str:
    """A legend: the name of each colour and what it stands for."""
    items = "".join(f'<span><i style="background:var(--{color})"></i>{word}</span>' for color, word in words.items())
    return f'<div class="key">{items}</div>'


def mark(good: bool) -> str:  # noqa: FBT001 - one thing
    """PASS or FAIL, in its colour."""
    return '<span class="mark pass">PASS</span>' if good else '<span class="mark fail">FAIL</span>'
