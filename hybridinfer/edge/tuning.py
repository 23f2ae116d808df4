"""Which number of threads is the fastest on this machine, found by trying and remembered in the cache.

`hybridinfer models bench --tune` tries; loading only reads. Opening a session several times costs seconds, which no
request shall pay. What is remembered counts for one processor, number of cores, runtime version and model.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from .bench import measure
from .convert import locked

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .bench import Speed
    from .catalogue import Model
    from .session import Session

ROUNDS = 3
_RUNTIMES = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-directml", "onnxruntime-openvino")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """Threads, and whether they spin while they wait."""

    threads: int
    spinning: bool


def known(root: Path, model: Model) -> Tuning | None:
    """What was found for `model` under the cache directory `root`; None: nothing, or not on this machine."""
    try:
        found = _read(root)[machine()][_name(model)]
        threads, spinning = found["threads"], found["spinning"]
    except (KeyError, TypeError, AttributeError):
        return None
    if not isinstance(threads, int) or not isinstance(spinning, bool) or not 1 <= threads <= cores():
        return None
    return Tuning(threads=threads, spinning=spinning)


def remember(root: Path, model: Model, tuning: Tuning) -> None:
    """Keep it for later loads. Raises `ModelNotFound` where the cache cannot be written."""
    place = _place(root)
    with locked(place):
        tree = _read(root)
        mine = tree.get(machine())
        tree[machine()] = {**(mine if isinstance(mine, dict) else {}), _name(model): asdict(tuning)}
        work = place.with_suffix(f".{os.getpid()}")
        work.write_text(json.dumps(tree, indent=1), "utf-8")
        work.replace(place)


def probe(
    open_session: Callable[[Tuning], Session], rounds: int = ROUNDS, speed: Callable[[Session], Speed] = measure
) -> dict[Tuning, tuple[float, float]]:
    """Median (decode, prefill) tokens per second of each choice, best decode first; rounds take turns.

    All sessions are open at once, so it takes the model's memory once for each.
    """
    choices = [Tuning(threads=n, spinning=spin) for n in range(1, cores() + 1) for spin in (True, False)]
    sessions = {choice: open_session(choice) for choice in choices if choice.threads > 1 or choice.spinning}
    seen: dict[Tuning, list[Speed]] = {choice: [] for choice in sessions}
    for _ in range(rounds):
        for choice, session in sessions.items():
            seen[choice].append(speed(session))
    medians = {
        choice: (statistics.median(one.decode for one in all_), statistics.median(one.prefill for one in all_))
        for choice, all_ in seen.items()
    }
    return dict(sorted(medians.items(), key=lambda item: -item[1][0]))


def machine() -> str:
    """Processor, cores and runtime: what a result depends on."""
    return f"{_processor()}, {cores()} cores, onnxruntime {_runtime_version()}"


def cores() -> int:
    """Processors that this process may use, at most 8: more never paid."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(count, 8)


def _processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    try:
        lines = cpuinfo.read_text("utf-8", "replace").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration, IndexError):
        return platform.processor() or platform.machine()


def _runtime_version() -> str:
    for name in _RUNTIMES:  # asked without importing it, which takes a third of a second
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return ""


def _name(model: Model) -> str:
    return model.sha256 or model.id


def _place(root: Path) -> Path:
    return root / "tuning.json"


def _read(root: Path) -> dict[str, dict[str, Mapping[str, object]]]:
    try:
        tree = json.loads(_place(root).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return tree if isinstance(tree, dict) else {}
