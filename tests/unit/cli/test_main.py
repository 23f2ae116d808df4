"""The command itself: start, version, help, errors, interrupts, pipes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import hybridinfer.cli.ask
from hybridinfer import ModelNotFound, __version__
from hybridinfer.cli import COMMANDS, main


def test_version(capsys):
    """--version prints the version and nothing else."""
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == __version__


def test_help_lists_every_command(capsys):
    """Each command stands in the help with its line."""
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in COMMANDS)


def test_no_command_prints_the_help(capsys):
    """A bare `hybridinfer` shows what there is."""
    assert main([]) == 0
    assert "Usage" in capsys.readouterr().out


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_its_own_help(name, capsys):
    """Each command's module can be loaded and describes itself."""
    assert main([name, "--help"]) == 0
    assert f"hybridinfer {name}" in capsys.readouterr().out


def test_an_unknown_command_is_exit_code_2(capsys):
    """A typing mistake is told, with the code of a wrong command line."""
    with pytest.raises(SystemExit) as caught:
        main(["doktor"])
    assert caught.value.code == 2
    assert "doctor" in capsys.readouterr().err


def test_our_errors_are_one_line(monkeypatch, capsys, policy):
    """An error of this package is a message, never a traceback."""
    _raise(monkeypatch, ModelNotFound("no model is called 'x'"))
    assert main(["ask", "Hello", "--policy", str(policy)]) == 1
    assert capsys.readouterr().err == "hybridinfer: no model is called 'x'\n"


def test_debug_shows_the_traceback(monkeypatch, policy):
    """HYBRIDINFER_DEBUG=1 lets the exception through."""
    monkeypatch.setenv("HYBRIDINFER_DEBUG", "1")
    _raise(monkeypatch, ModelNotFound("no model is called 'x'"))
    with pytest.raises(ModelNotFound):
        main(["ask", "Hello", "--policy", str(policy)])


def test_ctrl_c_is_130(monkeypatch, capsys, policy):
    """An interrupt ends the command with one line."""
    _raise(monkeypatch, KeyboardInterrupt())
    assert main(["ask", "Hello", "--policy", str(policy)]) == 130
    assert capsys.readouterr().err == "\nhybridinfer: stopped\n"


def test_a_missing_policy_is_one_line(capsys):
    """A policy that is not there is told by its name."""
    assert main(["ask", "Hello", "--policy", "/nonexistent.yaml"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("hybridinfer: /nonexistent.yaml")
    assert err.count("\n") == 1


def test_a_closed_pipe_is_no_traceback(policy):
    """`hybridinfer ... | head -0` ends quietly, with the shell's code for a broken pipe."""
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "hybridinfer", "ask", "Hello", "--policy", str(policy)],
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(write)
    assert done.returncode == 141
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr


def test_starting_imports_no_command(tmp_path):
    """The start loads the frame only: no command, no SDK, no engine, no policy model; `quick` finds a quick one."""
    program = (
        "import sys; from hybridinfer.cli import main; main(['--version']); "
        "heavy = {'openai', 'anthropic', 'onnxruntime', 'numpy', 'pydantic', 'tiktoken', 'asyncio', 'rich.markdown'}; "
        "print(sorted(heavy & set(sys.modules)), [m for m in sys.modules if m.startswith('hybridinfer.cli.')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[1] == "[] ['hybridinfer.cli.quick']"


def _raise(monkeypatch, error):
    def fail(*_):
        raise error

    monkeypatch.setattr(hybridinfer.cli.ask, "read_prompt", fail)
