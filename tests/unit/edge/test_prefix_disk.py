"""Known beginnings on the disk: sealed, bounded, and as if they were not there where anything is wrong with them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from hybridinfer.edge.catalogue import find
from hybridinfer.edge.convert import Conversion
from hybridinfer.edge.engine import Loaded
from hybridinfer.edge.memory import Memory
from hybridinfer.edge.pool import load
from hybridinfer.edge.precision import Precision
from hybridinfer.edge.prefix import BLOCK, PrefixCache
from hybridinfer.edge.prefix_disk import PrefixDisk, _content, open_disk, wipe
from hybridinfer.edge.progress import silent
from hybridinfer.edge.sealed import KEY_VARIABLE, new_key
from hybridinfer.edge.session import Session
from hybridinfer.edge.setting import Setting
from hybridinfer.edge.store import Store
from hybridinfer.edge.unsealed import encrypt
from hybridinfer.edge.vocabulary import Vocabulary
from tests.unit.edge.test_batch import Caller, Desk, alone, prompt

SHAPE = (2, 1, BLOCK, 1)
KEY, OTHER_KEY = b"k" * 32, b"o" * 32
NAME, OTHER = b"n" * 32, b"m" * 32
BLOCK_BYTES = 4 * 2 * BLOCK + 28


def block(seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=SHAPE).astype(np.float32)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[..., PrefixDisk]]:
    """Opens the tier in one folder; what is to be written is written when it is closed."""
    opened: list[PrefixDisk] = []

    def make(
        key: bytes = KEY, *, limit: int = 1 << 20, identity: str = "model", shape: tuple[int, ...] = SHAPE
    ) -> PrefixDisk:
        opened.append(PrefixDisk(tmp_path / "prefixes", key, limit=limit, shape=shape, identity=identity))
        return opened[-1]

    yield make
    for one in opened:
        one.close()


def kept(disk: Callable[..., PrefixDisk], *names: bytes, **options: object) -> None:
    """Write a block under each name."""
    one = disk(**options)
    for number, name in enumerate(names):
        one.save(name, block(number))
    one.close()


def files(folder: Path) -> list[Path]:
    return sorted((folder / "prefixes").iterdir())


def test_a_block_outlives_its_process(disk: Callable[..., PrefixDisk]) -> None:
    """Bit for bit; nothing else is there."""
    kept(disk, NAME)
    again = disk()
    assert NAME in again
    assert np.array_equal(again.load(NAME), block(0))
    assert OTHER not in again
    assert again.load(OTHER) is None


def test_files_tell_nothing(disk: Callable[..., PrefixDisk], tmp_path: Path) -> None:
    """Neither names nor bytes of a block, and nobody else may read them."""
    kept(disk, NAME)
    (file,) = files(tmp_path)
    assert NAME.hex() not in file.name
    assert block(0).tobytes()[:64] not in file.read_bytes()
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)


@pytest.mark.parametrize(
    "other", [{"key": OTHER_KEY}, {"identity": "another model"}], ids=["another key", "another model"]
)
def test_who_has_another_key_or_model_finds_nothing(disk: Callable[..., PrefixDisk], other: dict) -> None:
    """Not even the name, so nobody can test a guess; and the file stays for its owner."""
    kept(disk, NAME)
    foreign = disk(**other)
    assert NAME not in foreign
    assert foreign.load(NAME) is None
    assert NAME in disk()


@pytest.mark.parametrize("fault", ["flipped", "cut", "grown", "empty", "swapped"])
def test_a_damaged_file_is_as_if_it_were_not_there(disk: Callable[..., PrefixDisk], tmp_path: Path, fault: str) -> None:
    """Whatever happened to it; it is deleted, so that a good one can take its place."""
    kept(disk, NAME)
    (file,) = files(tmp_path)
    data = file.read_bytes()
    if fault == "swapped":  # a whole file of the same key under another's name
        kept(disk, OTHER)
        data = next(other for other in files(tmp_path) if other != file).read_bytes()
    middle = len(data) // 2
    flipped = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
    file.write_bytes({"flipped": flipped, "cut": data[:-1], "grown": data + b"x", "empty": b"", "swapped": data}[fault])
    again = disk()
    assert again.load(NAME) is None
    assert NAME not in again


def test_the_folder_keeps_its_limit(disk: Callable[..., PrefixDisk], tmp_path: Path) -> None:
    """What was used longest ago leaves, whoever wrote it."""
    for age, identity in enumerate(("an older model", "b", "c")):
        kept(disk, NAME, identity=identity)
        os.utime(disk(identity=identity)._place(NAME), (age, age))
    assert disk(identity="b").load(NAME) is not None
    kept(disk, NAME, identity="d", limit=2 * BLOCK_BYTES)
    assert [NAME in disk(identity=identity) for identity in ("an older model", "b", "c", "d")] == [
        False,
        True,
        False,
        True,
    ]
    assert sum(file.stat().st_size for file in files(tmp_path)) == 2 * BLOCK_BYTES


def test_a_disk_that_takes_nothing_is_no_error(
    disk: Callable[..., PrefixDisk], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One line in the log, without content."""
    (tmp_path / "prefixes").write_text("a file where the folder should be")
    kept(disk, NAME)
    assert disk().load(NAME) is None
    assert "not kept on the disk (FileExistsError)" in caplog.text


def test_a_slow_disk_does_not_fill_the_memory(disk: Callable[..., PrefixDisk], tmp_path: Path) -> None:
    """Blocks that find too many before them are not written."""
    one = disk()
    while one._room.acquire(blocking=False):
        pass
    one.save(NAME, block())
    one.close()
    assert not (tmp_path / "prefixes").exists()


