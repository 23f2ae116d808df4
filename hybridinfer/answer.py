"""Pieces of an answer, put together and judged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .commands import Answer
from .form import fault, is_json
from .quick import builder
from .receipt import Code
from .targets.base import Finish, Progress, TargetEvent
from .types import TextDelta, TokenLogprob, ToolCall

if TYPE_CHECKING:
    from .types import Request

new_answer = builder(Answer)


class Assembly:
    """Collects the events of one answer."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._logprobs: list[TokenLogprob] = []
        self._calls: dict[int, tuple[str, str, list[str]]] = {}
        self._answer: Answer | None = None  # of what came until now, once it was asked for
        self.finish: Finish | None = None

    def add(self, event: TargetEvent) -> bool:
        """Take one event; True when it carries something that the caller should see."""
        self._answer = None
        if isinstance(event, TextDelta):  # first: most events are
            self._texts.append(event.text)
            self._logprobs.extend(event.logprobs)
            return bool(event.text)
        if isinstance(event, Finish):
            self.finish = event
            return False
        if isinstance(event, Progress):
            return False
        call_id, name, arguments = self._calls.get(event.index, ("", "", []))
        arguments.append(event.arguments)
        self._calls[event.index] = (call_id or event.id or "", name or event.name or "", arguments)
        return True

    def answer(self) -> Answer:
        """All that came until now."""
        if self._answer is None:
            self._answer = self._put_together()
        return self._answer

    def _put_together(self) -> Answer:
        calls = tuple(
            ToolCall(id=call_id, name=name, arguments="".join(arguments))
            for _index, (call_id, name, arguments) in sorted(self._calls.items())
        )
        text, logprobs, finish = "".join(self._texts), tuple(self._logprobs) or None, self.finish
        if finish is None:
            return new_answer(text=text, tool_calls=calls, logprobs=logprobs)
        return new_answer(
            text=text,
            tool_calls=calls,
            finish_reason=finish.finish_reason,
            usage=finish.usage,
            model=finish.model,
            logprobs=logprobs,
            confidence=finish.confidence,
            probabilities=finish.probabilities,
            ran_on=finish.ran_on,
        )


def code_of(assembly: Assembly, request: Request, *, begun: bool = False) -> tuple[Code, str]:
    """How an answer that ended without an error counts, and why. `begun`: it may have had nothing to add."""
    if assembly.finish is None:
        return Code.INTERRUPTED, "ended without its terminal event"
    answer = assembly.answer()
    if answer.finish_reason == "content_filter":
        return Code.REFUSED, "stopped by a content filter"
    if not answer.text and not answer.tool_calls and not (begun and answer.finish_reason == "stop"):
        return Code.EMPTY, "nothing in the answer"
    if answer.finish_reason == "length":
        return Code.TRUNCATED, "max_tokens reached"
    for call in answer.tool_calls:
        if not is_json(call.arguments or "{}"):
            return Code.INVALID_OUTPUT, "a tool call's arguments are not JSON"
    wanted = request.response_format
    if wanted is not None and wanted.type != "text" and not answer.tool_calls:
        because = fault(answer.text, wanted)
        if because:
            return Code.INVALID_OUTPUT, because
    return Code.OK, ""
