"""YAML text becomes plain values with positions; nothing is guessed and nothing grows."""

from __future__ import annotations

import pytest

from hybridinfer.errors import PolicyError
from hybridinfer.policy.source import MAX_DEPTH, read


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", "on"),
        ("off", "off"),
        ("yes", "yes"),
        ("No", "No"),
        ("y", "y"),
        ("22:30", "22:30"),
        ("1:30:00", "1:30:00"),
        ("010", "010"),
        ("0o14", "0o14"),
        ("0x1F", "0x1F"),
        ("0b11", "0b11"),
        ("1_000", "1_000"),
        ("1__0.5", "1__0.5"),
        ("2026-01-31", "2026-01-31"),
        (".inf", ".inf"),
        (".nan", ".nan"),
        ("<<", "<<"),
        ("=", "="),
        ("1e400", "1e400"),
        ("9" * 30, "9" * 30),
        ("8s", "8s"),
        ("+.", "+."),
        ("1.2.3", "1.2.3"),
        ("0", 0),
        ("-0", 0),
        ("+7", 7),
        ("42", 42),
        ("0.5", 0.5),
        ("-.5", -0.5),
        ("1.", 1.0),
        ("1e3", 1000.0),
        ("1.5E-2", 0.015),
        ("true", True),
        ("True", True),
        ("TRUE", True),
        ("false", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("'true'", "true"),
        ('"42"', "42"),
        ("|\n  42", "42"),
    ],
)
def test_scalars(text, value):
    """Scalars are those of YAML 1.2's core schema, and everything doubtful stays text."""
    assert read(f"a: {text}", "f").tree == {"a": value}
    assert type(read(f"a: {text}", "f").tree["a"]) is type(value)


def test_keys_stay_text():
    """A key is what is written, also where it looks like something else."""
    assert read("on: 1\n22:30: 2\n1: 3\ntrue: 4\n~: 5\n", "f").tree == {"on": 1, "22:30": 2, "1": 3, "true": 4, "~": 5}


def test_positions_of_values_and_keys():
    """Every value and every key knows its line and column, from 1."""
    source = read("a:\n  - {b: 1,  c: x}\n  - two\n", "f")
    assert source.position(("a", 0, "c")) == (2, 16)
    assert source.position(("a", 0, "c"), key=True) == (2, 13)
    assert source.position(("a", 1)) == (3, 5)
    assert source.position(("a", 1, "gone", 7)) == (3, 5)
    assert source.position(("nowhere",)) == (1, 1)


def test_a_missing_part_is_shown_at_the_name_of_its_block():
    """What is absent is pointed at by the key of the block around it."""
    source = read("targets:\n  small:\n    kind: onnx\n", "f")
    assert source.position(("targets", "small", "model")) == (2, 3)


def test_columns_count_characters_not_bytes():
    """A column is a character's, whatever its bytes."""
    assert read("a: {ü: 'ö', x: 1}", "f").position(("a", "x")) == (1, 16)


def test_an_alias_repeats_its_value():
    """Anchors and aliases work; the alias has its own position."""
    source = read("a: &here [1, 2]\nb: *here\n", "f")
    assert source.tree == {"a": [1, 2], "b": [1, 2]}
    assert source.position(("b", 1)) == (2, 4)


def test_an_anchor_on_a_key_or_a_scalar_can_be_repeated():
    """Keys and scalars can be anchored too."""
    assert read("&k name: &v 3\nx: [*k, *v]\n", "f").tree == {"name": 3, "x": ["name", 3]}


BILLION_LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{c}: &{c} [{','.join(['*' + p] * 10)}]\n" for p, c in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("a: [1", "f:2:1: not YAML: did not find expected ',' or ']'; check quotes, brackets and indentation"),
        (
            "a: 1\n\tb: 2",
            "f:2:1: not YAML: found a tab character that violates indentation; indent with spaces, never with tabs",
        ),
        (
            "a: {k: ${env:X}}",
            """f:1:9: not YAML: did not find expected ',' or '}'; put it into quotes, as "${env:NAME}\"""",
        ),
        ("a: 'x", "f:1:6: not YAML: found unexpected end of stream; check quotes, brackets and indentation"),
        ("a: 1\n---\nb: 2\n", "f:2:1: a second document; keep one policy per file, without a second '---'"),
        (
            "a: !!python/name:os.system x",
            "f:1:4: a tag (!); write plain values; put text that begins with ! into quotes",
        ),
        ("a: !!int '3'", "f:1:4: a tag (!); write plain values; put text that begins with ! into quotes"),
        ("a: !secret x", "f:1:4: a tag (!); write plain values; put text that begins with ! into quotes"),
        ("? [a, b]\n: 1", "f:1:3: a key that is not plain text; write 'name: value'"),
        ("a: &x [*x]", "f:1:8: alias *x before its anchor ended; put &x above it"),
        ("a: *nobody", "f:1:4: alias *nobody before its anchor ended; put &nobody above it"),
        ("a: " + "[" * 40, f"f:1:{4 + MAX_DEPTH}: nested more than {MAX_DEPTH} deep; a policy is flat"),
        (BILLION_LAUGHS, "f:5:17: more than 50000 values, aliases counted; split the policy"),
        ("é: 1\nb: \x07", "f:2:4: a character that YAML does not allow; delete it"),
    ],
)
def test_errors(text, error):
    """What cannot be read is refused with its place and what to do."""
    with pytest.raises(PolicyError) as caught:
        read(text, "f")
    assert str(caught.value) == error


def test_every_duplicate_key_is_reported():
    """Two equal keys are an error each time, and the first one stays."""
    source = read("a: 1\nb: {c: 1, c: 2}\na: 3\n", "f")
    assert [str(problem) for problem in source.problems] == [
        "f:2:11: key 'c' appears twice in one block, first on line 2; keep one",
        "f:3:1: key 'a' appears twice in one block, first on line 1; keep one",
    ]
    assert source.tree == {"a": 1, "b": {"c": 1}}


@pytest.mark.parametrize("text", ["", "# only a comment\n", "\n\n"])
def test_an_empty_text_is_nothing(text):
    """A file without content gives None, not an error of the parser."""
    assert read(text, "f").tree is None


def test_without_the_c_parser_the_same_is_read(monkeypatch):
    """Where PyYAML was built without libyaml, its Python parser serves."""
    import yaml

    monkeypatch.delattr(yaml, "CSafeLoader")
    source = read("a: [on, {b: 2}]\n", "f")
    assert source.tree == {"a": ["on", {"b": 2}]}
    assert source.position(("a", 1, "b")) == (1, 13)
