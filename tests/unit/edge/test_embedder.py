"""What a text is about, as numbers: a tiny model with the shape of the real one, and the real one where it is here."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hybridinfer.edge import embedder
from hybridinfer.edge.catalogue import Model, WheelSource, embedders, find
from hybridinfer.edge.embedder import NAME, SIZE, WINDOW
from hybridinfer.edge.store import Store
from hybridinfer.errors import ModelCorrupt, ModelError, ModelNotFound
from tests import tiny_embedder


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """The cache of a machine."""
    return tmp_path / "cache"


@pytest.fixture
def model(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Model:
    """The tiny one, in the catalogue and on the machine."""
    made = tiny_embedder.write(cache)
    monkeypatch.setattr(embedder, "embedders", lambda: {NAME: made})
    monkeypatch.setenv("HYBRIDINFER_CACHE", str(cache))
    return made


def test_a_vector_is_the_mean_of_its_pieces(model: Model) -> None:
    """Marks included; scaled to length 1."""
    vector = embedder.load().vector("Cats dogs")
    rows = tiny_embedder.table()[[0, 6, 7, 1]].mean(axis=0)
    assert vector.shape == (SIZE,)
    np.testing.assert_allclose(vector, rows / np.linalg.norm(rows), rtol=1e-5)


def test_no_more_pieces_count_than_asked(model: Model) -> None:
    """The end mark stays; what lies beyond is as if it were not there."""
    loaded = embedder.load()
    np.testing.assert_array_equal(loaded.vector("cats dogs bigger", pieces=3), loaded.vector("cats"))
    np.testing.assert_array_equal(loaded.vector("cats " * WINDOW + "dogs"), loaded.vector("cats " * (WINDOW - 2)))


def test_a_text_beyond_the_window_is_not_read_whole(model: Model) -> None:
    """So that nobody judges an answer by its beginning."""
    loaded = embedder.load()
    assert loaded.reads_whole("cats " * (WINDOW - 2))
    assert not loaded.reads_whole("cats " * (WINDOW - 1))
    assert not loaded.reads_whole("a" * 5000)


def test_it_is_loaded_once(model: Model) -> None:
    """For the whole process."""
    assert embedder.load() is embedder.load()


def test_a_missing_model_says_what_to_run(cache: Path) -> None:
    """At the check as at the load."""
    environ = {"HYBRIDINFER_CACHE": str(cache)}
    for ask in (embedder.load, embedder.check_here):
        with pytest.raises(ModelNotFound, match=f"run: hybridinfer models pull {NAME}"):
            ask(environ)


def test_a_damaged_model_is_not_loaded(cache: Path, model: Model) -> None:
    """One byte is enough."""
    file = cache / "models" / f"{model.sha256}.embedder"
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    with pytest.raises(ModelCorrupt):
        embedder.load()


def test_what_is_no_model_is_told(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With an error of this package's."""
    junk = b"neither a graph nor a tokenizer"
    made = Model(id=NAME, sha256=hashlib.sha256(junk).hexdigest(), graph_bytes=9)
    monkeypatch.setattr(embedder, "embedders", lambda: {NAME: made})
    (cache / "models").mkdir(parents=True)
    (cache / "models" / f"{made.sha256}.embedder").write_bytes(junk)
    with pytest.raises(ModelError, match="cannot be loaded"):
        embedder.load({"HYBRIDINFER_CACHE": str(cache)})


def test_it_answers_nothing() -> None:
    """So no target can be made of it."""
    with pytest.raises(ModelNotFound, match="answers nothing"):
        find(NAME)


def test_the_store_brings_checks_and_removes_it(cache: Path, model: Model, tmp_path: Path) -> None:
    """By the commands of any other model; nothing is converted."""
    file = cache / "models" / f"{model.sha256}.embedder"
    copy = tmp_path / "copy"
    file.replace(copy)
    store = Store(cache, {"HYBRIDINFER_OFFLINE": "1"})
    assert store.state(model) == "absent"
    assert store.pull(model, from_file=copy) == file
    assert (store.state(model), store.size(model)) == ("ready", model.bytes)
    store.verify(model)
    assert store.remove(model) == model.bytes
    assert not file.exists()
    with pytest.raises(ModelCorrupt):
        store.pull(replace(model, sha256="0" * 64), from_file=copy)


def test_the_catalogue_pins_it() -> None:
    """By the hash of the whole and of each wheel."""
    (model,) = embedders().values()
    (source,) = model.sources
    assert isinstance(source, WheelSource)
    assert model.licence == "Apache-2.0"
    assert all(len(pin) == 64 for pin in (model.sha256 or "", *(part.sha256 for part in source.parts)))


def test_the_real_one_tells_topics_apart() -> None:
    """Two sentences about one thing are nearer than two about different ones."""
    try:
        embedder.check_here()
    except ModelNotFound:
        pytest.skip(f"needs the model: hybridinfer models pull {NAME}")
    about = embedder.load().vector
    money, also_money, weather = map(about, ("The bank raised its rates.", "Interest went up.", "It rained all day."))
    assert float(money @ also_money) > float(money @ weather) + 0.1
