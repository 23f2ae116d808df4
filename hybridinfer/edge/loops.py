"""Small models may repeat themselves for ever; an answer that does is no answer."""

from __future__ import annotations

LONGEST_CYCLE = 48
"""Tokens: a sentence or two. Longer cycles are rarer, and watching each of them costs time."""


class LoopWatch:
    """Tells when the last `limit` tokens only repeat what stood before them. 0 never does.

    For each cycle length it counts how many tokens in a row equal the one a cycle earlier.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._tokens: list[int] = []
        self._runs = [0] * (LONGEST_CYCLE + 1)

    def looping(self, token: int) -> bool:
        """Take the next token."""
        if not self._limit:
            return False
        tokens, runs = self._tokens, self._runs
        tokens.append(token)
        last = len(tokens) - 1
        for cycle in range(1, min(LONGEST_CYCLE, last) + 1):
            runs[cycle] = runs[cycle] + 1 if tokens[last - cycle] == token else 0
        return max(runs) >= self._limit
