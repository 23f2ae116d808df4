"""Recorded traffic before and after a new policy, for people: a table, and one self-contained page with plots."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from html import escape
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from .axes import BUCKETS, LEFT, WIDE, Logarithmic, bucket_of, frame, line, x_of_bucket
from .judge import percentile
from .page import STYLE, key, mark

if TYPE_CHECKING:
    from .replay import Moment, Picture, Replay

BEFORE, AFTER = "canned", "r1"
"""Grey is what was, in colour what would have been."""
_HIGH = 110


class Row(NamedTuple):
    """One figure in words; `change` is empty where nothing changes."""

    name: str
    before: str
    after: str
    change: str = ""


def rows(result: Replay) -> list[Row]:
    """Every figure, before and after."""
    return [_row(name, show, get(result.before), get(result.after)) for name, get, show in _FIGURES]


def page(result: Replay, *, policy: str, digest: str, traffic: str) -> str:
    """The page. It holds no prompt, no answer and no tag."""
    sound = not result.after.violations
    title = f"{policy}: {result.after.requests:,} recorded requests replayed"
    about = f"hybridinfer policy simulate: policy {policy} ({digest}), traffic {traffic}, on a virtual clock"
    return "".join(
        [
            '<!doctype html><html lang="en"><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width,initial-scale=1">',
            f"<title>{escape(title)}</title><style>{STYLE}</style>",
            f"<h1>{mark(sound)}{escape(title)}</h1>",
            f'<p class="dim">{escape(about)}</p>',
            _table(rows(result)),
            *_notes(result),
            key({BEFORE: "before, as recorded", AFTER: "after, with the new policy"}),
            *_plots(result),
            "</html>\n",
        ]
    )


def _table(found: Sequence[Row]) -> str:
    cells = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in found)
    return f"<table><tr><th></th><th>before</th><th>after</th><th>change</th></tr>{cells}</table>"


def _notes(result: Replay) -> Iterator[str]:
    if not result.after.violations:
        yield "<p>No call would cross a boundary of this policy.</p>"
    else:
        yield (
            f'<p class="bad">{result.after.violations:,} calls would cross a boundary of this policy. That is a fault '
            "of hybridinfer, please report it.</p>"
        )
    if result.before.violations:
        yield f'<p class="dim">{result.before.violations:,} recorded calls cross a boundary of the new policy.</p>'
    if result.guessed:
        names = escape(", ".join(result.guessed))
        yield f'<p class="dim">No history of {names}: each call there is guessed to take half of its timeout.</p>'
    if result.unmeasured:
        names = escape(", ".join(result.unmeasured))
        yield f'<p class="dim">Some records lack {names}: it counts as its highest level there.</p>'


def _plots(result: Replay) -> Iterator[str]:
    """Each measure over the time of the recording."""
    both = (result.moments_before, BEFORE), (result.moments_after, AFTER)
    duration = max((one.at for one in result.moments_before), default=0.0) or 1.0
    minutes = f"{duration / BUCKETS:.3g} s each"
    sides = [(_buckets(moments, duration), color) for moments, color in both]
    yield f"<h3>Share answered by a cloud ({BUCKETS} steps, {minutes})</h3>"
    yield _shares(duration, sides, lambda one: one.zone == "cloud")
    yield "<h3>Spent, in USD, added up</h3>"
    yield _totals(duration, sides)
    yield "<h3>Seconds to the end of the answer: median (whole line) and 95th percentile (dashed)</h3>"
    yield _seconds(duration, sides)
    yield "<h3>Share not answered by the first choice, or not at all</h3>"
    yield _shares(duration, sides, lambda one: one.degraded or one.zone is None)
    if result.before.violations or result.after.violations:
        yield "<h3>Calls that the new policy's boundaries forbid</h3>"
        yield _violations(duration, sides)


_Side = tuple[list[list["Moment"]], str]


def _shares(duration: float, sides: Sequence[_Side], counts: Callable[[Moment], bool]) -> str:
    shapes = "".join(
        line(
            (
                (x_of_bucket(i + 0.5), _HIGH * (1 - sum(map(counts, some)) / len(some)))
                for i, some in enumerate(buckets)
                if some
            ),
            color,
        )
        for buckets, color in sides
    )
    return frame(duration, _HIGH, shapes, [(0.0, "0%"), (0.5, "50%"), (1.0, "100%")])


def _totals(duration: float, sides: Sequence[_Side]) -> str:
    sums = [
        ([0.0, *accumulate(float(sum(one.cost_usd for one in some)) for some in buckets)], color)
        for buckets, color in sides
    ]
    most = max(totals[-1] for totals, _ in sums)
    shapes = "".join(
        line(((x_of_bucket(i), _HIGH * (1 - (usd / most if most else 0))) for i, usd in enumerate(totals)), color)
        for totals, color in sums
    )
    return frame(duration, _HIGH, shapes, [(0.0, "$0"), (1.0, f"${most:.2g}")] if most else [(0.0, "$0")])


def _seconds(duration: float, sides: Sequence[_Side]) -> str:
    measured = [
        (
            [
                (
                    x_of_bucket(i + 0.5),
                    *(max(percentile([one.seconds for one in some], at), 0.001) for at in (0.5, 0.95)),
                )
                for i, some in enumerate(buckets)
                if some
            ],
            color,
        )
        for buckets, color in sides
    ]
    scale = Logarithmic.around(
        min(median for found, _ in measured for _, median, _ in found),
        max(slow for found, _ in measured for *_, slow in found),
    )

    def y(seconds: float) -> float:
        return _HIGH * (1 - scale.share(seconds))

    shapes = "".join(
        line(((x, y(median)) for x, median, _ in found), color)
        + line(((x, y(slow)) for x, _, slow in found), color, wide=1.2, dashed=True)
        for found, color in measured
    )
    return frame(duration, _HIGH, shapes, scale.ticks("s"))


def _violations(duration: float, sides: Sequence[_Side]) -> str:
    counts = [([sum(one.violations for one in some) for some in buckets], color) for buckets, color in sides]
    most = max(max(found) for found, _ in counts)
    wide = (WIDE - LEFT) / BUCKETS / 2
    shapes = "".join(
        f'<rect x="{x_of_bucket(i) + at * wide:.1f}" y="{_HIGH * (1 - count / most):.1f}" width="{wide - 1:.1f}" '
        f'height="{_HIGH * count / most:.1f}" fill="var(--{color})"><title>{count}</title></rect>'
        for at, (found, color) in enumerate(counts)
        for i, count in enumerate(found)
        if count
    )
    return frame(duration, _HIGH, shapes, [(0.0, "0"), (1.0, str(most))])


def _buckets(moments: Sequence[Moment], duration: float) -> list[list[Moment]]:
    buckets: list[list[Moment]] = [[] for _ in range(BUCKETS)]
    for one in moments:
        buckets[bucket_of(duration, one.at)].append(one)
    return buckets


def _row(name: str, show: Callable[[float], str], before: float, after: float) -> Row:
    shown = show(before), show(after)
    difference = after - before
    if shown[0] == shown[1]:
        return Row(name, *shown)
    sign = "+" if difference > 0 else "-"
    change = f"{sign}{abs(difference) * 100:.1f} points" if show is _share else f"{sign}{show(abs(difference))}"
    if show is not _share and before:
        change += f" ({difference / before:+.0%})" if difference < before else f" (x {after / before:.1f})"
    return Row(name, *shown, change)


def _share(value: float) -> str:
    return f"{value:.1%}"


def _count(value: float) -> str:
    return f"{value:,.0f}"


def _duration(value: float) -> str:
    return f"{value:.2f} s"


def _usd(value: float) -> str:
    return f"${value:.6f}".rstrip("0").removesuffix(".") if value else "$0"


_Figure = tuple[str, Callable[["Picture"], float], Callable[[float], str]]
_FIGURES: tuple[_Figure, ...] = (
    ("requests", lambda picture: picture.requests, _count),
    ("answered share", lambda picture: picture.answered_share, _share),
    ("cloud share", lambda picture: picture.cloud_share, _share),
    ("degraded share", lambda picture: picture.degraded_share, _share),
    ("cost", lambda picture: float(picture.cost_usd), _usd),
    ("median", lambda picture: picture.p50_seconds, _duration),
    ("95th percentile", lambda picture: picture.p95_seconds, _duration),
    ("violations", lambda picture: picture.violations, _count),
)
