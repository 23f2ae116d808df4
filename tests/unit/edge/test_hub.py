"""The model hub, where it can be reached."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from hybridinfer.edge import hub
from hybridinfer.edge.catalogue import HubSource
from hybridinfer.edge.hub import from_hub
from hybridinfer.edge.progress import Progress, silent
from hybridinfer.edge.source import SourceFailed

huggingface_hub = pytest.importorskip("huggingface_hub", reason="the extra `hub` is not installed")
SOURCE = HubSource(repo="org/repo", file="x.gguf")


def test_without_the_package_it_says_which_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """huggingface_hub is optional."""
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(SourceFailed, match="hub"):
        from_hub(SOURCE, tmp_path, silent)


def test_a_hub_that_does_not_answer_is_given_up_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client is not even asked: it would retry for half a minute."""

    def refuse(*args, **options) -> None:
        raise OSError("no network")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(hub.urllib.request, "getproxies", dict)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *a, **k: pytest.fail("was asked"))
    with pytest.raises(SourceFailed, match="cannot be reached"):
        from_hub(SOURCE, tmp_path, silent)


@pytest.fixture
def reachable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy stands between: only it knows."""
    monkeypatch.setattr(hub.urllib.request, "getproxies", lambda: {"https": "http://proxy"})


@pytest.mark.usefixtures("reachable")
def test_the_file_comes_into_the_work_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the client's own bar turned into progress."""
    seen: list[Progress] = []

    def download(repo: str, file: str, *, local_dir: Path, tqdm_class: type) -> str:
        local_dir.mkdir()
        (local_dir / file).write_bytes(b"model")
        with tqdm_class(total=5, initial=2) as bar:
            bar.update(3)
        return str(local_dir / file)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    file = from_hub(SOURCE, tmp_path, seen.append)
    assert file.read_bytes() == b"model"
    assert seen[-1] == Progress(stage="fetch", done=5, total=5)


@pytest.mark.usefixtures("reachable")
def test_the_hubs_errors_fail_the_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By kind, not by text: texts hold addresses."""

    def download(*args, **options) -> str:
        raise OSError("https://user:key@hub")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    with pytest.raises(SourceFailed, match=r"failed \(OSError\)$"):
        from_hub(SOURCE, tmp_path, silent)


def test_a_hub_that_answers_is_worth_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    """A listening port will do."""
    monkeypatch.setattr(hub.urllib.request, "getproxies", dict)
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert hub._reachable(f"http://127.0.0.1:{server.getsockname()[1]}")
