"""The table and the page of a replay."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest

from hybridinfer.drill.compared import Row, page, rows
from hybridinfer.drill.replay import Moment, Picture, Replay


def picture(**more):
    """Ten requests, half of them answered by a cloud."""
    usual = {
        "requests": 10,
        "answered_share": 1.0,
        "cloud_share": 0.5,
        "degraded_share": 0.0,
        "cost_usd": Decimal("0.004"),
        "p50_seconds": 1.0,
        "p95_seconds": 2.0,
        "violations": 0,
    }
    return Picture(**{**usual, **more})


def moments(*, zone="cloud", seconds=1.0, violations=0, cost="0.001", at=(0, 30, 60)):
    """Three requests within a minute."""
    return tuple(
        Moment(at=float(one), seconds=seconds, zone=zone, degraded=False, cost_usd=Decimal(cost), violations=violations)
        for one in at
    )


def replayed(before=None, after=None, **more):
    """A replay of it."""
    usual = {"moments_before": moments(), "moments_after": moments(zone="device", seconds=4.0, cost="0")}
    return Replay(
        before=before or picture(),
        after=after or picture(),
        **{**usual, "guessed": (), "unmeasured": (), **more},
    )


def shown(result, **more):
    """The page."""
    return page(result, **{"policy": "new", "digest": "0123456789ab", "traffic": "decisions.jsonl", **more})


def test_what_stays_has_no_change():
    """Equal figures, empty cell."""
    assert rows(replayed())[0] == Row("requests", "10", "10", "")


@pytest.mark.parametrize(
    ("field", "value", "change"),
    [
        ("cloud_share", 0.25, "-25.0 points"),
        ("cost_usd", Decimal("0.006"), "+$0.002 (+50%)"),
        ("p95_seconds", 20.0, "+18.00 s (x 10.0)"),
        ("p50_seconds", 0.5, "-0.50 s (-50%)"),
        ("violations", 3, "+3"),
    ],
)
def test_a_change_in_words(field, value, change):
    """Shares in points, other figures with what they are of what was."""
    (changed,) = [row for row in rows(replayed(after=picture(**{field: value}))) if row.change]
    assert changed.change == change


def test_the_page_stands_alone():
    """No script, nothing from elsewhere, names escaped."""
    html = shown(replayed(), policy="<b>new</b>")
    assert "<b>" not in html.replace("<b>new", "")
    assert "&lt;b&gt;new" in html
    assert not re.search(r"<script|<link|src=|href=|url\(|@import", html)


def test_the_plots():
    """Cloud share, money, seconds and degraded share: one line each for before and after, two for the seconds."""
    html = shown(replayed())
    assert html.count('<div class="plot">') == 4
    assert html.count('stroke="var(--canned)"') == html.count('stroke="var(--r1)"') == 5


def test_money_that_nobody_spent():
    """A scale from nothing to nothing is no error."""
    free = moments(cost="0")
    assert "$0" in shown(replayed(moments_before=free, moments_after=free))


def test_one_single_moment():
    """A recording without length is drawn, too."""
    one = moments(at=(0,))
    assert "<polyline" in shown(replayed(moments_before=one, moments_after=one))


def test_violations_are_drawn_and_told():
    """The mark is red, the calls are counted, and the recorded ones told apart from those of the replay."""
    crossing = moments(violations=1)
    html = shown(
        replayed(picture(violations=3), picture(violations=3), moments_before=crossing, moments_after=crossing)
    )
    assert html.count('<div class="plot">') == 5
    assert "FAIL" in html
    assert "3 calls would cross a boundary" in html
    assert "3 recorded calls cross a boundary" in html
    assert "PASS" in shown(replayed())


def test_guesses_are_told():
    """What is not measured is said to be guessed."""
    html = shown(replayed(guessed=("small",), unmeasured=("mood",)))
    assert "No history of small" in html
    assert "Some records lack mood" in html
