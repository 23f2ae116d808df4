"""`kind: canned`: a fixed reply, the last rung. It cannot fail and costs nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, get_args

from ..errors import ConfigurationError
from ..receipt import Need
from ..types import Request, TextDelta, Usage
from .base import Finish, TargetContext, TargetEvent, TargetInfo

if TYPE_CHECKING:
    from ..policy.model import TargetBlock


class CannedTarget:
    """Replies with the block's `text`, whatever was asked."""

    def __init__(self, block: TargetBlock, context: TargetContext) -> None:
        if not block.text:
            raise ConfigurationError(f"target {context.name!r} is canned but has no text; add `text: ...`")
        self._text = block.text
        self.info = TargetInfo(
            name=context.name,
            kind="canned",
            zone="device",
            region=block.region,
            supports=frozenset(get_args(Need)),
        )

    async def stream(self, request: Request, *, stream: bool) -> AsyncIterator[TargetEvent]:  # noqa: ARG002 - the protocol's
        """The reply, in one piece."""
        yield TextDelta(text=self._text)
        yield Finish(finish_reason="stop", usage=Usage())

    def count_tokens(self, request: Request) -> int:  # noqa: ARG002 - the protocol's
        """Nothing is read."""
        return 0

    async def warmup(self) -> None:
        """Nothing to load."""

    async def aclose(self) -> None:
        """Nothing to free."""
