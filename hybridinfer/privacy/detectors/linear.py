"""Which regular expressions are safe on text that an attacker wrote."""

from __future__ import annotations

import re
from re import _constants as ops  # type: ignore[attr-defined]
from re import _parser  # type: ignore[attr-defined]
from typing import Any

_REPEATS = (ops.MAX_REPEAT, ops.MIN_REPEAT, ops.POSSESSIVE_REPEAT)
_LONG = 64
"""A repeat that may go on for longer counts as endless."""


def check_linear(pattern: str) -> None:
    """Raise ValueError, saying what to write instead, unless `pattern` runs in bounded time per character."""
    try:
        tree = _parser.parse(pattern)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from None
    _check(tree, repeated=False)


def _check(tree: Any, *, repeated: bool) -> None:
    endless = False
    for op, value in tree:
        if op in (ops.GROUPREF, ops.GROUPREF_EXISTS):
            raise ValueError("a pattern may not refer back to a group; write the alternatives out")
        if op in (ops.ASSERT, ops.ASSERT_NOT):
            raise ValueError("a pattern may not look ahead or behind; match the surroundings or use \\b")
        if op in _REPEATS:
            low, high, inner = value
            varies = high > low
            if varies and repeated:
                raise ValueError("a repeat inside a repeat can take forever; write one repeat over a character class")
            if varies and high > _LONG:
                if endless:
                    raise ValueError(
                        "two endless repeats side by side can take forever; give one a limit such as {1,64}"
                    )
                endless = True
            _check(inner, repeated=repeated or high > 1)
        else:
            if op in (ops.LITERAL, ops.IN, ops.NOT_LITERAL):
                endless = endless and op is not ops.LITERAL
            for inner in _inside(op, value):
                _check(inner, repeated=repeated)


def _inside(op: Any, value: Any) -> list[Any]:
    if op is ops.SUBPATTERN:
        return [value[-1]]
    if op is ops.ATOMIC_GROUP:
        return [value]
    return list(value[1]) if op is ops.BRANCH else []
