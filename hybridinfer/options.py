"""From what callers write (a text, vendor-shaped messages, keyword options) to a `Request`."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from typing import Any, cast, get_args

from .receipt import OnInterrupt
from .types import Message, Request, ResponseFormat, Text, Tool, ToolChoice

Messages = str | Sequence[Mapping[str, Any] | Message]
"""A prompt, or a conversation: `Message` objects or dicts in OpenAI's or Anthropic's shape."""


def build_request(messages: Messages, options: Mapping[str, Any]) -> Request:
    """The request for these messages and options.

    Raises TypeError for an unknown option or a wrong type, ValueError for a value that cannot be.
    """
    unknown = [name for name in options if name not in _OPTIONS]
    if unknown:
        close = get_close_matches(unknown[0], list(_OPTIONS), n=1)
        hint = f"; did you mean {close[0]!r}?" if close else f"; options are {', '.join(_OPTIONS)}"
        raise TypeError(f"unknown option {unknown[0]!r}{hint}")
    forms = [name for name in ("response_format", "choices", "regex") if options.get(name) is not None]
    if len(forms) > 1:
        raise ValueError(f"{forms[1]}: an answer has one form; leave out {forms[0]}")
    given = {_OPTIONS[name][0]: _OPTIONS[name][1](name, value) for name, value in options.items() if value is not None}
    return Request(messages=_messages(messages), **given)


def verdict_of(*, score: float | None, accepted: bool | None) -> float:
    """One verdict on an answer, 0..1, from either way of saying it. Raises TypeError, ValueError."""
    if (score is None) == (accepted is None):
        raise TypeError("feedback: give score= (0 to 1) or accepted= (True or False), one of them")
    if accepted is not None:
        return float(_flag("accepted", accepted))
    return _number(0, 1)("score", score)


def _messages(messages: Messages) -> tuple[Message, ...]:
    if isinstance(messages, str):
        return (Message(role="user", parts=(Text(text=messages),)),)
    if all(isinstance(message, Message) for message in messages):
        parsed: tuple[Message, ...] = tuple(messages)  # type: ignore[arg-type]
    else:
        from .dialects.messages import parse_messages

        parsed = parse_messages(messages)
    if not parsed:
        raise ValueError("messages: the conversation is empty; give at least one message")
    return parsed


def _count(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name}: give a whole number, not {type(value).__name__}")
    if value < 1:
        raise ValueError(f"{name}: give 1 or more")
    return value


def _whole(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name}: give a whole number, not {type(value).__name__}")
    return value


def _number(low: float, high: float) -> Callable[[str, object], float]:
    def check(name: str, value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise TypeError(f"{name}: give a number, not {type(value).__name__}")
        if not low <= value <= high:
            raise ValueError(f"{name}: give a number from {low:g} to {high:g}")
        return float(value)

    return check


def _seconds(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name}: give seconds as a number, not {type(value).__name__}")
    if not (value > 0 and math.isfinite(value)):
        raise ValueError(f"{name}: give a number of seconds above 0")
    return float(value)


def _usd(name: str, value: object) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, (int, float, str, Decimal)):
        raise TypeError(f"{name}: give USD as a Decimal, text or number, not {type(value).__name__}")
    try:
        usd = Decimal(str(value))
    except InvalidOperation:
        raise ValueError(f"{name}: not an amount of money; write 0.02 for two cents") from None
    if not (usd.is_finite() and usd >= 0):
        raise ValueError(f"{name}: give an amount of 0 or more")
    return usd


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name}: give text, not {type(value).__name__}")
    return value


def _flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{name}: give True or False, not {type(value).__name__}")
    return value


def _texts(name: str, value: object) -> tuple[str, ...]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, Sequence) or not all(isinstance(text, str) and text for text in texts):
        raise TypeError(f"{name}: give a text or a list of texts, none of them empty")
    return tuple(texts)


def _pairs(name: str, value: object) -> Mapping[str, str]:
    if not isinstance(value, Mapping) or not all(isinstance(k, str) and isinstance(v, str) for k, v in value.items()):
        raise TypeError(f"{name}: give a mapping from text to text")
    return dict(value)


def _interrupt(name: str, value: object) -> OnInterrupt:
    for choice in get_args(OnInterrupt):
        if value == choice:
            return cast("OnInterrupt", choice)
    raise ValueError(f"{name}: give one of {', '.join(get_args(OnInterrupt))}")


def _tools(_name: str, value: Any) -> tuple[Tool, ...]:
    if isinstance(value, Sequence) and all(isinstance(tool, Tool) for tool in value):
        return tuple(value)
    from .dialects.tools import parse_tools

    return parse_tools(value)


def _tool_choice(_name: str, value: Any) -> ToolChoice | None:
    if isinstance(value, ToolChoice):
        return value
    from .dialects.tools import parse_tool_choice

    return parse_tool_choice(value)


def _response_format(_name: str, value: Any) -> ResponseFormat | None:
    from .dialects.tools import parse_response_format

    wanted = value if isinstance(value, ResponseFormat) else parse_response_format(value)
    if wanted is not None and wanted.schema is not None:
        _check_schema(wanted.schema)
    return wanted


def _choices(name: str, value: object) -> ResponseFormat:
    choices = _texts(name, value)
    if not choices or len(set(choices)) < len(choices) or any(choice != choice.strip() for choice in choices):
        raise ValueError(f"{name}: give at least one text, each once, without blanks around it")
    return ResponseFormat(type="choice", choices=choices)


def _regex(name: str, value: object) -> ResponseFormat:
    pattern = _text(name, value)
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{name}: not a regular expression ({error.msg})") from None
    except (RecursionError, OverflowError):
        raise ValueError(f"{name}: nested too deep, or with a repeat that is too large") from None
    return ResponseFormat(type="regex", pattern=pattern)


def _check_schema(schema: Mapping[str, Any]) -> None:
    from jsonschema import Draft202012Validator, SchemaError
    from jsonschema.validators import validator_for

    try:
        validator_for(schema, default=Draft202012Validator).check_schema(dict(schema))
    except SchemaError as error:
        where = "/".join(map(str, error.absolute_path)) or "its top"
        raise ValueError(f"response_format: not a JSON Schema; look at {where}") from None
    except RecursionError:
        raise ValueError("response_format: the JSON Schema is nested too deep") from None


_OPTIONS: Mapping[str, tuple[str, Callable[[str, Any], Any]]] = {
    "timeout": ("timeout", _seconds),
    "max_tokens": ("max_tokens", _count),
    "temperature": ("temperature", _number(0, 2)),
    "top_p": ("top_p", _number(0, 1)),
    "top_k": ("top_k", _count),
    "seed": ("seed", _whole),
    "stop": ("stop", _texts),
    "tools": ("tools", _tools),
    "tool_choice": ("tool_choice", _tool_choice),
    "response_format": ("response_format", _response_format),
    "choices": ("response_format", _choices),
    "regex": ("response_format", _regex),
    "logprobs": ("logprobs", _flag),
    "metadata": ("metadata", _pairs),
    "user": ("user", _text),
    "extra_headers": ("extra_headers", _pairs),
    "privacy": ("privacy", _text),
    "budget_usd": ("budget_usd", _usd),
    "tags": ("tags", _pairs),
    "safe_to_retry": ("safe_to_retry", _flag),
    "on_interrupt": ("on_interrupt", _interrupt),
}
"""Option -> (field of `Request`, check). The order is that of the documentation."""
