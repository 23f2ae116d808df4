"""Files sealed with a key: a local model that is worth stealing, readable only in memory.

AES-256-GCM in chunks, each bound to its place and to the header (the STREAM construction of Hoang, Reyhanitabar,
Rogaway and Vizár, 2015): cut, swapped, repeated or altered chunks do not open. Every file has a key of its own,
derived (HKDF-SHA256, RFC 5869) from the master key and a random salt.

Layout: `HIMODEL1`, the header's length (4 bytes, little-endian), the header (JSON), the chunks (4 MiB and a tag of 16
bytes; the last one is shorter). The header tells names and sizes of the parts; their bytes follow one another.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import struct
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ConfigurationError, ModelCorrupt, ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

KEY_VARIABLE = "HYBRIDINFER_MODEL_KEY"
KEYRING = ("hybridinfer", "model-key")
"""Service and user name of the key in the system's keyring."""
KEY_BYTES = 32

_MAGIC = b"HIMODEL1"
_CHUNK, _TAG, _SALT = 4 << 20, 16, 16
_LENGTH = struct.Struct("<I")
_MOST_HEADER = 1 << 20


def new_key() -> str:
    """A fresh master key, as text for the environment or the keyring."""
    return base64.b64encode(os.urandom(KEY_BYTES)).decode()


def master_key(environ: Mapping[str, str]) -> bytes:
    """The key from `HYBRIDINFER_MODEL_KEY`, else from the system's keyring. Raises `ConfigurationError`."""
    text = environ.get(KEY_VARIABLE) or _from_keyring()
    if not text:
        raise ConfigurationError(
            f"a sealed model needs its key; set {KEY_VARIABLE}, or store it in the keyring as {' '.join(KEYRING)}"
        )
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise ConfigurationError("the model key is not 32 bytes in base64; make one: hybridinfer models new-key")
    return key


def keep(key: str) -> None:
    """Store `key` in the system's keyring. Raises `ConfigurationError` where there is none, or one has a key already."""
    if _from_keyring():
        raise ConfigurationError(
            f"the keyring has a model key already; delete it first: keyring del {' '.join(KEYRING)}"
        )
    try:
        import keyring
        from keyring.errors import KeyringError
    except ImportError as error:
        raise ConfigurationError("the keyring needs: pip install 'hybridinfer-sdk[protect]'") from error
    try:
        keyring.set_password(*KEYRING, key)
    except KeyringError as error:
        raise ConfigurationError(f"the keyring takes no key ({type(error).__name__}); set {KEY_VARIABLE}") from error


def _from_keyring() -> str | None:
    try:
        import keyring
        from keyring.errors import KeyringError
    except ImportError:
        return None
    with suppress(KeyringError):
        return keyring.get_password(*KEYRING)
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One file inside: its name and size in bytes."""

    name: str
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What stands in the open before the chunks: read before anything is proved, so believe it only after `open`."""

    model: str
    salt: bytes
    parts: tuple[Part, ...]

    @classmethod
    def parse(cls, raw: bytes) -> Header:
        """Raises one of `_WRONG_SHAPE` where it is none."""
        tree = json.loads(raw)
        parts = tuple(Part(name=str(part["name"]), bytes=int(part["bytes"])) for part in tree["parts"])
        if any(part.bytes < 0 for part in parts):
            raise ValueError("a negative size")
        return cls(model=str(tree["model"]), salt=bytes.fromhex(tree["salt"]), parts=parts)

    def until(self, name: str | None) -> tuple[Part, ...]:
        """The parts from the first to the one called `name`; all of them where that is None or none is called so."""
        names = [part.name for part in self.parts]
        return self.parts[: names.index(name) + 1] if name in names else self.parts


_WRONG_SHAPE = (ValueError, TypeError, KeyError, AttributeError, OverflowError, struct.error)


