"""How much memory the engine may take for keys and values, and who has taken it."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from pathlib import Path

_SHARE, _MOST, _UNKNOWN = 4, 2 << 30, 1 << 30


def available(system: Path = Path("/")) -> int:
    """Bytes that this process could still take without swapping: the machine's, or the container's where less."""
    free = [_free(system / "proc/meminfo"), _quota(system / "sys/fs/cgroup")]
    known = [amount for amount in free if amount is not None]
    return max(0, min(known)) if known else _pages()


def default_limit(system: Path = Path("/")) -> int:
    """A quarter of what is available, at most 2 GiB: the application was here first."""
    return min(available(system) // _SHARE, _MOST)


def give_back() -> None:
    """Return freed memory to the system: glibc keeps hundreds of megabytes after a model was loaded from memory."""
    with suppress(OSError, AttributeError, TypeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def _free(meminfo: Path) -> int | None:
    try:
        lines = dict(line.split(":", 1) for line in meminfo.read_text("ascii").splitlines())
        return int(lines["MemAvailable"].split()[0]) << 10
    except (OSError, ValueError, KeyError):
        return None


def _quota(cgroup: Path) -> int | None:
    try:
        return int((cgroup / "memory.max").read_text("ascii")) - int((cgroup / "memory.current").read_text("ascii"))
    except (OSError, ValueError):  # no container, no quota ("max"), or another system
        return None


def _pages() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (AttributeError, OSError, ValueError):
        return _UNKNOWN


class Memory:
    """A limit in bytes and what of it is taken. Promises are counted, not pages: it never runs out midway."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.taken = 0

    @property
    def free(self) -> int:
        """Bytes that may still be taken."""
        return self.limit - self.taken

    def take(self, size: int) -> bool:
        """Take `size` bytes, or nothing and say False."""
        if size > self.free:
            return False
        self.taken += size
        return True

    def give(self, size: int) -> None:
        """Give `size` bytes back."""
        self.taken -= size
