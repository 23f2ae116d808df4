"""One request, answered as its vendor would, or failing as its fault says."""

from __future__ import annotations

import asyncio
import gzip
import json
import math
import time
from collections.abc import Mapping
from dataclasses import replace
from email.utils import formatdate
from functools import cache
from typing import Any

from .faults import (
    ClockSkew,
    ContentFilter,
    ContextTooLong,
    Cut,
    Empty,
    Fault,
    Hang,
    HugeBody,
    Malformed,
    MissingEnd,
    NotJson,
    ResetConnection,
    Slow,
    SlowFirstToken,
    SlowTokens,
    Stall,
    Status,
    StreamError,
    Unsure,
    WrongContentType,
    WrongUsage,
)
from .replies import NO_JSON, Reply, reply, unlike
from .responses import ResponsesVendor
from .vendors import AnthropicVendor, Frame, OpenAIVendor, Vendor
from .wire import Seen, Wire

VENDORS: tuple[Vendor, ...] = (OpenAIVendor(), ResponsesVendor(), AnthropicVendor())
"""Who answers here; the first one also answers where nobody does."""
_JSON = {"content-type": "application/json", "x-request-id": "req_emulator", "request-id": "req_emulator"}
_EVENTS = _JSON | {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}
_PAGE = b"<!doctype html><title>Sign in</title><p>Please sign in to this network."
_GARBAGE = b'data: {"choices": [{"delta": {"cont\n\n'
_HUGE_PIECE = 64 * 1024


async def serve(seen: Seen, wire: Wire, fault: Fault | None, *, pace: float, keys: frozenset[str] | None) -> bool:
    """Answer `seen` on `wire`. False: the connection is broken and of no more use."""
    match fault:
        case Hang():
            await asyncio.Event().wait()
        case ResetConnection(after=None):
            wire.reset()
            return False
        case Slow():
            await asyncio.sleep(fault.seconds)
        case _:
            pass
    vendor = next((vendor for vendor in VENDORS if vendor.path == seen.path), VENDORS[0])
    if (refusal := _refusal(seen, vendor, fault, keys)) is not None:
        status, payload, headers = refusal
        await wire.whole(status, _dumped(payload), _JSON | headers)
        return True
    try:
        said = _said(vendor, seen.body, fault)
    except ValueError as error:
        await wire.whole(400, _dumped(vendor.error(400, None, str(error))), _JSON)
        return True
    if seen.body.get("stream"):
        usage = bool((seen.body.get("stream_options") or {}).get("include_usage"))
        return await _stream(vendor, vendor.frames(said, seen.model, usage=usage), wire, fault, pace)
    return await _whole(vendor, vendor.whole(said, seen.model), wire, fault)


def _refusal(
    seen: Seen, vendor: Vendor, fault: Fault | None, keys: frozenset[str] | None
) -> tuple[int, Any, dict[str, str]] | None:
    """Status, body and headers, where the vendor does not even begin."""
    if seen.method != "POST" or seen.path != vendor.path or not isinstance(seen.body, Mapping):
        known = ", ".join(f"POST {vendor.path}" for vendor in VENDORS)
        return 404, vendor.error(404, None, f"the emulator knows {known}"), {}
    key = vendor.key(seen.headers)
    if not key or (keys is not None and key not in keys):
        return 401, vendor.error(401, None, "the key is missing or wrong"), {}
    if isinstance(fault, ContextTooLong):
        word, message = vendor.too_long()
        return 400, vendor.error(400, word, message), {}
    if isinstance(fault, ClockSkew):
        now = int(time.time() + fault.seconds)
        until = formatdate(now + math.ceil(fault.retry_after), usegmt=True)
        skewed = {"date": formatdate(now, usegmt=True), "retry-after": until}
        return 429, vendor.error(429, None, "the drill demands 429"), skewed
    if isinstance(fault, Status):
        headers: dict[str, str] = {}
        if fault.retry_after is not None:
            headers["retry-after"] = str(fault.retry_after)
        if fault.retry_after_ms is not None:
            headers["retry-after-ms"] = str(fault.retry_after_ms)
        if fault.should_retry is not None:
            headers["x-should-retry"] = str(fault.should_retry).lower()
        return fault.status, vendor.error(fault.status, fault.word, f"the drill demands {fault.status}"), headers
    return None


