"""A model's own chat template, rendered in Jinja's sandbox.

The template comes from a file out of the net: it runs in `ImmutableSandboxedEnvironment`, without loaders and
without access to anything but the conversation. Globals and filters are those of Hugging Face's chat templates
(https://huggingface.co/docs/transformers/chat_templating_writing).
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ..errors import ModelError
from ..types import Text, ToolCall, ToolResult

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..types import Message, Tool
    from .tokenizer import Tokenizer


class TemplateRefused(Exception):
    """The template cannot express this conversation. The message holds no content."""


class ChatTemplate:
    """Renders conversations to prompt token ids. Raises `ModelError` for a template that does not compile."""

    def __init__(self, source: str, tokenizer: Tokenizer) -> None:
        import jinja2
        from jinja2.ext import loopcontrols
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
        environment.filters["tojson"] = _tojson
        environment.globals["raise_exception"] = _refuse
        environment.globals["strftime_now"] = _strftime_now
        try:
            self._template = environment.from_string(source)
        except jinja2.TemplateSyntaxError as error:
            raise ModelError(f"the model's chat template is broken: {error.message}") from error
        self.source = source
        self._tokenizer = tokenizer
        self.knows_tools = "tools" in source
        """Whether the template can offer tools to the model."""

    def encode(self, messages: Sequence[Message], tools: Sequence[Tool] = ()) -> list[int]:
        """The prompt's token ids, up to where the answer begins; a last message of the assistant's begins it.

        Control tokens that callers spell out in their texts stay plain text. Raises `TemplateRefused` where the
        template refuses or fails.
        """
        from jinja2 import TemplateError

        turns, offered = [turn for message in messages for turn in _turns(message)], [_function(tool) for tool in tools]
        shield = self._tokenizer.shield(_tojson([turns, offered]))
        begun = ""
        if turns and turns[-1]["role"] == "assistant" and "tool_calls" not in turns[-1]:
            begun = turns.pop()["content"]
        guarded = [shield.guard(turn) | {"role": turn["role"]} for turn in turns]
        try:
            prompt = self._template.render(
                messages=guarded,
                tools=shield.guard(offered) or None,
                add_generation_prompt=True,
                bos_token=self._tokenizer.bos,
                eos_token=self._tokenizer.eos,
            )
        except (
            TemplateError,
            TypeError,
            ValueError,
            OverflowError,
        ) as error:  # a template is a program; these are its faults
            raise TemplateRefused(f"the model's chat template refused ({type(error).__name__})") from error
        return self._tokenizer.encode_prompt(prompt + shield.guard(begun), shield)


def _turns(message: Message) -> list[dict[str, Any]]:
    results = [part for part in message.parts if isinstance(part, ToolResult)]
    if results:
        return [{"role": "tool", "content": _text(part), "tool_call_id": part.call_id} for part in results]
    turn: dict[str, Any] = {"role": message.role, "content": message.text}
    calls = [_call(part) for part in message.parts if isinstance(part, ToolCall)]
    return [turn | {"tool_calls": calls} if calls else turn]


def _text(result: ToolResult) -> str:
    return "".join(part.text for part in result.content if isinstance(part, Text))


def _call(call: ToolCall) -> dict[str, Any]:
    try:
        arguments = json.loads(call.arguments or "{}")
    except ValueError:  # as another model wrote it: shown as it is
        arguments = call.arguments
    return {"type": "function", "id": call.id, "function": {"name": call.name, "arguments": arguments}}


def _function(tool: Tool) -> dict[str, Any]:
    function = {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)}
    return {"type": "function", "function": function}


def _tojson(value: Any, indent: int | None = None) -> str:
    # Jinja's own filter escapes for HTML, which a model has never seen.
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _refuse(message: str) -> str:
    from jinja2 import TemplateRuntimeError

    raise TemplateRuntimeError(message)


def _strftime_now(form: str) -> str:
    return datetime.now().astimezone().strftime(form)
