"""How each vendor writes answers, streams and errors: the emulator's two voices.

Sources: the response types of openai 3.54 and anthropic 2.12, and both vendors' error pages.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

from ..dialects import parse_messages, parse_response_format, parse_tool_choice, parse_tools
from ..types import Request
from .replies import Reply

CREATED = 1_767_225_600
"""Every answer bears the same date: runs can be compared byte by byte."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One event of a stream."""

    data: bytes
    kind: Literal["head", "content", "end"]


class Vendor(Protocol):
    """One API."""

    path: str

    def read(self, body: Mapping[str, Any]) -> Request:
        """The request. Raises `ValueError` where the vendor would answer 400."""
        ...

    def key(self, headers: Mapping[str, str]) -> str:
        """The key that came with it."""
        ...

    def whole(self, reply: Reply, model: str) -> dict[str, Any]:
        """An answer in one piece."""
        ...

    def frames(self, reply: Reply, model: str, *, usage: bool) -> list[Frame]:
        """The same answer as a stream."""
        ...

    def error(self, status: int, word: str | None, message: str) -> dict[str, Any]:
        """An error's body."""
        ...

    def error_frame(self, status: int) -> bytes:
        """An error within a stream."""
        ...

    def too_long(self) -> tuple[str | None, str]:
        """Word and message of the error for a prompt beyond the window."""
        ...


def frame(payload: Any, kind: Literal["head", "content", "end"], event: str = "") -> Frame:
    """One event, as server-sent events are written."""
    head = f"event: {event}\n" if event else ""
    data = payload if isinstance(payload, str) else json.dumps(payload, ensure_ascii=False, separators=(",", ":"))
    return Frame(f"{head}data: {data}\n\n".encode(), kind)


class OpenAIVendor:
    """`POST /v1/chat/completions`."""

    path = "/v1/chat/completions"
    _types: Mapping[int, tuple[str, str | None]] = {
        400: ("invalid_request_error", None),
        401: ("invalid_request_error", "invalid_api_key"),
        403: ("invalid_request_error", "unsupported_country_region_territory"),
        404: ("invalid_request_error", "model_not_found"),
        413: ("invalid_request_error", None),
        429: ("requests", "rate_limit_exceeded"),
    }

    def read(self, body: Mapping[str, Any]) -> Request:
        """Raises `ValueError` where OpenAI would answer 400."""
        messages = parse_messages(body.get("messages") or ())
        stop = body.get("stop") or ()
        return Request(
            messages=messages,
            max_tokens=body.get("max_completion_tokens") or body.get("max_tokens"),
            stop=(stop,) if isinstance(stop, str) else tuple(stop),
            tools=parse_tools(body.get("tools")),
            tool_choice=parse_tool_choice(body.get("tool_choice")),
            response_format=parse_response_format(body.get("response_format")),
            logprobs=bool(body.get("logprobs")),
        )

    def key(self, headers: Mapping[str, str]) -> str:
        """The bearer token."""
        return headers.get("authorization", "").removeprefix("Bearer ").strip()

    def whole(self, reply: Reply, model: str) -> dict[str, Any]:
        """A `ChatCompletion`."""
        message: dict[str, Any] = {
            "role": "assistant",
            "content": reply.text or None,
            "refusal": None,
            "annotations": [],
        }
        if reply.calls:
            message["tool_calls"] = [
                {"id": id_, "type": "function", "function": {"name": name, "arguments": arguments}}
                for id_, name, arguments in reply.calls
            ]
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": reply.finish}
        return self._envelope("chat.completion", model) | {"choices": [choice], "usage": self._usage(reply)}

    def frames(self, reply: Reply, model: str, *, usage: bool) -> list[Frame]:
        """Role, content, finish reason, usage where it was asked for, `[DONE]`."""
        envelope = self._envelope("chat.completion.chunk", model)

        def chunk(delta: dict[str, Any], kind: Literal["head", "content", "end"], finish: str | None = None) -> Frame:
            choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
            return frame(envelope | {"choices": [choice]}, kind)

        frames = [chunk({"role": "assistant", "content": "", "refusal": None}, "head")]
        frames += [chunk({"content": piece}, "content") for piece in reply.pieces]
        for index, (id_, name, arguments) in enumerate(reply.calls):
            head = {"index": index, "id": id_, "type": "function", "function": {"name": name, "arguments": ""}}
            frames.append(chunk({"tool_calls": [head]}, "content"))
            half = len(arguments) // 2
            for part in (arguments[:half], arguments[half:]):
                frames.append(chunk({"tool_calls": [{"index": index, "function": {"arguments": part}}]}, "content"))
        frames.append(chunk({}, "end", reply.finish))
        if usage:
            frames.append(frame(envelope | {"choices": [], "usage": self._usage(reply)}, "end"))
        return [*frames, frame("[DONE]", "end")]

    def error(self, status: int, word: str | None, message: str) -> dict[str, Any]:
        """`{"error": {...}}`."""
        kind, code = self._types.get(status, ("server_error", None))
        return {"error": {"message": message, "type": kind, "param": None, "code": word or code}}

    def error_frame(self, status: int) -> bytes:
        """A data line with an error object."""
        return frame(self.error(status, None, "The server had an error while processing your request."), "content").data

    def too_long(self) -> tuple[str | None, str]:
        """A code of its own."""
        return "context_length_exceeded", "This model's maximum context length is 8192 tokens."

    def _envelope(self, kind: str, model: str) -> dict[str, Any]:
        return {
            "id": "chatcmpl-emulator",
            "object": kind,
            "created": CREATED,
            "model": model,
            "system_fingerprint": "emulator",
        }

    def _usage(self, reply: Reply) -> dict[str, Any]:
        return {
            "prompt_tokens": reply.input_tokens,
            "completion_tokens": reply.output_tokens,
            "total_tokens": reply.input_tokens + reply.output_tokens,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
        }


