"""`policy check` without the command-line library does what it does with it."""

from __future__ import annotations

import inspect
import subprocess
import sys
from itertools import product

import pytest

from hybridinfer.cli import build, main, policy, quick
from hybridinfer.cli.checking import check_files

SWITCHES = ["--table", "--strict", "--environment", "--no-environment", "--prices", "--no-prices"]


@pytest.fixture
def seen(monkeypatch):
    """What reaches `check_files` through the real command line."""
    calls: list[tuple[list[str], dict[str, object]]] = []

    def note(files, **options):
        calls.append(([str(file) for file in files], options))
        return 0

    monkeypatch.setattr(policy, "check_files", note)
    return calls


@pytest.mark.parametrize(
    "words",
    [
        ["a.yaml"],
        ["a.yaml", "b.yaml"],
        *([switch, "a.yaml"] for switch in SWITCHES),
        *(["a.yaml", one, two] for one, two in product(SWITCHES[:2], SWITCHES[2:])),
        *(["a.yaml", "--output-format", name] for name in ("text", "json", "github", "sarif")),
        ["--output-format=sarif", "a.yaml", "b.yaml", "--strict"],
    ],
    ids=" ".join,
)
def test_both_command_lines_read_the_same(words, seen):
    """Files and options arrive alike on either way."""
    found = quick.options(words)
    assert found is not None
    build()(["policy", "check", *words])
    defaults = {name: one.default for name, one in inspect.signature(check_files).parameters.items() if name != "files"}
    assert seen == [([str(file) for file in found[0]], {**defaults, **found[1]})]


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--help"],
        ["-h"],
        ["--strict"],
        ["a.yaml", "--strikt"],
        ["a.yaml", "--strict", "--strict"],
        ["a.yaml", "--prices", "--no-prices"],
        ["a.yaml", "--output-format"],
        ["a.yaml", "--output-format", "xml"],
        ["a.yaml", "--output_format", "json"],
        ["a.yaml", "--strict=false"],
        ["--", "-a.yaml"],
        [""],
    ],
    ids=" ".join,
)
def test_what_is_not_certain_goes_to_the_real_command_line(words):
    """Help, mistakes and rare spellings are not for the quick way."""
    assert quick.options(words) is None


def test_other_commands_are_not_touched():
    """Only `policy check` is quick."""
    assert quick.run(["policy", "test", "a.yaml"]) is None


def test_every_option_of_the_command_is_known():
    """An option that `check` gains is read quickly, too, or this fails."""
    options = {name for name in inspect.signature(policy.check).parameters if name != "files"}
    assert options == {key for key, _ in quick._SWITCHES.values()} | {"output_format"}


def test_check_loads_no_command_line_library_and_no_price_list(write):
    """What would take longer than the check itself stays out of the process."""
    file = write(
        "version: 1\ntargets:\n  a: {kind: openai, model: gpt-6-luna}\n  s: {kind: canned, text: s}\n"
        "boundaries: [{name: b, when: {privacy: [personal, secret]}, cloud: never}]\nrules: [{name: r, use: [a, s]}]\n"
    )
    program = (
        "import sys; from hybridinfer.cli import main; code = main(sys.argv[1:]); "
        "print(code, sorted({'cyclopts', 'rich', 'asyncio', 'genai_prices', 'httpx2', 'numpy'} & set(sys.modules)))"
    )
    words = [sys.executable, "-c", program, "policy", "check", str(file), "--no-environment"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 []"


def test_garbage_collection_goes_on_afterwards(write):
    """Within a program, `main` leaves the interpreter as it was."""
    import gc

    main(["policy", "check", str(write("version: 1\n"))])
    assert gc.isenabled()
