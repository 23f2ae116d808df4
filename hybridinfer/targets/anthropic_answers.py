"""Anthropic's answers -> events: `Message` and its stream (message_start ... content blocks ... message_stop)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ..receipt import Code
from ..types import FinishReason, TextDelta, ToolCallDelta, Usage
from .base import Finish, TargetEvent, TargetFailed
from .failures import Reported

# `stop_reason` of anthropic 2.12. An unknown one, and `pause_turn`, which asks to be resumed, are no success.
_FINISH: Mapping[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}

_TARIFF = ("service_tier", "speed")


class AnthropicReader:
    """Reads one answer. Thinking is not part of an answer: its tokens are in the usage."""

    __slots__ = ("_calls", "_counts", "_model", "_silent", "_spoke", "_stop", "done")

    def __init__(self) -> None:
        self.done = False
        self._model = ""
        self._stop: str | None = None
        self._spoke = False
        self._counts: dict[str, Any] = {}
        self._calls: dict[int, int] = {}
        """Content block -> number of the call."""
        self._silent: set[int] = set()
        """Calls whose arguments have not begun."""

    @property
    def usage(self) -> Usage | None:
        """What was told. None until the answer's tokens are final: a stream begins by telling one or two."""
        return _usage(self._counts) if self._stop is not None else None

    def feed(self, data: bytes) -> Sequence[TargetEvent]:
        """The events of one event of the stream."""
        event = json.loads(data)
        match event["type"]:
            case "content_block_delta":
                return self._delta(event["index"], event["delta"])
            case "content_block_start":
                return self._start(event["index"], event["content_block"])
            case "content_block_stop":
                index = event["index"]
                if index in self._silent:  # a call without arguments has no deltas
                    self._silent.discard(index)
                    return (ToolCallDelta(index=self._calls[index], arguments="{}"),)
            case "message_start":
                self._told(event["message"])
            case "message_delta":
                self._told(event["delta"])
                self._counts |= _present(event.get("usage"))
            case "message_stop":
                self.done = True
            case "error":
                raise Reported(event)
            case _:  # ping, and what is not invented yet
                pass
        return ()

    def whole(self, payload: Any) -> Sequence[TargetEvent]:
        """The events of a `Message`."""
        if payload.get("type") == "error":
            raise Reported(payload)
        self._told(payload)
        events: list[TargetEvent] = []
        for index, block in enumerate(payload["content"]):
            events.extend(self._start(index, block))
            if block.get("type") == "tool_use":
                arguments = json.dumps(block["input"], ensure_ascii=False)
                events.append(ToolCallDelta(index=self._calls[index], arguments=arguments))
        self.done = True
        return events

    def _told(self, message: Mapping[str, Any]) -> None:
        self._model = message.get("model") or self._model
        self._stop = message.get("stop_reason") or self._stop
        self._counts |= _present(message.get("usage"))

    def _start(self, index: int, block: Mapping[str, Any]) -> Sequence[TargetEvent]:
        if block.get("type") == "tool_use":
            call = self._calls[index] = len(self._calls)
            self._silent.add(index)
            return (ToolCallDelta(index=call, id=block["id"], name=block["name"]),)
        return self._say(block["text"]) if block.get("type") == "text" else ()

    def _delta(self, index: int, delta: Mapping[str, Any]) -> Sequence[TargetEvent]:
        if delta.get("type") == "text_delta":
            return self._say(delta["text"])
        if delta.get("type") == "input_json_delta" and delta["partial_json"]:
            self._silent.discard(index)
            return (ToolCallDelta(index=self._calls[index], arguments=delta["partial_json"]),)
        return ()

    def _say(self, text: str) -> Sequence[TargetEvent]:
        if not text:
            return ()
        self._spoke = True
        return (TextDelta(text=text),)

    def finish(self, *, begun: bool = False) -> Finish:
        """The last event, or why there is none. `begun`: there may have been nothing to add."""
        if not self.done or self._stop is None:
            raise TargetFailed(Code.INTERRUPTED, "the answer ended without its message_stop", usage=self.usage)
        reason = _FINISH.get(self._stop)
        if reason is None:
            raise TargetFailed(Code.INTERRUPTED, "the answer ended for an unknown reason", usage=self.usage)
        if reason == "content_filter":
            raise TargetFailed(Code.REFUSED, "refused by the model or its content filter", usage=self.usage)
        if not self._spoke and not self._calls and not (begun and reason == "stop"):
            why = "max_tokens was used up before the first word" if reason == "length" else "the answer holds nothing"
            raise TargetFailed(Code.EMPTY, why, usage=self.usage)
        return Finish(finish_reason=reason, usage=self.usage, model=self._model)


def _present(usage: Mapping[str, Any] | None) -> dict[str, Any]:
    return {key: value for key, value in (usage or {}).items() if value is not None}


def _usage(counts: Mapping[str, Any]) -> Usage | None:
    """None for figures that cannot be: the flow then estimates. `input_tokens` is without cached ones at the vendor."""
    fresh = counts.get("input_tokens")
    said = counts.get("output_tokens")
    read = counts.get("cache_read_input_tokens", 0)
    written = counts.get("cache_creation_input_tokens", 0)
    hour = (counts.get("cache_creation") or {}).get("ephemeral_1h_input_tokens") or 0
    thought = (counts.get("output_tokens_details") or {}).get("thinking_tokens") or 0
    figures = (fresh, said, read, written, hour, thought)
    if fresh is None or said is None or not all(isinstance(figure, int) and figure >= 0 for figure in figures):
        return None
    if not fresh + read + written:
        return None
    return Usage(
        input_tokens=fresh + read + written,
        output_tokens=said,
        cache_read_tokens=read,
        cache_write_tokens=written,
        cache_write_1h_tokens=hour,
        reasoning_tokens=thought,
        tariff=tuple((field, counts[field]) for field in _TARIFF if isinstance(counts.get(field), str)),
    )