class AnthropicVendor:
    """`POST /v1/messages`."""

    path = "/v1/messages"
    _types: Mapping[int, str] = {
        400: "invalid_request_error",
        401: "authentication_error",
        402: "billing_error",
        403: "permission_error",
        404: "not_found_error",
        413: "request_too_large",
        429: "rate_limit_error",
        504: "timeout_error",
        529: "overloaded_error",
    }
    _stops: Mapping[str, str] = {
        "stop": "end_turn",
        "length": "max_tokens",
        "tool_calls": "tool_use",
        "content_filter": "refusal",
    }

    def read(self, body: Mapping[str, Any]) -> Request:
        """Raises `ValueError` where Anthropic would answer 400."""
        if not body.get("max_tokens"):
            raise ValueError("max_tokens: Field required")
        if retired := {"temperature", "top_p", "top_k"} & body.keys():
            raise ValueError(f"{min(retired)}: not supported by this model")
        config = body.get("output_config") or {}
        return Request(
            messages=parse_messages(body.get("messages") or (), system=body.get("system")),
            max_tokens=body["max_tokens"],
            stop=tuple(body.get("stop_sequences") or ()),
            tools=parse_tools(body.get("tools")),
            tool_choice=parse_tool_choice(body.get("tool_choice")),
            response_format=parse_response_format(config.get("format")),
        )

    def key(self, headers: Mapping[str, str]) -> str:
        """The bearer token, or the older header."""
        return headers.get("x-api-key", "") or headers.get("authorization", "").removeprefix("Bearer ").strip()

    def whole(self, reply: Reply, model: str) -> dict[str, Any]:
        """A `Message`."""
        content: list[dict[str, Any]] = [{"type": "text", "text": reply.text}] if reply.text else []
        content += [
            {"type": "tool_use", "id": id_, "name": name, "input": json.loads(arguments)}
            for id_, name, arguments in reply.calls
        ]
        return self._message(model, reply) | {"content": content, "stop_reason": self._stops[reply.finish]}

    def frames(self, reply: Reply, model: str, *, usage: bool) -> list[Frame]:
        """message_start, blocks, message_delta, message_stop."""
        del usage  # always told
        frames: list[Frame] = []

        def say(kind: str, where: Literal["head", "content", "end"], **fields: Any) -> None:
            frames.append(frame({"type": kind, **fields}, where, kind))

        start = self._message(model, replace(reply, output_tokens=min(reply.output_tokens, 1)))
        say("message_start", "head", message=start | {"content": [], "stop_reason": None})
        index = 0
        if reply.text:
            say("content_block_start", "head", index=0, content_block={"type": "text", "text": ""})
            say("ping", "head")
            for piece in reply.pieces:
                say("content_block_delta", "content", index=0, delta={"type": "text_delta", "text": piece})
            say("content_block_stop", "content", index=0)
            index = 1
        for number, (id_, name, arguments) in enumerate(reply.calls, start=index):
            block = {"type": "tool_use", "id": id_, "name": name, "input": {}}
            say("content_block_start", "content", index=number, content_block=block)
            half = len(arguments) // 2
            for part in ("", arguments[:half], arguments[half:]):
                say(
                    "content_block_delta",
                    "content",
                    index=number,
                    delta={"type": "input_json_delta", "partial_json": part},
                )
            say("content_block_stop", "content", index=number)
        delta = {"stop_reason": self._stops[reply.finish], "stop_sequence": None}
        say("message_delta", "end", delta=delta, usage={"output_tokens": reply.output_tokens})
        say("message_stop", "end")
        return frames

    def error(self, status: int, word: str | None, message: str) -> dict[str, Any]:
        """`{"type": "error", "error": {...}}`."""
        kind = word or self._types.get(status, "api_error")
        return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_emulator"}

    def error_frame(self, status: int) -> bytes:
        """An event of the type `error`."""
        return frame(self.error(status, None, "Overloaded"), "content", "error").data

    def too_long(self) -> tuple[str | None, str]:
        """No code of its own: only the message tells."""
        return None, "prompt is too long: 250000 tokens > 200000 maximum"

    def _message(self, model: str, reply: Reply) -> dict[str, Any]:
        return {
            "id": "msg_emulator",
            "type": "message",
            "role": "assistant",
            "model": model,
            "stop_sequence": None,
            "usage": {
                "input_tokens": reply.input_tokens,
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 0,
                "output_tokens": reply.output_tokens,
            },
        }
