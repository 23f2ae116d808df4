"""Hashes of unchanged files outlive the process; nothing else does."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from hybridinfer.edge import checksum, remembered

LONG_AGO = time.time() - 3600


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that has rested; only the grain of the clock is taken out of the way."""
    monkeypatch.setattr(remembered, "SETTLED_SECONDS", -1.0)
    place = tmp_path / "weights.bin"
    place.write_bytes(b"weights")
    os.utime(place, (LONG_AGO, LONG_AGO))
    return place


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were really hashed."""
    seen: list[Path] = []
    plain = checksum._hash

    def counted(path: Path, *args) -> str:
        seen.append(path)
        return plain(path, *args)

    monkeypatch.setattr(checksum, "_hash", counted)
    return seen


def restart() -> None:
    """As a new process: nothing is in memory."""
    checksum._known.clear()


def test_an_unchanged_file_is_hashed_once(file: Path, reads: list[Path]) -> None:
    """Also over a restart; whole files and pieces apart."""
    first = checksum.sha256(file), checksum.pieces(file)
    restart()
    assert (checksum.sha256(file), checksum.pieces(file)) == first
    assert len(reads) == 2


def test_a_change_with_the_old_size_and_time_is_seen(file: Path, reads: list[Path]) -> None:
    """The modification time can be set back by anybody, the change time by nobody."""
    before = checksum.sha256(file)
    restart()
    file.write_bytes(b"WEIGHTS")
    os.utime(file, (LONG_AGO, LONG_AGO))
    assert checksum.sha256(file) != before
    assert len(reads) == 2


def test_a_swapped_file_is_seen(file: Path, reads: list[Path]) -> None:
    """Another inode under the same name."""
    before = checksum.sha256(file)
    restart()
    other = file.with_suffix(".other")
    other.write_bytes(b"swapped")
    os.utime(other, (LONG_AGO, LONG_AGO))
    other.replace(file)
    assert checksum.sha256(file) != before


def test_a_file_changed_just_now_is_not_remembered(
    file: Path, reads: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next change might have the same stamp."""
    monkeypatch.setattr(remembered, "SETTLED_SECONDS", 60.0)
    checksum.sha256(file)
    restart()
    checksum.sha256(file)
    assert len(reads) == 2


def test_a_week_later_it_is_read_again(file: Path, reads: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Disks rot without changing a stamp."""
    checksum.sha256(file)
    restart()
    later = time.time() + remembered.KEPT_SECONDS + 1
    monkeypatch.setattr(remembered.time, "time", lambda: later)
    checksum.sha256(file)
    assert len(reads) == 2


def test_whoever_wants_every_byte_read_gets_it(file: Path, reads: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """HYBRIDINFER_VERIFY=always, at each start."""
    monkeypatch.setenv("HYBRIDINFER_VERIFY", "always")
    for _ in range(2):
        checksum.sha256(file)
        restart()
    assert len(reads) == 2


def test_forgetting_a_file_has_it_read_again(file: Path, reads: list[Path]) -> None:
    """As `hybridinfer models verify` does."""
    checksum.sha256(file)
    checksum.forget(file)
    checksum.sha256(file)
    assert len(reads) == 2


@pytest.mark.parametrize("text", ["nonsense", "[]", '{"0:X": 1}', '{"0:X": {"stamp": 1}}'])
def test_a_broken_record_counts_as_none(file: Path, reads: list[Path], text: str) -> None:
    """It is nobody's truth; the file is read."""
    place = remembered._place()
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text.replace("X", os.fspath(file.absolute())))
    checksum.sha256(file)
    assert len(reads) == 1


def test_the_record_is_private_and_bounded(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of files are nobody else's business."""
    monkeypatch.setattr(remembered, "_MOST", 2)
    for number in range(3):
        remembered.remember(f"/f{number}", (1,), 0, ("x",), changed=0.0)
    place = remembered._place()
    assert place.stat().st_mode & 0o777 == 0o600
    assert list(json.loads(place.read_text())) == ["0:/f1", "0:/f2"]


def test_a_record_that_cannot_be_written_is_no_error(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read-only home only means more reading."""
    (tmp_path / "blocked").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "blocked"))
    assert checksum.sha256(file) == checksum.sha256(file)
