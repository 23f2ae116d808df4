"""`hybridinfer models encrypt` and `models new-key`: a model that only its key opens."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from .progress import bar
from .terminal import UsageError, print_json, talk

if TYPE_CHECKING:
    from ..edge.catalogue import Model

Flag = Annotated[bool, Parameter(negative="")]


def encrypt(model: str, *, out: Path, force: Flag = False, json: Flag = False) -> int:
    """Seal what a run of a model needs into one file (AES-256-GCM): `model: FILE.sealed` in a policy runs it.

    The key comes from HYBRIDINFER_MODEL_KEY, else from the keyring, when sealing and at every load; the model is
    opened in memory only. What is here in plain stays: `hybridinfer models remove` deletes it.

    Args:
        model: A name from `models list`, or a path to a GGUF file or a bundle.
        out: The file to write; its name ends with .sealed.
        force: Overwrite a file that is there.
        json: Print {file, model, bytes}.
    """
    from ..edge.catalogue import find
    from ..edge.sealed import master_key
    from ..edge.store import Store
    from ..edge.unsealed import encrypt as seal

    if out.suffix != ".sealed":
        raise UsageError(f"--out {out}: a sealed model's name ends with .sealed")
    if out.exists() and not force:
        raise UsageError(f"--out {out}: it is there already; --force overwrites it")
    wanted, key = find(model), master_key(os.environ)
    store = Store.default()
    try:
        with bar(wanted.id) as report:
            sealed = seal(wanted, store, out, key, report)
    except OSError as error:
        raise UsageError(f"--out {out}: cannot be written ({error.strerror})") from error
    if json:
        print_json({"file": str(out), "model": sealed.header().model, "bytes": out.stat().st_size})
    else:
        print(out)
        talk(_plain_is_left(wanted))
    return 0


def new_key(*, keyring: Flag = False) -> int:
    """Make a key for sealed models and print it, or store it in the system's keyring without showing it.

    Whoever has the key can open the models; without it they are lost.

    Args:
        keyring: Store it instead of printing it. A key that is there is never replaced.
    """
    from ..edge.sealed import KEY_VARIABLE, keep, new_key

    key = new_key()
    if keyring:
        keep(key)
        talk("the key is in the keyring")
    else:
        print(key)
        talk(f"keep it secret; set it as {KEY_VARIABLE} where models are sealed and run")
    return 0


def _plain_is_left(model: Model) -> str:
    return f"sealed; the plain model is still on this machine: hybridinfer models remove {model.id}"
