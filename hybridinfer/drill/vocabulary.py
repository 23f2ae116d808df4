"""One fault, twice: as the emulator plays it over HTTP, and as a step of a target on a script.

A contract test holds both against each other: the same request ends with the same code.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ..receipt import Code
from ..targets.failures import from_status
from . import faults as wire
from .replies import NO_JSON, unlike
from .world import Answers, Fails, Hangs, Step

if TYPE_CHECKING:
    from .failing import FaultBlock

DOORS = frozenset({"down", "dns", "tls"})
"""Faults that a server cannot play, as nobody reaches it: they are played by an address that leads nowhere."""
_SOON = 0.02
_HUGE = 65 * 1024 * 1024
"""Beyond what a target reads."""


def on_the_wire(block: FaultBlock, *, speed: float = 1.0) -> wire.Fault:
    """The emulator's fault, its times divided by `speed`. Raises LookupError for what no server can play."""
    delay = block.delay / speed
    if block.fault.startswith("status_"):
        wait = None if block.retry_after is None else block.retry_after / speed
        return wire.Status(status=_status(block), retry_after=wait)
    match block.fault:
        case "down":
            return wire.Refuse()
        case "reset":
            return wire.ResetConnection()
        case "hang":
            return wire.Hang()
        case "slow":
            return wire.Slow(seconds=delay)
        case "slow_first_token":
            return wire.SlowFirstToken(seconds=delay)
        case "slow_tokens":
            return wire.SlowTokens(seconds=delay)
        case "stall":
            return wire.Stall(after=block.after)
        case "cut":
            return wire.Cut(after=block.after)
        case "malformed":
            return wire.Malformed(after=block.after)
        case "missing_end":
            return wire.MissingEnd()
        case "stream_error":
            return wire.StreamError(after=block.after)
        case "empty":
            return wire.Empty()
        case "context_too_long":
            return wire.ContextTooLong()
        case "content_filter":
            return wire.ContentFilter()
        case "not_json":
            return wire.NotJson()
        case "unsure":
            return wire.Unsure()
        case "wrong_usage":
            return wire.WrongUsage()
        case "wrong_content_type":
            return wire.WrongContentType(page=True)
        case "huge_body":
            return wire.HugeBody(size=_HUGE)
        case "clock_skew":
            return wire.ClockSkew(seconds=block.delay, retry_after=(block.retry_after or 1.0) / speed)
        case _:
            raise LookupError(f"no server can play {block.fault!r}")


def on_a_script(block: FaultBlock, healthy: Answers, *, remote: bool = True, elapsed: float = 0.0) -> Step:
    """What a target does instead of `healthy`. `remote`: it is called over HTTP; otherwise it runs in this process.

    `elapsed`: seconds since the fault began, for what goes on by itself, such as the loading of a model.
    """
    said = " ".join(healthy.text.split()[: block.after])
    broken = Fails(Code.INTERRUPTED, seconds=healthy.first * 2, said=said)
    if block.fault.startswith("status_"):
        failed = from_status(_status(block), None, {})
        return Fails(failed.code, seconds=_SOON, retry_after=block.retry_after, retry=failed.retry)
    match block.fault:
        case "down":  # what is broken in this process stays broken: nobody retries it
            return Fails(Code.UNAVAILABLE, seconds=_SOON, retry=None if remote else False)
        case "reset":
            return Fails(Code.UNAVAILABLE, seconds=_SOON)
        case "dns" | "tls":
            return Fails(Code.UNAVAILABLE, seconds=_SOON)
        case "model_missing" | "checksum_wrong" | "out_of_memory":
            return Fails(Code.UNAVAILABLE, seconds=_SOON, retry=False)
        case "nan_logits":  # seen when the prompt was read
            return Fails(Code.UNAVAILABLE, seconds=healthy.first, retry=False)
        case "slow_load":
            left = max(block.delay - elapsed, 0.0)
            return replace(healthy, first=healthy.first + left, seconds=healthy.seconds + left)
        case "hang":
            return Hangs()
        case "slow" | "slow_first_token":
            return replace(healthy, first=healthy.first + block.delay, seconds=healthy.seconds + block.delay)
        case "slow_tokens":
            return replace(healthy, seconds=healthy.first + block.delay * max(healthy.pieces - 1, 1))
        case "stall":
            return Hangs(said, first=healthy.first)
        case "missing_end":
            return replace(healthy, finish=None)
        case "stream_error":
            return replace(broken, code=Code.UNAVAILABLE)
        case "empty":
            return replace(healthy, text="", seconds=healthy.first)
        case "context_too_long":
            return Fails(Code.CONTEXT_TOO_LONG, seconds=_SOON, retry=False)
        case "content_filter":
            return replace(healthy, text="", seconds=healthy.first, finish="content_filter")
        case "not_json":
            return replace(healthy, text=NO_JSON)
        case "unsure":
            return replace(healthy, text=unlike(healthy.text), confidence=0.0)
        case "wrong_usage":
            return replace(healthy, usage=None)
        case "wrong_content_type":
            return Fails(Code.INTERRUPTED, seconds=_SOON)
        case "clock_skew":  # both of its dates are wrong by the same, so the wait is right
            return Fails(Code.RATE_LIMITED, seconds=_SOON, retry_after=block.retry_after or 1.0)
        case "huge_body":
            return replace(broken, said=healthy.text, seconds=healthy.seconds)
        case _:  # cut, malformed
            return broken


def _status(block: FaultBlock) -> int:
    return int(block.fault.removeprefix("status_"))
