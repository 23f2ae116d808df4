"""How long the request is, in tokens."""

from __future__ import annotations

from ..policy.model import SignalBlock
from ..tokens import measure_request
from ..types import Request
from .base import SignalResult, Standing

HALF = 1_000
"""Tokens that score 0.5."""


class SizeSignal:
    """Scores tokens / (tokens + 1000): 0.5 is 1,000 tokens, 0.8 is 4,000, 0.95 is 19,000.

    Tools, schema, pictures and files count as `hybridinfer.tokens` bounds them. No model is known yet when
    a request is scored, so the tokens are o200k_base's; each target counts again for itself.
    """

    name = "size"

    def __init__(self, block: SignalBlock) -> None:
        self._block = block

    def score(self, request: Request, standing: Standing) -> SignalResult:
        """Measure `request`. About 20 microseconds for a short prompt, some 40 ms for the longest."""
        del standing
        counted = measure_request(request)
        score = counted.tokens / (counted.tokens + HALF)
        how = "counted" if counted.exact else "estimated"
        because = f"{counted.tokens:,} tokens, {how} with {counted.encoding}"
        return SignalResult(score=score, level=self._block.level_of(score), because=(because,))
