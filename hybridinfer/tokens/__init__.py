"""Token counting without a network: exact where that is possible, otherwise a bound money can trust."""

from __future__ import annotations

from .request import count_request, measure_request
from .text import TokenCount, count, measure

__all__ = ["TokenCount", "count", "count_request", "measure", "measure_request"]
