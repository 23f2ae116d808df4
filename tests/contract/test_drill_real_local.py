"""Drills with `--real-local`: what is done to a real model ends as what is played."""

from __future__ import annotations

import pytest

from hybridinfer.drill.failing import OF_A_CONNECTION, OF_STATE, FaultName
from hybridinfer.drill.run import run_drill
from hybridinfer.drill.spoiled import FOR_REAL
from hybridinfer.errors import ConfigurationError
from tests import tiny

PLAYED = set(FaultName.__args__) - OF_A_CONNECTION - OF_STATE - FOR_REAL
PATIENT = {"timeout": "120s", "first_token": "120s", "stall": "120s"}
IMPATIENT = {"hang": "first_token", "slow_load": "first_token", "stall": "stall"}
"""Which silence shall not be waited for long."""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A tiny model, and a cache beside it."""
    root = tmp_path_factory.mktemp("models")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HYBRIDINFER_CACHE", str(root / "cache"))
        yield tiny.write(root / "tiny.gguf", "qwen2")


def policy(path, **limits):
    """A local model, and a canned reply behind it."""
    local = {"kind": "onnx", "model": str(path), "options": {"threads": 1}, **PATIENT, **limits}
    return {
        "version": 1,
        "targets": {"local": local, "sorry": {"kind": "canned", "text": "later"}},
        "rules": [{"name": "all", "use": ["local", "sorry"]}],
        "resilience": {"retry": {"attempts": 1}, "deadline": "160s", "circuit_breaker": {"failures": 1000}},
    }


def scenario(fault):
    """A few requests at once, and one when all is well again."""
    return {
        "version": 1,
        "name": "one",
        "duration": "4s",
        "load": {"rate": 40, "stream": 1.0, "max_tokens": 8, "requests": [{"name": "a", "prompt": "hello"}]},
        "phases": [
            {"at": "0s", "faults": {"local": fault}},
            {"at": "100ms", "faults": {"local": fault}, "rate": 0},
            {"at": "3s", "rate": 8},
        ],
        "expect": {"max_attempts": 2},
    }


def ends(fault, tree, **how):
    """How the requests under the fault end: the codes of their attempts, and who answered; the same for the others."""
    drill = run_drill(scenario(fault), tree, **how)
    served = drill.course.served
    story = [(tuple(map(str, (each.code for each in one.receipt.attempts))), one.receipt.target) for one in served]
    return {one for one, visit in zip(story, served, strict=True) if visit.at < 2}, drill.course


@pytest.mark.parametrize("word", sorted(FOR_REAL))
def test_it_ends_as_in_the_simulation(word, model):
    """The same codes, the same target; afterwards the model answers as if nothing had been."""
    fault = {"fault": word, "delay": "60s" if word == "slow_load" else "10ms", "after": 6}
    tree = policy(model, **({IMPATIENT[word]: "2s"} if word in IMPATIENT else {}))
    real, course = ends(fault, tree, against="emulator", real_local=True, speed=2.0)
    simulated, _ = ends(fault, tree)
    if word in FOR_REAL - {"ok", "slow", "slow_first_token", "slow_tokens"}:
        assert real == simulated
    else:  # eight tokens of a random model end at its limit
        assert {target for _, target in real} == {"local"}
    assert {one.receipt.target for one in course.served if one.at > 3} == {"local"}
    assert course.arrived["local"] == len(course.served)


@pytest.mark.parametrize("word", sorted(PLAYED))
def test_what_has_to_be_played_is_said(word, model):
    """By its name, and with what to take instead; nothing has started by then."""
    with pytest.raises(ConfigurationError, match=f"{word} cannot happen to a real local model; leave out --real-local"):
        run_drill(scenario(word), policy(model), against="emulator", real_local=True)


def test_a_model_that_is_not_here(model):
    """It would fail every request, which would look like a drill's work."""
    with pytest.raises(ConfigurationError, match="--real-local: target 'local' cannot answer"):
        run_drill(scenario("down"), policy(model.with_name("nobody.gguf")), against="emulator", real_local=True)
