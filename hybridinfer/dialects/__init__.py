"""Between the neutral records and the vendors' JSON.

What callers write (either vendor's shape) becomes records by `parse_messages`, `parse_tools`, `parse_tool_choice`
and `parse_response_format`; what leaves for a target is rendered by `openai.render_request` and
`anthropic.render_request`, without loss, or refused as `Untranslatable`.
"""

from __future__ import annotations

from .base import Dialect, Untranslatable
from .messages import parse_messages
from .tools import parse_response_format, parse_tool_choice, parse_tools

__all__ = [
    "Dialect",
    "Untranslatable",
    "parse_messages",
    "parse_response_format",
    "parse_tool_choice",
    "parse_tools",
]
