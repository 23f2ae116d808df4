"""The last rung: a fixed text."""

from __future__ import annotations

import pytest

from hybridinfer.errors import ConfigurationError
from hybridinfer.policy.model import TargetBlock
from hybridinfer.targets.base import Finish, TargetContext
from hybridinfer.targets.canned import CannedTarget
from hybridinfer.types import Request, TextDelta, Usage

REQUEST = Request(messages=())


@pytest.mark.anyio
@pytest.mark.parametrize("stream", [True, False])
async def test_the_reply_is_always_the_same(stream):
    """In one piece, for nothing."""
    target = CannedTarget(TargetBlock(kind="canned", text="later"), TargetContext(name="sorry"))
    await target.warmup()
    events = [event async for event in target.stream(REQUEST, stream=stream)]
    assert events == [TextDelta(text="later"), Finish(finish_reason="stop", usage=Usage())]
    assert target.count_tokens(REQUEST) == 0
    await target.aclose()


def test_it_serves_every_request():
    """On the device, whatever is needed."""
    info = CannedTarget(TargetBlock(kind="canned", text="later", region="eu"), TargetContext(name="sorry")).info
    assert (info.name, info.kind, info.zone, info.region) == ("sorry", "canned", "device", "eu")
    assert info.supports == {"tools", "vision", "files", "json"}


def test_without_a_text_it_is_nothing():
    """A registered kind that inherits from it is told, too."""
    with pytest.raises(ConfigurationError, match="canned but has no text"):
        CannedTarget(TargetBlock(kind="mine"), TargetContext(name="sorry"))
