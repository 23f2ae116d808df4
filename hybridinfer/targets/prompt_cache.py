"""When it pays to have a vendor keep the beginning of a prompt, and where the kept part ends.

Writing costs a quarter more than plain input, reading a tenth of it (Anthropic, "Prompt caching"; kept for five
minutes). So nothing is marked until it comes again within that time. Two places are marked, each on evidence of its
own: the end of the instructions (tools and system prompt), which conversations share, and the end of a conversation
that goes on.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

KEPT_SECONDS = 300.0
"""How long a vendor keeps a part after its last use."""

SHORTEST = 4_000
"""Characters below which no model keeps anything (1,024 tokens). Models that want more ignore a mark, free of charge."""

_REMEMBERED = 4_096


class PromptCache:
    """Remembers, as salted hashes, which beginnings were sent to one target lately, and marks what comes again."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._salt = secrets.token_bytes(16)
        self._seen: OrderedDict[bytes, float] = OrderedDict()

    def mark(self, body: dict[str, Any]) -> None:
        """Put `cache_control` into a body of `POST /v1/messages` where it pays; nothing else of it changes."""
        turns: list[dict[str, Any]] = body["messages"]
        beginning = _Beginning(self._salt)
        beginning.add([body["model"], body.get("tools"), body.get("system")])
        instructions = self._comes_again(beginning)
        self._note(beginning)
        goes_on = False
        for turn in turns:
            goes_on = self._comes_again(beginning) if turn is not turns[0] and not goes_on else goes_on
            beginning.add(turn)
        self._note(beginning)
        if instructions:
            _mark_instructions(body)
        if goes_on:
            turns[-1] = {**turns[-1], "content": _marked(turns[-1]["content"])}

    def _comes_again(self, beginning: _Beginning) -> bool:
        if beginning.characters < SHORTEST:
            return False
        at = self._seen.get(beginning.digest)
        return at is not None and self._clock() - at < KEPT_SECONDS

    def _note(self, beginning: _Beginning) -> None:
        if beginning.characters < SHORTEST:
            return
        self._seen[beginning.digest] = self._clock()
        self._seen.move_to_end(beginning.digest)
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)


class _Beginning:
    """A prompt up to some point."""

    def __init__(self, salt: bytes) -> None:
        self._hash = hashlib.blake2b(key=salt, digest_size=16)
        self.characters = 0

    def add(self, more: Any) -> None:
        text = json.dumps(more)
        self.characters += len(text)
        self._hash.update(text.encode())

    @property
    def digest(self) -> bytes:
        return self._hash.digest()


def _mark_instructions(body: dict[str, Any]) -> None:
    """The end of the system prompt covers the tools, too: they stand before it."""
    if "system" in body:
        body["system"] = _marked(body["system"])
    elif "tools" in body:
        body["tools"] = _marked(body["tools"])


def _marked(content: str | list[dict[str, Any]]) -> list[dict[str, Any]]:
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    return [*blocks[:-1], {**blocks[-1], "cache_control": {"type": "ephemeral"}}]
