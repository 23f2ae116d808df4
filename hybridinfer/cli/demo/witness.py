"""A target that remembers what was handed to it: how the demo knows what left for a real cloud."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from ...targets.base import Target, TargetEvent
from ...types import File, Message, Part, Request, Text, ToolCall, ToolResult

if TYPE_CHECKING:
    from ...targets.base import TargetInfo


class Witness:
    """Stands between the egress lock and `target`. `seen` holds the text of every request that came through."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self.info: TargetInfo = target.info
        self.seen: list[str] = []

    def stream(self, request: Request, *, stream: bool) -> AsyncIterator[TargetEvent]:
        """Remember the request, then let the target answer."""
        self.seen.append("\n".join(_text(message) for message in request.messages))
        return self._target.stream(request, stream=stream)

    def count_tokens(self, request: Request) -> int:
        """As the target counts."""
        return self._target.count_tokens(request)

    async def warmup(self) -> None:
        """As the target warms up."""
        await self._target.warmup()

    async def aclose(self) -> None:
        """Close the target; what was seen stays."""
        await self._target.aclose()


def _text(message: Message) -> str:
    return "\n".join(_part(part) for part in message.parts)


def _part(part: Part) -> str:
    match part:
        case Text():
            return part.text
        case ToolCall():
            return part.arguments
        case ToolResult():
            return "\n".join(_part(inner) for inner in part.content)
        case File():
            return part.data or part.url or ""
        case _:
            return repr(part)
