"""An answer that broke off midway goes on at another target: what that one is asked, and how both halves meet.

Pure; `on_interrupt: continue` in the flow, `Opened` and the simulator stand on it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .quick import replace
from .receipt import Code
from .types import Message, Request, Text, TextDelta, ToolCallDelta

if TYPE_CHECKING:
    from .commands import Answer, Outcome
    from .policy.model import Policy

BROKEN_OFF = frozenset({Code.INTERRUPTED, Code.STALLED, Code.TIMEOUT, Code.UNAVAILABLE, Code.RATE_LIMITED})
"""How an answer may end that another target can go on with; a refusal or wrong JSON is whole, and wrong."""

NO_PREFIX = frozenset({Code.INVALID, Code.UNSUPPORTED})
"""How a target says that it takes no beginning of an answer."""

TORN = "its answer is not the one that was delivered"


def continuable(request: Request, cut: Outcome) -> bool:
    """Whether what the caller holds can be the beginning of somebody else's answer.

    Text alone can. Half a tool call has no form in any dialect; with a demanded format, servers guide each answer from
    its first character, so half of one cannot be continued.
    """
    wanted = request.response_format
    plain = wanted is None or wanted.type == "text"
    return cut.code in BROKEN_OFF and plain and bool(cut.answer.text) and not cut.answer.tool_calls


def continuation(request: Request, text: str, *, tokens: int) -> Request:
    """`request` with `text`, of so many tokens, as the beginning of the answer.

    Without the blanks at its end: models go on with a word, and Anthropic refuses them.
    """
    begun = Message(role="assistant", parts=(Text(text=text.rstrip()),))
    left = None if request.max_tokens is None else max(1, request.max_tokens - tokens)
    return replace(request, messages=(*request.messages, begun), max_tokens=left)


def stricter(policy: Policy, levels: Mapping[str, str], others: Mapping[str, str]) -> dict[str, str]:
    """For each signal the higher of both levels: what was answered may be more private than what was asked."""
    ranks = {name: list(block.levels) for name, block in policy.signals.items()}
    return {name: max(level, others.get(name, level), key=ranks[name].index) for name, level in levels.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Join:
    """What the caller holds when a call begins.

    `anew`: the target answers from the beginning, and what repeats `held` is dropped; otherwise it goes on behind it.
    """

    held: str
    anew: bool

    def whole(self, held: Answer, more: Answer) -> Answer:
        """Both halves as one answer; `more` is what the target said."""
        if self.anew:
            return more if len(more.text) >= len(self.held) else replace(more, text=self.held)
        logprobs = (held.logprobs or ()) + (more.logprobs or ()) or None
        return replace(more, text=self.held + more.text.removeprefix(_blanks(self.held)), logprobs=logprobs)


class Seam:
    """Takes the pieces of the second half and gives those that are new to the caller."""

    def __init__(self, join: Join) -> None:
        self._expected = join.held if join.anew else _blanks(join.held)
        self._anew = join.anew
        self._matched = 0  # characters of it that came, and were not shown
        self._open = bool(self._expected)
        self.torn = False
        """The answer is another one than that which was delivered: nothing more of it may be shown."""

    def take(self, piece: TextDelta | ToolCallDelta) -> Sequence[TextDelta | ToolCallDelta]:
        """What of `piece`, and of what was held back, is new."""
        if not self._open:
            return () if self.torn else (piece,)
        if isinstance(piece, ToolCallDelta):
            before = self.end()
            return () if self.torn else (*before, piece)
        if self._expected.startswith(piece.text, self._matched):
            self._matched += len(piece.text)
            self._open = self._matched < len(self._expected)
            return ()
        self._open = False
        due = self._expected[self._matched :]
        if piece.text.startswith(due):
            return (replace(piece, text=piece.text[len(due) :]),)
        if self._anew:
            self.torn = True
            return ()
        return (replace(piece, text=self._expected[: self._matched] + piece.text),)

    def end(self) -> Sequence[TextDelta | ToolCallDelta]:
        """The answer has ended; what was held back is its own after all."""
        if not self._open:
            return ()
        self._open = False
        self.torn = self._anew
        held_back = self._expected[: self._matched]
        return (TextDelta(text=held_back),) if held_back and not self.torn else ()


def _blanks(text: str) -> str:
    return text[len(text.rstrip()) :]
