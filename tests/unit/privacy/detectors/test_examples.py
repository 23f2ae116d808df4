"""Examples of every kind in many languages, and their clean look-alikes; the lines stand in `tests/fixtures/privacy`.

They were written before the detectors were looked at, and not taken from any data set.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from hybridinfer.privacy.detectors import SCORES, Scanner

FOLDER = Path(__file__).parents[3] / "fixtures" / "privacy"
SCANNER = Scanner(seconds=60.0)


def lines(name: str) -> list[str]:
    written = (FOLDER / name).read_text("utf-8").splitlines()
    return [line for line in written if line and not line.startswith("# ")]


def marked(line: str) -> tuple[str, list[tuple[int, int]]]:
    """The text without its brackets, and where they stood."""
    text, spans = "", []
    for piece in re.split("([⟦⟧])", line.partition("|")[2]):
        if piece == "⟦":
            spans.append((len(text), -1))
        elif piece == "⟧":
            spans[-1] = (spans[-1][0], len(text))
        else:
            text += piece
    return text, spans


@pytest.mark.parametrize("line", lines("found.txt"))
def test_values_are_found(line: str) -> None:
    """Every marked value overlaps a finding that counts."""
    text, spans = marked(line)
    found = [finding for finding in SCANNER.scan(text) if SCORES[finding.type] > 0]
    missed = [text[start:end] for start, end in spans if not any(f.start < end and f.end > start for f in found)]
    assert spans
    assert missed == []


@pytest.mark.parametrize("line", lines("clean.txt"))
def test_look_alikes_are_left_alone(line: str) -> None:
    """Nothing that would change a route is found in an ordinary line."""
    assert [finding for finding in SCANNER.scan(line) if SCORES[finding.type] > 0] == []


def test_there_are_examples_of_every_kind() -> None:
    """More than 300 examples, more than 60 of them national numbers, and 200 clean lines."""
    kinds = Counter(line.partition("|")[0] for line in lines("found.txt"))
    assert kinds.total() > 300
    assert kinds["NATIONAL_ID"] > 60
    assert len(lines("clean.txt")) > 200
