"""Tool calls in the text of Qwen models: `<tool_call>{"name": ..., "arguments": {...}}</tool_call>`.

Format: https://qwen.readthedocs.io/en/latest/framework/function_call.html (Hermes style). Qwen2.5-Coder was taught
it and mostly writes the same object bare or in a code fence instead, as its whole answer: that is taken, too.
Whatever is not a valid call of an offered tool stays text.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .text import possible_start

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_OPEN, _CLOSE = "<tool_call>", "</tool_call>"
_MAYBE_BARE = re.compile(r"\s*(`{0,2}|```(j(s(on?)?)?)?\s*|(```(json)?\s*)?\{.*)", re.DOTALL)
_BARE = re.compile(r"\s*(?:```(?:json)?\s*)?(\{.*\})\s*(?:```\s*)?", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A valid call; `arguments` is a JSON object as text."""

    name: str
    arguments: str


def opening(tool: str | None) -> str:
    """How an answer begins that must call `tool`, or any tool where it is None."""
    return (
        f'{_OPEN}\n{{"name": "'
        if tool is None
        else f'{_OPEN}\n{{"name": {json.dumps(tool, ensure_ascii=False)}, "arguments":'
    )


class ToolCallParser:
    """Splits streamed text into plain text and calls of the tools called `names`.

    `begun` is what was put into the model's mouth, an `opening`: the text goes on from there.
    """

    def __init__(self, names: Iterable[str], *, begun: str = "") -> None:
        self._names = frozenset(names)
        self._held = begun
        self._fresh = True
        self._after_call = False

    def push(self, text: str) -> Iterator[str | Call]:
        """Take more text; yields what is certain, in order."""
        self._held += text
        if self._fresh and _MAYBE_BARE.fullmatch(self._held):
            return
        self._fresh = False
        while True:
            before, opened, rest = self._held.partition(_OPEN)
            if not opened:
                kept = possible_start(self._held, (_OPEN,))
                certain, self._held = self._held[: len(self._held) - kept], self._held[len(self._held) - kept :]
                yield from self._plain(certain)
                return
            body, closed, after = rest.partition(_CLOSE)
            if not closed:
                self._held = opened + rest
                yield from self._plain(before)
                return
            yield from self._plain(before)
            self._held = after
            call = self._read(body)
            self._after_call = call is not None
            yield call or opened + body + closed

    def finish(self) -> Iterator[str | Call]:
        """No more text comes: yields what was held back. A last call may lack its closing mark."""
        rest, self._held = self._held, ""
        bare = _BARE.fullmatch(rest) if self._fresh else None
        body = bare[1] if bare else rest.removeprefix(_OPEN)
        call = self._read(body) if bare or rest.startswith(_OPEN) else None
        if call is not None:
            yield call
        else:
            yield from self._plain(rest)

    def _plain(self, text: str) -> Iterator[str]:
        if self._after_call:  # white space between calls belongs to the format
            text = text.lstrip()
        if text:
            self._after_call = False
            yield text

    def _read(self, body: str) -> Call | None:
        try:
            value = json.loads(body)
        except ValueError:
            return None
        if not isinstance(value, dict) or value.get("name") not in self._names:
            return None
        arguments = value.get("arguments", {})
        if not isinstance(arguments, dict):
            return None
        return Call(name=value["name"], arguments=json.dumps(arguments, ensure_ascii=False))
