"""How the demo looks on a terminal, narrow and wide."""

from __future__ import annotations

import io
from decimal import Decimal

import pytest
from rich.console import Console

from hybridinfer.cli.demo.play import Played
from hybridinfer.cli.demo.prompt import Prompt
from hybridinfer.cli.demo.stage import Stage
from hybridinfer.cli.demo.view import View, columns
from hybridinfer.edge.catalogue import find
from hybridinfer.edge.progress import Progress
from hybridinfer.policy.load import loads
from hybridinfer.receipt import Attempt, Code, Decision, Receipt

PROMPT = Prompt(name="a prompt with quite a long name", prompt="hello")
STAGE = Stage(
    policy=loads("version: 1\ntargets: {strong: {kind: openai, model: m}}\nrules: [{name: a, use: [strong]}]\n"),
    environ={},
    emulated=frozenset({"strong"}),
)
DECISION = Decision(
    rule="everything-else", levels={"privacy": "personal", "complexity": "medium"}, ladder=("strong",), plan=("strong",)
)


def view(width, *, terminal=True):
    """A view on a terminal that remembers everything, and its memory."""
    memory = io.StringIO()
    return View(Console(file=memory, width=width, force_terminal=terminal, color_system=None)), memory


def played(code=Code.OK, text="Hello there."):
    """A prompt that the first cloud answered, or that nobody did."""
    answered = code is Code.OK
    return Played(
        prompt=PROMPT,
        text=text,
        receipt=Receipt(
            id="r",
            policy="p",
            decision=DECISION,
            attempts=(
                Attempt(target="strong", number=1, code=code, first_token_seconds=0.123, cost_usd=Decimal("0.00012")),
            ),
            target="strong" if answered else None,
            zone="cloud" if answered else None,
            rung=1 if answered else None,
            seconds=1.234,
        ),
    )


@pytest.mark.parametrize("width", [80, 100, 120, 200])
def test_no_line_is_wider_than_the_terminal(width):
    """Rows, titles, answers and trails fit."""
    screen, memory = view(width)
    screen.table_head()
    screen.row(played(text="word " * 100), STAGE)
    screen.trail(played(text="长城" * 100))
    screen.facts([("name", "word " * 100)])
    assert all(len(line) <= width for line in memory.getvalue().splitlines())


def test_a_wide_terminal_shows_whole_names():
    """At 120 columns neither the rule nor the emulator is cut."""
    screen, memory = view(120)
    screen.row(played(), STAGE)
    row = memory.getvalue().splitlines()[0]
    assert "everything-else" in row
    assert "strong (emulator)" in row
    assert row.endswith(" 0.12  1.23 0.00012")


def test_the_columns_use_what_there_is():
    """Eighty cells are the least; beyond 132 nothing grows any more."""
    total = {width: sum(column.width + 1 for column in columns(width)) - 1 for width in (40, 80, 132, 300)}
    assert total[40] == total[80] <= 80
    assert total[80] < total[132] == total[300] <= 132


def test_nobody_answered():
    """A prompt without an answer is shown, not hidden."""
    screen, memory = view(80)
    screen.row(played(Code.UNAVAILABLE, ""), STAGE)
    screen.trail(played(Code.UNAVAILABLE, ""))
    text = memory.getvalue()
    assert "nobody" in text
    assert "(no answer)" in text
    assert "strong unavailable" in text


def test_the_live_line_shows_the_answer_as_it_grows():
    """On a terminal the running prompt shows its last words; the line is gone afterwards."""
    screen, memory = view(80)
    with screen.running(PROMPT) as on_text:
        on_text("first words")
    assert "first words" in memory.getvalue()
    with screen.running(PROMPT) as on_text:
        on_text("x" * 500 + " the very end")
    assert "the very end" in memory.getvalue()
    assert "\x1b[2K" in memory.getvalue()


def test_in_a_pipe_nothing_is_live():
    """Without a terminal neither the running prompt nor the spinner leaves a trace."""
    screen, memory = view(80, terminal=False)
    with screen.running(PROMPT) as on_text:
        on_text("first words")
    with screen.working("loading"):
        pass
    assert memory.getvalue() == ""


def test_fetching_shows_a_bar_on_a_terminal():
    """The bar names the stage and the model."""
    screen, memory = view(100)
    with screen.pulling(find("smollm2-135m")) as report:
        report(Progress(stage="fetch", done=1, total=2))
        report(Progress(stage="fetch", done=2, total=2))
        report(Progress(stage="convert", done=1, total=2))
    assert "fetching smollm2-135m" in memory.getvalue()
    assert "converting smollm2-135m" in memory.getvalue()


def test_fetching_is_one_line_per_stage_in_a_pipe():
    """A log file gets no bars."""
    screen, memory = view(100, terminal=False)
    with screen.pulling(find("smollm2-135m")) as report:
        for done in range(3):
            report(Progress(stage="fetch", done=done, total=2))
        report(Progress(stage="verify", done=1, total=2))
    assert memory.getvalue() == "fetching smollm2-135m ...\nchecking the sha256 of smollm2-135m ...\n"
