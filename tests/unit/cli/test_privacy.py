"""`hybridinfer privacy scan`: places and types, never content."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from hybridinfer.cli.privacy import scan_file

TEXT = "hello\nmail jo@corp.io, my password is hunter2\n"


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "prompt.txt"
    path.write_text(TEXT, "utf-8")
    return str(path)


def test_findings_are_lines_with_places_and_types(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Line and column for people, offsets for programs, exit code 1."""
    assert scan_file(file) == 1
    out = capsys.readouterr().out
    assert out == "2:6: email [11:21] contact, format\n2:33: password [38:45] passwords, sentence\n"


def test_json_is_one_array(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Every attribute of a finding, and none of the text."""
    assert scan_file(file, as_json=True) == 1
    out = capsys.readouterr().out
    first, second = json.loads(out)
    assert first == {
        "type": "email",
        "start": 11,
        "end": 21,
        "detector": "contact",
        "validator": "format",
        "confidence": 0.95,
    }
    assert second["type"] == "password"
    assert "hunter2" not in out


def test_a_clean_text_from_the_standard_input_is_zero(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`-` reads the standard input; nothing found is exit code 0, a name alone too."""
    monkeypatch.setattr("sys.stdin", io.StringIO("my name is Jane Roe"))
    assert scan_file("-") == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("content", "reason"), [(None, "No such file"), (b"\xff\xfe\xff", "not UTF-8 text")])
def test_unreadable_files_are_exit_code_two(
    tmp_path: Path, content: bytes | None, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message says why, on the error stream."""
    path = tmp_path / "x"
    if content is not None:
        path.write_bytes(content)
    assert scan_file(str(path)) == 2
    assert reason in capsys.readouterr().err
