"""The generated pages are those that the docstrings give today."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """A folder with pages made now."""
    folder = tmp_path_factory.mktemp("docs")
    subprocess.run([sys.executable, str(DOCS / "build_reference.py"), str(folder)], check=True)
    return folder


@pytest.mark.parametrize("name", ["reference.md", "cli.md", "decisions/README.md"])
def test_the_page_is_not_stale(name, fresh):
    """After a change of a docstring, an option or a decision's title: `make docs`."""
    assert (DOCS / name).read_text(encoding="utf-8") == (fresh / name).read_text(encoding="utf-8"), "run `make docs`"


def test_every_public_name_is_described(fresh):
    """No name is exported without standing in the reference."""
    import hybridinfer

    text = (fresh / "reference.md").read_text(encoding="utf-8")
    assert [name for name in hybridinfer.__all__ if not name.startswith("_") and f"{name}" not in text] == []
