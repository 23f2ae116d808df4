"""`hybridinfer models`: data on stdout, talk on stderr, exit codes."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from hybridinfer.cli import main, models, progress
from hybridinfer.edge import checksum
from hybridinfer.edge.catalogue import Model
from hybridinfer.edge.progress import Progress
from tests import tiny


@pytest.fixture(autouse=True)
def known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Model:
    """A catalogue of one tiny model, an empty cache, no network. Its file is `<tmp_path>/tiny.gguf`."""
    file = tiny.write(tmp_path / "tiny.gguf")
    model = Model(id="tiny", title="Tiny", sha256=checksum.sha256(file), bytes=file.stat().st_size, licence="CC0")
    monkeypatch.setattr(models, "catalogue", lambda: {"tiny": model})
    monkeypatch.setattr(models, "embedders", dict)
    monkeypatch.setattr("hybridinfer.edge.catalogue.catalogue", lambda: {"tiny": model})
    monkeypatch.setenv("HYBRIDINFER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HYBRIDINFER_OFFLINE", "1")
    return model


@pytest.fixture
def here(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """The model is pulled; its place."""
    assert main(["models", "pull", "tiny", "--from-file", str(tmp_path / "tiny.gguf")]) == 0
    return Path(capsys.readouterr().out.strip())


def test_pull_prints_the_place_and_nothing_else(here: Path, known: Model) -> None:
    """So that a script can use it."""
    assert here.name == f"{known.sha256}.gguf"
    assert here.is_file()


def test_pull_as_json(here: Path, known: Model, capsys: pytest.CaptureFixture[str]) -> None:
    """The documented fields; a model that is here is not fetched again, even offline."""
    assert main(["models", "pull", "tiny", "--json"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert set(row) == {"id", "title", "licence", "sha256", "state", "bytes", "disk_bytes", "file", "seconds"}
    assert (row["state"], row["sha256"]) == ("ready", known.sha256)


def test_pull_offline_fails_with_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1, one line on stderr, nothing on stdout."""
    assert main(["models", "pull", "tiny"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "--from-file" in captured.err


def test_list_shows_what_is_here(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """One line for each model of the catalogue; the place on stderr."""
    assert main(["models", "list"]) == 0
    captured = capsys.readouterr()
    assert captured.out.split()[:2] == ["tiny", "absent"]
    assert "to fetch" in captured.out
    assert str(tmp_path / "cache") in captured.err


@pytest.mark.usefixtures("here")
def test_list_as_json(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The documented fields."""
    assert main(["models", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert listed["cache"] == str(tmp_path / "cache")
    assert [row["state"] for row in listed["models"]] == ["ready"]
    assert listed["models"][0]["disk_bytes"] > listed["models"][0]["bytes"] > 0
    assert main(["models", "list"]) == 0
    assert "MB here" in capsys.readouterr().out


def test_verify_finds_one_damaged_byte(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """0 when all is well, 1 when something is not."""
    assert main(["models", "verify"]) == 0
    assert capsys.readouterr().out.split() == ["tiny", "ok"]
    here.write_bytes(here.read_bytes()[:-1] + b"!")
    assert main(["models", "verify", "--json"]) == 1
    (row,) = json.loads(capsys.readouterr().out)["models"]
    assert (row["id"], row["ok"]) == ("tiny", False)
    assert "damaged" in row["because"]


def test_verify_names_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    """Asked for by name a missing model is a failure; with none here there is nothing to check."""
    assert main(["models", "verify", "tiny"]) == 1
    assert "not on this machine" in capsys.readouterr().out
    assert main(["models", "verify"]) == 0
    assert "no model is here" in capsys.readouterr().err


def test_remove_frees_the_disk(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """File and conversion go; a second time there is nothing."""
    assert main(["models", "remove", "tiny", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["freed_bytes"] > 100_000
    assert not here.exists()
    assert main(["models", "remove", "tiny"]) == 0
    assert "is not here" in capsys.readouterr().err


def test_an_unknown_model_is_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    """With a hint."""
    assert main(["models", "pull", "tinny"]) == 1
    assert "did you mean tiny" in capsys.readouterr().err


def test_the_bar_is_drawn_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """On stderr, with what is being done."""
    stderr = io.StringIO()
    monkeypatch.setattr("sys.stderr", stderr)
    for terminal in (False, True):
        monkeypatch.setenv("TTY_COMPATIBLE", "1" if terminal else "0")
        with progress.bar("tiny") as report:
            report(Progress(stage="convert", done=5, total=10))
        assert ("converting tiny" in stderr.getvalue()) is terminal


def test_forget_empties_the_folder_of_kept_beginnings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing else in the cache; where it cannot, it says so."""
    folder = tmp_path / "cache" / "prefixes"
    folder.mkdir(parents=True)
    (folder / "a.kv").write_bytes(bytes(10))
    (folder.parent / "other").write_bytes(bytes(10))
    assert main(["models", "forget", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"folder": str(folder), "freed_bytes": 10}
    assert main(["models", "forget"]) == 0
    assert "nothing was kept" in capsys.readouterr().err
    assert list(folder.iterdir()) == []
    assert (folder.parent / "other").is_file()

    def fails(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    (folder / "a.kv").write_bytes(bytes(10))
    monkeypatch.setattr(Path, "unlink", fails)
    with pytest.raises(SystemExit, match="2"):
        main(["models", "forget"])
    assert "cannot be emptied (Permission denied)" in capsys.readouterr().err
