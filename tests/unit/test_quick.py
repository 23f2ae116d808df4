"""Frozen records with a faster constructor: nothing else about them changes."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
from collections.abc import Mapping
from dataclasses import FrozenInstanceError, dataclass, field, fields

import pytest

from hybridinfer import commands, receipt, types
from hybridinfer.quick import builder, quick, replace
from hybridinfer.receipt import Attempt, Code
from hybridinfer.types import Request


@dataclass(frozen=True, slots=True, kw_only=True)
class Plain:
    """As `dataclasses` makes it."""

    name: str
    number: int = 3
    tags: Mapping[str, str] = field(default_factory=dict[str, str])


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Quick:
    """The same, faster."""

    name: str
    number: int = 3
    tags: Mapping[str, str] = field(default_factory=dict[str, str])


@pytest.mark.parametrize("given", [{"name": "a"}, {"name": "a", "number": 4}, {"name": "b", "tags": {"x": "y"}}])
def test_every_field_is_what_the_plain_constructor_makes_of_it(given):
    """Given values, defaults and factories alike, by the class and by the function."""
    plain = Plain(**given)
    for fast in (Quick(**given), builder(Quick)(**given)):
        assert type(fast) is Quick
        assert [getattr(fast, one.name) for one in fields(fast)] == [getattr(plain, one.name) for one in fields(plain)]


def test_each_record_has_a_mapping_of_its_own():
    """A factory is called for every record that is built without a value."""
    assert Quick(name="a").tags is not Quick(name="a").tags
    assert builder(Quick)(name="a").tags is not builder(Quick)(name="a").tags


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "missing 1 required keyword-only argument: 'name'"),
        ({"name": "a", "nmber": 1}, "unexpected keyword argument 'nmber'"),
    ],
)
def test_wrong_arguments_are_refused_in_the_same_words(given, says):
    """A missing or an unknown argument is a TypeError that names it."""
    for kind in (Plain, Quick, builder(Quick)):
        with pytest.raises(TypeError, match=says):
            kind(**given)


def test_it_stays_frozen():
    """No field can be set or deleted afterwards, however it was made."""
    for one in (Quick(name="a"), builder(Quick)(name="a"), replace(Quick(name="b"), name="a")):
        with pytest.raises(FrozenInstanceError):
            one.name = "b"
        with pytest.raises(FrozenInstanceError):
            del one.name
        assert not hasattr(one, "__dict__")


def test_the_signature_stays():
    """Editors, documentation and `inspect` see what they saw."""
    assert str(inspect.signature(Quick)) == str(inspect.signature(Plain))
    assert Quick.__init__.__qualname__ == "Quick.__init__"


def test_records_can_be_copied_compared_and_pickled():
    """What a dataclass can do beside being built works on."""
    call = Attempt(target="t", number=1, code=Code.OK)
    assert pickle.loads(pickle.dumps(call)) == copy.deepcopy(call) == call
    assert dataclasses.replace(call, number=2) != call
    assert hash(Request(messages=(), max_tokens=3).messages) == hash(())
    with pytest.raises(TypeError, match="unexpected keyword argument"):
        dataclasses.replace(call, nmber=2)


@pytest.mark.parametrize("record", [Quick(name="a", tags={"x": "y"}), Plain(name="a", number=4)])
def test_a_changed_copy_is_what_dataclasses_make_of_it(record):
    """For quick records and for others; the values that stay are the same objects."""
    changed = replace(record, name="b")
    assert changed == dataclasses.replace(record, name="b")
    assert changed.tags is record.tags
    assert record.name == "a"
    with pytest.raises(TypeError, match="unexpected keyword argument 'nmber'"):
        replace(record, nmber=2)


def test_a_subclass_is_built_as_such():
    """With what it adds, and without the faster way, which knows one layout only."""

    class Marked(Quick):
        """With a dictionary of its own."""

    one = Marked(name="a", number=4)
    one.__dict__["mark"] = "x"
    assert (type(one), one.name, one.number, one.mark) == (Marked, "a", 4, "x")
    assert type(replace(one, name="b")) is Marked


def test_the_records_of_the_path_are_built_quickly():
    """Whoever adds a record that every request makes finds the decorator beside the others."""
    often = (types.Request, types.Usage, types.Response, commands.Outcome, commands.Answer, receipt.Receipt)
    assert all(kind.__init__.__code__.co_filename == "<string>" for kind in often)
    assert all("_become" in kind.__init__.__code__.co_names for kind in often)
