"""How far a quantized model is from the one it was made of, on texts that matter to whoever uses it.

Both read the same prompts and the reference's own greedy answers to them, token by token. What all prompts begin with
(the chat template's preamble) is not counted: agreement there says nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence as Items
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..types import Message, Text
from .session import Sequence, Stop

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .session import Session
    from .vocabulary import Vocabulary

ANSWER = 48
"""Tokens of the reference's answer to each prompt."""
MOST_PERPLEXITY_RATIO = 1.05
LEAST_TOP1 = 0.90
"""Beyond these a model is refused: its answers are no longer the source's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fidelity:
    """`top1` is the share of `tokens` for which both would have chosen the same one; perplexities are per token."""

    tokens: int
    reference_perplexity: float
    perplexity: float
    top1: float

    @property
    def ratio(self) -> float:
        """Perplexity against the reference's."""
        return self.perplexity / self.reference_perplexity

    @property
    def faults(self) -> tuple[str, ...]:
        """Why the model should not be used; empty where it may be."""
        found: list[str] = []
        if not self.ratio <= MOST_PERPLEXITY_RATIO:  # also where it is no number
            found.append(f"perplexity is {self.ratio:.2f} times the source's, more than {MOST_PERPLEXITY_RATIO}")
        if self.top1 < LEAST_TOP1:
            found.append(f"the first choice agrees in {self.top1:.1%}, less than {LEAST_TOP1:.0%}")
        return tuple(found)


def transcripts(session: Session, vocabulary: Vocabulary, prompts: Items[str]) -> list[tuple[int, ...]]:
    """Each prompt in the model's template with its greedy answer behind it, as tokens."""
    found: list[tuple[int, ...]] = []
    for prompt in prompts:
        sequence, stop = Sequence(session), Stop()
        tokens = vocabulary.template.encode((Message(role="user", parts=(Text(text=prompt),)),))
        logits = sequence.feed(tokens, stop)
        for _ in range(ANSWER):
            token = int(logits.argmax())
            tokens.append(token)
            if token in vocabulary.tokenizer.end_ids:
                break
            logits = sequence.feed((token,), stop)
        found.append(tuple(tokens))
    return found


def compare(reference: Session, other: Session, texts: Items[Items[int]]) -> Fidelity:
    """What `other` makes of `texts`, against `reference`. At least one text of two tokens or more."""
    skip = max(1, _common(texts)) if len(texts) > 1 else 1
    losses, agreed, count = [0.0, 0.0], 0, 0
    for text in texts:
        (loss, first), (other_loss, other_first) = (_read(one, text, skip) for one in (reference, other))
        losses = [losses[0] + loss, losses[1] + other_loss]
        agreed += int((first == other_first).sum())
        count += len(first)
    return Fidelity(
        tokens=count,
        reference_perplexity=_exp(losses[0] / count),
        perplexity=_exp(losses[1] / count),
        top1=agreed / count,
    )


def _read(session: Session, text: Items[int], skip: int) -> tuple[float, NDArray[np.int64]]:
    """The summed loss over the tokens from `skip` on, and the token that would have been chosen for each."""
    import numpy as np

    logits = Sequence(session).feed_all(text[:-1], Stop())[skip - 1 :]
    wanted = np.asarray(text[skip:], np.int64)
    top = logits.max(-1)
    total = np.log(np.exp(logits - top[:, None]).sum(-1, dtype=np.float64)) + top
    return float((total - logits[np.arange(len(wanted)), wanted]).sum()), logits.argmax(-1)


def _common(texts: Items[Items[int]]) -> int:
    """How many tokens all of them begin with."""
    columns = zip(*texts, strict=False)
    return next((number for number, column in enumerate(columns) if len(set(column)) > 1), 0)


def _exp(value: float) -> float:
    return math.exp(value) if value < 700 else math.inf
