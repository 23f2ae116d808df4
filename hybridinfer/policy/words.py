"""What pydantic found, in the words of the policy: where, what, and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from ..errors import Problem
    from .source import Path, Source

_SHAPES = {
    "string_type": ("not text", "put it into quotes"),
    "dict_type": ("not a block", "write 'key: value' pairs below it"),
    "model_type": ("not a block", "write 'key: value' pairs below it"),
    "model_attributes_type": ("not a block", "write 'key: value' pairs below it"),
    "tuple_type": ("not a list", "write [a, b], or one entry per line with '- '"),
    "string_too_short": ("empty", "write a name"),
    "string_too_long": ("too long", "write at most 100 characters"),
    "too_short": ("empty", "write at least one entry"),
}
_BOUNDS = {
    "greater_than": "more than",
    "greater_than_equal": "at least",
    "less_than": "less than",
    "less_than_equal": "at most",
}


def say(source: Source, fault: ErrorDetails, top: Any = None) -> Problem:
    """One of pydantic's errors as a problem. Values are quoted only where the policy lists what it takes.

    `top` is the model of the whole file; None: `Policy`.
    """
    way = _written(fault["loc"])
    kind, context = fault["type"], fault.get("ctx", {})
    at = dotted(way)
    if kind == "policy":
        way = (*way, context["at"]) if context["at"] else way
        return source.problem(way, _at(way, context["what"]), context["hint"])
    if kind == "extra_forbidden":
        known = keys_of(way[:-1], top)
        return source.problem(way, f"unknown key {way[-1]!r}{_in(way)}", did_you_mean(str(way[-1]), known), key=True)
    if kind == "missing":
        return source.problem(way, f"{way[-1]!r} is missing{_in(way)}", f"add '{way[-1]}: ...'")
    if kind in {"literal_error", "enum"}:
        if way == ("version",):
            noun = "policy" if top is None else top.__name__.lower()
            return source.problem(way, f"unknown version of the {noun} format", "write 'version: 1'")
        choices = choices_in(context["expected"])
        return source.problem(
            way, f"{at}: unknown value {_shown(fault['input'])}", did_you_mean(fault["input"], choices)
        )
    if kind in _BOUNDS:
        limit = next(iter(context.values()))
        return source.problem(way, f"{at}: must be {_BOUNDS[kind]} {limit}", "change the number")
    what, hint = _SHAPES.get(kind, (fault["msg"], ""))
    return source.problem(way, _at(way, what), hint)


def dotted(way: Path) -> str:
    """A path as people write it: `rules[0].use[1]`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in way).removeprefix(".")


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """The nearest of the known words, or all of them."""
    import difflib

    names = list(known)
    near = difflib.get_close_matches(word.lower(), names, n=1, cutoff=0.6) if isinstance(word, str) else []
    if near:
        return f"did you mean {near[0]!r}?"
    return f"there are {', '.join(names)}" if names else ""


def choices_in(expected: str) -> list[str]:
    """The words in pydantic's "'a', 'b' or 'c'"."""
    return [part for part in expected.split("'")[1::2] if part]


def keys_of(way: Path, top: Any = None) -> list[str]:
    """The keys that the block at `way` may have, in a file of the model `top` (None: `Policy`)."""
    from .model import Policy

    block: Any = top or Policy
    parts = iter(way)
    for part in parts:
        annotation = _field(block, part).annotation
        block = _block_in(annotation)
        if block is not annotation and _is_collection(annotation):
            next(parts, None)  # a name or a number of the file, not a key of the model
    return [field.alias or name for name, field in block.model_fields.items()]


def _field(block: Any, key: str | int) -> Any:
    """By its name in the file."""
    return next(field for name, field in block.model_fields.items() if key == (field.alias or name))


def _block_in(annotation: Any) -> Any:
    """The block inside `dict[str, Block]`, `tuple[Block, ...]` and `Block | None`."""
    if hasattr(annotation, "model_fields"):
        return annotation
    inner = (_block_in(each) for each in getattr(annotation, "__args__", ()))
    return next((each for each in inner if each is not None), None)


def _is_collection(annotation: Any) -> bool:
    return getattr(annotation, "__origin__", None) in {dict, tuple}


def _written(way: Path) -> Path:
    """As it stands in the file: `when` is written flat, and pydantic marks keys of its own."""
    parts = [part for part in way if part != "[key]"]
    return tuple(part for i, part in enumerate(parts) if not (part == "levels" and i and parts[i - 1] == "when"))


def _at(way: Path, what: str) -> str:
    return f"{dotted(way)}: {what}" if way else what


def _in(way: Path) -> str:
    return f" in {dotted(way[:-1])}" if way[:-1] else ""


def _shown(value: object) -> str:
    return repr(value) if isinstance(value, (str, int, float)) and len(str(value)) <= 24 else "of the wrong shape"
