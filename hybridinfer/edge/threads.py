"""How many threads a model may use on this machine."""

from __future__ import annotations

import os
from pathlib import Path

MAX_THREADS = 4
"""Decoding is bound by memory: more threads than this take cores from the application and give nothing back."""


def default_threads(system: Path = Path("/sys")) -> int:
    """Physical cores this process may use, at most 4: CPU affinity, container quota and siblings considered."""
    cpus = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
    cores = {_core(system, cpu) for cpu in cpus}
    return max(1, min(len(cores), _quota(system), MAX_THREADS))


def _core(system: Path, cpu: int) -> str:
    siblings = system / f"devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"
    try:
        return siblings.read_text("ascii").strip()
    except OSError:  # not Linux, or hidden: every CPU counts as a core
        return str(cpu)


def _quota(system: Path) -> int:
    try:
        quota, period = (system / "fs/cgroup/cpu.max").read_text("ascii").split()
        return max(1, int(quota) // int(period)) if quota != "max" else MAX_THREADS
    except (OSError, ValueError):
        return MAX_THREADS
