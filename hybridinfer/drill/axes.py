"""Plots over time as inline SVG, in the colours of the page around them: axes, ticks, scales."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10

BUCKETS = 60
WIDE, LEFT = 960, 58
_MOST_TICKS = 5


def x_of(duration: float, at: float) -> float:
    """Where a moment stands; what comes later than the end stands at the end."""
    return LEFT + min(at / duration, 1) * (WIDE - LEFT)


def x_of_bucket(number: float) -> float:
    """Where the bucket of that number begins."""
    return LEFT + number * (WIDE - LEFT) / BUCKETS


def bucket_of(duration: float, at: float) -> int:
    """The bucket of a moment."""
    return min(int(at / duration * BUCKETS), BUCKETS - 1)


def frame(duration: float, high: int, shapes: str, ticks: Iterable[tuple[float, str]]) -> str:
    """A plot with its axes: `ticks` on the left as (share of the height, words), time below."""
    marks = [
        f'<line x1="{LEFT}" x2="{WIDE}" y1="{high - share * high:.1f}" y2="{high - share * high:.1f}" '
        f'stroke="var(--line)"/><text x="{LEFT - 6}" y="{high - share * high + 4:.1f}" '
        f'text-anchor="end">{escape(word)}</text>'
        for share, word in ticks
    ]
    # What is shaded ends with the plot, not with its labels.
    plot = f'<svg x="0" y="0" width="{WIDE}" height="{high}" overflow="visible">{shapes}</svg>'
    return svg(high + 20, "".join([*marks, *time_labels(duration, high), plot]), above=14)


def svg(high: float, inside: str, *, above: int = 0) -> str:
    """A picture as wide as the page; on a phone it scrolls sideways."""
    box = f"0 {-above} {WIDE} {high + above:g}"
    return f'<div class="plot"><svg viewBox="{box}" role="img">{inside}</svg></div>'


def line(points: Iterable[tuple[float, float]], color: str, *, wide: float = 1.8, dashed: bool = False) -> str:
    """A line through points, in one of the page's colours."""
    way = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dashes = ' stroke-dasharray="5 4"' if dashed else ""
    return f'<polyline points="{way}" fill="none" stroke="var(--{color})" stroke-width="{wide}"{dashes}/>'


def time_labels(duration: float, high: float) -> list[str]:
    """The time, below a plot that is so high."""
    return [
        f'<text x="{x_of(duration, at):.1f}" y="{high + 15}" text-anchor="{_anchor(at, duration)}">{_time(at)}</text>'
        for at in times(duration)
    ]


def times(duration: float) -> Sequence[float]:
    """Round moments, at most eleven."""
    step = next((step for step in _STEPS if duration / step <= 10), duration)
    return [step * i for i in range(int(duration // step) + 1)]


@dataclass(frozen=True, slots=True)
class Logarithmic:
    """A scale from one member of ... 0.5, 1, 2, 5, 10 ... to another; members are numbered, 1 is number 0."""

    low: int
    top: int

    @classmethod
    def around(cls, least: float, most: float) -> Logarithmic:
        """The narrowest that holds both."""
        low = _number(least)
        top = _number(most)
        return cls(low, max(top if _member(top) >= most else top + 1, low + 1))

    def share(self, value: float) -> float:
        """0 at the low end, 1 at the top."""
        least, most = log10(_member(self.low)), log10(_member(self.top))
        return (log10(value) - least) / (most - least)

    def ticks(self, unit: str) -> list[tuple[float, str]]:
        """Some members with their places."""
        step = ceil((self.top - self.low) / _MOST_TICKS)
        return [
            (self.share(_member(number)), f"{_member(number):g} {unit}")
            for number in range(self.low, self.top + 1, step)
        ]


def _member(number: int) -> float:
    return (1, 2, 5)[number % 3] * 10.0 ** (number // 3)


def _number(value: float) -> int:
    """Of the largest member that is not above `value`."""
    number = 3 * floor(log10(value))
    while _member(number + 1) <= value:
        number += 1
    return number


def _anchor(at: float, duration: float) -> str:
    return "end" if at >= duration else "middle" if at else "start"


_STEPS = (0.1, 0.5, 1, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21_600, 86_400, 172_800, 604_800)


def _time(at: float) -> str:
    if at >= 86_400 and at % 86_400 == 0:
        return f"{at / 86_400:g} d"
    if at >= 3600 and at % 3600 == 0:
        return f"{at / 3600:g} h"
    return f"{at / 60:g} min" if at >= 60 and at % 60 == 0 else f"{at:g} s"
