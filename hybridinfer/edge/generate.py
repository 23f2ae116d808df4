"""One answer, token by token: prefill, sample, release text, stop."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from ..receipt import Code
from ..types import TokenLogprob
from .sampling import Sampler, Sampling, sureness
from .text import TextStream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .session import Sequence, Stop
    from .tokenizer import Tokenizer


class GenerationFailed(Exception):
    """No answer, in the words of the policy. `because` holds no content."""

    def __init__(self, code: Code, because: str) -> None:
        super().__init__(f"{code}: {because}")
        self.code = code
        self.because = because


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """What to continue, and how. `context` bounds prompt and answer together, in tokens."""

    tokens: tuple[int, ...]
    max_tokens: int
    context: int
    stop: tuple[str, ...] = ()
    sampling: Sampling = field(default_factory=Sampling)
    logprobs: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """More text, with the tokens that wrote it where they were asked for. Either may be empty, not both."""

    text: str
    logprobs: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """The answer is complete. `output_tokens` counts the end token too."""

    reason: Literal["stop", "length"]
    input_tokens: int
    output_tokens: int


def generate(prompt: Prompt, sequence: Sequence, tokenizer: Tokenizer, stop: Stop) -> Iterator[Piece | Done]:
    """Continue `prompt`; the last item is `Done`.

    Raises `GenerationFailed(CONTEXT_TOO_LONG)` before any work where the prompt leaves no room for an answer,
    `Stopped` within a token of `stop`, and `ModelError` where the runtime fails.
    """
    room = prompt.context - len(prompt.tokens)
    if room < 1:
        raise GenerationFailed(
            Code.CONTEXT_TOO_LONG, f"the prompt has {len(prompt.tokens)} tokens and the window {prompt.context}"
        )
    budget = min(prompt.max_tokens, room)
    sequence.reserve(len(prompt.tokens) + budget)
    sampler, text, log = Sampler(prompt.sampling), TextStream(prompt.stop), _Log()
    logits = sequence.feed(prompt.tokens, stop)
    reason: Literal["stop", "length"] = "length"
    count = 0
    while count < budget:
        token = sampler.choose(logits)
        if math.isnan(float(logits[token])):
            raise GenerationFailed(Code.UNAVAILABLE, "the model's numbers broke (NaN); verify the model")
        count += 1
        if token in tokenizer.end_ids:
            reason = "stop"
            break
        spelling = tokenizer.spelling(token)
        start = text.decoded
        certain = text.push(spelling)
        if prompt.logprobs:
            logprob, entropy = sureness(logits, token)
            log.add(start, TokenLogprob(token=spelling.decode("utf-8", "replace"), logprob=logprob, entropy=entropy))
        if certain:
            yield Piece(text=certain, logprobs=log.until(text.released))
        if text.stopped:
            reason = "stop"
            break
        if count < budget:
            logits = sequence.feed((token,), stop)
    rest = text.finish()
    last = log.until(text.released if text.stopped else math.inf)
    if rest or last:
        yield Piece(text=rest, logprobs=last)
    yield Done(reason=reason, input_tokens=len(prompt.tokens), output_tokens=count)


class _Log:
    """Log-probabilities waiting for their text to be released. A token belongs where its text begins."""

    def __init__(self) -> None:
        self._waiting: list[tuple[int, TokenLogprob]] = []

    def add(self, start: int, logprob: TokenLogprob) -> None:
        self._waiting.append((start, logprob))

    def until(self, released: float) -> tuple[TokenLogprob, ...]:
        ready = tuple(logprob for start, logprob in self._waiting if start < released)
        self._waiting = self._waiting[len(ready) :]
        return ready
