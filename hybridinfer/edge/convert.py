"""GGUF to ONNX: once per file, cached, atomic, and safe under several processes at once.

The result is a directory `<sha256 of the GGUF>-v<VERSION>` with the graph, its weights and a manifest of
hashes, renamed into place when it is complete.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ModelCorrupt, ModelError, ModelNotFound
from . import checksum
from .gguf import GgufFile
from .progress import Progress, silent
from .vocabulary import Vocabulary

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .precision import Precision
    from .progress import Report

VERSION = 1
"""Raised whenever the graph changes: older conversions are then ignored, and removed with their model."""
GRAPH, WEIGHTS, HEADER = "model.onnx", "weights.bin", "header.gguf"
"""The parts of a model that runs. The header is the GGUF file without its weights; a bundle has one of its own."""
VOCABULARY = "vocabulary-1.bin"
"""The tables of the tokenizer, packed; another number when their form changes. A convenience: a model runs without."""
MANIFEST = "manifest.json"
_Bytes = bytes  # the class has a property of that name


@dataclass(frozen=True, slots=True)
class Conversion:
    """A place in the cache where a converted model lies, or will."""

    directory: Path

    @classmethod
    def of(cls, root: Path, sha256: str) -> Conversion:
        """The place under the cache directory `root` for the GGUF file with this hash."""
        return cls(root / "onnx" / f"{sha256}-v{VERSION}")

    @property
    def graph(self) -> Path:
        """The ONNX file that a session opens."""
        return self.directory / GRAPH

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.directory.name

    @property
    def exists(self) -> bool:
        """Whether a conversion was completed here; says nothing about its health."""
        return self.directory.is_dir()

    @property
    def bytes(self) -> int:
        """What it takes on the disk."""
        return sum(file.stat().st_size for file in self.directory.glob("*")) if self.exists else 0

    def check_graph(self) -> None:
        """Compare the small graph file with the manifest. Raises `ModelCorrupt`."""
        self._check(GRAPH)

    def check_weights(self) -> None:
        """Compare the weights with the manifest, on all cores. Raises `ModelCorrupt`."""
        self._check(WEIGHTS)

    def check_header(self) -> None:
        """Compare the header of a bundle with the manifest. Raises `ModelCorrupt`."""
        self._check(HEADER)

    def vocabulary(self) -> _Bytes | None:
        """The packed tables of the tokenizer; None where they are absent or not what the manifest says."""
        try:
            data = (self.directory / VOCABULARY).read_bytes()
            wanted = self._manifest()[VOCABULARY]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return data if list(checksum.pieces_of(data)) == wanted else None

    def keep_vocabulary(self, data: _Bytes) -> None:
        """Put packed tables here, which an older version made without or somebody damaged. A full disk is no error."""
        try:
            with locked(self.directory):
                _replace(self.directory / VOCABULARY, data)
                manifest = self._manifest() | {VOCABULARY: checksum.pieces_of(data)}
                _replace(self.directory / MANIFEST, json.dumps(manifest).encode())
        except (OSError, ValueError, TypeError, ModelNotFound):  # it is read from the GGUF header then, as this time
            return

    def _manifest(self) -> dict[str, Any]:
        manifest: dict[str, Any] = json.loads((self.directory / MANIFEST).read_text("utf-8"))
        return manifest

    def _check(self, name: str) -> None:
        try:
            intact = list(checksum.pieces(self.directory / name)) == self._manifest()[name]
        except (OSError, ValueError, KeyError, TypeError):
            intact = False
        if not intact:
            raise ModelCorrupt(
                f"the converted model {self.directory.name}/{name} is damaged and was not loaded; "
                "remove the model and pull it again"
            )

    def remove(self) -> None:
        """Delete it."""
        shutil.rmtree(self.directory, ignore_errors=True)

    def make(self, source: Path, report: Report = silent, *, precision: Precision | None = None) -> None:
        """Convert `source` into this place unless it is already there; with a `precision`, as a bundle of its own.

        Other processes wait for the first one. A crash leaves nothing but a temporary directory that the next
        conversion sweeps away. Raises `ModelError` for unsupported files and `OSError` for a full disk.
        """
        if self.exists:
            return
        with locked(self.directory):
            if self.exists:
                return
            for leftover in self.directory.parent.glob(f".{self.directory.name}-*"):
                shutil.rmtree(leftover, ignore_errors=True)
            work = Path(tempfile.mkdtemp(prefix=f".{self.directory.name}-", dir=self.directory.parent))
            try:
                _write(source, work, report, precision)
                work.rename(self.directory)
            except BaseException:  # also an interrupt: never leave half a model behind
                shutil.rmtree(work, ignore_errors=True)
                raise


def _write(source: Path, work: Path, report: Report, precision: Precision | None) -> None:
    from .graph import build

    def tick(done: int, total: int) -> None:
        report(Progress(stage="convert", done=done, total=total))

    with GgufFile(source) as gguf, (work / WEIGHTS).open("wb") as weights:
        model = build(gguf, weights, WEIGHTS, tick, precision)
        weights.flush()
        os.fsync(weights.fileno())
        if precision is not None:
            (work / HEADER).write_bytes(gguf.header)
    (work / GRAPH).write_bytes(model.SerializeToString())
    with suppress(ModelError):  # no chat template, or a tokenizer of another kind: said when it is loaded
        (work / VOCABULARY).write_bytes(Vocabulary.of(source).pack())
    manifest: dict[str, Any] = {file.name: checksum.pieces(file) for file in sorted(work.iterdir())}
    (work / MANIFEST).write_text(json.dumps(manifest), "utf-8")
    work.chmod(0o755)


def _replace(file: Path, data: bytes) -> None:
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        draft.write_bytes(data)
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def locked(place: Path) -> Iterator[None]:
    """Hold the lock for making `place`, among threads and processes; the system frees it when a process dies.

    The lock file lies beside the place, whose directory is made first. Raises `ModelNotFound` where the
    cache cannot be written.
    """
    from filelock import FileLock

    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(place.parent / f".{place.name}.lock")
        lock.acquire()
    except OSError as error:
        raise ModelNotFound(f"the model cache cannot be written ({error}); set HYBRIDINFER_CACHE") from error
    try:
        yield
    finally:
        lock.release()
