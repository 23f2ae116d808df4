"""Faults for some requests only, and scripts: the same simulated and over real HTTP."""

from __future__ import annotations

import pytest

from hybridinfer.drill.run import run_drill

PATIENT = {"timeout": "10m", "first_token": "10m", "stall": "10m"}
"""A minute at tenfold speed: the machine may be busy."""
POLICY = {
    "version": 1,
    "targets": {
        "cloud": {"kind": "openai", "model": "m", "price": {"input": 1, "output": 1}, **PATIENT},
        "sorry": {"kind": "canned", "text": "later"},
    },
    "rules": [{"name": "all", "use": ["cloud", "sorry"]}],
    "resilience": {"deadline": "20m", "retry": {"attempts": 1}, "circuit_breaker": {"failures": 1000}},
}


def codes(fault, against):
    """Kind of request and how its call of the cloud ended, in the order of the arrivals."""
    asks = [{"name": "a", "prompt": "hello"}, {"name": "b", "prompt": "good morning"}]
    drill = {
        "version": 1,
        "name": "d",
        "duration": "12s",
        "load": {"rate": 1, "requests": asks},
        "phases": [{"at": "0s", "faults": {"cloud": fault}}],
        "expect": {"answered_share": "100%"},
    }
    served = run_drill(drill, POLICY, against=against).course.served
    return [(one.ask, str(one.receipt.attempts[0].code)) for one in served]


@pytest.mark.parametrize("against", ["simulated", "emulator"])
def test_a_script_gives_each_call_its_fault(against):
    """In order, `ok` lets one pass, and after the last one all is well."""
    found = [code for _, code in codes(["status_429", "ok", "tls", "empty"], against)]
    assert found[:4] == ["rate_limited", "ok", "unavailable", "empty"]
    assert set(found[4:]) == {"ok"}


@pytest.mark.parametrize("against", ["simulated", "emulator"])
def test_a_fault_hits_some_requests(against):
    """Those that it names."""
    found = codes({"fault": "status_503", "requests": ["b"]}, against)
    assert set(found) == {("a", "ok"), ("b", "unavailable")}
