"""What of a vendor's traffic may stand in a file: its shape. Unknown means no.

Keys that are not the protocol's are dropped. Of texts nothing stays, not even the length: how long the pieces of a
stream are tells what they say. What has to be JSON stays JSON.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

TEXT = "xxxx"
_WORDS = frozenset({"type", "role", "object", "model", "finish_reason", "stop_reason", "status", "code", "reason"})
"""Keys whose texts are words of the protocol."""
_WORD = re.compile(r"[a-z0-9][a-z0-9_.:-]{0,47}")
_TEXTS = frozenset(
    {
        *("content", "text", "delta", "refusal", "thinking", "signature", "message", "instructions", "input"),
        *("id", "call_id", "item_id", "tool_call_id", "tool_use_id", "name", "request_id", "system", "output"),
    }
)
"""Keys whose texts are content, or names that somebody chose."""
_JSON_TEXTS = frozenset({"arguments", "partial_json"})
_FREE = frozenset({"parameters", "input_schema", "metadata", "schema"})
"""Keys under which anything may stand; so may `input`, where it is an object."""
_NUMBERS = frozenset(
    {
        *("index", "created", "created_at", "output_index", "content_index", "sequence_number", "max_tokens"),
        *("max_completion_tokens", "max_output_tokens", "temperature", "top_p", "stream", "include_usage", "strict"),
        *("parallel_tool_calls", "input_tokens", "output_tokens", "total_tokens", "prompt_tokens"),
        *("completion_tokens", "cached_tokens", "cache_write_tokens", "reasoning_tokens", "audio_tokens"),
        *("cache_creation_input_tokens", "cache_read_input_tokens"),
    }
)
_NESTED = frozenset(
    {
        *(
            "choices",
            "usage",
            "tool_calls",
            "function",
            "error",
            "messages",
            "tools",
            "stream_options",
            "response_format",
        ),
        *("item", "part", "response", "incomplete_details", "content_block", "prompt_tokens_details", "output_config"),
        *("completion_tokens_details", "input_tokens_details", "output_tokens_details", "json_schema", "format"),
        *("tool_choice", "stop_details", "input", "delta", "message", "content", "output", "system", "text"),
    }
)
_DEEPEST = 24


class Scrub:
    """For one answer: remembers which texts have begun, so that what has to be JSON in the end is an empty object."""

    def __init__(self, *, as_json: bool = False) -> None:
        self._as_json = as_json
        self._begun: set[tuple[object, ...]] = set()

    def body(self, tree: Any) -> Any:
        """The shape of a decoded body, or of one event."""
        place = (tree.get("index"), tree.get("output_index")) if isinstance(tree, Mapping) else ()
        return self._walk(tree, place, 0)

    def _walk(self, tree: Any, place: tuple[object, ...], depth: int) -> Any:
        if depth > _DEEPEST:
            return None
        if isinstance(tree, list):
            return [self._item(item, place, depth) for item in tree]
        if not isinstance(tree, Mapping):
            return None
        if "index" in tree:
            place = (*place, tree["index"])
        return {
            key: self._value(key, value, place, depth, kind=tree.get("type"))
            for key, value in tree.items()
            if isinstance(key, str) and key in _WORDS | _TEXTS | _JSON_TEXTS | _FREE | _NUMBERS | _NESTED
        }

    def _item(self, item: Any, place: tuple[object, ...], depth: int) -> Any:
        return TEXT if isinstance(item, str) else self._walk(item, place, depth + 1)

    def _value(self, key: str, value: Any, place: tuple[object, ...], depth: int, *, kind: Any) -> Any:
        if value is None:
            return None
        if isinstance(value, str):
            return self._text(key, value, place, kind)
        if key in _FREE or (key == "input" and isinstance(value, Mapping)):
            return {}
        if isinstance(value, (bool, int, float)):
            return value if key in _NUMBERS else None
        return self._walk(value, place, depth + 1) if key in _NESTED else None

    def _text(self, key: str, value: str, place: tuple[object, ...], kind: Any) -> Any:
        if key in _WORDS:
            return value if _WORD.fullmatch(value) else TEXT
        if not value:
            return value
        calls = key == "delta" and isinstance(kind, str) and "arguments" in kind
        said = self._as_json and key in ("content", "text", "delta")
        if key in _JSON_TEXTS or calls or said:
            begun, mark = self._begun, (key, *place)
            first = mark not in begun
            begun.add(mark)
            return "{}" if first or (kind is not None and str(kind).endswith(".done")) else ""
        return TEXT if key in _TEXTS else None
