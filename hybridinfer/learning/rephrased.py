"""Somebody asks nearly the same again at once: a weak sign that the answer before was of no use.

Seen within a conversation alone: the request holds the earlier question, and what is remembered of it is a salted hash
of the conversation up to there, for five minutes, in memory. The salt is drawn when the router is made and written
nowhere. A `user` is no conversation: a batch of one template under one name would look like nothing but rephrasings.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING

from ..signals.lexicon import ASKS, COMMON

if TYPE_CHECKING:
    from ..types import Message, Request

SCORE = 0.25
"""What the label says of the earlier answer, 0..1. Set by hand: some people only want another wording."""
WITHIN = 300.0
"""Seconds between the earlier answer and the request."""
LEAST = 0.6
"""The share of both questions' words that is in both. docs/learn.md has what it finds and what it mistakes."""
_LONGEST = 2_000
"""Characters of a question; a longer one holds a text, and another question about it looks the same."""
_MOST = 10_000
"""Conversations that are remembered at once; the oldest go first."""
_STEM = 6
"""Letters of a word that count: convert, converts and converting are one."""
_WORD = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+")
_EMPTY = COMMON | {*ASKS, "please", "again", "still", "need", "want", "tell", "give", "does", "is", "are", "am"}


class Recent:
    """The latest conversations of a router, as hashes. Not thread-safe: one event loop owns it."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._salt = secrets.token_bytes(32)
        self._known: dict[bytes, tuple[float, str]] = {}

    def remember(self, receipt_id: str, conversation: bytes) -> None:
        """An answer was given to the last question of `conversation`, as `hashed` made it."""
        self._known.pop(conversation, None)
        self._known[conversation] = self._clock(), receipt_id
        while len(self._known) > _MOST:
            del self._known[next(iter(self._known))]

    def hashed(self, messages: Sequence[Message]) -> bytes:
        """A conversation up to its last question; 16 bytes that nobody can turn back."""
        digest = blake2b(key=self._salt, digest_size=16)
        for message in messages[: 1 + _asked(messages)[-1]]:
            for text in (message.role, message.text):
                data = text.encode("utf-8", "surrogatepass")
                digest.update(len(data).to_bytes(8, "big") + data)
        return digest.digest()

    def repeated(self, request: Request) -> str | None:
        """The receipt's id of the answer whose question `request` asks again in other words; None: there is none."""
        messages, asked = request.messages, _asked(request.messages)
        if len(asked) < 2 or not nearly_same(messages[asked[-2]].text, messages[asked[-1]].text):
            return None
        at, receipt_id = self._known.get(self.hashed(messages[: asked[-1]]), (0.0, None))
        return receipt_id if receipt_id is not None and self._clock() - at <= WITHIN else None


def nearly_same(first: str, second: str) -> bool:
    """Whether two questions are one in other words. The very same text is none: a program may poll."""
    if first == second or max(len(first), len(second)) > _LONGEST:
        return False
    (words, numbers), (other_words, other_numbers) = _parts(first), _parts(second)
    both = words | other_words
    return bool(both) and numbers == other_numbers and len(words & other_words) >= LEAST * len(both)


def _parts(text: str) -> tuple[set[str], set[str]]:
    """The words that say what a question is about, cut to their stems; and its numbers."""
    found = _WORD.findall(text.lower())
    words = {word[:_STEM] for word in found if word[0].isalpha() and word not in _EMPTY}
    return words, {word for word in found if not word[0].isalpha()}


def _asked(messages: Sequence[Message]) -> list[int]:
    """Where the questions stand."""
    return [at for at, message in enumerate(messages) if message.role == "user"]
