"""`hybridinfer models`: the local models of this machine."""

from __future__ import annotations

import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from ..edge.catalogue import catalogue, find
from ..edge.store import Store
from ..errors import ModelError
from .terminal import print_json, talk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..edge.catalogue import Model
    from ..edge.progress import Progress, Report

app = App(name="models", help="List, fetch, verify and remove local models.", help_format="plaintext")

DEFAULT = "qwen2.5-coder-0.5b"
Json = Annotated[bool, Parameter(negative="")]
_DOING = {"fetch": "fetching", "verify": "checking", "convert": "converting"}


@app.command(name="list")
def list_(*, json: Json = False) -> int:
    """Show the models known by name and what of them is here.

    Args:
        json: Print {cache, models: [{id, title, licence, sha256, state, bytes, disk_bytes}]}.
    """
    store = Store.default()
    rows = [_row(store, model) for model in catalogue().values()]
    if json:
        print_json({"cache": str(store.root), "models": rows})
        return 0
    for row in rows:
        size = (
            f"{row['disk_bytes'] / 1e6:,.0f} MB here" if row["disk_bytes"] else f"{row['bytes'] / 1e6:,.0f} MB to fetch"
        )
        print(f"{row['id']:<20} {row['state']:<8} {size:>18}  {row['title']} ({row['licence']})")
    talk(f"in {store.root}")
    return 0


@app.command
def pull(model: str = DEFAULT, *, from_file: Path | None = None, json: Json = False) -> int:
    """Fetch a model, check it and convert it. What is here and whole already is not fetched again.

    Args:
        model: A name from `models list`, a path to a GGUF file, or hf://org/repo/file.gguf@sha256.
        from_file: Take the model's file from here instead of a network.
        json: Print {id, file, sha256, state, bytes, disk_bytes, seconds}.
    """
    store, wanted, begun = Store.default(), find(model), time.monotonic()
    with _bar(wanted.id) as report:
        file = store.pull(wanted, report=report, from_file=from_file)
    seconds = time.monotonic() - begun
    if json:
        print_json({**_row(store, wanted), "file": str(file), "seconds": round(seconds, 3)})
    else:
        print(file)
        talk(f"{wanted.id} is ready ({seconds:.1f} s)")
    return 0


@app.command
def verify(*models: str, json: Json = False) -> int:
    """Check every byte of the given models, or of all that are here. Exit code 1 where one is damaged or missing.

    Args:
        models: Names or paths; none: every model of the catalogue that is here.
        json: Print {models: [{id, ok, because}]}.
    """
    store = Store.default()
    chosen = [find(name) for name in models] or [m for m in catalogue().values() if store.state(m) != "absent"]
    rows = [_verdict(store, model) for model in chosen]
    if json:
        print_json({"models": rows})
    else:
        for row in rows:
            print(f"{row['id']:<20} {'ok' if row['ok'] else row['because']}")
        if not rows:
            talk("no model is here; fetch one: hybridinfer models pull")
    return 0 if all(row["ok"] for row in rows) else 1


@app.command
def remove(model: str, *, json: Json = False) -> int:
    """Delete a model and its conversions. A file given by its path stays; its conversions go.

    Args:
        model: A name from `models list`, or a path.
        json: Print {id, freed_bytes}.
    """
    wanted = find(model)
    freed = Store.default().remove(wanted)
    if json:
        print_json({"id": wanted.id, "freed_bytes": freed})
    else:
        talk(f"freed {freed / 1e6:,.0f} MB" if freed else f"{wanted.id} is not here")
    return 0


def _row(store: Store, model: Model) -> dict[str, Any]:
    return {
        "id": model.id,
        "title": model.title,
        "licence": model.licence,
        "sha256": model.sha256,
        "state": store.state(model),
        "bytes": model.bytes,
        "disk_bytes": store.size(model),
    }


def _verdict(store: Store, model: Model) -> dict[str, Any]:
    try:
        with _bar(model.id) as report:
            store.verify(model, report)
    except ModelError as error:
        return {"id": model.id, "ok": False, "because": str(error)}
    return {"id": model.id, "ok": True, "because": ""}


@contextmanager
def _bar(title: str) -> Iterator[Report]:
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
