"""How many threads a model takes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hybridinfer.edge.threads import MAX_THREADS, default_threads


def system(root: Path, siblings: dict[int, str], quota: str = "") -> Path:
    for cpu, text in siblings.items():
        directory = root / f"devices/system/cpu/cpu{cpu}/topology"
        directory.mkdir(parents=True)
        (directory / "thread_siblings_list").write_text(f"{text}\n")
    if quota:
        (root / "fs/cgroup").mkdir(parents=True)
        (root / "fs/cgroup/cpu.max").write_text(quota)
    return root


@pytest.mark.parametrize(
    ("siblings", "quota", "threads"),
    [
        ({0: "0-1", 1: "0-1", 2: "2-3", 3: "2-3"}, "", 2),
        ({number: str(number) for number in range(16)}, "", MAX_THREADS),
        ({0: "0", 1: "1", 2: "2", 3: "3"}, "200000 100000", 2),
        ({0: "0", 1: "1"}, "50000 100000", 1),
        ({0: "0", 1: "1", 2: "2"}, "max 100000", 3),
        ({0: "0", 1: "1"}, "nonsense", 2),
    ],
)
def test_physical_cores_within_the_quota(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, siblings: dict[int, str], quota: str, threads: int
) -> None:
    """Siblings count once, a container's quota holds, and four are enough."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(siblings), raising=False)
    assert default_threads(system(tmp_path, siblings, quota)) == threads


def test_without_linux_every_cpu_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where affinity and topology are unknown the count of CPUs decides."""
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert default_threads(tmp_path) == 3
