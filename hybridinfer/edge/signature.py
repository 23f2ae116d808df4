"""Who vouches for a model file: a detached signature in sigstore's bundle format, checked offline with a public key.

The work is `model-signing`'s (OpenSSF): elliptic-curve keys, no transparency log, no network. Sign with
`model_signing sign key MODEL --private-key KEY.pem --signature MODEL.sig`.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ConfigurationError, ModelCorrupt, ModelNotFound
from .checksum import stamp

if TYPE_CHECKING:
    from .checksum import Stamp

_vouched: set[tuple[Stamp, ...]] = set()
_lock = threading.Lock()


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """A signature's file, and the public key (PEM) that it must be of."""

    file: Path
    public_key: Path

    def check(self, model: Path) -> None:
        """Pass where the key's owner signed exactly these bytes, a file or all files of a folder.

        Once per process for files that stay as they are.

        Raises `ModelCorrupt` where not, `ModelNotFound` where signature or key are missing, and
        `ConfigurationError` where the extra is.
        """
        for file in (self.file, self.public_key):
            if not file.is_file():
                raise ModelNotFound(f"there is no file {file.name}; a signed model needs its signature and public key")
        files = sorted(file for file in model.rglob("*") if file.is_file()) if model.is_dir() else [model]
        seen = tuple(map(stamp, (*files, self.file, self.public_key)))
        with _lock:
            if seen in _vouched:
                return
        try:
            from model_signing import hashing, verifying
        except ImportError as error:
            raise ConfigurationError("signatures need: pip install 'hybridinfer-sdk[signing]'") from error
        try:
            only_it = hashing.Config().set_ignored_paths(paths=[self.file], ignore_git_paths=False)  # type: ignore[no-untyped-call]
            checker = verifying.Config().use_elliptic_key_verifier(public_key=self.public_key)  # type: ignore[no-untyped-call]
            checker.set_hashing_config(only_it).verify(model, self.file)
        except Exception as error:  # the library promises no class of its own: whatever goes wrong, it is no proof
            raise ModelCorrupt(
                f"the signature of {model.name} does not hold, so it was not loaded ({type(error).__name__})"
            ) from error
        with _lock:
            _vouched.add(seen)
