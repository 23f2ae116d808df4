"""The models of this machine: where they lie, whether they are whole, how they come and go.

Under the cache directory (HYBRIDINFER_CACHE, else the platform's user cache): `models/<sha256>.gguf` (or `.embedder`),
`onnx/<sha256>-v<N>/` and `bundles/<name>.bundle/`. Several processes may share it.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..errors import ModelCorrupt, ModelError, ModelNotFound
from . import checksum
from .catalogue import catalogue, find
from .convert import GRAPH, HEADER, MANIFEST, Conversion, locked
from .fetch import fetch, verified
from .gguf import GgufFile
from .memory import available
from .progress import Progress, silent
from .sealed import SealedFile, master_key
from .unsealed import Unsealed, read_header
from .vocabulary import Vocabulary

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .catalogue import Model
    from .progress import Report

_LOADED = 1.9
"""Bytes in memory for each byte of a 4-bit GGUF file, whose weights are 8 bits wide once they are loaded."""
_LOADED_BUNDLE = 1.15
"""Of a bundle, whose weights stay as narrow as they lie there."""
_SPARE = 512 << 20
"""For keys and values, and the application."""
_MADE_HERE = frozenset({"bundle", "sealed"})
"""Forms that nobody fetches."""
State = Literal["absent", "fetched", "ready"]
"""Not here; here but not converted yet; here and converted."""


@dataclass(frozen=True, slots=True)
class Store:
    """The cache directory `root`, with the environment that rules fetching."""

    root: Path
    environ: Mapping[str, str]

    @classmethod
    def default(cls, environ: Mapping[str, str] | None = None) -> Store:
        """The store of this user; `environ` overrides the process's environment, name by name."""
        import platformdirs

        merged = {**os.environ, **(environ or {})}
        chosen = merged.get("HYBRIDINFER_CACHE")
        root = Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("hybridinfer")
        return cls(root, merged)

    def place(self, model: Model) -> Path:
        """Where the file of `model` lies, or would lie; the folder of a bundle. One by a bare name lies in the cache."""
        if model.path is None:
            return self.root / "models" / f"{model.sha256}.{model.form}"
        if model.form == "bundle" and model.path.name == str(model.path) and not model.path.is_dir():
            return self.root / "bundles" / model.path
        return model.path

    def state(self, model: Model) -> State:
        """What is here of `model`; says nothing about its health."""
        place = self.place(model)
        if not _here(model, place):
            return "absent"
        if model.form != "gguf":
            return "ready"
        if model.sha256 is None:  # the conversion is named by the hash, which is not worth reading a file for
            return "fetched"
        return "ready" if Conversion.of(self.root, model.sha256).exists else "fetched"

    def file(self, model: Model) -> Path:
        """The file of `model`, the folder of a bundle. Raises `ModelNotFound` where it is not on this machine."""
        place = self.place(model)
        if _here(model, place):
            return place
        if model.path is not None:
            what = {"bundle": "a bundle", "sealed": "a sealed model"}.get(model.form, "a GGUF file")
            raise ModelNotFound(f"there is no file {model.path.name}; give the path of {what}")
        raise ModelNotFound(f"{model.id} is not on this machine; run: hybridinfer models pull {model.id}")

    def verified(self, model: Model, report: Report = silent) -> tuple[Path, Conversion]:
        """The file of `model`, checked against its hash, and the place of its conversion, which a bundle is itself.

        Raises `ModelNotFound`, or `ModelCorrupt` where a single byte differs.
        """
        file = self.file(model)
        pinned = file / MANIFEST if model.form == "bundle" else file
        if model.sha256 is not None and not (pinned.is_file() and verified(pinned, model, report)):
            hint = f"run: hybridinfer models pull {model.id}" if model.path is None else "its sha256 is another one"
            raise ModelCorrupt(f"the file of {model.called} is damaged and was not loaded; {hint}")
        return file, Conversion(file) if model.form == "bundle" else Conversion.of(self.root, checksum.sha256(file))

    def runnable(self, model: Model, report: Report = silent) -> tuple[bytes, Conversion]:
        """The GGUF header of `model` and its conversion, made where it was not. Raises `ModelError`."""
        if model.form == "sealed":
            raise ModelError(f"{model.called} is sealed already; give the model it was made of")
        file, conversion = self.verified(model, report)
        if model.form == "bundle":
            conversion.check_header()
            return (file / HEADER).read_bytes(), conversion
        conversion.make(file, report)
        with GgufFile(file) as gguf:
            return gguf.header, conversion

    def graph(self, model: Model) -> bytes:
        """The graph of `model`, which is ready. Raises `ModelError` or `ConfigurationError`."""
        file, conversion = self.verified(model)
        if model.form == "sealed":
            return bytes(SealedFile(file).open(master_key(self.environ), only=GRAPH)[GRAPH])
        conversion.check_graph()
        return conversion.graph.read_bytes()

    def vocabulary(self, model: Model) -> Vocabulary:
        """The vocabulary of `model`, read once per process. Raises `ModelError`, `ConfigurationError` or `OSError`."""
        file = self.file(model)
        if model.form == "sealed":
            return Vocabulary.of(file, lambda: read_header(file, master_key(self.environ)))
        if model.form == "bundle":
            return Vocabulary.of(file / HEADER, packed=Conversion(file).vocabulary)
        converted = Conversion.of(self.root, model.sha256) if model.sha256 else None
        return Vocabulary.of(file, packed=converted.vocabulary if converted else None)

    def pull(self, model: Model, *, report: Report = silent, from_file: Path | None = None) -> Path:
        """Have `model` here, whole and converted: fetch, verify and convert what is missing or damaged.

        `from_file` brings the file instead of a network. Raises `ModelNotFound`, `ModelCorrupt` (a wrong
        `from_file`) or `ModelError` (a model that this engine does not run).
        """
        place = self.place(model)
        if model.form in _MADE_HERE:
            self.verify(model, report)
            return place
        if model.path is None:
            with locked(place):
                if not place.is_file() or not verified(place, model, report):
                    self._bring(model, place, from_file, report)
        file, conversion = self.verified(model, report)
        if model.form == "embedder":
            return file
        if conversion.exists:
            try:
                conversion.check_graph()
                conversion.check_weights()
            except ModelCorrupt:
                conversion.remove()
        conversion.make(file, report)
        return file

    def verify(self, model: Model, report: Report = silent) -> None:
        """Read and check everything that is here of `model`; a sealed one is opened, which takes its key.

        Raises `ModelNotFound`, `ModelCorrupt` or `ConfigurationError`.
        """
        file = self.file(model)
        checksum.forget(file / MANIFEST if model.form == "bundle" else file)
        _, conversion = self.verified(model, report)
        if model.form == "sealed":
            Unsealed.read(file, master_key(self.environ))
        elif conversion.exists:
            for part in conversion.directory.glob("*"):
                checksum.forget(part)
            conversion.check_graph()
            conversion.check_weights()
            if model.form == "bundle":
                conversion.check_header()

    def remove(self, model: Model) -> int:
        """Delete the fetched file and every conversion of `model`; returns the bytes freed. A file of one's own stays.

        So does a sealed one; a bundle goes where it lies in the cache.
        """
        place, freed = self.place(model), 0
        if model.form == "bundle" and place.is_relative_to(self.root):
            freed = Conversion(place).bytes
            Conversion(place).remove()
        if model.form in _MADE_HERE or not place.is_file():
            return freed
        digest = model.sha256 or checksum.sha256(place)
        for directory in (self.root / "onnx").glob(f"{digest}-v*"):
            conversion = Conversion(directory)
            freed += conversion.bytes
            conversion.remove()
        if model.path is None:
            freed += place.stat().st_size
            place.unlink()
        return freed

    def size(self, model: Model) -> int:
        """The bytes that `model` takes here, its conversion included."""
        place = self.place(model)
        if model.form == "bundle":
            return Conversion(place).bytes
        size = place.stat().st_size if place.is_file() else 0
        converted = model.sha256 is not None and model.form == "gguf"
        return size + (Conversion.of(self.root, str(model.sha256)).bytes if converted else 0)

    def largest(self, variants: Sequence[str] = (), *, room: int | None = None) -> Model:
        """The largest model of the catalogue that is here and fits `room` bytes (None: what is available now).

        Only those of `variants` where it names any. Where several are here and none fits, the smallest is taken: the
        machine may page, but it answers. Where none is here, the smallest of all: its first call says how to get it.
        Raises `ModelNotFound` for an unknown name.
        """
        known = catalogue()
        models = [find(name) for name in variants] if variants else list(known.values())
        models.sort(key=self._loaded_bytes)
        ready = [model for model in models if self.state(model) != "absent"] or models[:1]
        free = available() if room is None else room
        return next((model for model in reversed(ready) if self._loaded_bytes(model) + _SPARE <= free), ready[0])

    def _loaded_bytes(self, model: Model) -> float:
        return self.size(model) * _LOADED_BUNDLE if model.form == "bundle" else model.bytes * _LOADED

    def bundles(self) -> list[Model]:
        """The quantized copies in the cache, by name."""
        return [find(place.name) for place in sorted((self.root / "bundles").glob("[!.]*.bundle"))]

    def states(self) -> Mapping[str, State]:
        """The state of every model of the catalogue."""
        return {name: self.state(model) for name, model in catalogue().items()}

    def _bring(self, model: Model, place: Path, from_file: Path | None, report: Report) -> None:
        if from_file is None:
            fetch(model, place, environ=self.environ, report=report)
            return
        if not from_file.is_file():
            raise ModelNotFound(f"there is no file {from_file}")
        if not verified(from_file, model, report):
            raise ModelCorrupt(f"{from_file.name} is not {model.id}: its sha256 is not {model.sha256}")
        size, copy = from_file.stat().st_size, place.with_suffix(".copy")
        report(Progress(stage="fetch", done=0, total=size))
        shutil.copyfile(from_file, copy)
        copy.replace(place)
        report(Progress(stage="fetch", done=size, total=size))


def _here(model: Model, place: Path) -> bool:
    return place.is_dir() if model.form == "bundle" else place.is_file()
