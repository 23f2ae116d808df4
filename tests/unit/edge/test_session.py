"""Sequences in a session: positions, room, stopping, and telemetry that is off."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hybridinfer.edge import session as module
from hybridinfer.edge.convert import Conversion
from hybridinfer.edge.session import PREFILL_CHUNK, Sequence, Session, Stop, Stopped
from hybridinfer.errors import ModelError

TOKENS = [(7 * number) % 250 + 5 for number in range(300)]


def test_step_by_step_equals_all_at_once(tiny_session: Session) -> None:
    """Prefill in chunks, single steps, and growing room give the same logits."""
    whole = Sequence(tiny_session).feed(TOKENS, Stop()).copy()
    stepped = Sequence(tiny_session)
    for token in TOKENS:
        last = stepped.feed([token], Stop())
    assert stepped.length == len(TOKENS)
    np.testing.assert_allclose(last, whole, atol=0.05)


def test_logits_of_all_positions_end_in_those_of_the_last(tiny_session: Session) -> None:
    """`feed_all` and `feed` agree, chunk borders included."""
    rows = Sequence(tiny_session).feed_all(TOKENS, Stop())
    assert rows.shape == (len(TOKENS), tiny_session.vocabulary)
    for length in (1, PREFILL_CHUNK, PREFILL_CHUNK + 1, len(TOKENS)):
        np.testing.assert_allclose(rows[length - 1], Sequence(tiny_session).feed(TOKENS[:length], Stop()), atol=0.05)


def test_a_shorter_length_forgets_the_rest(tiny_session: Session) -> None:
    """A sequence used before gives what a fresh one gives."""
    used = Sequence(tiny_session)
    used.feed(TOKENS, Stop())
    used.length = 0
    got = used.feed(TOKENS[:5], Stop()).copy()
    np.testing.assert_array_equal(got, Sequence(tiny_session).feed(TOKENS[:5], Stop()))


def test_a_stop_before_the_run_prevents_it(tiny_session: Session) -> None:
    """Nothing runs after `stop`, and nothing is appended."""
    stop, sequence = Stop(), Sequence(tiny_session)
    stop()
    with pytest.raises(Stopped):
        sequence.feed(TOKENS, stop)
    assert sequence.length == 0


def test_a_stop_in_the_middle_of_a_run_ends_it(tiny_session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """The runtime's own termination is told as Stopped, and the session stays usable."""
    stop, sequence = Stop(), Sequence(tiny_session)
    options = stop.options  # made while nothing was wanted yet

    class Late:
        """Asks to stop when the run has already begun."""

        def run_with_iobinding(self, binding, given) -> None:
            stop()
            onnx.run_with_iobinding(binding, given)

    onnx = tiny_session.onnx
    monkeypatch.setattr(tiny_session, "onnx", Late())
    with pytest.raises(Stopped):
        sequence.feed(TOKENS, stop)
    monkeypatch.undo()
    assert options.terminate
    assert sequence.length == 0
    assert sequence.feed(TOKENS[:3], Stop()).shape == (tiny_session.vocabulary,)


def test_a_failure_of_the_runtime_is_a_model_error_without_its_text(
    tiny_session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The runtime's own message is not passed on: it may quote what it was fed."""

    class Failing:
        def run_with_iobinding(self, binding, options) -> None:
            raise RuntimeError("private")

    sequence = Sequence(tiny_session)
    monkeypatch.setattr(tiny_session, "onnx", Failing())
    with pytest.raises(ModelError, match=r"^onnxruntime failed: \w+$"):
        sequence.feed([1, 2], Stop())


def test_a_graph_that_cannot_be_opened_is_a_model_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file the runtime refuses is named by its directory."""
    conversion = Conversion(tmp_path / "broken")
    conversion.directory.mkdir()
    conversion.graph.write_bytes(b"nonsense")
    monkeypatch.setattr(Conversion, "_check", lambda self, name: None)
    with pytest.raises(ModelError, match="cannot open broken"):
        Session(conversion, threads=1)


PROBE = """
import builtins, os, sys
seen = []
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "onnxruntime":
            seen.append(os.environ.get("ORT_DISABLE_TELEMETRY"))
sys.meta_path.insert(0, Finder())
from hybridinfer.edge.session import Stop
assert not seen, "imported too early"
Stop().options
assert seen == ["1"], seen
"""


@pytest.mark.parametrize("before", [{}, {"ORT_DISABLE_TELEMETRY": "0"}])
def test_telemetry_is_off_before_the_runtime_is_imported(before: dict[str, str]) -> None:
    """At the moment onnxruntime is looked for, the variable that silences it is set, whatever it was."""
    environ = {"PATH": "/usr/bin:/bin", **before}
    subprocess.run([sys.executable, "-c", PROBE], check=True, env=environ, cwd=Path(__file__).parents[3])


def test_a_runtime_imported_by_others_with_telemetry_is_warned_about(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It cannot be undone, so it is said, once."""
    module.runtime()
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY")
    with caplog.at_level(logging.WARNING, logger="hybridinfer.edge"):
        module.runtime()
        module.runtime()
    assert len(caplog.records) == 1
