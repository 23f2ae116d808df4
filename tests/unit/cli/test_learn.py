"""`hybridinfer learn`: labels in, weights out, or why not."""

from __future__ import annotations

import json
import random
from shutil import copyfile

import pytest

from hybridinfer.cli import main
from hybridinfer.learning.journal import Journal
from hybridinfer.signals.complexity import parse
from hybridinfer.signals.features import features


@pytest.fixture
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("HYBRIDINFER_STATE", str(tmp_path))
    monkeypatch.setattr("hybridinfer.learning.forecast.DRAWS", 40)
    return tmp_path


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    """A journal with 400 labels, filled once."""
    folder = tmp_path_factory.mktemp("labels")
    label(folder, 400)
    return folder / "learning.sqlite3"


@pytest.fixture
def labelled(state, taught):
    copyfile(taught, state / "learning.sqlite3")
    return state


def label(state, count: int, *, tells: bool = True) -> None:
    """Requests of two kinds; against what the shipped weights think, the small model fails at the one without numbers."""
    journal, dice = Journal(state / "learning.sqlite3", keep=1e9, clock=lambda: 1.79e9), random.Random(1)
    for number in range(count):
        numbers = dice.random() < 0.5
        words = " ".join(
            str(dice.randrange(999)) if numbers else dice.choice(["tell", "me", "more", "of", "it"]) for _ in range(20)
        )
        journal.remember(f"r{number}", features(words), side="local")
        journal.label(f"r{number}", float(dice.random() < ((0.9 if numbers else 0.1) if tells else 0.5)))
    journal.close()


def test_without_labels_nothing_is_learned(state, capsys):
    """Exit code 1, and what is needed."""
    assert main(["learn"]) == 1
    out = capsys.readouterr().out
    assert "0 local and 0 cloud answers are labelled (no feedback yet)" in out
    assert "at least 200 labels" in out
    assert not (state / "weights").exists()


def test_weights_are_written_once(labelled, capsys):
    """With a forecast; the same labels make no second version."""
    assert main(["learn"]) == 0
    streams = capsys.readouterr()
    assert "400 local and 0 cloud answers are labelled (400 by feedback), from 2026-09" in streams.out
    assert "with 30% to the cloud, quality 0." in streams.out
    assert "a cloud that always succeeds" in streams.out
    assert "complexity-0001.json" in streams.err
    parse((labelled / "weights" / "complexity-0001.json").read_text())
    assert main(["learn"]) == 0
    assert [file.name for file in (labelled / "weights").iterdir()] == ["complexity-0001.json"]


def test_more_labels_make_a_new_version(labelled):
    """The old one stays, so that removing the new one takes it back."""
    main(["learn"])
    label(labelled, 450)
    assert main(["learn", "--cloud-share", "0.5"]) == 0
    assert sorted(file.name for file in (labelled / "weights").iterdir()) == [
        "complexity-0001.json",
        "complexity-0002.json",
    ]


def test_a_dry_run_writes_nothing(labelled, capsys):
    """As JSON, with the interval."""
    assert main(["learn", "--dry-run", "--json"]) == 0
    picture = json.loads(capsys.readouterr().out)
    assert picture["file"] is None
    assert picture["labels"]["local"] == 400
    assert picture["forecast"]["better"]["low"] <= picture["forecast"]["better"]["value"]
    assert not (labelled / "weights").exists()


def test_labels_that_prove_nothing_change_nothing(state, capsys):
    """Exit code 1 and the reason."""
    label(state, 250, tells=False)
    assert main(["learn", "--json"]) == 1
    assert "do not prove" in json.loads(capsys.readouterr().out)["why"]


def test_a_share_that_is_none_is_told(state):
    """Exit code 2, as for every wrong command line."""
    with pytest.raises(SystemExit) as end:
        main(["learn", "--cloud-share", "130%"])
    assert end.value.code == 2
