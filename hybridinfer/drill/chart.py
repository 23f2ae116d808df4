"""The charts of a drill's page, as inline SVG in the page's own colours."""

from __future__ import annotations

from collections import Counter
from html import escape
from itertools import accumulate, groupby
from typing import TYPE_CHECKING

from .axes import BUCKETS, LEFT, WIDE, Logarithmic, bucket_of, frame, line, svg, time_labels, x_of, x_of_bucket
from .judge import percentile

if TYPE_CHECKING:
    from .course import Course, Served

_RUNGS = 4
_NOBODY, _CANNED = "nobody", "canned"


def phases(course: Course) -> str:
    """Shaded bands where something is broken, with the phases' names."""
    found = course.scenario.phases
    ends = [*(phase.at for phase in found[1:]), course.scenario.duration]
    marks = []
    for phase, end in zip(found, ends, strict=False):  # without phases there is one end too many
        x, wide = _x(course, phase.at), _x(course, end) - _x(course, phase.at)
        if phase.faults:
            marks.append(f'<rect x="{x:.1f}" y="0" width="{wide:.1f}" height="100%" fill="var(--phase)"/>')
        if phase.name and wide > 6 * len(phase.name):
            marks.append(f'<text x="{x + 4:.1f}" y="-4">{escape(phase.name)}</text>')
    return "".join(marks)


def legend(course: Course) -> str:
    """Which colour is which rung, and which targets answered on it."""
    kinds: dict[str, set[str]] = {}
    for one in course.served:
        kinds.setdefault(_kind(course, one), set()).add(one.receipt.target or "")
    items = []
    for kind in sorted(kinds, key=_order):
        who = ", ".join(sorted(kinds[kind] - {""}))
        word = {"nobody": "no answer", "canned": f"canned reply: {who}"}.get(kind, f"rung {kind[1:]}: {who}")
        items.append(f'<span><i style="background:var(--{kind})"></i>{escape(word)}</span>')
    return f'<div class="key">{"".join(items)}</div>'


def bars(course: Course, behind: str) -> str:
    """Requests by time, stacked by the rung that answered."""
    high = 150
    buckets = [Counter(_kind(course, one) for one in some) for some in _buckets(course)]
    top = max((sum(bucket.values()) for bucket in buckets), default=0) or 1
    wide = (WIDE - LEFT) / BUCKETS
    shapes = []
    for number, bucket in enumerate(buckets):
        y = float(high)
        for kind in sorted(bucket, key=_order):
            tall = bucket[kind] / top * high
            y -= tall
            x = LEFT + number * wide
            shapes.append(
                f'<rect x="{x + 0.75:.1f}" y="{y:.1f}" width="{wide - 1.5:.1f}" height="{tall:.1f}" '
                f'fill="var(--{kind})"><title>{bucket[kind]}</title></rect>'
            )
    return frame(course.scenario.duration, high, behind + "".join(shapes), [(0, "0"), (1, str(top))])


def band(course: Course, behind: str) -> str:
    """Median and 95th percentile of the time to the end, on a logarithmic scale of 1, 2, 5, 10."""
    high = 110
    rows = [
        (number, percentile(seconds, 0.5), percentile(seconds, 0.95))
        for number, some in enumerate(_buckets(course))
        if (seconds := [max(one.seconds, 0.001) for one in some])
    ]
    if not rows:
        return frame(course.scenario.duration, high, behind, [])
    scale = Logarithmic.around(min(median for _, median, _ in rows), max(p95 for *_, p95 in rows))
    middle = [(x_of_bucket(number + 0.5), high - scale.share(median) * high) for number, median, _ in rows]
    upper = [(x_of_bucket(number + 0.5), high - scale.share(p95) * high) for number, _, p95 in rows]
    around = " ".join(f"{x:.1f},{y:.1f}" for x, y in [*upper, *reversed(middle)])
    shapes = f'<polygon points="{around}" fill="var(--r1)" opacity="0.28"/>{line(middle, "r1")}'
    return frame(course.scenario.duration, high, behind + shapes, scale.ticks("s"))


def strips(course: Course) -> str:
    """The state of each target's circuit breaker over time."""
    names = list(course.samples[0].states) if course.samples else []
    row, shapes = 20, list[str]()
    colors = {"closed": "closed", "half_open": "half", "open": "open"}
    times = [*(sample.at for sample in course.samples), course.scenario.duration]
    for number, name in enumerate(names):
        y = number * row
        shapes.append(f'<text x="{LEFT - 6}" y="{y + 13}" text-anchor="end">{escape(_short(name))}</text>')
        states = ((sample.states[name], i) for i, sample in enumerate(course.samples))
        for state, run in groupby(states, key=lambda each: each[0]):
            places = [i for _, i in run]
            x, end = _x(course, times[places[0]]), _x(course, times[places[-1] + 1])
            shapes.append(
                f'<rect x="{x:.1f}" y="{y + 3}" width="{max(end - x, 1):.1f}" height="{row - 7}" rx="2" '
                f'fill="var(--{colors[state]})"><title>{escape(name)}: {state}</title></rect>'
            )
    high = len(names) * row
    return svg(high + 20, "".join([*shapes, *time_labels(course.scenario.duration, high)]))


def spend(course: Course, behind: str) -> str:
    """Money over time, added up."""
    high = 70
    sums = [float(sum(one.receipt.cost_usd for one in some)) for some in _buckets(course)]
    most = sum(sums)
    totals = [0.0, *accumulate(sums)]
    points = [(x_of_bucket(i), high - (total / most if most else 0) * high) for i, total in enumerate(totals)]
    ticks = [(0.0, "$0"), (1.0, f"${most:.2g}")] if most else [(0.0, "$0")]
    return frame(course.scenario.duration, high, behind + line(points, "r2"), ticks)


def _kind(course: Course, one: Served) -> str:
    receipt = one.receipt
    if not one.answered or receipt.target is None or receipt.rung is None:
        return _NOBODY
    return _CANNED if course.policy.targets[receipt.target].kind == _CANNED else f"r{min(receipt.rung, _RUNGS)}"


def _order(kind: str) -> tuple[int, str]:
    return {_CANNED: 1, _NOBODY: 2}.get(kind, 0), kind


def _buckets(course: Course) -> list[list[Served]]:
    buckets: list[list[Served]] = [[] for _ in range(BUCKETS)]
    for one in course.served:
        buckets[bucket_of(course.scenario.duration, one.at)].append(one)
    return buckets


def _x(course: Course, at: float) -> float:
    return x_of(course.scenario.duration, at)


def _short(name: str) -> str:
    return name if len(name) <= 9 else f"{name[:8]}…"
