"""The engines of this process: one for each model file and thread count, shared by whoever needs it."""

from __future__ import annotations

import atexit
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..errors import ConfigurationError, ModelError
from .convert import Conversion
from .engine import Engine, Loaded
from .memory import give_back
from .sealed import master_key
from .session import Session
from .setting import Setting
from .unsealed import Unsealed
from .vocabulary import Vocabulary

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .catalogue import Model
    from .store import Store

_EXIT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class _Key:
    process: int  # threads do not survive a fork: a child makes its own
    file: Path
    threads: int
    setting: Setting


class Pool:
    """Engines by model file, each with its owners; the last one to leave closes it."""

    def __init__(self, loader: Callable[..., Loaded] | None = None) -> None:
        """`loader`: in the place of `load`, with its arguments."""
        self._loader = loader
        self._lock = threading.Lock()
        self._engines: dict[_Key, tuple[Engine, set[object]]] = {}
        self._hooked = False

    def take(
        self,
        model: Model,
        store: Store,
        owner: object,
        *,
        threads: int,
        waiting: int,
        pull: bool,
        rows: int = 8,
        memory: int | None = None,
        setting: Setting | None = None,
    ) -> Engine:
        """The engine of `model`; asking again is free, and whoever asks first says how large it is.

        Raises `ModelNotFound` where the model is not here and `pull` is false.
        """
        place = store.place(model) if pull else store.file(model)
        setting = setting or Setting()
        key = _Key(os.getpid(), place.absolute(), threads, setting)
        with self._lock:
            if not self._hooked:
                atexit.register(self.close)  # a run that outlives the interpreter crashes it
                self._hooked = True
            engine, owners = self._engines.get(key, (None, set[object]()))
            if engine is None or engine.dead:
                engine = Engine(
                    lambda: (self._loader or load)(model, store, threads=threads, pull=pull, setting=setting),
                    name=model.called,
                    waiting=waiting,
                    rows=rows,
                    memory=memory,
                )
                self._engines[key] = (engine, owners)
            owners.add(owner)
            return engine

    def leave(self, owner: object) -> None:
        """`owner` needs nothing any more."""
        idle: list[Engine] = []
        with self._lock:
            for key, (engine, owners) in list(self._engines.items()):
                owners.discard(owner)
                if not owners:
                    idle.append(engine)
                    del self._engines[key]
        for engine in idle:
            engine.close()

    def close(self) -> None:
        """Close every engine of this process."""
        with self._lock:
            engines = [engine for key, (engine, _) in self._engines.items() if key.process == os.getpid()]
            self._engines.clear()
        for engine in engines:
            engine.close(_EXIT_SECONDS)


def load(model: Model, store: Store, *, threads: int, pull: bool, setting: Setting | None = None) -> Loaded:
    """Verify `model` and load it, converting it where that was not done, fetching it only where `pull` allows.

    Hashing and loading run side by side; nothing is used before its hash was right. A signature is checked before
    anything else. Raises `ModelError`.
    """
    setting = setting or Setting()
    loaded = _load(model, store, threads=threads, pull=pull, setting=setting)
    if not setting.prefix_disk:
        return loaded
    from .prefix_disk import open_disk

    return replace(loaded, disk=open_disk(model, store, loaded.session, limit=setting.prefix_disk))


def _load(model: Model, store: Store, *, threads: int, pull: bool, setting: Setting) -> Loaded:
    try:
        if pull and store.state(model) == "absent":
            store.pull(model)
        if setting.signature is not None:
            setting.signature.check(store.file(model))
        if model.form != "gguf":
            return _loaded(_session(model, store, threads, setting), store.vocabulary(model))
    except ConfigurationError as error:  # a key or an extra is missing: this model cannot be had, others may
        raise ModelError(str(error)) from error
    conversion = Conversion.of(store.root, model.sha256) if model.sha256 else None
    if conversion is None or not conversion.exists:
        file, conversion = store.verified(model)
        conversion.make(file)
        vocabulary = _vocabulary(conversion, Vocabulary.of(file, packed=conversion.vocabulary))
        return _loaded(Session(conversion, threads=threads, setting=setting), vocabulary)
    with ThreadPoolExecutor(max_workers=2, thread_name_prefix="load") as executor:
        check = executor.submit(store.verified, model)
        reading = executor.submit(store.vocabulary, model)
        session = Session(conversion, threads=threads, setting=setting)
        check.result()
        return _loaded(session, _vocabulary(conversion, reading.result()))


def _session(model: Model, store: Store, threads: int, setting: Setting) -> Session:
    """Of a model that runs as it is."""
    file, conversion = store.verified(model)
    if model.form == "sealed":
        session = Session(Unsealed.read(file, master_key(store.environ)), threads=threads, setting=setting)
        give_back()
        return session
    conversion.check_header()
    return Session(conversion, threads=threads, setting=setting)


def _vocabulary(conversion: Conversion, vocabulary: Vocabulary) -> Vocabulary:
    """`vocabulary`, which lies in the conversion from now on."""
    if conversion.vocabulary() is None:
        conversion.keep_vocabulary(vocabulary.pack())
    return vocabulary


def _loaded(session: Session, vocabulary: Vocabulary) -> Loaded:
    if vocabulary.tokenizer.size > session.vocabulary:  # the runtime would read beyond the embedding's end
        raise ModelError("the model's tokenizer has more tokens than the model; use a complete GGUF file")
    return Loaded(session=session, vocabulary=vocabulary)


POOL = Pool()
"""The process's own."""
