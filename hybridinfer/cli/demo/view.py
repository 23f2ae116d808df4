"""How the demo looks: a live line for the prompt under way, a row for each that is done, plain lines in a pipe."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from textwrap import wrap
from typing import TYPE_CHECKING

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from ...receipt import Attempt, Receipt

if TYPE_CHECKING:
    from rich.console import Console

    from ...edge.catalogue import Model
    from ...edge.progress import Progress, Report
    from .play import Played
    from .prompt import Prompt
    from .stage import Stage

NARROW, WIDE = 80, 132
STAGES = {"fetch": "fetching", "verify": "checking the sha256 of", "convert": "converting"}


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the table: its title, its width, whether numbers stand in it."""

    title: str
    width: int
    right: bool = False


class View:
    """Everything that the demo prints, on one console."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._columns = columns(console.width)

    def say(self, text: str = "", style: str = "") -> None:
        """A line of talk; wraps at the width of the terminal."""
        self._console.print(Text(text, style=style))

    def heading(self, text: str) -> None:
        """The title of an act."""
        self.say()
        self.say(text, "bold")

    def table_head(self) -> None:
        """The titles of the columns."""
        self._console.print(self._line([(column.title, "dim") for column in self._columns]), no_wrap=True)

    @contextmanager
    def running(self, prompt: Prompt) -> Iterator[Callable[[str], object]]:
        """While a prompt is under way: a spinner, its name, the seconds and the answer so far. Nothing in a pipe."""
        if not self._console.is_terminal:
            yield lambda _: None
            return
        from rich.live import Live

        live_line = _LiveLine(prompt)
        with Live(live_line, console=self._console, transient=True, refresh_per_second=10):
            yield live_line.update

    @contextmanager
    def working(self, what: str) -> Iterator[None]:
        """While something takes a moment: a spinner and what it is. Nothing in a pipe."""
        with self._console.status(Text(what, style="dim")) if self._console.is_terminal else nullcontext():
            yield

    def row(self, played: Played, stage: Stage) -> None:
        """A finished prompt: one line of the table, and the answer under it."""
        self._console.print(self._line(cells(played, stage)), no_wrap=True)
        self._excerpt(played)

    def trail(self, played: Played) -> None:
        """A finished prompt of an outage: where the answer came from, every rung that was tried, the answer."""
        receipt = played.receipt
        where = (
            f"rung {receipt.rung}{', degraded' if receipt.degraded else ''}" if played.answered else "nobody answered"
        )
        name = played.prompt.name.ljust(self._columns[0].width)
        self._console.print(Text.assemble((name, "bold"), f" {where}, {receipt.seconds:.2f} s"))
        line = Text("  ")
        for position, (target, attempts) in enumerate(_by_target(receipt.attempts)):
            line.append(" -> " if position else "", "dim")
            won = target == receipt.target
            line.append(target if won else f"{target} {_failures(attempts)}", "green" if won else "red")
        self._console.print(line)
        self._excerpt(played)

    def facts(self, rows: Sequence[tuple[str, str]]) -> None:
        """Two columns: a name and what is true of it; long values wrap under themselves."""
        margin = max(len(name) for name, _ in rows) + 2
        for name, value in rows:
            first, *rest = wrap(value, self._console.width - margin) or [""]
            self._console.print(Text.assemble((name.ljust(margin), "bold"), first))
            for line in rest:
                self._console.print(Text(" " * margin + line))

    @contextmanager
    def pulling(self, model: Model) -> Iterator[Report]:
        """While a model is fetched and converted: a bar for each stage, or one line for each in a pipe."""
        if not self._console.is_terminal:
            yield _StageLines(self, model)
            return
        from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
        )
        with bars:
            tasks = {}

            def report(progress: Progress) -> None:
                if progress.stage not in tasks:
                    tasks[progress.stage] = bars.add_task(f"{STAGES[progress.stage]} {model.id}", total=progress.total)
                bars.update(tasks[progress.stage], completed=progress.done, total=progress.total)

            yield report

    def _excerpt(self, played: Played) -> None:
        answer = " ".join(played.text.split()) or "(no answer)"
        self._console.print(Text(_cut("  " + answer, self._console.width - 1), style="dim"), no_wrap=True)

    def _line(self, values: Sequence[tuple[str, str]]) -> Text:
        line = Text()
        for column, (value, style) in zip(self._columns, values, strict=True):
            cut = _cut(value, column.width)
            pad = " " * (column.width - cell_len(cut))
            line.append(pad + cut if column.right else cut + pad, style)
            line.append(" ")
        line.rstrip()
        return line


def columns(width: int) -> list[Column]:
    """The table's columns for a terminal `width` cells wide: names, rules and targets share what is left over."""
    spare = max(0, min(width, WIDE) - NARROW)
    return [
        Column("prompt", 14 + spare // 4),
        Column("levels", 15 + min(3, spare // 8)),
        Column("rule", 11 + spare // 4),
        Column("answered by", 17 + spare // 6),
        Column("first", 5, right=True),
        Column("secs", 5, right=True),
        Column("USD", 7, right=True),
    ]


def cells(played: Played, stage: Stage) -> list[tuple[str, str]]:
    """The texts and styles of a row, in the order of the columns."""
    receipt, decision = played.receipt, played.receipt.decision
    levels = dict(decision.levels) if decision else {}
    private = levels.get("privacy", "public")
    return [
        (played.prompt.name, "bold"),
        ("/".join(levels[name] for name in ("privacy", "complexity") if name in levels), _PRIVACY.get(private, "red")),
        (decision.rule if decision else "?", ""),
        (who(receipt, stage), _ZONES.get(receipt.zone or "", "red")),
        ("" if played.first_token is None else f"{played.first_token:.2f}", ""),
        (f"{receipt.seconds:.2f}", ""),
        (f"{receipt.cost_usd:.5f}" if receipt.cost_usd else "0", ""),
    ]


def who(receipt: Receipt, stage: Stage) -> str:
    """The target that answered; an emulated cloud is called one."""
    if receipt.target is None:
        return "nobody"
    return f"{receipt.target} (emulator)" if receipt.target in stage.emulated else receipt.target


_PRIVACY = {"public": "", "personal": "yellow"}
_ZONES = {"device": "green", "network": "cyan", "cloud": "blue"}


class _LiveLine:
    """Redrawn ten times a second while a prompt is under way."""

    def __init__(self, prompt: Prompt) -> None:
        from rich.spinner import Spinner

        self._spinner = Spinner("dots")
        self._name = prompt.name
        self._text = ""

    def update(self, text: str) -> None:
        self._text = text

    def __rich_console__(self, console: Console, options: object) -> Iterator[Text]:
        tail = " ".join(self._text.split())
        frame = self._spinner.render(console.get_time())
        line = Text.assemble(frame if isinstance(frame, Text) else "", " ", (self._name, "bold"), "  ")
        room = max(10, console.width - line.cell_len - 1)
        while cell_len(tail) > room:
            tail = tail[max(1, len(tail) // 8) :]
        line.append(tail or "thinking ...", "dim")
        yield line


class _StageLines:
    """One line when a stage begins; progress bars make no sense in a file."""

    def __init__(self, view: View, model: Model) -> None:
        self._view, self._model, self._seen = view, model, set[str]()

    def __call__(self, progress: Progress) -> None:
        if progress.stage not in self._seen:
            self._seen.add(progress.stage)
            self._view.say(f"{STAGES[progress.stage]} {self._model.id} ...", "dim")


def _by_target(attempts: Sequence[Attempt]) -> list[tuple[str, list[Attempt]]]:
    groups: dict[str, list[Attempt]] = {}
    for attempt in attempts:
        groups.setdefault(attempt.target, []).append(attempt)
    return list(groups.items())


def _failures(attempts: Sequence[Attempt]) -> str:
    times = f" x{len(attempts)}" if len(attempts) > 1 else ""
    return f"{attempts[-1].code}{times}"


def _cut(text: str, width: int) -> str:
    """`text` in at most `width` cells, with an ellipsis where something is missing."""
    return text if cell_len(text) <= width else set_cell_size(text, width - 1).rstrip() + "\N{HORIZONTAL ELLIPSIS}"
