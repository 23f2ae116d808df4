"""However a local answer goes wrong, the router gets a code and asks the next target."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hybridinfer import Router
from hybridinfer.edge.session import Session, Stop, Stopped
from hybridinfer.edge.slots import Slots
from hybridinfer.receipt import Attempt, Code
from tests import tiny

PATIENCE = "300ms"
"""Silence that the policy allows; the next target is a canned text, which needs none."""


@pytest.fixture
def asked(tmp_path: Path) -> Callable[..., Attempt]:
    """Loads a tiny model, breaks it, and asks it through the router; how that attempt ended. Somebody else answered."""
    file = tiny.write(tmp_path / "tiny.gguf")

    def ask(broken: Callable[[], None], *, streamed: bool = False, **block: Any) -> Attempt:
        small = {"kind": "onnx", "model": str(file), "options": {"threads": 1, "loop": 20}, **block}
        policy = {
            "version": 1,
            "targets": {"small": small, "sorry": {"kind": "canned", "text": "sorry"}},
            "rules": [{"name": "all", "use": ["small", "sorry"]}],
            "resilience": {"retry": {"attempts": 1}},
        }
        with Router(policy, environ={"HYBRIDINFER_CACHE": str(tmp_path / "cache")}) as router:
            assert router.warmup() == {}
            broken()
            if streamed:
                with router.stream("hello", timeout=60) as stream:
                    list(stream)
                answer = stream.response
            else:
                answer = router.complete("hello", max_tokens=200, timeout=60)
        assert answer.target == "sorry"
        return answer.receipt.attempts[0]

    return ask


def saying(monkeypatch: pytest.MonkeyPatch, logits: Callable[[int], np.ndarray]) -> None:
    """Put `logits(size of the vocabulary)` in the place of what the model says."""
    prefill, step = Slots.prefill, Slots.step

    def first(self: Slots, *arguments: Any, **named: Any) -> Any:
        said = prefill(self, *arguments, **named)
        return None if said is None else logits(len(said))

    def next_(self: Slots, *arguments: Any) -> Any:
        said = step(self, *arguments)
        return np.stack([logits(said.shape[1])] * len(said))

    monkeypatch.setattr(Slots, "prefill", first)
    monkeypatch.setattr(Slots, "step", next_)


def always(token: int) -> Callable[[int], np.ndarray]:
    return lambda size: np.where(np.arange(size) == token, 9, 0).astype(np.float32)


def test_broken_numbers_are_unavailable(asked: Callable[..., Attempt], monkeypatch: pytest.MonkeyPatch) -> None:
    """NaN is no answer."""
    attempt = asked(lambda: saying(monkeypatch, lambda size: np.full(size, math.nan, np.float32)))
    assert attempt.code is Code.UNAVAILABLE
    assert "NaN" in attempt.because


def test_an_answer_in_circles_is_invalid_output(asked: Callable[..., Attempt], monkeypatch: pytest.MonkeyPatch) -> None:
    """One token for ever."""
    attempt = asked(lambda: saying(monkeypatch, always(70)))
    assert attempt.code is Code.INVALID_OUTPUT
    assert "repeats itself for 20 tokens" in attempt.because


def test_an_answer_of_nothing_is_empty(asked: Callable[..., Attempt], monkeypatch: pytest.MonkeyPatch) -> None:
    """The end at once."""
    end = list(tiny.SPECIAL).index("<|im_end|>")
    assert asked(lambda: saying(monkeypatch, always(end))).code is Code.EMPTY


def test_a_model_that_says_nothing_is_stalled(asked: Callable[..., Attempt], monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that hangs is stopped, and who reads along waits no longer than the policy says."""
    stopped: list[bool] = []

    def hang(self: Session, binding: object, stop: Stop) -> None:
        del self, binding
        options = stop.options
        while not options.terminate:
            time.sleep(0.01)
        stopped.append(True)
        raise Stopped

    attempt = asked(lambda: monkeypatch.setattr(Session, "run", hang), streamed=True, first_token=PATIENCE)
    assert attempt.code is Code.STALLED
    assert stopped == [True]
