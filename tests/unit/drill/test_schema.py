"""The JSON Schema of scenarios: never stale, and it agrees with the loader."""

from __future__ import annotations

import json

import pytest
from jsonschema import Draft7Validator

from hybridinfer.cli import main
from hybridinfer.drill.scenario import load_scenario, shipped_drills
from hybridinfer.drill.schema import FILE, text
from hybridinfer.errors import PolicyError
from hybridinfer.policy.source import read

SCHEMA = json.loads(FILE.read_text())
GOOD = {
    "version": 1,
    "name": "one",
    "duration": "2m",
    "load": {"rate": 1, "requests": [{"name": "a", "prompt": "hello"}]},
    "phases": [{"at": "0s", "faults": {"cloud": "down", "a": ["down", "ok"], "b": {"fault": "slow", "delay": "1s"}}}],
    "expect": {"answered_share": "99%"},
}


def test_it_is_not_stale():
    """Write it anew by `python -m hybridinfer.drill.schema`."""
    assert FILE.read_text() == text()
    Draft7Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("name", shipped_drills())
def test_shipped_drills_keep_it(name):
    """And editors find it by their first line."""
    said = shipped_drills()[name].read_text()
    assert said.startswith("# yaml-language-server: $schema=../hybridinfer/drill/schema.json\n")
    Draft7Validator(SCHEMA).validate(read(said, name).tree)


@pytest.mark.parametrize(
    "change",
    [
        {"duration": 5},
        {"nmae": "x"},
        {"version": 2},
        {"budgets": "none"},
        {"phases": [{"at": "0s", "faults": {"cloud": "dwon"}}]},
        {"phases": [{"at": "0s", "faults": {"cloud": ["dwon"]}}]},
        {"phases": [{"at": "0s", "faults": {"cloud": {"fault": "down", "share": "half"}}}]},
        {"load": {"rate": 1, "requests": []}},
    ],
)
def test_it_refuses_what_the_loader_refuses(change):
    """An editor marks what would be an error."""
    load_scenario(GOOD)
    Draft7Validator(SCHEMA).validate(GOOD)
    with pytest.raises(PolicyError):
        load_scenario(GOOD | change)
    assert list(Draft7Validator(SCHEMA).iter_errors(GOOD | change))


def test_the_command_prints_it(capsys):
    """For editors that do not follow the first line."""
    assert main(["drill", "schema"]) == 0
    assert json.loads(capsys.readouterr().out) == SCHEMA
