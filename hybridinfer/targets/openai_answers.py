"""OpenAI's answers -> events: `ChatCompletion` and its chunks, as OpenAI and the servers that imitate it send them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ..receipt import Code
from ..types import FinishReason, TextDelta, TokenLogprob, ToolCallDelta, Usage
from .base import Finish, TargetEvent, TargetFailed
from .failures import Reported

# OpenAI's words, and those of Ollama, vLLM, TGI, Mistral and DeepSeek. An unknown word is not taken for success.
_FINISH: Mapping[str, FinishReason] = {
    "stop": "stop",
    "eos": "stop",
    "eos_token": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "tool_calls": "tool_calls",
    "tool_use": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "refusal": "content_filter",
    "safety": "content_filter",
}


class OpenAIReader:
    """Reads one answer."""

    __slots__ = ("_calls", "_finish", "_model", "_refused", "_spoke", "_tier", "done", "usage")

    def __init__(self) -> None:
        self.done = False
        self.usage: Usage | None = None
        self._model = ""
        self._tier: object = None
        self._finish: str | None = None
        self._spoke = False
        self._refused = False
        self._calls: dict[object, int] = {}

    def feed(self, data: bytes) -> Sequence[TargetEvent]:
        """The events of one chunk."""
        if data.strip() == b"[DONE]":
            self.done = True
            return ()
        chunk = json.loads(data)
        return self._read(chunk, "delta")

    def whole(self, payload: Any) -> Sequence[TargetEvent]:
        """The events of a `ChatCompletion`."""
        return self._read(payload, "message")

    def _read(self, payload: Mapping[str, Any], field: str) -> Sequence[TargetEvent]:
        if payload.get("error"):
            raise Reported(payload)
        self._model = payload.get("model") or self._model
        self._tier = payload.get("service_tier") or self._tier
        if usage := payload.get("usage"):
            self.usage = _usage(usage, self._tier)
        events: list[TargetEvent] = []
        for choice in payload["choices"] if field == "message" else payload.get("choices") or ():
            if choice.get("index", 0) == 0:
                self._choice(choice, choice.get(field) or {}, events)
        return events

    def _choice(self, choice: Mapping[str, Any], said: Mapping[str, Any], events: list[TargetEvent]) -> None:
        if text := _text(said.get("content")):
            self._spoke = True
            logprobs = choice.get("logprobs")
            events.append(TextDelta(text=text, logprobs=_logprobs(logprobs) if logprobs else ()))
        if said.get("refusal"):
            self._refused = True
        for position, call in enumerate(said.get("tool_calls") or ()):
            events.append(self._call(call, position))
        if choice.get("finish_reason"):
            self._finish = choice["finish_reason"]

    def _call(self, call: Mapping[str, Any], position: int) -> ToolCallDelta:
        function = call.get("function") or {}
        arguments = function.get("arguments") or ""
        if not isinstance(arguments, str):  # Ollama's older servers send the object itself
            arguments = json.dumps(arguments, ensure_ascii=False)
        key = call.get("index")
        if key is None:  # servers without indices send each call in one piece
            key = call.get("id") or position
        if key in self._calls:
            return ToolCallDelta(index=self._calls[key], arguments=arguments)
        index = self._calls[key] = len(self._calls)
        name = function["name"]
        return ToolCallDelta(index=index, arguments=arguments, id=call.get("id") or f"call_{index}", name=name)

    def finish(self, *, begun: bool = False) -> Finish:
        """The last event, or why there is none. `begun`: there may have been nothing to add."""
        if self._finish is None:
            raise TargetFailed(Code.INTERRUPTED, "the answer ended without its finish_reason", usage=self.usage)
        reason = _FINISH.get(self._finish)
        if reason is None:
            raise TargetFailed(Code.INTERRUPTED, "the answer ended for an unknown reason", usage=self.usage)
        if self._refused or reason == "content_filter":
            raise TargetFailed(Code.REFUSED, "refused by the model or its content filter", usage=self.usage)
        if not self._spoke and not self._calls and not (begun and reason == "stop"):
            why = "max_tokens was used up before the first word" if reason == "length" else "the answer holds nothing"
            raise TargetFailed(Code.EMPTY, why, usage=self.usage)
        if self._calls and reason == "stop":  # so OpenAI says it where one tool was demanded
            reason = "tool_calls"
        return Finish(finish_reason=reason, usage=self.usage, model=self._model)


def _text(content: Any) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(part["text"] for part in content if part.get("type") == "text")  # Mistral, beside its thinking


def _logprobs(logprobs: Mapping[str, Any]) -> tuple[TokenLogprob, ...]:
    return tuple(
        TokenLogprob(token=item["token"], logprob=float(item["logprob"])) for item in logprobs.get("content") or ()
    )


def _usage(usage: Mapping[str, Any], tier: object) -> Usage | None:
    """None for figures that cannot be: the flow then estimates."""
    prompt = usage.get("prompt_tokens_details") or {}
    completion = usage.get("completion_tokens_details") or {}
    heard, said = usage.get("prompt_tokens"), usage.get("completion_tokens")
    read, written = prompt.get("cached_tokens") or 0, prompt.get("cache_write_tokens") or 0
    thought = completion.get("reasoning_tokens") or 0
    if not heard or said is None:
        return None
    if not all(isinstance(figure, int) and figure >= 0 for figure in (heard, said, read, written, thought)):
        return None
    return Usage(
        input_tokens=heard,
        output_tokens=said,
        cache_read_tokens=read,
        cache_write_tokens=written,
        reasoning_tokens=thought,
        tariff=(("service_tier", tier),) if isinstance(tier, str) else (),
    )
