"""The JSON Schema is generated, fresh, and says what the loader says."""

from __future__ import annotations

import json

import pytest

from hybridinfer.policy.load import shipped_names
from hybridinfer.policy.schema import FILE, schema, text

TREE = schema()


def test_the_committed_schema_is_fresh():
    """Run `python -m hybridinfer.policy.schema` after changing the model."""
    assert FILE.read_text(encoding="utf-8") == text()


def test_it_is_draft_07():
    """Editors' YAML servers speak draft-07: no $defs, and no $ref with neighbours."""
    assert TREE["$schema"] == "http://json-schema.org/draft-07/schema#"
    assert "$defs" not in json.dumps(TREE)
    for node in walk(TREE):
        assert "$ref" not in node or list(node) == ["$ref"]


def walk(node):
    """Every mapping in a tree."""
    if isinstance(node, dict):
        yield node
        for item in node.values():
            yield from walk(item)
    elif isinstance(node, list):
        for item in node:
            yield from walk(item)


def test_every_reference_leads_somewhere():
    """No dangling $ref."""
    for node in walk(TREE):
        if "$ref" in node:
            assert node["$ref"].removeprefix("#/definitions/") in TREE["definitions"]


def test_unknown_keys_are_refused_by_editors_too():
    """Every block of the file is closed, but conditions, which take any signal."""
    for name, block in TREE["definitions"].items():
        if block["type"] == "object":
            assert block["additionalProperties"] is (False if name != "When" else block["additionalProperties"])
    assert TREE["additionalProperties"] is False


def test_conditions_are_described_as_people_write_them():
    """Flat: signals, needs and tags side by side."""
    when = TREE["definitions"]["When"]
    assert {"privacy", "complexity", "size", "budget", "needs", "tags"} <= set(when["properties"])
    assert "levels" not in when["properties"]


def test_attributes_are_described_by_their_docstrings():
    """What stands under an attribute in the model is shown by the editor."""
    target = TREE["definitions"]["TargetBlock"]["properties"]
    assert target["stall"]["description"] == "Silence allowed between two tokens."
    assert TREE["definitions"]["RuleBlock"]["properties"]["when"]["description"] == "Left out: it always matches."


def test_durations_and_secrets_have_their_patterns():
    """The editor marks a duration without its unit and a key that is written out."""
    target = json.dumps(TREE["definitions"]["TargetBlock"])
    assert "(ms|s|m|h)" in target
    assert "env:" in target


def test_defaults_are_shown_as_they_are_written():
    """A default duration is text with its unit."""
    assert TREE["definitions"]["ResilienceBlock"]["properties"]["deadline"]["default"] == "20s"


def test_nothing_repeats_a_key_as_its_title():
    """Titles are noise in an editor."""
    assert [node["title"] for node in walk(TREE) if isinstance(node.get("title"), str)] == ["hybridinfer policy"]


@pytest.mark.parametrize("name", shipped_names())
def test_shipped_policies_are_valid_by_the_schema(name):
    """What the loader takes, the editor takes."""
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    from hybridinfer.policy.load import shipped
    from hybridinfer.policy.source import read

    tree = read(shipped(name).read_text(encoding="utf-8"), name).tree
    assert not list(jsonschema.Draft7Validator(TREE).iter_errors(tree))
