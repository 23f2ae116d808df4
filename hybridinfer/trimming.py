"""Fewer tokens of the same conversation: what a rule's `prompt:` block takes out, before anything is counted or paid.

Never touched: system messages, tools, schemas, the last exchange's order, and the caller's own `Request`. The levels
of privacy are those of the whole request, whatever is left of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

from .types import Text, ToolResult

if TYPE_CHECKING:
    from .policy.model import PromptBlock
    from .types import Image, Message, Part, Request

REPEATED = "[The same text stands further below.]"
"""What an earlier copy of a repeated text becomes: the copy nearest to the question stays."""

WORTH_CUTTING = 200
"""Characters from which on a repeated text is cut; shorter ones are how people talk."""

_FENCE = re.compile(r"(^[ \t]*```.*?(?:^[ \t]*```[ \t]*$|\Z))", re.DOTALL | re.MULTILINE)
_TRAILING = re.compile(r"[ \t]+$", re.MULTILINE)
_INSIDE = re.compile(r"(?<=\S)[ \t]{2,}(?=\S)")
_EMPTY_LINES = re.compile(r"\n{3,}")

Count = Callable[[Sequence["Message"]], int]
"""Tokens of some messages."""


def trim(request: Request, block: PromptBlock, count: Count) -> Request:
    """`request` with less in it; the very same object where nothing was to be cut.

    Whitespace first, then repetitions, then the history by tokens, so that each leaves less to the next.
    """
    messages = request.messages
    if block.collapse_whitespace:
        messages = tuple(_rewritten(message, collapse) for message in messages)
    if block.dedupe:
        messages = tuple(_once(messages))
    if block.trim_history is not None:
        messages = tuple(_recent(messages, block.trim_history, count))
    return request if messages == request.messages else replace(request, messages=messages)


def collapse(text: str) -> str:
    """One blank for several, one empty line for several, none at the ends of lines; code and indents stay as they are."""
    pieces = _FENCE.split(text)
    pieces[::2] = [_EMPTY_LINES.sub("\n\n", _INSIDE.sub(" ", _TRAILING.sub("", piece))) for piece in pieces[::2]]
    return "".join(pieces)


def _once(messages: Sequence[Message]) -> list[Message]:
    """Long texts that come again later are cut from where they stood before."""
    seen: set[str] = set()

    def cut(text: str) -> str:
        if len(text) < WORTH_CUTTING:
            return text
        if text in seen:
            return REPEATED
        seen.add(text)
        return text

    kept = [_rewritten(message, cut, backwards=True) for message in reversed(messages)]
    return kept[::-1]


def _recent(messages: Sequence[Message], tokens: int, count: Count) -> Iterator[Message]:
    """System messages, the last exchange, and of the exchanges before it the latest that fit into `tokens`."""
    starts = [0, *(index for index, message in enumerate(messages) if index and message.role == "user")]
    first = starts[-1]
    for start, stop in reversed(list(pairwise(starts))):
        tokens -= count([message for message in messages[start:stop] if message.role != "system"])
        if tokens < 0:
            break
        first = start
    return (message for index, message in enumerate(messages) if index >= first or message.role == "system")


def _rewritten(message: Message, rewrite: Callable[[str], str], *, backwards: bool = False) -> Message:
    """`message` with its texts, and those of tool results, rewritten; what the model or the system said stays."""
    if message.role not in {"user", "tool"}:
        return message
    parts = message.parts[::-1] if backwards else message.parts
    rewritten = tuple(_part(part, rewrite) for part in parts)
    rewritten = rewritten[::-1] if backwards else rewritten
    return message if rewritten == message.parts else replace(message, parts=rewritten)


def _part(part: Part, rewrite: Callable[[str], str]) -> Part:
    if isinstance(part, Text):
        return replace(part, text=rewrite(part.text))
    if isinstance(part, ToolResult):
        content: tuple[Text | Image, ...] = tuple(
            replace(inner, text=rewrite(inner.text)) if isinstance(inner, Text) else inner for inner in part.content
        )
        return replace(part, content=content)
    return part
