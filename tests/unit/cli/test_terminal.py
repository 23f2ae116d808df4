"""What the commands print with, on a terminal and in a pipe."""

from __future__ import annotations

import sys

import pytest

from hybridinfer.cli import _worth_telling
from hybridinfer.cli.terminal import hanging

TEXT = "a text of several words that is longer than a narrow terminal is wide"


def test_in_a_pipe_a_line_stays_a_line():
    """So that `grep` finds what belongs together."""
    assert hanging("label  ", TEXT) == f"label  {TEXT}"


def test_on_a_terminal_later_lines_stand_below_the_text(monkeypatch):
    """Each line fits the width."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "40")
    first, *rest = hanging("label  ", TEXT).splitlines()
    assert first.startswith("label  a text")
    assert rest
    assert all(line.startswith(" " * 7) and len(line) <= 40 for line in [*rest])


@pytest.mark.parametrize(("default", "shown"), [(None, None), (False, None), ((), None), (True, "True"), (0, "0")])
def test_help_leaves_out_what_goes_without_saying(default, shown):
    """An option that is off or empty says nothing of its default."""
    assert _worth_telling(default) == shown
