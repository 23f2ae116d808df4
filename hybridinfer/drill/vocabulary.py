"""One fault, twice: as the emulator plays it over HTTP, and as a step of a target on a script.

A contract test holds both against each other: the same request ends with the same code.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ..receipt import Code
from ..targets.failures import from_status
from . import faults as wire
from .world import Answers, Fails, Hangs, Step

if TYPE_CHECKING:
    from .scenario import FaultBlock

_SOON = 0.02


def on_the_wire(block: FaultBlock, *, speed: float = 1.0) -> wire.Fault:
    """The emulator's fault, its times divided by `speed`."""
    delay = block.delay / speed
    if block.fault.startswith("status_"):
        wait = None if block.retry_after is None else block.retry_after / speed
        return wire.Status(status=_status(block), retry_after=wait)
    match block.fault:
        case "down":  # one emulator cannot refuse some connections only
            return wire.Refuse() if block.share == 1 else wire.ResetConnection()
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
        case "wrong_usage":
            return wire.WrongUsage()
        case _:
            return wire.WrongContentType(page=True)


def on_a_script(block: FaultBlock, healthy: Answers, *, remote: bool = True) -> Step:
    """What a target does instead of `healthy`. `remote`: it is called over HTTP; otherwise it runs in this process."""
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
        case "wrong_usage":
            return replace(healthy, usage=None)
        case "wrong_content_type":
            return Fails(Code.INTERRUPTED, seconds=_SOON)
        case _:  # cut, malformed
            return broken


def _status(block: FaultBlock) -> int:
    return int(block.fault.removeprefix("status_"))
