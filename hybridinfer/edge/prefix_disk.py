"""Known beginnings that outlive the process: blocks of keys and values in sealed files, off unless a policy asks for it.

Keys and values tell a prompt as its text does, so each file is AES-256-GCM under a key derived (HKDF-SHA256, RFC 5869)
from the models' master key. A file's name is an HMAC of the block's name, the model and the machine: without the key
nobody can test from the names whether a guessed prompt was ever here, and no other model, runtime or processor finds
the block. What does not open, for whatever reason, is as if it were not there.
"""

from __future__ import annotations

import hmac
import logging
import math
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ..errors import ConfigurationError
from .checksum import sha256
from .convert import MANIFEST
from .prefix import BLOCK
from .sealed import SealedFile, master_key
from .tuning import machine

if TYPE_CHECKING:
    from pathlib import Path

    from .catalogue import Model
    from .prefix import Block
    from .session import Session
    from .store import Store

FOLDER = "prefixes"
"""Under the cache directory; nothing but these files lies in it."""
_NONCE, _TAG = 12, 16
_MOST_WAITING = 8  # blocks to be written; more are dropped, as a slow disk must not fill the memory
_logger = logging.getLogger("hybridinfer.edge")


class PrefixDisk:
    """Blocks of one shape by name, in `folder`, which holds at most `limit` bytes for all models together.

    Reading takes place in the caller's thread, writing in one of its own. Any number of processes may share the folder.
    """

    def __init__(self, folder: Path, key: bytes, *, limit: int, shape: tuple[int, ...], identity: str) -> None:
        """`identity`: of what computes. Raises `ConfigurationError` where the extra is missing."""
        try:
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM
            from cryptography.hazmat.primitives.hashes import SHA256
            from cryptography.hazmat.primitives.kdf.hkdf import HKDF
        except ImportError as error:
            raise ConfigurationError("prefix_disk needs: pip install 'hybridinfer-sdk[protect]'") from error
        derived = HKDF(algorithm=SHA256(), length=64, salt=None, info=b"hybridinfer kept prefixes").derive(key)
        self._aead, self._naming = AESGCM(derived[:32]), derived[32:]
        self._folder, self._limit, self._shape, self._identity = folder, limit, shape, identity.encode()
        self._size = _NONCE + 4 * math.prod(shape) + _TAG
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="prefixes")
        self._room = threading.Semaphore(_MOST_WAITING)

    def __contains__(self, name: bytes) -> bool:
        return self._place(name).is_file()

    def load(self, name: bytes) -> Block | None:
        """The block called `name`, read-only; None where it is not here, or was damaged: then it is deleted."""
        import numpy as np
        from cryptography.exceptions import InvalidTag

        place = self._place(name)
        try:
            whole = place.stat().st_size == self._size  # asked before memory is taken for it
            sealed = place.read_bytes() if whole else b""
            plain = self._aead.decrypt(sealed[:_NONCE], sealed[_NONCE:], place.name.encode())
            os.utime(place)
        except (InvalidTag, ValueError):
            place.unlink(missing_ok=True)
            return None
        except OSError:
            return None
        return np.frombuffer(plain, np.float32).reshape(self._shape)

    def save(self, name: bytes, block: Block) -> None:
        """Write `block`, which nobody changes any more, soon; not where many wait. A full disk is no error."""
        if self._room.acquire(blocking=False):
            self._writer.submit(self._write, name, block)

    def close(self) -> None:
        """Finish what waits to be written."""
        self._writer.shutdown()

    def _write(self, name: bytes, block: Block) -> None:
        try:
            place = self._place(name)
            if place.is_file():
                return
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            nonce = os.urandom(_NONCE)
            sealed = nonce + self._aead.encrypt(nonce, block.tobytes(), place.name.encode())
            draft = place.with_name(f".{place.name}.{os.getpid()}")
            try:
                with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                    file.write(sealed)
                draft.replace(place)
            finally:
                draft.unlink(missing_ok=True)
            self._trim()
        except OSError as error:
            _logger.warning("the beginning of a prompt was not kept on the disk (%s)", type(error).__name__)
        finally:
            self._room.release()

    def _trim(self) -> None:
        """Delete what was used longest ago, until the rest keeps the limit."""
        files = [(stat.st_mtime, stat.st_size, place) for place, stat in _files(self._folder)]
        excess = sum(size for _, size, _ in files) - self._limit
        for _, size, place in sorted(files, key=lambda file: file[0]):
            if excess <= 0:
                return
            place.unlink(missing_ok=True)
            excess -= size

    def _place(self, name: bytes) -> Path:
        return self._folder / f"{hmac.digest(self._naming, self._identity + name, 'sha256').hex()}.kv"


def open_disk(model: Model, store: Store, session: Session, *, limit: int) -> PrefixDisk | None:
    """That of `model` at work in `session`; None, and a line in the log, where its key or the extra is missing.

    HYBRIDINFER_STATE=off, by which nothing is remembered, counts here, too.
    """
    if store.environ.get("HYBRIDINFER_STATE") == "off":
        return None
    computes = (_content(model, store), machine(), session.provider, str(session.threads))
    shape = (len(session.past), session.heads, BLOCK, session.head_size)
    try:
        key = master_key(store.environ)
        return PrefixDisk(store.root / FOLDER, key, limit=limit, shape=shape, identity="\n".join(computes))
    except ConfigurationError as error:
        _logger.warning("beginnings of prompts are kept in memory only: %s", error)
        return None


def _content(model: Model, store: Store) -> str:
    """What tells the bytes of `model` from all others."""
    file, conversion = store.verified(model)
    if model.form == "sealed":
        return SealedFile(file).header().salt.hex()
    return sha256(file / MANIFEST) if model.form == "bundle" else conversion.name


def wipe(root: Path) -> int:
    """Delete every block under the cache directory `root`; returns the bytes freed. Raises `OSError`."""
    freed = 0
    for place, stat in _files(root / FOLDER):
        place.unlink(missing_ok=True)
        freed += stat.st_size
    return freed


def _files(folder: Path) -> list[tuple[Path, Any]]:
    found = []
    for place in folder.glob("*"):
        with suppress(FileNotFoundError):  # another process was faster
            found.append((place, place.stat()))
    return found
