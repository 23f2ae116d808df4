"""OpenAI's second API, as the emulator speaks it: `POST /v1/responses`, in one piece and as typed events.

Source: the types of openai 3.54 under `openai.types.responses`; errors are those of chat completions.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from ..dialects import parse_messages, parse_response_format, parse_tool_choice, parse_tools
from ..types import Request
from .replies import Reply
from .vendors import CREATED, Frame, OpenAIVendor, frame

_ITEM = "msg_emulator"


class ResponsesVendor(OpenAIVendor):
    """`POST /v1/responses`. Stateless: `previous_response_id` is refused, as the vendor refuses an unknown one."""

    path = "/v1/responses"

    def read(self, body: Mapping[str, Any]) -> Request:
        """Raises `ValueError` where OpenAI would answer 400."""
        if body.get("previous_response_id"):
            raise ValueError(f"Previous response with id {body['previous_response_id']!r} not found.")
        messages = list(_messages(body.get("input")))
        if body.get("instructions"):
            messages.insert(0, {"role": "system", "content": body["instructions"]})
        return Request(
            messages=parse_messages(messages),
            max_tokens=body.get("max_output_tokens"),
            tools=parse_tools([_tool(tool) for tool in body.get("tools") or ()]),
            tool_choice=parse_tool_choice(_choice(body.get("tool_choice"))),
            response_format=parse_response_format((body.get("text") or {}).get("format")),
        )

    def whole(self, reply: Reply, model: str) -> dict[str, Any]:
        """A `Response`."""
        return self._response(reply, model, output=self._output(reply))

    def frames(self, reply: Reply, model: str, *, usage: bool) -> list[Frame]:
        """response.created, items and their deltas, response.completed (or .incomplete), each with its number."""
        del usage  # always told, in the last event
        frames: list[Frame] = []

        def say(kind: str, where: Literal["head", "content", "end"], **fields: Any) -> None:
            frames.append(frame({"type": kind, "sequence_number": len(frames), **fields}, where, kind))

        begun = self._response(reply, model, output=[]) | {"status": "in_progress", "usage": None}
        say("response.created", "head", response=begun)
        say("response.in_progress", "head", response=begun)
        for index, item in enumerate(self._output(reply)):
            place = {"item_id": item["id"], "output_index": index}
            if item["type"] == "message":
                part = item["content"][0]
                inside = place | {"content_index": 0}
                empty = item | {"content": [], "status": "in_progress"}
                say("response.output_item.added", "head", output_index=index, item=empty)
                say("response.content_part.added", "head", **inside, part=part | {"text": ""})
                for piece in reply.pieces:
                    say("response.output_text.delta", "content", **inside, delta=piece, logprobs=[])
                say("response.output_text.done", "end", **inside, text=part["text"], logprobs=[])
                say("response.content_part.done", "end", **inside, part=part)
            else:
                arguments = item["arguments"]
                empty = item | {"arguments": "", "status": "in_progress"}
                say("response.output_item.added", "head", output_index=index, item=empty)
                half = len(arguments) // 2
                for part in (arguments[:half], arguments[half:]):
                    say("response.function_call_arguments.delta", "content", **place, delta=part)
                say("response.function_call_arguments.done", "end", **place, name=item["name"], arguments=arguments)
            say("response.output_item.done", "end", output_index=index, item=item)
        last = self.whole(reply, model)
        say(f"response.{last['status']}", "end", response=last)
        return frames

    def error_frame(self, status: int) -> bytes:
        """An event of the type `error`, which here is no object of its own."""
        said = self.error(status, None, "The server had an error while processing your request.")["error"]
        event = {"type": "error", "sequence_number": 0, "code": said["code"] or said["type"], "param": None}
        return frame(event | {"message": said["message"]}, "content", "error").data

    def _output(self, reply: Reply) -> list[dict[str, Any]]:
        status = "completed" if reply.finish in ("stop", "tool_calls") else "incomplete"
        items: list[dict[str, Any]] = []
        if reply.text:
            text = {"type": "output_text", "text": reply.text, "annotations": [], "logprobs": []}
            items.append({"id": _ITEM, "type": "message", "role": "assistant", "status": status, "content": [text]})
        for id_, name, arguments in reply.calls:
            call = {"id": f"fc_{id_}", "type": "function_call", "call_id": id_, "name": name, "arguments": arguments}
            items.append(call | {"status": status})
        return items

    def _response(self, reply: Reply, model: str, *, output: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        why = {"length": "max_output_tokens", "content_filter": "content_filter"}.get(reply.finish)
        return {
            "id": "resp_emulator",
            "object": "response",
            "created_at": CREATED,
            "status": "incomplete" if why else "completed",
            "error": None,
            "incomplete_details": {"reason": why} if why else None,
            "instructions": None,
            "metadata": {},
            "model": model,
            "output": output,
            "parallel_tool_calls": True,
            "temperature": 1.0,
            "tool_choice": "auto",
            "tools": [],
            "top_p": 1.0,
            "usage": {
                "input_tokens": reply.input_tokens,
                "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
                "output_tokens": reply.output_tokens,
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": reply.input_tokens + reply.output_tokens,
            },
        }


def _messages(given: Any) -> Iterator[dict[str, Any]]:
    """`input` (a text, or items) as chat messages."""
    if isinstance(given, str):
        yield {"role": "user", "content": given}
        return
    for item in given or ():
        match item.get("type", "message"):
            case "message":
                yield {"role": item.get("role"), "content": _content(item.get("content"))}
            case "function_call":
                call = {"name": item.get("name"), "arguments": item.get("arguments")}
                function = {"id": item.get("call_id"), "type": "function", "function": call}
                yield {"role": "assistant", "content": None, "tool_calls": [function]}
            case "function_call_output":
                told = item.get("output")
                told = told if isinstance(told, str) else json.dumps(told)
                yield {"role": "tool", "tool_call_id": item.get("call_id"), "content": told}
            case other:
                raise ValueError(f"Invalid value: {other!r}. The emulator knows messages and function calls.")


def _content(content: Any) -> Any:
    if not isinstance(content, list):
        return content
    kinds = {"input_text": "text", "output_text": "text"}
    parts: list[Any] = []
    for part in content:
        if part.get("type") in kinds:
            parts.append({"type": "text", "text": part.get("text")})
        elif part.get("type") == "input_image":
            parts.append({"type": "image_url", "image_url": {"url": part.get("image_url")}})
        else:
            raise ValueError(f"Invalid value: {part.get('type')!r}. The emulator knows input_text and input_image.")
    return parts


def _tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    """Flat here, nested in chat completions."""
    if tool.get("type") != "function":
        raise ValueError(f"Invalid value: {tool.get('type')!r}. The emulator runs no tools of the vendor's.")
    keys = ("name", "description", "parameters", "strict")
    return {"type": "function", "function": {key: tool[key] for key in keys if tool.get(key) is not None}}


def _choice(choice: Any) -> Any:
    if isinstance(choice, Mapping) and choice.get("type") == "function":
        return {"type": "function", "function": {"name": choice.get("name")}}
    return choice
