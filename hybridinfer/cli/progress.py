"""A progress bar for what takes minutes."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..edge.progress import Progress, Report

_DOING = {"fetch": "fetching", "verify": "checking", "convert": "converting"}


@contextmanager
def bar(title: str) -> Iterator[Report]:
    """A progress bar on stderr, where that is a terminal; silence elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Bars(*columns, console=console, disable=not console.is_terminal, transient=True) as bars:
        task = bars.add_task(title)

        def report(progress: Progress) -> None:
            bars.update(
                task,
                description=f"{_DOING[progress.stage]} {title}",
                completed=progress.done,
                total=progress.total or None,
            )

        yield report
