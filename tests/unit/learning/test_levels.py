"""The bands in force: placed, kept over restarts, and harmless when their file is not."""

from __future__ import annotations

import json

import pytest

from hybridinfer.learning.levels import EVERY, LiveLevels, levels_path, write_whole
from hybridinfer.policy.load import load
from hybridinfer.signals.base import SignalResult

BASE = {
    "version": 1,
    "name": "a/b",
    "targets": {"sorry": {"kind": "canned", "text": "no"}},
    "rules": [{"name": "a", "use": "sorry"}],
}
SHARES = load(BASE | {"signals": {"complexity": {"levels": {"low": "60%", "high": "40%"}}}})
PLAIN = load(BASE)


def result(score: float, **more) -> dict[str, SignalResult]:
    return {"complexity": SignalResult(score=score, level="low", because=("short", "high from 0.50"), **more)}


@pytest.fixture
def path(tmp_path):
    return levels_path(SHARES, tmp_path / "state")


def test_the_file_is_named_after_the_policy(path):
    """Whatever the name holds, it stays one file in the folder."""
    assert path.name == "levels-a_b.json"


def test_plain_levels_are_left_alone(path):
    """A policy of numbers has no state."""
    before = result(0.9)
    assert LiveLevels(PLAIN, path).place(before, count=True) is before


def test_explaining_before_any_traffic_is_the_same_everywhere(path):
    """Neither the file is read nor the result touched."""
    before = result(0.9)
    assert LiveLevels(SHARES, path).place(before, count=False) is before


def test_because_names_the_bands_in_force(path):
    """The shipped bands in `because` give way to those by the traffic."""
    live = LiveLevels(SHARES, path)
    placed = live.place(result(0.99), count=True)["complexity"]
    assert placed.level == "high"
    assert placed.because[0] == "short"
    assert placed.because[1].startswith("high from 0.")
    assert placed.because[1].endswith("by the latest of 0 requests")
    assert len(placed.because) == 2


def test_traffic_moves_the_level(path):
    """A score that was low among hard prompts is high among easy ones."""
    live = LiveLevels(SHARES, path)
    assert live.place(result(0.2), count=True)["complexity"].level == "low"
    for number in range(400):
        live.place(result(0.0001 * (number % 100)), count=True)
    assert live.place(result(0.2), count=False)["complexity"].level == "high"


def test_what_was_not_measured_stays_and_counts_for_nothing(path):
    """A safe assumption is no traffic."""
    live = LiveLevels(SHARES, path)
    live.place(result(0.5), count=True)
    failed = result(1.0, measured=False)
    assert live.place(failed, count=True)["complexity"] is failed["complexity"]
    assert "latest of 1 requests" in live.place(result(0.5), count=False)["complexity"].because[-1]


def test_a_restart_goes_on(path):
    """Closing writes what the next router reads at its first request."""
    live = LiveLevels(SHARES, path)
    for _ in range(10):
        live.place(result(0.1), count=True)
    live.close()
    assert path.stat().st_mode & 0o777 == 0o600
    again = LiveLevels(SHARES, path)
    assert "latest of 10 requests" in again.place(result(0.1), count=True)["complexity"].because[-1]


def test_it_is_written_now_and_then(path):
    """A crash costs a few hundred scores at most."""
    live = LiveLevels(SHARES, path)
    for _ in range(EVERY):
        live.place(result(0.1), count=True)
    live.written()
    assert json.loads(path.read_text())["signals"]["complexity"]["seen"] == EVERY


def test_closing_without_traffic_writes_nothing(path):
    """A router that served nobody leaves no file."""
    LiveLevels(SHARES, path).close()
    assert not path.exists()


@pytest.mark.parametrize("text", ["", "[]", '{"version": 99, "signals": {}}', '{"version": 1, "signals": 3}', "{}"])
def test_a_broken_file_begins_anew(path, text):
    """No request fails for it."""
    write_whole(path, text)
    placed = LiveLevels(SHARES, path).place(result(0.99), count=True)["complexity"]
    assert placed.level == "high"


def test_a_broken_sketch_begins_anew(path, caplog):
    """One signal's garbled state costs only that."""
    write_whole(path, '{"version": 1, "signals": {"complexity": {"shares": 1}}}')
    placed = LiveLevels(SHARES, path).place(result(0.99), count=True)["complexity"]
    assert placed.level == "high"
    assert "unusable" in caplog.text


def test_a_folder_that_cannot_be_written_costs_nobody_an_answer(tmp_path, caplog):
    """It is logged, and the bands live on in memory."""
    (tmp_path / "state").write_text("a file where the folder should be")
    live = LiveLevels(SHARES, tmp_path / "state" / "levels.json")
    live.place(result(0.5), count=True)
    live.close()
    assert "were not written" in caplog.text


def test_only_the_same_shares_are_taken_over(path):
    """Another policy with other shares begins with its own state."""
    other = load(BASE | {"signals": {"complexity": {"levels": {"low": "70%", "high": "30%"}}}})
    assert LiveLevels(SHARES, path).takes(SHARES)
    assert not LiveLevels(SHARES, path).takes(other)


def test_writing_leaves_no_scraps_behind(tmp_path, monkeypatch):
    """A write that fails removes its temporary file, and the old one stays."""
    path = tmp_path / "one.txt"
    write_whole(path, "old")

    def fails(_self, _target):
        raise OSError

    monkeypatch.setattr("pathlib.Path.replace", fails)
    with pytest.raises(OSError):
        write_whole(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
