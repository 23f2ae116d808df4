"""How sure a model was of one answer, in a handful of numbers that need no text."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Certainty:
    """Over all generated tokens of one answer: natural-log probabilities of those chosen, and entropies in nats."""

    tokens: int
    mean_logprob: float
    min_logprob: float
    mean_entropy: float
    max_entropy: float
    first_entropy: float
    """Of the distribution from which the first token was taken."""


class Gauge:
    """Collects one answer, token by token."""

    __slots__ = ("_count", "_entropy", "_first", "_logprob", "_lowest", "_widest")

    def __init__(self) -> None:
        self._count = 0
        self._logprob = self._entropy = 0.0
        self._lowest = self._widest = self._first = 0.0

    def add(self, logprob: float, entropy: float) -> None:
        """One token: what `sampling.sureness` says of it."""
        if not self._count:
            self._first = entropy
        self._count += 1
        self._logprob += logprob
        self._entropy += entropy
        self._lowest = min(self._lowest, logprob)
        self._widest = max(self._widest, entropy)

    def done(self) -> Certainty | None:
        """The whole answer; None where there was no token."""
        if not self._count:
            return None
        return Certainty(
            tokens=self._count,
            mean_logprob=self._logprob / self._count,
            min_logprob=self._lowest,
            mean_entropy=self._entropy / self._count,
            max_entropy=self._widest,
            first_entropy=self._first,
        )
