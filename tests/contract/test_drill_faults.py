"""What a drill simulates is what happens: each fault ends with the same codes on a script and over real HTTP."""

from __future__ import annotations

from typing import get_args

import pytest

from hybridinfer.drill.failing import OF_A_MODEL, OF_STATE, FaultName
from hybridinfer.drill.run import run_drill

FAULTS = [name for name in get_args(FaultName) if name not in OF_A_MODEL | OF_STATE]


SILENT = {"hang", "stall"}
"""Faults that are waited out; where something must come, a busy machine has a minute for it."""
SPEED = 4.0


def scenario(fault, *, stream):
    """One request per target, which the fault hits."""
    return {
        "version": 1,
        "name": fault,
        "duration": "1s",
        "load": {
            "rate": 1000.0,
            "stream": float(stream),
            "requests": [
                {"name": "a", "prompt": "hello", "tags": {"to": "a"}},
                {"name": "o", "prompt": "hello", "tags": {"to": "o"}},
            ],
        },
        "phases": [
            {"at": "0s", "faults": {"*": {"fault": fault, "delay": "200ms", "after": 1}}},
            {"at": "10ms", "faults": {"*": {"fault": fault, "delay": "200ms", "after": 1}}, "rate": 0},
        ],
        "expect": {"max_attempts": 3},
    }


def policy(fault=""):
    """One cloud of each vendor, short of patience with silence, and nobody behind them."""
    price = {"input": 1, "output": 1}
    patience = {"timeout": "4m", "first_token": "4m", "stall": "4m", "price": price}
    if fault in SILENT:
        patience |= {"timeout": "8s", "first_token": "4s", "stall": "2s"}
    return {
        "version": 1,
        "targets": {
            "a": {"kind": "anthropic", "model": "claude-haiku-5-5", **patience},
            "o": {"kind": "openai", "model": "gpt-6-luna", **patience},
        },
        "rules": [
            {"name": "a", "when": {"tags": {"to": "a"}}, "use": ["a"]},
            {"name": "o", "use": ["o"]},
        ],
        "resilience": {"retry": {"attempts": 1}, "deadline": "4m", "circuit_breaker": {"failures": 1000}},
    }


def codes(fault, *, stream, against):
    """For each target the codes that its calls ended with."""
    drill = run_drill(scenario(fault, stream=stream), policy(fault), against=against, speed=SPEED)
    found = {}
    for one in drill.course.served:
        for attempt in one.receipt.attempts:
            found.setdefault(attempt.target, set()).add(str(attempt.code))
    return found


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("fault", FAULTS)
def test_the_simulation_is_right(fault, stream):
    """The codes are equal, for both vendors."""
    assert codes(fault, stream=stream, against="simulated") == codes(fault, stream=stream, against="emulator")


@pytest.mark.parametrize(
    "checked", [{"target": "o", "accept": {"agree_with": "a"}}, {"target": "o", "accept": {"samples": 3}}]
)
def test_an_unsure_answer_passes_no_check(checked):
    """Whoever guesses agrees with nobody, not with itself either, on a script and over HTTP."""
    asks = [{"name": "o", "prompt": "hello"}]
    drill = {**scenario("unsure", stream=False), "load": {"rate": 1000.0, "requests": asks}}
    drill["phases"] = [{"at": "0s", "faults": {"o": "unsure"}}, {"at": "10ms", "faults": {"o": "unsure"}, "rate": 0}]
    tree = {**policy(), "rules": [{"name": "o", "use": [checked, "a"]}]}
    for against in ("simulated", "emulator"):
        served = run_drill(drill, tree, against=against, speed=SPEED).course.served
        assert {one.receipt.target for one in served} == {"a"}, against
        assert all(one.receipt.attempts[0].code == "unsure" for one in served), against
