"""Sealed models at work: opened in memory only, and no other way."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from hybridinfer.edge import sealed
from hybridinfer.edge.catalogue import find
from hybridinfer.edge.convert import GRAPH, HEADER, WEIGHTS
from hybridinfer.edge.pool import load
from hybridinfer.edge.progress import silent
from hybridinfer.edge.sealed import SealedFile, keep, new_key, seal
from hybridinfer.edge.session import Sequence, Stop
from hybridinfer.edge.store import Store
from hybridinfer.edge.unsealed import Unsealed, encrypt, read_header
from hybridinfer.errors import ConfigurationError, ModelCorrupt, ModelError, ModelNotFound
from tests import tiny

KEY = bytes(range(32))
ENVIRON = {"HYBRIDINFER_MODEL_KEY": base64.b64encode(KEY).decode(), "HYBRIDINFER_OFFLINE": "1"}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cache", ENVIRON)


@pytest.fixture
def closed(tmp_path: Path, store: Store) -> Path:
    """A sealed model, its plain one beside it."""
    plain = tiny.write(tmp_path / "plain.gguf")
    encrypt(find(str(plain)), store, tmp_path / "m.sealed", KEY, silent)
    return tmp_path / "m.sealed"


def logits(model: str, store: Store) -> list[float]:
    loaded = load(find(model), store, threads=1, pull=False)
    return Sequence(loaded.session).feed((5, 6, 7), Stop()).tolist()


def test_it_runs_like_the_plain_one(closed: Path, store: Store) -> None:
    """The same numbers to the last bit, and the same words."""
    plain = str(closed.with_name("plain.gguf"))
    assert logits(str(closed), store) == logits(plain, store)
    text = "hello world"
    one, other = (store.vocabulary(find(name)).tokenizer.encode(text) for name in (str(closed), plain))
    assert one == other


def test_nothing_of_it_is_written(closed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No piece of the graph, the weights or the header lies anywhere that a run may write to."""
    parts = {name: bytes(part) for name, part in SealedFile(closed).open(KEY).items()}
    canaries = [part[at : at + 48] for part in parts.values() for at in range(0, len(part) - 48, 4096)]
    canaries = [piece for piece in canaries if len(set(piece)) > 8]
    alone = tmp_path / "alone"
    alone.mkdir()
    for name in ("TMPDIR", "HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(alone))
    monkeypatch.setattr("tempfile.tempdir", None)
    logits(str(closed), Store(alone / "cache", ENVIRON))
    written = [file.read_bytes() for file in alone.rglob("*") if file.is_file()]
    assert len(canaries) > 10
    assert not [piece for piece in canaries for data in [*written, closed.read_bytes()] if piece in data]


def test_what_it_was_called_is_all_it_shows(closed: Path) -> None:
    """The file's stem, not its folder."""
    assert SealedFile(closed).header().model == "plain"


@pytest.mark.parametrize("environ", [{}, {"HYBRIDINFER_MODEL_KEY": new_key()}])
def test_without_its_key_it_does_not_load(
    closed: Path, tmp_path: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """None, or another one: an error of models, so that a plan goes on."""
    monkeypatch.setattr(sealed, "_from_keyring", lambda: None)
    with pytest.raises(ModelError, match=r"needs its key|another key"):
        load(find(str(closed)), Store(tmp_path / "cache", environ), threads=1, pull=False)


def test_an_altered_byte_is_found_by_load_and_verify(closed: Path, store: Store) -> None:
    """Even the last one."""
    store.verify(find(str(closed)))
    raw = bytearray(closed.read_bytes())
    raw[-1] ^= 1
    closed.write_bytes(raw)
    for act in (lambda: load(find(str(closed)), store, threads=1, pull=False), lambda: store.verify(find(str(closed)))):
        with pytest.raises(ModelCorrupt, match="does not open"):
            act()


def test_a_pin_holds_for_sealed_files_too(closed: Path, store: Store) -> None:
    """`sha256:` of the sealed file itself."""
    with pytest.raises(ModelCorrupt, match="another one"):
        load(find(str(closed), sha256="0" * 64), store, threads=1, pull=False)


def test_only_the_header_is_opened_for_counting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A damaged end does not matter to it: what is read is proved, what is not is not read."""
    monkeypatch.setattr(sealed, "_CHUNK", 1024)
    parts = {HEADER: b"h" * 1500, GRAPH: b"g" * 1500, WEIGHTS: b"w" * 5000}
    file = seal(parts, tmp_path / "small.sealed", KEY, model="m")
    data = bytearray(file.path.read_bytes())
    data[-1] ^= 1
    file.path.write_bytes(data)
    assert read_header(file.path, KEY) == b"h" * 1500
    data[1000] ^= 1  # within the first chunk
    file.path.write_bytes(data)
    with pytest.raises(ModelCorrupt):
        read_header(file.path, KEY)


def test_a_file_of_other_things_is_no_model(tmp_path: Path) -> None:
    """Sealed with the right key, but by somebody who sealed something else."""
    file = seal({"letter": b"dear"}, tmp_path / "m.sealed", KEY, model="m").path
    for read in (read_header, Unsealed.read):
        with pytest.raises(ModelCorrupt, match="holds no model"):
            read(file, KEY)


def test_states_of_a_sealed_model(closed: Path, store: Store, tmp_path: Path) -> None:
    """It is ready or absent, has a size, pulls to itself, and is never removed; sealing it twice is refused."""
    model = find(str(closed))
    assert (store.state(model), store.size(model)) == ("ready", closed.stat().st_size)
    assert store.pull(model) == closed
    assert store.remove(model) == 0
    assert closed.is_file()
    assert b"MatMulNBits" in store.graph(model)
    with pytest.raises(ModelError, match="sealed already"):
        encrypt(model, store, tmp_path / "twice.sealed", KEY, silent)
    gone = find(str(tmp_path / "gone.sealed"))
    assert store.state(gone) == "absent"
    with pytest.raises(ModelNotFound, match="a sealed model"):
        store.file(gone)


def test_the_keyring_keeps_one_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second one would make the first one's models unreadable; a keyring that fails says what to do."""
    import keyring
    from keyring.errors import KeyringError

    held: dict[tuple[str, str], str] = {}
    monkeypatch.setattr(keyring, "get_password", lambda *name: held.get(name))
    monkeypatch.setattr(keyring, "set_password", lambda one, two, key: held.update({(one, two): key}))
    keep("first")
    assert list(held.values()) == ["first"]
    with pytest.raises(ConfigurationError, match="has a model key already"):
        keep("second")
    held.clear()

    def fail(*_: str) -> None:
        raise KeyringError

    monkeypatch.setattr(keyring, "set_password", fail)
    with pytest.raises(ConfigurationError, match="takes no key"):
        keep("third")
    monkeypatch.setitem(__import__("sys").modules, "keyring", None)
    with pytest.raises(ConfigurationError, match="protect"):
        keep("fourth")