def test_every_form_of_a_model_has_a_content_of_its_own(tiny_gguf: Path, tmp_path: Path) -> None:
    """A bundle that was made with other bits, and a model that was sealed anew, share nothing with what was before."""
    store, plain = Store(tmp_path / "cache", {KEY_VARIABLE: new_key()}), find(str(tiny_gguf))
    for bits in (4, 8):
        Conversion(tmp_path / f"{bits}.bundle").make(tiny_gguf, precision=Precision.of(bits, None))
    for turn in ("one", "two"):
        encrypt(plain, store, tmp_path / f"{turn}.sealed", KEY, silent)
    files = ("4.bundle", "8.bundle", "one.sealed", "two.sealed")
    models = [plain, *(find(str(tmp_path / name)) for name in files)]
    assert len({_content(model, store) for model in models}) == len(models)
    assert _content(plain, store) == _content(plain, store)


def test_wiping_leaves_nothing(disk: Callable[..., PrefixDisk], tmp_path: Path) -> None:
    """Of all keys and models."""
    kept(disk, NAME, OTHER)
    kept(disk, NAME, key=OTHER_KEY)
    assert wipe(tmp_path) == 3 * BLOCK_BYTES
    assert files(tmp_path) == []
    assert wipe(tmp_path / "nowhere") == 0


def test_memory_asks_the_disk(disk: Callable[..., PrefixDisk]) -> None:
    """What left the memory, or was never there, is found; what is read is in the memory again."""
    kept(disk, NAME, OTHER)
    cache = PrefixCache(Memory(1 << 20), 1 << 20, disk())
    assert cache.known([NAME, OTHER, b"x"]) == 2
    assert NAME not in cache
    assert len(list(cache.match([NAME, OTHER, b"x"]))) == 2
    assert NAME in cache
    small = PrefixCache(Memory(0), 0, disk())
    assert len(list(small.match([NAME, OTHER]))) == 2
    assert small.bytes == 0


@pytest.fixture
def loaded(tiny_session: Session, tiny_gguf: Path, disk: Callable[..., PrefixDisk]) -> Callable[[], Loaded]:
    """The tiny model with the tier, anew each time."""
    shape = (len(tiny_session.past), tiny_session.heads, BLOCK, tiny_session.head_size)
    return lambda: Loaded(
        session=tiny_session, vocabulary=Vocabulary.of(tiny_gguf), disk=disk(shape=shape, identity="tiny")
    )


def test_a_beginning_from_the_disk_gives_the_answer_of_a_cold_one(loaded: Callable[[], Loaded]) -> None:
    """Bit for bit, in another process's place; the usage tells how much was known."""
    wanted = prompt(300, scope="a", logprobs=True)
    for known in (0, 300 // BLOCK * BLOCK):
        model = loaded()
        desk = Desk(model)
        caller = desk.add(Caller(wanted))
        desk.run()
        assert model.disk is not None
        model.disk.close()
        assert caller.done.cached_tokens == known
        assert caller.items[:-1] == alone(model, wanted)[:-1]
        assert desk.leaks() == []


@pytest.mark.parametrize(("one", "other"), [("a", "b"), ("a", None), (None, None)])
def test_scopes_share_nothing_on_the_disk(loaded: Callable[[], Loaded], one: str | None, other: str | None) -> None:
    """Another tenant or privacy class, or an unknown one, finds nothing, also after a restart."""
    for scope in (one, other):
        model = loaded()
        desk = Desk(model)
        caller = desk.add(Caller(prompt(200, scope=scope)))
        desk.run()
        assert model.disk is not None
        model.disk.close()
    assert caller.done.cached_tokens == 0


def test_a_request_without_a_scope_writes_nothing(loaded: Callable[[], Loaded], tmp_path: Path) -> None:
    """Unknown means nobody."""
    model = loaded()
    desk = Desk(model)
    desk.add(Caller(prompt(200)))
    desk.run()
    assert model.disk is not None
    model.disk.close()
    assert not (tmp_path / "prefixes").exists()


def test_it_is_off_unless_asked_for(tiny_gguf: Path, tmp_path: Path) -> None:
    """And stays off without a key, or where nothing shall be remembered; the model runs all the same."""
    model = find(str(tiny_gguf))

    def opened(limit: int, **environ: str) -> PrefixDisk | None:
        store = Store(tmp_path, environ)
        return load(model, store, threads=1, pull=False, setting=Setting(prefix_disk=limit)).disk

    key = {KEY_VARIABLE: new_key()}
    assert opened(0, **key) is None
    assert opened(1 << 20, HYBRIDINFER_STATE="off", **key) is None
    assert opened(1 << 20, **{KEY_VARIABLE: "not a key"}) is None
    assert opened(1 << 20, **key) is not None


def test_names_depend_on_the_model_and_the_machine(
    tiny_gguf: Path, tiny_session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another runtime or processor may compute other last bits."""
    store, model = Store(tmp_path, {KEY_VARIABLE: new_key()}), find(str(tiny_gguf))

    def place() -> Path:
        opened = open_disk(model, store, tiny_session, limit=1 << 20)
        assert opened is not None
        return opened._place(NAME)

    before = place()
    assert place() == before
    monkeypatch.setattr("hybridinfer.edge.prefix_disk.machine", lambda: "another")
    assert place() != before


def test_a_missing_extra_leaves_the_memory(
    tiny_gguf: Path,
    tiny_session: Session,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The log says what to install."""
    monkeypatch.setitem(__import__("sys").modules, "cryptography.hazmat.primitives.ciphers.aead", None)
    store = Store(tmp_path, {KEY_VARIABLE: new_key()})
    assert open_disk(find(str(tiny_gguf)), store, tiny_session, limit=1) is None
    assert "pip install 'hybridinfer-sdk[protect]'" in caplog.text
