"""Demanded forms are checked in bounded time, whatever schema, pattern and answer say."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from hybridinfer.form import fault
from hybridinfer.options import build_request
from hybridinfer.types import ResponseFormat

SLOW = "cannot be checked in time"
UNKNOWN = "cannot be checked against the schema"


def by_schema(schema, text):
    return fault(text, ResponseFormat(type="json_schema", schema=schema))


def by_pattern(pattern, text):
    return fault(text, ResponseFormat(type="regex", pattern=pattern))


@pytest.mark.parametrize("pattern", ["(a+)+b", "(a|aa)+b", "(?=(a+)+b)a*", r"(a+)\1+b", ".*a.*a.*a.*a.*b"])
def test_a_pattern_that_backtracks_for_ever_has_an_end(pattern):
    """With `re` each of these takes longer than anybody lives."""
    assert by_pattern(pattern, "a" * 4000 + "!") in {SLOW, "does not match the pattern"}


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"a": {"pattern": "^(a|aa)+$"}}},
        {"patternProperties": {"^(a|aa)+$": {"type": "string"}}},
        {"patternProperties": {"^(a|aa)+$": {}}, "additionalProperties": False},
        {"patternProperties": {"^(a|aa)+$": {}}, "unevaluatedProperties": False},
        {"unevaluatedProperties": False, "allOf": [{"patternProperties": {"^(a|aa)+$": {}}}]},
        {"patternProperties": {"^a+b": {}}, "unevaluatedProperties": False},
    ],
)
def test_patterns_inside_a_schema_have_an_end_too(schema):
    """In values and in the names of properties."""
    long = "a" * 4000 + "!"
    assert by_schema(schema, json.dumps({"a": long, long: 1}))


def test_schemas_without_an_end_have_one():
    """A schema that is itself, and one that only leads on."""
    assert by_schema({"$ref": "#"}, "{}") == UNKNOWN
    circle = {"$defs": {"x": {"$ref": "#/$defs/y"}, "y": {"$ref": "#/$defs/x"}}, "$ref": "#/$defs/x"}
    assert by_schema(circle, "{}") == UNKNOWN


def test_a_schema_that_doubles_with_every_level_has_an_end():
    """Twenty-four alternatives in alternatives: sixteen million ways to be wrong."""
    schema = {"not": {}}
    for _ in range(24):
        schema = {"allOf": [{"anyOf": [{"not": {}}, {}]}, {"anyOf": [schema, schema]}]}
    assert by_schema(schema, "{}") == SLOW


def test_answers_nested_without_end_are_no_json_or_not_checked():
    """Deeper than the interpreter reads, or than the check can follow."""
    assert by_schema({"properties": {"a": {"$ref": "#"}}}, '{"a":' * 900 + "1" + "}" * 900) == UNKNOWN
    assert by_schema({}, "[" * 100_000) == "not JSON"


def test_a_number_beyond_all_numbers_breaks_nothing():
    """`1e400` is infinity to Python, and no multiple of anything."""
    assert by_schema({"multipleOf": 0.5}, "1e400") == UNKNOWN


def test_many_items_are_told_apart_at_once():
    """Four thousand different objects took forty seconds."""
    assert by_schema({"uniqueItems": True}, json.dumps([{"a": i} for i in range(4000)])) == ""
    assert by_schema({"uniqueItems": True}, '[{"a": 1}, {"a": 1.0}]') == "breaks the schema at uniqueItems"
    assert by_schema({"uniqueItems": True}, "[1, true, [1], [true]]") == ""


def test_names_of_properties_are_content():
    """A schema may be made for one person; a receipt is kept for years."""
    schema = {"properties": {"jo@example.com": {"type": "string"}}}
    assert by_schema(schema, '{"jo@example.com": 1}') == "breaks the schema at properties/*/type"


def test_a_schema_nested_without_end_is_refused_at_once():
    """Before anybody is asked."""
    schema = {}
    for _ in range(3000):
        schema = {"properties": {"a": schema}}
    wanted = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
    with pytest.raises(ValueError, match="nested too deep"):
        build_request("hello", {"response_format": wanted})


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 2)
    | st.sampled_from([0.5, 1.0, 2.0])
    | st.sampled_from(["", "a", "ab"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "ab", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)
leaves = st.sampled_from(
    [
        {},
        True,
        False,
        {"type": "integer"},
        {"pattern": "^a"},
        {"enum": [1, "a"]},
        {"uniqueItems": True},
        {"minLength": 1},
    ]
)
schemas = st.recursive(
    leaves,
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "properties": st.dictionaries(st.sampled_from(["a", "b"]), inner, max_size=2),
            "patternProperties": st.dictionaries(st.sampled_from(["^a", "b$"]), inner, max_size=2),
            "additionalProperties": inner,
            "unevaluatedProperties": inner,
            "items": inner,
            "anyOf": st.lists(inner, min_size=1, max_size=2),
            "allOf": st.lists(inner, min_size=1, max_size=2),
            "required": st.lists(st.sampled_from(["a", "b"]), unique=True),
        },
    ),
    max_leaves=5,
)


@given(schema=schemas, value=values)
def test_bounded_and_plain_checks_say_the_same(schema, value):
    """The bounded keywords are those of jsonschema in all but time."""
    if isinstance(schema, bool):
        schema = {"allOf": [schema]}
    assert (by_schema(schema, json.dumps(value)) == "") == Draft202012Validator(schema).is_valid(value)


@pytest.mark.parametrize(
    ("schema", "text", "because"),
    [
        ({"properties": {"a": {}}, "additionalProperties": False}, '{"a": 1}', ""),
        (
            {"properties": {"a": {}}, "additionalProperties": False},
            '{"b": 1}',
            "breaks the schema at additionalProperties",
        ),
        ({"patternProperties": {"^b": {}}, "additionalProperties": False}, '{"b": 1}', ""),
        ({"additionalProperties": {"type": "string"}}, '{"b": 1}', "breaks the schema at additionalProperties/type"),
        ({"additionalProperties": False}, "[1]", ""),
        ({"patternProperties": {"^b": {}}, "unevaluatedProperties": False}, '{"b": 1}', ""),
        (
            {"patternProperties": {"^b": {}}, "unevaluatedProperties": False},
            '{"c": 1}',
            "breaks the schema at unevaluatedProperties",
        ),
        ({"uniqueItems": True}, '[{"a": [1.0]}, {"a": [1]}]', "breaks the schema at uniqueItems"),
    ],
)
def test_properties_are_told_apart(schema, text, because):
    """Those with a name, those with a pattern, and the rest."""
    assert by_schema(schema, text) == because


def test_free_text_has_no_form():
    """And nothing to check."""
    assert fault("anything", ResponseFormat(type="text")) == ""
