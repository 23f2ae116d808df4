"""Models come, are checked, and go."""

from __future__ import annotations

import multiprocessing
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from hybridinfer.edge import checksum, fetch
from hybridinfer.edge import store as module
from hybridinfer.edge.catalogue import HubSource, Model, Part, WheelSource, catalogue, find
from hybridinfer.edge.progress import Progress
from hybridinfer.edge.source import SourceFailed
from hybridinfer.edge.store import Store
from hybridinfer.errors import ModelCorrupt, ModelError, ModelNotFound

HUB, WHEELS = HubSource(repo="a/b", file="c"), WheelSource(parts=())


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cache", {})


@pytest.fixture
def model(tiny_gguf: Path) -> Model:
    return Model(id="tiny", sha256=checksum.sha256(tiny_gguf), bytes=tiny_gguf.stat().st_size, sources=(HUB, WHEELS))


@pytest.fixture
def sources(monkeypatch: pytest.MonkeyPatch, tiny_gguf: Path) -> dict[str, object]:
    """What the hub and the wheels deliver: a path to copy, or a reason to fail. Set by tests."""
    delivered: dict[str, object] = {"hub": "no hub", "wheels": tiny_gguf}

    def take(name: str, work: Path) -> Path:
        given = delivered[name]
        if isinstance(given, str):
            raise SourceFailed(given)
        shutil.copyfile(Path(str(given)), work / "file")
        return work / "file"

    monkeypatch.setattr(fetch, "from_hub", lambda source, work, report: take("hub", work))
    monkeypatch.setattr(fetch, "from_wheels", lambda source, work, report: take("wheels", work))
    return delivered


@pytest.mark.usefixtures("sources")
def test_pull_fetches_verifies_and_converts(store: Store, model: Model) -> None:
    """The second source serves where the first fails, and nothing of the fetching is left."""
    seen: list[Progress] = []
    assert store.state(model) == "absent"
    file = store.pull(model, report=seen.append)
    assert checksum.sha256(file) == model.sha256
    assert store.state(model) == "ready"
    assert {progress.stage for progress in seen} == {"verify", "convert"}
    assert sorted(entry.name for entry in file.parent.iterdir() if not entry.name.endswith(".lock")) == [file.name]
    assert store.size(model) > model.bytes


def test_a_model_that_is_here_is_not_fetched_again(store: Store, model: Model, sources: dict[str, object]) -> None:
    """Only checked."""
    store.pull(model)
    sources |= {"hub": "must not be asked", "wheels": "must not be asked"}
    store.pull(model)


@pytest.mark.parametrize("which", ["file", "conversion"])
@pytest.mark.usefixtures("sources")
def test_pull_repairs_what_is_damaged(store: Store, model: Model, which: str) -> None:
    """A damaged file is fetched again, a damaged conversion made again."""
    file = store.pull(model)
    broken = file if which == "file" else next((store.root / "onnx").glob("*/weights.bin"))
    broken.write_bytes(broken.read_bytes()[:-1] + b"?")
    with pytest.raises(ModelCorrupt, match="damaged"):
        store.verify(model)
    store.pull(model)
    store.verify(model)


def test_a_source_with_another_file_is_passed_over(
    store: Store, model: Model, sources: dict[str, object], tmp_path: Path
) -> None:
    """What the hub delivers is not the pinned file: the next source is asked, and the reason is told."""
    other = tmp_path / "other"
    other.write_bytes(b"other")
    sources["hub"] = other
    store.pull(model)
    store.remove(model)
    sources["wheels"] = "no index"
    with pytest.raises(ModelNotFound, match="delivered another file than the pinned one; no index"):
        store.pull(model)
    assert store.state(model) == "absent"


def test_a_full_disk_is_said_before_fetching(store: Store, model: Model, sources: dict[str, object]) -> None:
    """An exabyte never fits."""
    huge = Model(id="huge", sha256="0" * 64, bytes=10**18, sources=(WHEELS,))
    with pytest.raises(ModelNotFound, match="GB free"):
        store.pull(huge)


