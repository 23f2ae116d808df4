"""From logits to the next token, and how sure the model was of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    Logits = NDArray[np.float32]

_GREEDY_BELOW = 1e-4  # dividing by less overflows, and changes nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How to choose. Temperature 0 takes the most likely token; `top_k` 0 and `top_p` 1 cut nothing.

    The order is that of the reference implementations: temperature, then top_k, then top_p.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int | None = None

    @property
    def greedy(self) -> bool:
        """Whether the most likely token is taken."""
        return self.temperature < _GREEDY_BELOW or self.top_k == 1


class Sampler:
    """Chooses the tokens of one answer. The same seed and logits give the same tokens."""

    def __init__(self, sampling: Sampling) -> None:
        import numpy as np

        self._sampling = sampling
        self._random = np.random.default_rng(sampling.seed)

    def choose(self, logits: Logits) -> int:
        """The next token, from `logits` [vocabulary]."""
        import numpy as np

        sampling = self._sampling
        if sampling.greedy:
            return int(logits.argmax())
        tokens = np.arange(len(logits))
        if 0 < sampling.top_k < len(logits):
            tokens = np.argpartition(logits, -sampling.top_k)[-sampling.top_k :]
        scores = logits[tokens].astype(np.float64) / sampling.temperature
        shares = np.exp(scores - scores.max())
        shares /= shares.sum()
        if sampling.top_p < 1:
            order = np.argsort(-shares, kind="stable")
            # the smallest set that reaches top_p: a token stays while those before it do not reach it yet
            before = np.cumsum(shares[order]) - shares[order]
            order = order[: max(1, int(np.searchsorted(before, sampling.top_p, side="left")))]
            tokens, shares = tokens[order], shares[order] / shares[order].sum()
        ceiling = np.cumsum(shares)
        at = int(np.searchsorted(ceiling, self._random.random() * ceiling[-1], side="right"))
        return int(tokens[min(at, len(tokens) - 1)])


def sureness(logits: Logits, token: int) -> tuple[float, float]:
    """The natural-log probability of `token` and the entropy in nats of the whole distribution, untempered."""
    (share,), entropy = log_shares(logits, (token,))
    return share, entropy


def log_shares(logits: Logits, tokens: Sequence[int]) -> tuple[list[float], float]:
    """The same for several tokens of one distribution."""
    import numpy as np

    shifted = logits - logits.max()
    weights = np.exp(shifted)  # in 32 bits: an eighth of the time, and six digits are plenty
    total = float(weights.sum(dtype=np.float64))
    log_total = float(np.log(total))
    entropy = log_total - float((weights * shifted).sum(dtype=np.float64)) / total
    return [float(shifted[token]) - log_total for token in tokens], max(0.0, entropy)
