"""The bands in force: levels that are shares move with a router's own traffic, and survive its restarts.

State of the router, not of the policy: `Signal.score` stays pure, and gives the bands that everything begins with.
"""

from __future__ import annotations

import json
import logging
import os
import re
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..policy.shares import shares_of
from ..signals.bands import level_of, say
from ..signals.weights import scorer_of
from .controller import Controller

if TYPE_CHECKING:
    from ..policy.model import Policy
    from ..signals.base import SignalResult

logger = logging.getLogger("hybridinfer")

VERSION = 1
EVERY = 200
"""Scores between two writings of the file."""


class LiveLevels:
    """Places the scores of one policy's requests. `path`: where the state is kept; it is read at the first request.

    Several processes may share the file: each holds its own shares, so the whole does; the last one writes.
    """

    def __init__(self, policy: Policy, path: Path) -> None:
        self._blocks = {name: block for name, block in policy.signals.items() if shares_of(block.levels) is not None}
        self._path = path
        self._controllers: dict[str, Controller] | None = None
        self._unsaved = 0
        self._writing = threading.Lock()
        self._behind: threading.Thread | None = None

    def takes(self, policy: Policy) -> bool:
        """Whether this state is that of `policy`, too: its shares and weights are the same."""
        blocks = {name: block for name, block in policy.signals.items() if shares_of(block.levels) is not None}
        return blocks == self._blocks

    def place(self, results: Mapping[str, SignalResult], *, count: bool) -> Mapping[str, SignalResult]:
        """The results with the levels in force, and the bands in `because`. `count`: this request is part of the traffic."""
        if not self._blocks or (self._controllers is None and not count):
            return results  # explained before any traffic: the same everywhere
        controllers, placed = self._there(), dict(results)
        for name, controller in controllers.items():
            result = results[name]
            if not result.measured:
                continue  # its level is the highest, for safety, and says nothing of the traffic
            floors = controller.floors
            because = (*result.because[:-1], f"{say(floors)} by the latest of {controller.seen:,} requests")
            placed[name] = replace(result, level=level_of(floors, result.score), because=because)
            if count:
                controller.count(result.score)
        self._unsaved += count
        if self._unsaved >= EVERY:
            self._unsaved = 0
            self._behind = threading.Thread(target=self._write, args=(self._text(),), name="hybridinfer-levels")
            self._behind.start()
        return placed

    def written(self) -> None:
        """Wait until the last writing is done."""
        if self._behind is not None:
            self._behind.join()

    def close(self) -> None:
        """Write what was not written yet; blocks for a moment."""
        self.written()
        if self._unsaved:
            self._unsaved = 0
            self._write(self._text())

    def _there(self) -> dict[str, Controller]:
        if self._controllers is None:
            self._controllers = {}
            kept = self._read()
            for name, block in self._blocks.items():
                controller = Controller(shares_of(block.levels) or {}, scorer_of(block)[0].quantiles)
                if name in kept:
                    try:
                        controller.restore(kept[name])
                    except (ValueError, KeyError, TypeError) as error:
                        logger.warning(
                            "the bands of %s in %s are unusable (%s)", name, self._path, type(error).__name__
                        )
                        controller = Controller(shares_of(block.levels) or {}, scorer_of(block)[0].quantiles)
                self._controllers[name] = controller
        return self._controllers

    def _read(self) -> Mapping[str, Any]:
        if not self._path.exists():
            return {}
        try:
            tree = json.loads(self._path.read_text("utf-8"))
            return tree["signals"] if tree["version"] == VERSION and isinstance(tree["signals"], dict) else {}
        except (OSError, ValueError, KeyError, TypeError) as error:
            logger.warning("the bands in %s cannot be read (%s); they begin anew", self._path, type(error).__name__)
            return {}

    def _text(self) -> str:
        signals = {name: controller.state() for name, controller in self._there().items()}
        return json.dumps({"version": VERSION, "signals": signals}, separators=(",", ":")) + "\n"

    def _write(self, text: str) -> None:
        with self._writing:
            try:
                write_whole(self._path, text)
            except OSError as error:
                logger.warning("the bands were not written to %s (%s)", self._path, type(error).__name__)


def levels_path(policy: Policy, folder: Path) -> Path:
    """Where the bands of a policy are kept: one file for each policy's name."""
    return folder / f"levels-{re.sub(r'[^A-Za-z0-9_-]', '_', policy.name)}.json"


def write_whole(path: Path, text: str) -> None:
    """Put `text` at `path` in one step, so that a reader finds the old file or the new one. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o600
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            file.write(text)
        Path(name).chmod(mode)
        Path(name).replace(path)
    except BaseException:  # also an interrupt: never leave half a file behind
        Path(name).unlink(missing_ok=True)
        raise
