"""SHA-256 of files, fast enough to run before every load.

A file is hashed once for each (path, size, times, inode), and again after a week. Large converted files carry
a manifest of hashes per piece, so that all cores share the work (about 1.5 GB/s for each core with SHA
instructions).
"""

from __future__ import annotations

import hashlib
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from . import remembered

if TYPE_CHECKING:
    from collections.abc import Callable

PIECE_BYTES = 32 << 20
_READ_BYTES = 1 << 20
Stamp = tuple[str, int, int, int, int, int]
"""Path, size, modification and change time in ns, inode, device: a file with the same stamp is taken to be the same."""
_known: dict[tuple[Stamp, int], tuple[str, ...]] = {}
_lock = threading.Lock()


def sha256(path: Path, tick: Callable[[int], None] | None = None) -> str:
    """The hex digest of the whole file. `tick` is told the bytes read so far. Raises `OSError`."""
    return _once(path, 0, lambda: (_hash(path, 0, -1, tick),))[0]


def pieces(path: Path) -> tuple[str, ...]:
    """The hex digests of the file's pieces of 32 MiB, hashed on all cores. Raises `OSError`."""
    return _once(path, PIECE_BYTES, partial(_hash_pieces, path))


def pieces_of(data: bytes) -> tuple[str, ...]:
    """What `pieces` says of a file with these bytes."""
    return tuple(
        hashlib.sha256(data[start : start + PIECE_BYTES]).hexdigest()
        for start in range(0, max(len(data), 1), PIECE_BYTES)
    )


def _hash_pieces(path: Path) -> tuple[str, ...]:
    starts = range(0, max(path.stat().st_size, 1), PIECE_BYTES)
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1), thread_name_prefix="sha256") as pool:
        return tuple(pool.map(lambda start: _hash(path, start, PIECE_BYTES), starts))


def _hash(path: Path, start: int, length: int, tick: Callable[[int], None] | None = None) -> str:
    digest, buffer, done = hashlib.sha256(), memoryview(bytearray(_READ_BYTES)), 0
    with path.open("rb", buffering=0) as file:
        file.seek(start)
        while length < 0 or done < length:
            room = _READ_BYTES if length < 0 else min(_READ_BYTES, length - done)
            count = file.readinto(buffer[:room])
            if not count:
                break
            digest.update(buffer[:count])
            done += count
            if tick is not None:
                tick(done)
    return digest.hexdigest()


def _once(path: Path, piece: int, work: Callable[[], tuple[str, ...]]) -> tuple[str, ...]:
    before = stamp(path)
    with _lock:
        known = _known.get((before, piece))
    if known is not None:
        return known
    result = remembered.recall(before[0], before[1:], piece)
    fresh = result is None
    result = work() if result is None else result
    if stamp(path) == before:  # a file that changed meanwhile is not remembered
        with _lock:
            _known[before, piece] = result
        if fresh:
            changed = max(before[2], before[3]) / 1e9
            remembered.remember(before[0], before[1:], piece, result, changed=changed)
    return result


def forget(path: Path) -> None:
    """Hash `path` anew when it is asked for next."""
    name = os.fspath(path.absolute())
    with _lock:
        for key in [key for key in _known if key[0][0] == name]:
            del _known[key]
    remembered.forget(name)


def stamp(path: Path) -> Stamp:
    """The stamp of the file as it is now. Raises `OSError`."""
    stat = path.stat()
    name = os.fspath(path.absolute())
    return name, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, stat.st_dev
