"""One of several texts by its probability: the model writes nothing, it is asked how likely each text is.

The score of a text is the sum of the natural-log probabilities of its tokens and of the end behind them, each given
the prompt and the tokens before: the logarithm of the probability that the model answers with exactly this text. There
is no division by the length; the end token makes that a distribution over answers, in which `no` and `none` compete
fairly. A text is read in the tokens that the tokenizer gives it; other spellings of it are left out.

The texts form a trie. It is walked in preorder in the row's own slot, so that what two texts have in common (the
prompt above all) is run once, and each of its tokens is an ordinary step among those of the other rows.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ..receipt import Code
from ..types import TokenLogprob
from .generate import Done, GenerationFailed, Piece
from .sampling import log_shares

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .generate import Prompt
    from .session import Logits
    from .tokenizer import Tokenizer

    Path = tuple[int, ...]

MOST = 64
"""Steps of one row: tokens that the choices have, those that several begin with counted once."""
_LONGEST = 16 * MOST  # characters of one choice


def paths(choices: Sequence[str], tokenizer: Tokenizer) -> list[Path] | None:
    """The tokens of each choice; None where they are too many, or the vocabulary cannot spell one of them."""
    if len(choices) > MOST or any(len(choice) > _LONGEST for choice in choices):
        return None  # without tokenising what cannot fit
    found = [tuple(tokenizer.encode(choice)) for choice in choices]
    if len(_trie(found)) - 1 > MOST:
        return None
    return found if [tokenizer.decode(path) for path in found] == list(choices) else None


class Scorer:
    """An answer under way, as `generate.Writer` is one: takes the model's logits, and says the likeliest choice."""

    def __init__(self, prompt: Prompt, choices: Sequence[Path], tokenizer: Tokenizer) -> None:
        self.prompt = prompt
        self.token = 0
        self.kept = 0
        self.over = False
        self._choices = choices
        self._tokenizer = tokenizer
        self._steps = _trie(choices)
        self._at = 0
        self._sums: dict[Path, float] = {(): 0.0}
        self._said: dict[Path, TokenLogprob] = {}
        self._whole: dict[Path, float] = {}

    @property
    def positions(self) -> int:
        """What the prompt and the longest choice take, in tokens."""
        return len(self.prompt.tokens) + max(map(len, self._choices))

    def take(self, logits: Logits) -> Iterator[Piece | Done]:
        """Note what follows the step before; `Done` comes last of all. Raises `GenerationFailed` for broken numbers."""
        self._note(self._steps[self._at], logits)
        self._at += 1
        if self._at == len(self._steps):
            yield from self._finish()
            return
        step = self._steps[self._at]
        self.token, self.kept = step[-1], len(self.prompt.tokens) + len(step) - 1

    def _note(self, step: Path, logits: Logits) -> None:
        tokenizer, depth = self._tokenizer, len(step)
        after = [other for other in self._steps if len(other) == depth + 1 and other[:depth] == step]
        ends = sorted(tokenizer.end_ids)
        shares, entropy = log_shares(logits, [*(other[-1] for other in after), *ends])
        if any(map(math.isnan, shares)):
            raise GenerationFailed(Code.UNAVAILABLE, "the model's numbers broke (NaN); verify the model")
        for other, share in zip(after, shares, strict=False):
            self._sums[other] = self._sums[step] + share
            text = tokenizer.spelling(other[-1]).decode("utf-8", "replace")
            self._said[other] = TokenLogprob(token=text, logprob=share, entropy=entropy)
        if step in self._choices:
            self._whole[step] = self._sums[step] + _log_sum(shares[len(after) :])

    def _finish(self) -> Iterator[Piece | Done]:
        self.over = True
        scores = [self._whole[path] for path in self._choices]
        total = _log_sum(scores)
        best = self._choices[max(range(len(scores)), key=scores.__getitem__)]
        said = tuple(self._said[best[: end + 1]] for end in range(len(best)))
        yield Piece(text=self._tokenizer.decode(best), logprobs=said if self.prompt.logprobs else ())
        yield Done(
            reason="stop",
            input_tokens=len(self.prompt.tokens),
            output_tokens=len(best) + 1,
            shares=tuple(math.exp(score - total) for score in scores),
        )


def _trie(choices: Sequence[Path]) -> list[Path]:
    """Every beginning of a choice, each before those that go on from it: as tuples are ordered."""
    return sorted({path[:end] for path in choices for end in range(len(path) + 1)})


def _log_sum(logarithms: Sequence[float]) -> float:
    """The logarithm of the sum of what these are the logarithms of."""
    top = max(logarithms)
    return top + math.log(math.fsum(math.exp(one - top) for one in logarithms))
