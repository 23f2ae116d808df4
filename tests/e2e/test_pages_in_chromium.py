"""What people see of a drill and of a simulation, in a real browser: headless Chromium, driven by Playwright."""

from __future__ import annotations

import re
import shutil

import pytest

from hybridinfer.drill import compared
from hybridinfer.drill.page import page
from hybridinfer.drill.replay import replay
from hybridinfer.drill.run import run_drill
from hybridinfer.observe.records import RecordFile, read
from hybridinfer.policy.load import load, shipped

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt install chromium")

SCENARIO = {
    "version": 1,
    "name": "an outage <with> wishes & more",
    "description": "Both clouds fail, and more is expected than can be had.",
    "duration": "2m",
    "load": {
        "rate": 4,
        "requests": [
            {"name": "hard", "levels": {"complexity": "high", "privacy": "public"}},
            {"name": "mid", "levels": {"complexity": "medium", "privacy": "public"}},
        ],
    },
    "phases": [
        {"at": "20s", "name": "clouds down", "faults": {"cloud": "down"}},
        {"at": "90s", "name": "back"},
    ],
    "expect": {"answered_share": "99%", "p95": "1s", "rungs": [1], "max_attempts": 2, "recovery": "1s"},
}


class Browsed:
    """A page in the browser, and everything it said or asked for."""

    def __init__(self, tab, path) -> None:
        self.tab = tab
        self.said: list[str] = []
        self.asked: list[str] = []
        tab.on("console", lambda message: self.said.append(message.text))
        tab.on("pageerror", lambda error: self.said.append(str(error)))
        tab.on("request", lambda request: self.asked.append(request.url))
        self.url = path.as_uri()
        tab.goto(self.url)

    def texts(self, selector):
        """What stands in every element of that kind, as shown."""
        return [element.inner_text() for element in self.tab.query_selector_all(selector)]

    def colour(self, selector, what):
        """A computed colour of the first such element."""
        script = "([one, what]) => getComputedStyle(document.querySelector(one))[what]"
        return self.tab.evaluate(script, [selector, what])

    def wide(self):
        """How wide the whole page is, in pixels."""
        return self.tab.evaluate("document.documentElement.scrollWidth")


@pytest.fixture(scope="module")
def chromium():
    """One browser for all tests of this file. It cannot have its sandbox as root in a container."""
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def drill():
    """A drill that fails four of its expectations."""
    return run_drill(SCENARIO, shipped("default"))


@pytest.fixture
def browse(chromium, tmp_path):
    """Show HTML in a tab of its own, as wide as wanted and light or dark."""
    tabs = []

    def show(html, *, width=1100, scheme="light"):
        path = tmp_path / "page.html"
        path.write_text(html, encoding="utf-8")
        tabs.append(chromium.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme))
        return Browsed(tabs[-1], path)

    yield show
    for tab in tabs:
        tab.close()


def test_the_report_asks_for_nothing_and_says_nothing(browse, drill):
    """No request but for the page itself, nothing on the console."""
    shown = browse(page([drill]))
    assert (shown.asked, shown.said) == ([shown.url], [])


def test_the_report_shows_every_chart(browse, drill):
    """Timeline of rungs, latency band, breaker states, spend: each drawn, visible and of some height."""
    shown = browse(page([drill]))
    heads = shown.texts("h3")
    for word in ("Who answered, by rung", "Seconds to the end", "Circuit breakers", "Spent, in USD"):
        assert any(word in head for head in heads)
    charts = shown.tab.query_selector_all(".plot > svg")
    assert len(charts) == 4
    assert all(chart.is_visible() and chart.bounding_box()["height"] > 40 for chart in charts)
    bars, band, breakers, spent = charts
    assert {"var(--r1)", "var(--r3)"} <= {
        shape.get_attribute("fill") for shape in bars.query_selector_all("rect[fill^='var(--r']")
    }
    assert band.query_selector("polygon").bounding_box()["width"] > 700
    assert breakers.query_selector("rect[fill='var(--open)']").bounding_box()["width"] > 50
    assert spent.query_selector("polyline").is_visible()
    assert "clouds down" in bars.text_content()


def test_each_failed_expectation_shows_its_receipts(browse, drill):
    """The requests that speak against it are open to see, with every attempt and the receipt's id."""
    failed = {verdict.key for verdict in drill.verdicts if not verdict.passed}
    assert failed == {"p95", "rungs", "max_attempts", "recovery"}
    shown = browse(page([drill]))
    summaries = shown.texts("details > summary")
    assert {text.partition(":")[0] for text in summaries} == failed
    for details in shown.tab.query_selector_all("details"):
        items = details.query_selector_all("li")
        assert items
        assert all(item.is_visible() and re.search(r"\(sim_\d+\)", item.inner_text()) for item in items)


@pytest.fixture(scope="module")
def simulated(drill, tmp_path_factory):
    """The drill's requests as recorded traffic, replayed through a policy that saves money."""
    file, now = (
        tmp_path_factory.mktemp("traffic") / "decisions.jsonl",
        iter(one.at + 1e9 for one in drill.course.served),
    )
    record = RecordFile(file, clock=lambda: next(now))
    for one in drill.course.served:
        record.on_receipt(one.receipt)
    policy = load(shipped("cost-saver"))
    result = replay(policy, [one for one in read(file) if one is not None])
    return compared.page(result, policy=policy.name, digest="0123456789ab", traffic="decisions.jsonl")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1100, 390])
def test_a_simulation_shows_before_and_after(browse, simulated, width, scheme):
    """Nothing asked for, nothing said, no sideways scrolling, each plot with both lines to see."""
    shown = browse(simulated, width=width, scheme=scheme)
    assert (shown.asked, shown.said, shown.wide()) == ([shown.url], [], width)
    charts = shown.tab.query_selector_all(".plot > svg")
    assert len(charts) >= 4
    for chart in charts[:4]:
        assert chart.is_visible()
        assert {line.get_attribute("stroke") for line in chart.query_selector_all("polyline")} == {
            "var(--canned)",
            "var(--r1)",
        }


def test_names_are_shown_as_they_are_written(browse, drill):
    """Markup in a scenario's name is text on the page."""
    assert any("an outage <with> wishes & more" in text for text in browse(page([drill])).texts("h2"))


def test_the_report_fits_a_phone(browse, drill):
    """Only the charts scroll sideways, and their labels stay readable."""
    shown = browse(page([drill]), width=390)
    assert shown.wide() == 390
    label = shown.tab.query_selector(".plot svg text").bounding_box()
    assert label["height"] >= 7


def test_the_report_has_a_light_and_a_dark_face(browse, drill):
    """Paper and ink change places with the reader's setting."""
    light, dark = (browse(page([drill]), scheme=scheme) for scheme in ("light", "dark"))
    assert light.colour("body", "backgroundColor") == "rgb(255, 255, 255)"
    assert dark.colour("body", "backgroundColor") != light.colour("body", "backgroundColor")
    assert dark.colour("body", "color") != light.colour("body", "color")