def _said(vendor: Vendor, body: Mapping[str, Any], fault: Fault | None) -> Reply:
    said = reply(vendor.read(body))
    match fault:
        case Empty():
            return replace(said, text="", calls=(), finish="stop", output_tokens=0)
        case ContentFilter():
            return replace(said, text="", calls=(), finish="content_filter")
        case NotJson():
            return replace(said, text=NO_JSON, calls=(), finish="stop")
        case Unsure():
            return replace(said, text=unlike(said.text), calls=(), finish="stop")
        case WrongUsage():
            return replace(said, input_tokens=fault.input_tokens, output_tokens=fault.output_tokens)
        case _:
            return said


async def _whole(vendor: Vendor, payload: Mapping[str, Any], wire: Wire, fault: Fault | None) -> bool:
    body = _dumped(payload)
    match fault:
        case Cut() | ResetConnection() | Stall(seconds=None):
            await wire.whole(200, body, _JSON, keep=len(body) // 2)
            if isinstance(fault, Stall):
                await asyncio.Event().wait()
            if isinstance(fault, ResetConnection):
                wire.reset()
            return False
        case Malformed():
            body = body[: len(body) // 2]
        case MissingEnd():
            body = _dumped(
                {key: value for key, value in payload.items() if key not in ("choices", "output", "stop_reason")}
            )
        case StreamError():
            body = _dumped(vendor.error(fault.status, None, "overloaded"))
        case HugeBody():
            await wire.whole(200, _bomb(fault.size), _JSON | {"content-encoding": "gzip"})
            return True
        case WrongContentType():
            await wire.whole(200, _PAGE if fault.page else body, _JSON | {"content-type": fault.content_type})
            return True
        case Stall() | SlowFirstToken() | SlowTokens():
            await asyncio.sleep(fault.seconds or 0)
        case _:
            pass
    await wire.whole(200, body, _JSON)
    return True


async def _stream(vendor: Vendor, frames: list[Frame], wire: Wire, fault: Fault | None, pace: float) -> bool:
    if isinstance(fault, WrongContentType):
        if fault.page:
            await wire.whole(200, _PAGE, _JSON | {"content-type": fault.content_type})
            return True
        wire.start(200, _EVENTS | {"content-type": fault.content_type})
    else:
        wire.start(200, _EVENTS)
    delivered = 0
    pace = fault.seconds if isinstance(fault, SlowTokens) else pace
    for frame in frames:
        content = frame.kind == "content"
        if content and delivered == 0 and isinstance(fault, SlowFirstToken):
            await asyncio.sleep(fault.seconds)
        after = getattr(fault, "after", None)
        # A short answer fails at its end at the latest.
        if frame.kind == "end" or (content and after is not None and delivered >= after):
            ended = await _strike(vendor, wire, fault)
            if ended is not None:
                return ended
            fault = None
        await wire.chunk(frame.data)
        delivered += content
        if content and pace:
            await asyncio.sleep(pace)
    await wire.end()
    return True


async def _strike(vendor: Vendor, wire: Wire, fault: Fault | None) -> bool | None:
    """The fault's moment within a stream. None: the stream goes on; else whether the connection can be used again."""
    match fault:
        case ResetConnection():
            wire.reset()
            return False
        case Cut():
            return False
        case Stall(seconds=None):
            await asyncio.Event().wait()
        case Stall():
            await asyncio.sleep(fault.seconds or 0)
        case Malformed():
            await wire.chunk(_GARBAGE)
            await wire.end()
            return True
        case MissingEnd():
            await wire.end()
            return True
        case StreamError():
            await wire.chunk(vendor.error_frame(fault.status))
            await wire.end()
            return True
        case HugeBody():
            await wire.chunk(b"data: ")
            for _ in range(0, fault.size, _HUGE_PIECE):
                await wire.chunk(b"x" * _HUGE_PIECE)
        case _:
            pass
    return None


@cache
def _bomb(size: int) -> bytes:
    """A body of `size` bytes, as such bodies travel: a thousandth of them on the wire."""
    return gzip.compress(b'{"filler": "' + b"x" * size + b'"}', compresslevel=1)


def _dumped(payload: Any) -> bytes:
    return json.dumps(payload, ensure_ascii=False).encode()
