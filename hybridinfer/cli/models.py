"""`hybridinfer models`: the local models of this machine. The commands that measure or make one have files of their own."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from ..edge.catalogue import catalogue, embedders, find
from ..edge.signature import Signature
from ..edge.store import Store
from ..errors import ConfigurationError, ModelError
from .progress import bar
from .terminal import UsageError, print_json, talk

if TYPE_CHECKING:
    from ..edge.catalogue import Model

app = App(
    name="models",
    help="List, fetch, verify, measure, calibrate, seal, quantize and remove local models.",
    help_format="plaintext",
)
app.command("hybridinfer.cli.models_bench:bench", name="bench")
app.command("hybridinfer.cli.models_calibrate:calibrate", name="calibrate")
app.command("hybridinfer.cli.models_forget:forget", name="forget")
app.command("hybridinfer.cli.models_quantize:quantize", name="quantize")
app.command("hybridinfer.cli.models_seal:encrypt", name="encrypt")
app.command("hybridinfer.cli.models_seal:new_key", name="new-key")

DEFAULT = "qwen2.5-coder-0.5b"
Json = Annotated[bool, Parameter(negative="")]


@app.command(name="list")
def list_(*, json: Json = False) -> int:
    """Show the models known by name and what of them is here, and the copies that `models quantize` made.

    Args:
        json: Print {cache, models: [{id, title, licence, sha256, state, bytes, disk_bytes}]}.
    """
    store = Store.default()
    rows = [_row(store, model) for model in _known(store)]
    if json:
        print_json({"cache": str(store.root), "models": rows})
        return 0
    for row in rows:
        size = (
            f"{row['disk_bytes'] / 1e6:,.0f} MB here" if row["disk_bytes"] else f"{row['bytes'] / 1e6:,.0f} MB to fetch"
        )
        print(f"{row['id']:<20} {row['state']:<8} {size:>18}  {_described(row)}")
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
    store, wanted, begun = Store.default(), _named(model), time.monotonic()
    with bar(wanted.id) as report:
        file = store.pull(wanted, report=report, from_file=from_file)
    seconds = time.monotonic() - begun
    if json:
        print_json({**_row(store, wanted), "file": str(file), "seconds": round(seconds, 3)})
    else:
        print(file)
        talk(f"{wanted.id} is ready ({seconds:.1f} s)")
    return 0


@app.command
def verify(*models: str, signature: Path | None = None, public_key: Path | None = None, json: Json = False) -> int:
    """Check every byte of the given models, or of all that are here. Exit code 1 where one is damaged or missing.

    A sealed model is opened, which takes its key: HYBRIDINFER_MODEL_KEY, or the keyring.

    Args:
        models: Names or paths; none: every model of the catalogue that is here.
        signature: A sigstore bundle that must vouch for the one model given.
        public_key: The key (PEM) that the signature must be of.
        json: Print {models: [{id, ok, because}]}.
    """
    store, vouched = Store.default(), _signature(models, signature, public_key)
    here = (model for model in _known(store) if store.state(model) != "absent")
    chosen = [_named(name) for name in models] or list(here)
    rows = [_verdict(store, model, vouched) for model in chosen]
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
    wanted = _named(model)
    freed = Store.default().remove(wanted)
    if json:
        print_json({"id": wanted.id, "freed_bytes": freed})
    else:
        talk(f"freed {freed / 1e6:,.0f} MB" if freed else f"{wanted.id} is not here")
    return 0


def _known(store: Store) -> tuple[Model, ...]:
    return (*catalogue().values(), *embedders().values(), *store.bundles())


def _named(model: str) -> Model:
    return embedders().get(model) or find(model)


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


def _signature(models: tuple[str, ...], file: Path | None, public_key: Path | None) -> Signature | None:
    if file is None and public_key is None:
        return None
    if file is None or public_key is None or len(models) != 1:
        raise UsageError("--signature and --public-key go together, with one model")
    return Signature(file=file, public_key=public_key)


def _described(row: dict[str, Any]) -> str:
    return f"{row['title']} ({row['licence']})" if row["licence"] else "quantized here"


def _verdict(store: Store, model: Model, vouched: Signature | None) -> dict[str, Any]:
    try:
        with bar(model.id) as report:
            store.verify(model, report)
        if vouched is not None:
            vouched.check(store.file(model))
    except (ModelError, ConfigurationError) as error:
        return {"id": model.id, "ok": False, "because": str(error)}
    return {"id": model.id, "ok": True, "because": ""}