@dataclass(frozen=True, slots=True)
class SealedFile:
    """A sealed file on the disk. Nothing of it is read until it is asked for."""

    path: Path

    def header(self) -> Header:
        """What stands in the open. Raises `ModelError`."""
        return self._read_header()[0]

    def open(self, key: bytes, *, only: str | None = None) -> dict[str, memoryview]:
        """Every part, in memory; or `only` the parts up to the one of this name, the rest unread.

        Raises `ModelCorrupt` where the key is another one, or a single byte of what is read differs.
        """
        header, raw = self._read_header()
        aead, total = _aead(key, header.salt), sum(part.bytes for part in header.parts)
        chunks = max(1, -(-total // _CHUNK))
        read = header.until(only)
        needed = max(1, -(-sum(part.bytes for part in read) // _CHUNK))
        start = len(_MAGIC) + _LENGTH.size + len(raw)
        if self.path.stat().st_size != start + total + chunks * _TAG:  # before memory is taken for it
            raise self._corrupt()
        plain = bytearray(min(total, needed * _CHUNK))
        view = memoryview(plain)

        def unseal(number: int) -> None:
            piece = view[number * _CHUNK : (number + 1) * _CHUNK]
            with self.path.open("rb", buffering=0) as file:
                file.seek(start + number * (_CHUNK + _TAG))
                sealed = file.read(len(piece) + _TAG)
            aead.decrypt_into(_nonce(number, last=number == chunks - 1), sealed, raw, piece)

        from cryptography.exceptions import InvalidTag

        try:
            with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1), thread_name_prefix="unseal") as pool:
                list(pool.map(unseal, range(needed)))
        except (InvalidTag, ValueError):
            raise self._corrupt() from None
        found, at = dict[str, memoryview](), 0
        for part in read:
            found[part.name] = view[at : at + part.bytes]
            at += part.bytes
        return found

    def _read_header(self) -> tuple[Header, bytes]:
        try:
            with self.path.open("rb") as file:
                begin = file.read(len(_MAGIC) + _LENGTH.size)
                (length,) = _LENGTH.unpack(begin[len(_MAGIC) :])
                raw = file.read(min(length, _MOST_HEADER))
            if begin[: len(_MAGIC)] != _MAGIC:
                raise ValueError("no signature")
            return Header.parse(raw), raw
        except OSError as error:
            raise ModelError(f"{self.path.name} cannot be read ({error.strerror})") from error
        except _WRONG_SHAPE:
            raise ModelCorrupt(f"{self.path.name} is no sealed model, or a damaged one; seal it again") from None

    def _corrupt(self) -> ModelCorrupt:
        return ModelCorrupt(f"{self.path.name} does not open: it was altered, or sealed with another key")


def seal(parts: Mapping[str, Path | bytes], path: Path, key: bytes, *, model: str) -> SealedFile:
    """Write `parts` sealed to `path`, atomically. `model` is the id that stands in the open. Raises `OSError`."""
    salt = os.urandom(_SALT)
    sizes = {name: len(part) if isinstance(part, bytes) else part.stat().st_size for name, part in parts.items()}
    listed = [{"name": name, "bytes": size} for name, size in sizes.items()]
    raw = json.dumps({"model": model, "salt": salt.hex(), "parts": listed}).encode()
    aead, total = _aead(key, salt), sum(sizes.values())
    chunks = max(1, -(-total // _CHUNK))
    work = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with work.open("wb") as file:
            file.write(_MAGIC + _LENGTH.pack(len(raw)) + raw)
            for number, piece in enumerate(_pieces(list(parts.values()))):
                file.write(aead.encrypt(_nonce(number, last=number == chunks - 1), piece, raw))
            file.flush()
            os.fsync(file.fileno())
        work.replace(path)
    except BaseException:  # also an interrupt: never leave half a file behind
        work.unlink(missing_ok=True)
        raise
    return SealedFile(path)


def _pieces(parts: Sequence[Path | bytes]) -> Iterator[bytes]:
    """The parts' bytes one after the other, in chunks; at least one, however little there is."""
    held = bytearray()
    some = False
    for part in parts:
        for data in _reads(part):
            held += data
            while len(held) > _CHUNK:  # the last chunk is known by what follows it, so a full one waits
                some = True
                yield bytes(held[:_CHUNK])
                del held[:_CHUNK]
    if held or not some:
        yield bytes(held)


def _reads(part: Path | bytes) -> Iterator[bytes]:
    if isinstance(part, bytes):
        yield part
        return
    with part.open("rb") as file:
        while data := file.read(_CHUNK):
            yield data


def _nonce(number: int, *, last: bool) -> bytes:
    return number.to_bytes(11, "big") + (b"\x01" if last else b"\x00")


def _aead(key: bytes, salt: bytes) -> Any:
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF
    except ImportError as error:
        raise ConfigurationError("sealed models need: pip install 'hybridinfer-sdk[protect]'") from error
    derived = HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=salt, info=b"hybridinfer sealed model").derive(key)
    return AESGCM(derived)
