"""One engine for each model file in a process."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from hybridinfer.edge import checksum
from hybridinfer.edge.catalogue import Model
from hybridinfer.edge.convert import Conversion
from hybridinfer.edge.pool import Pool, load
from hybridinfer.edge.store import Store
from hybridinfer.errors import ModelCorrupt, ModelError, ModelNotFound

OPTIONS = {"threads": 1, "waiting": 4, "pull": False}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path, {"HYBRIDINFER_OFFLINE": "1"})


@pytest.fixture
def pinned(tiny_gguf: Path, store: Store) -> Model:
    """The tiny model as if it came from the catalogue: fetched, not converted."""
    model = Model(id="pinned", file="tiny.gguf", sha256=checksum.sha256(tiny_gguf))
    place = store.place(model)
    place.parent.mkdir(parents=True)
    shutil.copyfile(tiny_gguf, place)
    return model


def test_the_same_model_is_the_same_engine(pinned: Model, store: Store) -> None:
    """Two owners share one; another thread count is another one."""
    pool = Pool()
    first = pool.take(pinned, store, "a", **OPTIONS)
    assert pool.take(pinned, store, "b", **OPTIONS) is first
    assert pool.take(pinned, store, "b", **OPTIONS | {"threads": 2}) is not first
    pool.close()


def test_the_last_owner_closes_it(pinned: Model, store: Store) -> None:
    """It lives while anybody needs it."""
    pool = Pool()
    engine = pool.take(pinned, store, "a", **OPTIONS)
    pool.take(pinned, store, "b", **OPTIONS)
    pool.leave("a")
    assert not engine.dead
    pool.leave("b")
    assert engine.dead


def test_a_dead_engine_is_replaced(pinned: Model, store: Store) -> None:
    """After a failed load the next request tries again."""
    pool = Pool()
    engine = pool.take(pinned, store, "a", **OPTIONS)
    engine.close()
    assert pool.take(pinned, store, "a", **OPTIONS) is not engine
    pool.close()


def test_a_missing_model_says_how_to_fetch_it(store: Store) -> None:
    """Nothing is fetched in the middle of a request unless the policy says so."""
    model = Model(id="absent", sha256="0" * 64)
    with pytest.raises(ModelNotFound, match="run: hybridinfer models pull absent"):
        Pool().take(model, store, "a", **OPTIONS)


def test_loading_converts_once_and_verifies(pinned: Model, store: Store) -> None:
    """The first load converts; the second finds the conversion and checks file and conversion."""
    assert store.state(pinned) == "fetched"
    load(pinned, store, threads=1, pull=False)
    assert store.state(pinned) == "ready"
    assert load(pinned, store, threads=1, pull=False).session.threads == 1


@pytest.mark.parametrize("which", ["file", "weights"])
def test_a_damaged_byte_prevents_loading(pinned: Model, store: Store, which: str) -> None:
    """In the file or in its conversion: ModelCorrupt, with what to do."""
    load(pinned, store, threads=1, pull=False)
    conversion = Conversion.of(store.root, pinned.sha256 or "")
    file = store.place(pinned) if which == "file" else conversion.directory / "weights.bin"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(ModelCorrupt, match="pull"):
        load(pinned, store, threads=1, pull=False)


def test_pull_auto_brings_what_is_missing(store: Store) -> None:
    """With `pull` the load itself fetches; offline that ends in a reason."""
    model = Model(id="absent", sha256="0" * 64)
    with pytest.raises(ModelNotFound, match="HYBRIDINFER_OFFLINE"):
        load(model, store, threads=1, pull=True)


def test_a_vocabulary_larger_than_the_model_is_refused(
    pinned: Model, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The runtime does not check token ids: it would read beyond the embedding."""
    from hybridinfer.edge.session import Session

    plain = Session.__init__

    def smaller(self, *args, **options) -> None:
        plain(self, *args, **options)
        self.vocabulary = 10

    monkeypatch.setattr(Session, "__init__", smaller)
    with pytest.raises(ModelError, match="more tokens than the model"):
        load(pinned, store, threads=1, pull=False)


def test_closing_the_pool_closes_every_engine(pinned: Model, store: Store) -> None:
    """As at the interpreter's end."""
    pool = Pool()
    engine = pool.take(pinned, store, "a", **OPTIONS)
    pool.close()
    assert engine.dead
