"""Levels as shares before any traffic, and learned weights: the same for everybody with the same files."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest

from hybridinfer.errors import ConfigurationError
from hybridinfer.policy.model import SignalBlock
from hybridinfer.signals.bands import bands, between, level_of, say
from hybridinfer.signals.complexity import ComplexitySignal, load
from hybridinfer.signals.weights import scorer_of, state_folder, versions
from hybridinfer.types import Message, Request, Standing, Text

SHARES = SignalBlock(levels={"low": "60%", "medium": "30%", "high": "10%"})
LEARNED = SignalBlock(levels={"low": 0.0, "high": 0.5}, options={"weights": "learned"})


def score(block: SignalBlock, text: str = "What is the capital of France?"):
    request = Request(messages=(Message(role="user", parts=(Text(text=text),)),))
    return ComplexitySignal(block).score(request, Standing())


@pytest.fixture
def learned(tmp_path, monkeypatch):
    """The folder of learned weights, and how to put some there that shift every score."""
    monkeypatch.setenv("HYBRIDINFER_STATE", str(tmp_path))
    folder = tmp_path / "weights"
    folder.mkdir()

    def put(number: int, shift: float) -> None:
        from importlib import resources

        tree = json.loads(resources.files("hybridinfer.signals").joinpath("complexity.json").read_text("utf-8"))
        tree["intercept"] += shift
        (folder / f"complexity-{number:04}.json").write_text(json.dumps(tree))

    return put


def test_shares_begin_with_the_training_prompts():
    """60% of them are low, the next 30% medium."""
    floors, quantiles = bands(SHARES), load().quantiles
    assert floors == {"low": 0.0, "medium": pytest.approx(quantiles[60]), "high": pytest.approx(quantiles[90])}
    assert all(a <= b for a, b in pairwise(quantiles))


def test_numbers_are_their_own_bands():
    """Nothing is moved."""
    assert bands(LEARNED) == {"low": 0.0, "high": 0.5}


def test_because_names_the_bands():
    """So that anybody can check the level."""
    result = score(SHARES)
    assert result.because[-1] == say(bands(SHARES))
    assert result.level == level_of(bands(SHARES), result.score)


def test_a_level_is_the_highest_that_begins_below():
    """Below the first beginning counts as the first."""
    floors = {"low": 0.1, "medium": 0.4, "high": float("inf")}
    assert [level_of(floors, one) for one in (0.0, 0.39, 0.4, 1.0)] == ["low", "low", "medium", "medium"]
    assert say(floors) == "medium from 0.40, high from 1.00"


def test_between_two_quantiles_is_a_straight_line():
    """And the ends are the ends."""
    assert [between((0.0, 0.2, 1.0), rank) for rank in (-1, 0, 0.25, 0.5, 1, 2)] == [0.0, 0.0, 0.1, 0.2, 1.0, 1.0]


def test_learned_weights_are_used_where_asked(learned):
    """The newest of them; `because` says which."""
    learned(1, 0.3)
    learned(2, -0.3)
    plain = SignalBlock(levels={"low": 0.0, "high": 0.5})
    assert score(LEARNED).score < score(plain).score
    assert score(LEARNED).because[-1] == "learned weights 2"
    assert "learned weights" not in str(score(plain).because)


def test_before_anything_is_learned_the_shipped_ones_serve(learned):
    """A policy may ask for learned weights from its first day."""
    del learned
    assert score(LEARNED).because[-1] == "shipped weights, as nothing is learned yet"
    assert scorer_of(LEARNED)[0] == load()


def test_a_broken_file_is_told_at_once(learned, tmp_path):
    """Not taken for the shipped ones."""
    del learned
    (tmp_path / "weights" / "complexity-0001.json").write_text("{}")
    with pytest.raises(ConfigurationError, match="learn again, or remove the file"):
        ComplexitySignal(LEARNED)


def test_a_misspelt_option_is_told_at_once():
    """With the words there are."""
    with pytest.raises(ConfigurationError, match="write shipped or learned"):
        ComplexitySignal(SignalBlock(levels={"low": 0.0}, options={"weights": "mine"}))


def test_versions_are_numbers_not_names(tmp_path):
    """The tenth thousandth comes after the nine thousandth; other files do not count."""
    for name in ("complexity-9999.json", "complexity-10000.json", "notes.json", "complexity-1.json"):
        (tmp_path / name).write_text("{}")
    assert list(versions(tmp_path)) == [9999, 10000]


def test_the_state_folder_is_the_users(monkeypatch, tmp_path):
    """Unless HYBRIDINFER_STATE names another."""
    monkeypatch.delenv("HYBRIDINFER_STATE", raising=False)
    assert state_folder().name == "hybridinfer"
    assert state_folder({"HYBRIDINFER_STATE": str(tmp_path)}) == tmp_path
