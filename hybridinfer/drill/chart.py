"""The charts of a drill's page, as inline SVG in the page's own colours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape
from itertools import groupby
from math import ceil, floor, log10
from typing import TYPE_CHECKING

from .judge import percentile

if TYPE_CHECKING:
    from .course import Course, Served

BUCKETS = 60
_WIDE, _LEFT = 960, 58
_RUNGS = 4
_MOST_TICKS = 5
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
    wide = (_WIDE - _LEFT) / BUCKETS
    shapes = []
    for number, bucket in enumerate(buckets):
        y = float(high)
        for kind in sorted(bucket, key=_order):
            tall = bucket[kind] / top * high
            y -= tall
            x = _LEFT + number * wide
            shapes.append(
                f'<rect x="{x + 0.75:.1f}" y="{y:.1f}" width="{wide - 1.5:.1f}" height="{tall:.1f}" '
                f'fill="var(--{kind})"><title>{bucket[kind]}</title></rect>'
            )
    return _frame(course, high, behind + "".join(shapes), [(0, "0"), (top, str(top))], top)


def band(course: Course, behind: str) -> str:
    """Median and 95th percentile of the time to the end, on a logarithmic scale of 1, 2, 5, 10."""
    high = 110
    rows = [
        (number, percentile(seconds, 0.5), percentile(seconds, 0.95))
        for number, some in enumerate(_buckets(course))
        if (seconds := [max(one.seconds, 0.001) for one in some])
    ]
    if not rows:
        return _frame(course, high, behind, [], 1)
    low = _round(min(median for _, median, _ in rows), down=True)
    top = max(_round(max(p95 for *_, p95 in rows)), low + 1)

    def y(seconds: float) -> float:
        return high - (log10(seconds) - log10(_tick(low))) / (log10(_tick(top)) - log10(_tick(low))) * high

    def x(number: int) -> float:
        return _LEFT + (number + 0.5) * (_WIDE - _LEFT) / BUCKETS

    upper = " ".join(f"{x(number):.1f},{y(p95):.1f}" for number, _, p95 in rows)
    lower = " ".join(f"{x(number):.1f},{y(median):.1f}" for number, median, _ in reversed(rows))
    middle = " ".join(f"{x(number):.1f},{y(median):.1f}" for number, median, _ in rows)
    shapes = (
        f'<polygon points="{upper} {lower}" fill="var(--r1)" opacity="0.28"/>'
        f'<polyline points="{middle}" fill="none" stroke="var(--r1)" stroke-width="1.8"/>'
    )
    step = ceil((top - low) / _MOST_TICKS)
    ticks = [((high - y(_tick(number))) / high, f"{_tick(number):g} s") for number in range(low, top + 1, step)]
    return _frame(course, high, behind + shapes, ticks, 1)


def _tick(number: int) -> float:
    """The series ... 0.5, 1, 2, 5, 10 ...; number 0 is 1."""
    return (1, 2, 5)[number % 3] * 10.0 ** (number // 3)


def _round(value: float, *, down: bool = False) -> int:
    """The number of the nearest member of that series that is not below `value` (or, `down`, not above it)."""
    number = 3 * floor(log10(value))
    while _tick(number + 1) <= value:
        number += 1
    return number if down or _tick(number) >= value else number + 1


def strips(course: Course) -> str:
    """The state of each target's circuit breaker over time."""
    names = list(course.samples[0].states) if course.samples else []
    row, shapes = 20, list[str]()
    colors = {"closed": "closed", "half_open": "half", "open": "open"}
    times = [*(sample.at for sample in course.samples), course.scenario.duration]
    for number, name in enumerate(names):
        y = number * row
        shapes.append(f'<text x="{_LEFT - 6}" y="{y + 13}" text-anchor="end">{escape(_short(name))}</text>')
        states = ((sample.states[name], i) for i, sample in enumerate(course.samples))
        for state, run in groupby(states, key=lambda each: each[0]):
            places = [i for _, i in run]
            x, end = _x(course, times[places[0]]), _x(course, times[places[-1] + 1])
            shapes.append(
                f'<rect x="{x:.1f}" y="{y + 3}" width="{max(end - x, 1):.1f}" height="{row - 7}" rx="2" '
                f'fill="var(--{colors[state]})"><title>{escape(name)}: {state}</title></rect>'
            )
    return _svg(len(names) * row + 20, "".join([*shapes, *_hours(course, len(names) * row)]))


def spend(course: Course, behind: str) -> str:
    """Money over time, added up."""
    high, total = 70, 0.0
    points = [f"{_LEFT},{high}"]
    sums = [float(sum(one.receipt.cost_usd for one in some)) for some in _buckets(course)]
    most = sum(sums)
    for number, usd in enumerate(sums):
        total += usd
        x = _LEFT + (number + 1) * (_WIDE - _LEFT) / BUCKETS
        points.append(f"{x:.1f},{high - (total / most if most else 0) * high:.1f}")
    line = f'<polyline points="{" ".join(points)}" fill="none" stroke="var(--r2)" stroke-width="1.8"/>'
    return _frame(course, high, behind + line, [(0, "$0"), (1, f"${most:.2g}")] if most else [(0, "$0")], 1)


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
        buckets[min(int(one.at / course.scenario.duration * BUCKETS), BUCKETS - 1)].append(one)
    return buckets


def _x(course: Course, at: float) -> float:
    return _LEFT + min(at / course.scenario.duration, 1) * (_WIDE - _LEFT)


def _frame(course: Course, high: int, shapes: str, ticks: Iterable[tuple[float, str]], top: float) -> str:
    """A plot with its axes: `ticks` on the left, time below."""
    marks = [
        f'<line x1="{_LEFT}" x2="{_WIDE}" y1="{high - value / top * high:.1f}" y2="{high - value / top * high:.1f}" '
        f'stroke="var(--line)"/><text x="{_LEFT - 6}" y="{high - value / top * high + 4:.1f}" '
        f'text-anchor="end">{escape(word)}</text>'
        for value, word in ticks
    ]
    marks += _hours(course, high)
    # What is shaded ends with the plot, not with its labels.
    plot = f'<svg x="0" y="0" width="{_WIDE}" height="{high}" overflow="visible">{shapes}</svg>'
    return _svg(high + 20, "".join(marks) + plot, above=14)


def _hours(course: Course, high: float) -> list[str]:
    """The time, below a plot that is so high."""
    return [
        f'<text x="{_x(course, at):.1f}" y="{high + 15}" text-anchor="{_anchor(at, course)}">{_time(at)}</text>'
        for at in _times(course.scenario.duration)
    ]


def _anchor(at: float, course: Course) -> str:
    return "end" if at >= course.scenario.duration else "middle" if at else "start"


def _times(duration: float) -> Sequence[float]:
    step = next((step for step in _STEPS if duration / step <= 10), duration)
    return [step * i for i in range(int(duration // step) + 1)]


_STEPS = (0.1, 0.5, 1, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21_600, 86_400)


def _time(at: float) -> str:
    if at >= 3600 and at % 3600 == 0:
        return f"{at / 3600:g} h"
    return f"{at / 60:g} min" if at >= 60 and at % 60 == 0 else f"{at:g} s"


def _short(name: str) -> str:
    return name if len(name) <= 9 else f"{name[:8]}…"


def _svg(high: float, inside: str, *, above: int = 0) -> str:
    box = f"0 {-above} {_WIDE} {high + above:g}"
    return f'<div class="plot"><svg viewBox="{box}" role="img">{inside}</svg></div>'
