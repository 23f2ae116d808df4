"""What a first request would load beside its target's model: the signals' data, detectors, tokenizers, the ledger's file.

A made-up request goes through scoring and planning. No target is asked, nothing is counted, booked or told to a hook.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from .driver import Drive
from .options import build_request
from .signals.registry import score_all
from .types import Standing

if TYPE_CHECKING:
    from .driver import Equipment

SAMPLE = "Call +49 30 901820, mail warm.up@example.com, pay from DE89 3704 0044 0532 0130 00; the password: blue-4711-Kettle."
"""Has what wakes every family of detectors."""


async def warm(equipment: Equipment) -> None:
    """Load it, in a thread: it takes a second of processor time."""
    runtime, request = equipment.runtime, build_request(SAMPLE, {})

    def load() -> None:
        score_all(runtime.policy, equipment.signals, request, Standing())
        for name in equipment.targets:
            runtime.count_tokens(name, request)

    await asyncio.to_thread(load)
    await Drive(equipment, request, hold=True).decide()
