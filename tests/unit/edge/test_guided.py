"""Guided output: whatever a model would like to write, what comes keeps the demanded form."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import validate

from hybridinfer.edge.generate import GenerationFailed
from hybridinfer.edge.guided import Guided, for_call, for_format
from hybridinfer.edge.toolcalls import Call, ToolCallParser, opening
from hybridinfer.receipt import Code
from hybridinfer.types import ResponseFormat, Tool

SCHEMA = {
    "type": "object",
    "properties": {
        "mood": {"enum": ["good", "bad \N{SNOWMAN}"]},
        "count": {"type": "integer", "minimum": 0, "maximum": 99},
        "flags": {"type": "array", "items": {"type": "boolean"}, "maxItems": 3},
    },
    "required": ["mood", "count", "flags"],
    "additionalProperties": False,
}
AS_JSON = ResponseFormat(type="json_schema", schema=SCHEMA)
ANY = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
SEEDS = st.integers(0, 2**32)


def write(make, tokenizer, seed, *, most=300):
    """What a model of random wishes writes under a constraint; also the constraint."""
    random, constraint, written = np.random.default_rng(seed), make(tokenizer), bytearray()
    for _ in range(most):
        if constraint.done:
            return written.decode(), constraint
        logits = random.normal(size=tokenizer.size + 3).astype(np.float32)
        constraint.mask(logits)
        token = int(logits.argmax())
        if token in tokenizer.end_ids:
            return written.decode(), constraint
        constraint.accept(token)
        written += tokenizer.spelling(token)
    raise AssertionError("no end")


@ANY
@given(seed=SEEDS)
def test_a_schema_is_kept(tokenizer, seed):
    """Every answer is JSON that the schema allows, on one line."""
    text, _ = write(for_format(AS_JSON), tokenizer, seed)
    validate(json.loads(text), SCHEMA)
    assert "\n" not in text


@ANY
@given(seed=SEEDS)
def test_a_pattern_is_matched_whole(tokenizer, seed):
    """From its first character to its last."""
    pattern = r"[A-Z]{2}-[0-9]{3,5}"
    text, _ = write(for_format(ResponseFormat(type="regex", pattern=pattern)), tokenizer, seed)
    assert re.fullmatch(pattern, text)


@ANY
@given(seed=SEEDS, choices=st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=9)))
def test_one_of_the_choices_comes(tokenizer, seed, choices):
    """Also where one begins like another, and whatever characters they hold."""
    choices = ["no", "none", 'a "quoted" \\ one', *choices]
    text, _ = write(for_format(ResponseFormat(type="choice", choices=tuple(choices))), tokenizer, seed)
    assert text in choices


@ANY
@given(seed=SEEDS)
def test_a_demanded_call_is_valid(tokenizer, seed):
    """Its name is one of the tools', its arguments keep that tool's schema."""
    other = {
        "type": "object",
        "properties": {"n": {"type": "boolean"}},
        "required": ["n"],
        "additionalProperties": False,
    }
    tools = (Tool(name="mood", parameters=SCHEMA), Tool(name='the "other"', parameters=other))
    for name in (None, "mood"):
        text, _ = write(for_call(tools, name), tokenizer, seed)
        parser = ToolCallParser([tool.name for tool in tools], begun=opening(name))
        (call,) = [*parser.push(text), *parser.finish()]
        assert isinstance(call, Call)
        validate(json.loads(call.arguments), next(dict(tool.parameters) for tool in tools if tool.name == call.name))


def test_free_text_has_no_constraint():
    """Neither without a format nor with the format text."""
    assert for_format(None) is None
    assert for_format(ResponseFormat(type="text")) is None


def test_any_object_is_json(tokenizer):
    """The plain JSON mode demands an object, and ends only behind one."""
    constraint = for_format(ResponseFormat(type="json_object"))(tokenizer)
    logits = np.zeros(tokenizer.size, np.float32)
    constraint.mask(logits)
    assert {tokenizer.spelling(int(token))[:1] for token in np.flatnonzero(logits == 0)} == {b"{"}


def test_what_cannot_be_kept_is_unsupported(tokenizer):
    """So that the plan goes on with another target."""
    for schema in ({"$ref": "https://example.com/other.json"}, {"type": "object", "properties": {"a": {"type": "no"}}}):
        make = for_format(ResponseFormat(type="json_schema", schema=schema))
        with pytest.raises(GenerationFailed) as caught:
            make(tokenizer)
        assert caught.value.code is Code.UNSUPPORTED


def test_a_token_that_is_not_allowed_ends_it(tokenizer):
    """A constraint that lost its place must not guess."""
    constraint = for_format(ResponseFormat(type="choice", choices=("yes",)))(tokenizer)
    constraint.mask(np.zeros(tokenizer.size, np.float32))
    with pytest.raises(GenerationFailed) as caught:
        constraint.accept(tokenizer.encode("n")[0])
    assert caught.value.code is Code.INVALID_OUTPUT


def test_a_schema_that_is_not_json_is_unsupported():
    """Such as one with a set in it."""
    with pytest.raises(GenerationFailed) as caught:
        for_format(ResponseFormat(type="json_schema", schema={"enum": {1, 2}}))
    assert caught.value.code is Code.UNSUPPORTED
    assert Guided.__doc__


@pytest.mark.parametrize(
    "wanted",
    [
        ResponseFormat(type="choice", choices=tuple(f"choice {number}" for number in range(20_000))),
        ResponseFormat(type="json_schema", schema={"enum": [f"value {number}" for number in range(20_000)]}),
        ResponseFormat(type="regex", pattern="|".join(f"x{number}y" for number in range(20_000))),
        ResponseFormat(type="regex", pattern="(a{1000}){1000}"),
    ],
    ids=["choices", "enum", "pattern", "repeats"],
)
def test_a_format_beyond_measure_is_refused(tokenizer, wanted):
    """The engine's one thread would build it while all other answers wait: for choices by the ten thousand, a minute."""
    with pytest.raises(GenerationFailed) as raised:
        write(for_format(wanted), tokenizer, 0, most=5)
    assert raised.value.code in {Code.UNSUPPORTED, Code.INVALID_OUTPUT}


def test_an_ordinary_large_schema_is_no_trouble(tokenizer):
    """Two hundred properties with enumerations and patterns."""
    each = [{"enum": ["a", "b"]}, {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{6}$"}, {"type": "number"}]
    properties = {f"property {number}": each[number % 3] for number in range(200)}
    schema = {"type": "object", "properties": properties, "additionalProperties": False}
    make = for_format(ResponseFormat(type="json_schema", schema=schema))
    constraint = make(tokenizer)
    constraint.mask(np.zeros(tokenizer.size, np.float32))
    assert not constraint.done
