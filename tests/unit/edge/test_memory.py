"""How much memory there is, and that promises never pass it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hybridinfer.edge import memory
from hybridinfer.edge.memory import Memory, available, default_limit
from hybridinfer.edge.prefix import BLOCK, PrefixCache, keys


def system(root: Path, *, free_kib: str = "", most: str = "", current: str = "") -> Path:
    """A machine's files; empty: the file is missing."""
    for name, text in (
        ("proc/meminfo", free_kib and f"MemTotal: 9 kB\nMemAvailable:  {free_kib} kB\n"),
        ("sys/fs/cgroup/memory.max", most),
        ("sys/fs/cgroup/memory.current", current),
    ):
        if text:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        ({"free_kib": "4096"}, 4 << 20),
        ({"free_kib": "4096", "most": "3000000", "current": "1000000"}, 2_000_000),
        ({"free_kib": "4096", "most": "max", "current": "1"}, 4 << 20),
        ({"free_kib": "4096", "most": "10", "current": "20"}, 0),
        ({"most": "3000", "current": "1000"}, 2000),
        ({"free_kib": "x", "most": "3000", "current": "1000"}, 2000),
    ],
)
def test_the_machine_or_the_container_bounds_it(tmp_path: Path, files: dict[str, str], wanted: int) -> None:
    """Whichever is less; a quota of max is none."""
    assert available(system(tmp_path, **files)) == wanted


def test_a_system_that_tells_nothing_is_guessed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of all pages where they can be counted, otherwise a small machine."""
    assert available(tmp_path) > 0
    monkeypatch.delattr(memory.os, "sysconf")
    assert available(tmp_path) == 1 << 30


def test_the_default_is_a_share_with_a_ceiling(tmp_path: Path) -> None:
    """A quarter, at most 2 GiB."""
    assert default_limit(system(tmp_path / "a", free_kib="4096")) == 1 << 20
    assert default_limit(system(tmp_path / "b", free_kib=str(64 << 20))) == 2 << 30


def test_nothing_is_promised_twice() -> None:
    """All or nothing."""
    account = Memory(10)
    assert account.take(7)
    assert not account.take(4)
    assert (account.taken, account.free) == (7, 3)
    account.give(7)
    assert account.take(10)


def block() -> np.ndarray:
    return np.zeros((2, 1, BLOCK, 1), np.float32)


def test_the_least_recently_used_block_leaves() -> None:
    """And a beginning outlives what stands behind it."""
    size = block().nbytes
    cache = PrefixCache(Memory(10 * size), 2 * size)
    names = keys("a", range(3 * BLOCK + 2))
    cache.add(names[0], block())
    cache.add(names[1], block())
    assert len(list(cache.match(names))) == 2
    cache.add(names[2], block())
    assert (names[0] in cache, names[1] in cache) == (True, False)
    assert cache.bytes == 2 * size
    assert len(list(cache.match(names))) == 1


def test_what_does_not_fit_is_not_kept() -> None:
    """Larger than the limit, or no memory left that the cache itself holds."""
    size = block().nbytes
    assert PrefixCache(Memory(size), size - 1).bytes == 0
    small = PrefixCache(Memory(size), size - 1)
    small.add(b"x", block())
    account = Memory(size)
    account.take(size)
    full = PrefixCache(account, size)
    full.add(b"x", block())
    assert small.bytes == full.bytes == 0


def test_names_depend_on_all_that_stands_before() -> None:
    """And on the scope; the last two tokens are never part of one."""
    tokens = list(range(2 * BLOCK + 2))
    first = keys("a", tokens)
    assert len(first) == 2
    assert len(keys("a", tokens[:-1])) == 1
    assert not set(first) & set(keys("b", tokens))
    assert first[1] not in keys("a", [1, *tokens[1:]])
