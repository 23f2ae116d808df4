"""Threads found by trying: remembered for this machine, this runtime and this model only."""

from __future__ import annotations

from pathlib import Path

import pytest

from hybridinfer.edge import tuning
from hybridinfer.edge.bench import Speed, bandwidth
from hybridinfer.edge.catalogue import Model
from hybridinfer.edge.tuning import Tuning, cores, known, machine, probe, remember

ONE, OTHER = Model(id="one", sha256="a" * 64), Model(id="other.gguf", path=Path("other.gguf"))
SLEEPING = Tuning(threads=1, spinning=False)


def test_what_was_found_is_known_again(tmp_path: Path) -> None:
    """By model; nothing is left beside it."""
    assert known(tmp_path, ONE) is None
    remember(tmp_path, ONE, SLEEPING)
    remember(tmp_path, OTHER, Tuning(threads=1, spinning=True))
    assert (known(tmp_path, ONE), known(tmp_path, OTHER)) == (SLEEPING, Tuning(threads=1, spinning=True))
    assert [file.name for file in tmp_path.iterdir() if not file.name.startswith(".")] == ["tuning.json"]


def test_another_machine_or_runtime_knows_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Caches are copied into images and shared over networks."""
    remember(tmp_path, ONE, SLEEPING)
    assert "onnxruntime 1" in machine()
    monkeypatch.setattr(tuning, "_runtime_version", lambda: "99")
    assert known(tmp_path, ONE) is None


@pytest.mark.parametrize("text", ["", "[]", "{", '{"%s": []}', '{"%s": {"%s": {"threads": 999, "spinning": true}}}'])
def test_a_damaged_or_impossible_entry_is_none(tmp_path: Path, text: str) -> None:
    """Then the default counts, as ever."""
    text = text.replace("%s", machine(), 1).replace("%s", "a" * 64)
    (tmp_path / "tuning.json").write_text(text)
    assert known(tmp_path, ONE) is None
    remember(tmp_path, ONE, SLEEPING)
    assert known(tmp_path, ONE) == SLEEPING


def test_the_fastest_decoding_stands_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each choice is opened once, and they take turns."""
    monkeypatch.setattr(tuning, "cores", lambda: 2)
    order: list[Tuning] = []

    def speed(choice: Tuning) -> Speed:
        order.append(choice)
        return Speed(prefill=1.0, decode=choice.threads * 10.0 - choice.spinning, ttft=1.0)

    found = probe(lambda choice: choice, rounds=2, speed=speed)  # type: ignore[arg-type, return-value]
    assert next(iter(found)) == Tuning(threads=2, spinning=False)
    assert found[Tuning(threads=2, spinning=True)] == (19.0, 1.0)
    assert order[:3] == order[3:]


def test_the_machine_is_described_without_proc(tmp_path: Path) -> None:
    """As Python knows it."""
    assert tuning._processor(tmp_path / "none")
    assert 1 <= cores() <= 8


def test_bandwidth_is_the_best_of_its_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes over seconds."""
    monkeypatch.setattr("hybridinfer.edge.bench._COPY_BYTES", 1 << 20)
    times = iter([0.0, 2.0, 2.0, 3.0, 3.0, 7.0, 7.0, 9.0, 9.0, 11.0])
    assert bandwidth(1, clock=lambda: next(times)) == 1 << 20