def test_offline_opens_no_socket_and_starts_no_process(
    tmp_path: Path, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HYBRIDINFER_OFFLINE=1: nothing is even tried, and the message says how to bring the file."""
    monkeypatch.setattr(socket, "socket", lambda *a, **k: pytest.fail("a socket was opened"))
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: pytest.fail("a process was started"))
    with pytest.raises(ModelNotFound, match="--from-file"):
        Store(tmp_path, {"HYBRIDINFER_OFFLINE": "1"}).pull(model)


@pytest.mark.parametrize(("value", "off"), [("1", True), ("true", True), ("", False), ("0", False), ("No", False)])
def test_offline_reads_the_usual_words(value: str, off: bool) -> None:
    """0, no and false are off."""
    assert fetch.offline({"HYBRIDINFER_OFFLINE": value}) is off


def test_a_file_can_be_brought(tmp_path: Path, model: Model, tiny_gguf: Path) -> None:
    """Also offline; the original stays where it is."""
    store = Store(tmp_path / "cache", {"HYBRIDINFER_OFFLINE": "1"})
    store.pull(model, from_file=tiny_gguf)
    assert store.state(model) == "ready"
    assert tiny_gguf.exists()


def test_a_wrong_file_is_not_taken(store: Store, model: Model, tmp_path: Path) -> None:
    """Another file is ModelCorrupt; none is ModelNotFound."""
    (tmp_path / "wrong").write_bytes(b"wrong")
    with pytest.raises(ModelCorrupt, match="is not tiny"):
        store.pull(model, from_file=tmp_path / "wrong")
    with pytest.raises(ModelNotFound, match="there is no file"):
        store.pull(model, from_file=tmp_path / "none")
    assert store.state(model) == "absent"


@pytest.mark.usefixtures("sources")
def test_remove_frees_everything(store: Store, model: Model) -> None:
    """File and conversions go; removing again frees nothing."""
    store.pull(model)
    assert store.remove(model) > model.bytes
    assert store.state(model) == "absent"
    assert store.remove(model) == 0
    assert store.size(model) == 0


def test_a_file_of_ones_own_is_never_removed(store: Store, tiny_gguf: Path, tmp_path: Path) -> None:
    """Only its conversion goes. Its hash is not known beforehand."""
    own = tmp_path / "own.gguf"
    shutil.copyfile(tiny_gguf, own)
    model = find(str(own))
    assert store.state(model) == "fetched"
    store.pull(model)
    assert store.remove(model) > 0
    assert own.exists()
    assert store.state(find(str(tmp_path / "none.gguf"))) == "absent"
    with pytest.raises(ModelNotFound, match=r"no file none\.gguf"):
        store.file(find(str(tmp_path / "none.gguf")))


def test_a_pin_on_a_file_of_ones_own_holds(store: Store, tiny_gguf: Path) -> None:
    """With `sha256` another file at the path is refused."""
    with pytest.raises(ModelCorrupt):
        store.pull(find(str(tiny_gguf), sha256="0" * 64))


def test_the_cache_lies_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """HYBRIDINFER_CACHE, from the caller's environment or the process's; else the user's cache directory."""
    monkeypatch.setenv("HYBRIDINFER_CACHE", str(tmp_path / "a"))
    assert Store.default().root == tmp_path / "a"
    assert Store.default({"HYBRIDINFER_CACHE": str(tmp_path / "b")}).root == tmp_path / "b"
    monkeypatch.delenv("HYBRIDINFER_CACHE")
    assert "hybridinfer" in str(Store.default().root)
    assert set(Store(tmp_path, {}).states().values()) == {"absent"}


def _pull(root: Path, model: Model, source: Path, results: multiprocessing.Queue) -> None:
    calls: list[int] = []

    def deliver(_: object, work: Path, report: object) -> Path:
        calls.append(1)
        shutil.copyfile(source, work / "file")
        return work / "file"

    fetch.from_wheels = deliver
    module.Store(root, {}).pull(model)
    results.put(len(calls))


def test_two_processes_fetch_once(tmp_path: Path, model: Model, tiny_gguf: Path) -> None:
    """Of several processes one fetches, and all end with the whole model."""
    wheels_only = Model(id="tiny", sha256=model.sha256, bytes=model.bytes, sources=(WHEELS,))
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    children = [context.Process(target=_pull, args=(tmp_path, wheels_only, tiny_gguf, results)) for _ in range(3)]
    for child in children:
        child.start()
    assert sorted(results.get(timeout=300) for _ in children) == [0, 0, 1]
    for child in children:
        child.join(60)
    Store(tmp_path, {}).verify(wheels_only)


def test_the_catalogue_is_pinned_and_complete() -> None:
    """Every model has a hash, a size, a licence and wheels that are pinned one by one."""
    assert list(catalogue()) == ["qwen2.5-coder-0.5b", "qwen2.5-coder-1.5b", "smollm2-135m"]
    for model in catalogue().values():
        assert len(model.sha256 or "") == 64
        assert model.bytes > 50e6
        assert model.licence == "Apache-2.0"
        parts = [part for source in model.sources if isinstance(source, WheelSource) for part in source.parts]
        assert parts
        assert all(isinstance(part, Part) and len(part.sha256) == 64 for part in parts)
        assert len({part.sha256 for part in parts}) == len(parts)


def test_a_hub_address_is_a_model() -> None:
    """With its hash; without, it is refused."""
    model = find(f"hf://org/repo/sub/x.gguf@{'a' * 64}")
    assert model.sources == (HubSource(repo="org/repo", file="sub/x.gguf"),)
    assert (model.sha256, model.file) == ("a" * 64, "x.gguf")
    with pytest.raises(ModelNotFound, match="@sha256"):
        find("hf://org/repo/x.gguf")


@pytest.mark.parametrize(
    ("name", "hint"), [("qwen2.5-coder-0.5", "did you mean qwen2.5-coder-0.5b"), ("zzz", "known are")]
)
def test_an_unknown_name_gets_a_hint(name: str, hint: str) -> None:
    """The nearest name, or all of them."""
    with pytest.raises(ModelError, match=hint):
        find(name)


def test_a_file_changed_while_it_was_hashed_is_not_remembered(tmp_path: Path) -> None:
    """The next question reads it again."""
    file = tmp_path / "x"
    file.write_bytes(b"one")
    first = checksum.sha256(file, lambda done: file.write_bytes(b"second"))
    assert checksum.sha256(file) != first
    assert checksum.sha256(file) == checksum.sha256(file)


def test_pieces_cover_the_whole_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each piece has its own hash, and an empty file has one."""
    import hashlib

    monkeypatch.setattr(checksum, "PIECE_BYTES", 4)
    file = tmp_path / "x"
    file.write_bytes(b"0123456789")
    assert checksum.pieces(file) == tuple(hashlib.sha256(piece).hexdigest() for piece in (b"0123", b"4567", b"89"))
    (tmp_path / "empty").write_bytes(b"")
    assert len(checksum.pieces(tmp_path / "empty")) == 1


def test_a_bundle_counts_with_what_it_takes(tmp_path: Path) -> None:
    """Of the variants named, the largest bundle that fits; the smallest where none does."""
    store = Store(tmp_path, {})
    for name, size in (("small", 1 << 10), ("large", 1 << 20)):
        (tmp_path / "bundles" / f"{name}.bundle").mkdir(parents=True)
        (tmp_path / "bundles" / f"{name}.bundle" / "weights.bin").write_bytes(bytes(size))
    names = ("small.bundle", "large.bundle")
    spare = 512 << 20
    assert store.largest(names, room=spare + (2 << 20)).id == "large.bundle"
    assert store.largest(names, room=spare + (1 << 20)).id == "small.bundle"
    assert store.largest(names, room=0).id == "small.bundle"
