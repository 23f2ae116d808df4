"""One answer, token by token: sample, release text, stop."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from ..receipt import Code
from ..types import TokenLogprob
from .certainty import Gauge
from .loops import LoopWatch
from .sampling import Sampler, Sampling, sureness
from .text import TextStream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .certainty import Certainty
    from .constraint import Constraint
    from .scoring import Scorer
    from .session import Logits, Sequence, Stop
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
    certainty: bool = False
    """Whether `Done` shall say how sure the model was; it costs a look at every distribution."""
    constraint: Callable[[Tokenizer], Constraint] | None = None
    """Makes what the answer must keep to; called once, before the prompt is run."""
    choices: tuple[str, ...] = ()
    """One of these is wanted: they are scored where that can be done (see `writer_for`), else `constraint` rules."""
    loop: int = 0
    """After so many tokens that only repeat a cycle the answer is given up as `invalid_output`; 0: never."""
    scope: str | None = None
    """Who may share the keys and values of this prompt's beginning; None: nobody."""


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
    cached_tokens: int = 0
    """Those of `input_tokens` whose keys and values were there already."""
    certainty: Certainty | None = None
    """How sure the model was, where that was asked for and anything was said."""
    shares: tuple[float, ...] = ()
    """Where the choices were scored: the probability of each, in their order and among them, 1 together."""


class Writer:
    """An answer under way: takes the model's logits, gives text. Where the logits come from is not its matter."""

    def __init__(self, prompt: Prompt, tokenizer: Tokenizer) -> None:
        """Raises `GenerationFailed(CONTEXT_TOO_LONG)` where the prompt leaves no room for an answer."""
        room = prompt.context - len(prompt.tokens)
        if room < 1:
            raise GenerationFailed(
                Code.CONTEXT_TOO_LONG, f"the prompt has {len(prompt.tokens)} tokens and the window {prompt.context}"
            )
        self.prompt = prompt
        self.budget = min(prompt.max_tokens, room)
        self.token = 0
        """The last one chosen: to be run next."""
        self.kept = 0
        """How many positions it stands behind, where some of what was run is to be forgotten; 0: behind all of it."""
        self.over = False
        self._tokenizer = tokenizer
        self._sampler, self._text, self._log = Sampler(prompt.sampling), TextStream(prompt.stop), _Log()
        self._constraint = prompt.constraint(tokenizer) if prompt.constraint else None
        self._loops = LoopWatch(prompt.loop)
        self._gauge = Gauge()
        self._measured = prompt.logprobs or prompt.certainty
        self._count = 0

    @property
    def positions(self) -> int:
        """What prompt and answer take at most, in tokens."""
        return len(self.prompt.tokens) + self.budget

    def take(self, logits: Logits) -> Iterator[Piece | Done]:
        """Choose the next token from `logits` [vocabulary], which may be changed; `Done` comes last of all.

        Exhaust it before the next call. Raises `GenerationFailed` where the numbers broke, the answer goes in
        circles, or the constraint allows nothing.
        """
        if self._count < self.budget:
            yield from self._next(logits)
        if self.over or self._count >= self.budget:
            yield from self._finish()

    def _next(self, logits: Logits) -> Iterator[Piece]:
        raw = logits
        if self._constraint is not None:
            raw = logits.copy() if self._measured else logits
            self._constraint.mask(logits)
        token = self.token = self._sampler.choose(logits)
        chosen = float(logits[token])
        if math.isnan(chosen):
            raise GenerationFailed(Code.UNAVAILABLE, "the model's numbers broke (NaN); verify the model")
        if chosen == -math.inf:
            raise GenerationFailed(Code.INVALID_OUTPUT, "nothing may follow in the demanded format")
        self._count += 1
        if token in self._tokenizer.end_ids:
            self.over = True
            return
        if self._loops.looping(token):
            raise GenerationFailed(Code.INVALID_OUTPUT, f"the answer repeats itself for {self.prompt.loop} tokens")
        spelling = self._tokenizer.spelling(token)
        start = self._text.decoded
        certain = self._text.push(spelling)
        if self._measured:
            logprob, entropy = sureness(raw, token)
            self._gauge.add(logprob, entropy)
            if self.prompt.logprobs:
                entry = TokenLogprob(token=spelling.decode("utf-8", "replace"), logprob=logprob, entropy=entropy)
                self._log.add(start, entry)
        if certain:
            yield Piece(text=certain, logprobs=self._log.until(self._text.released))
        if self._constraint is not None:
            self._constraint.accept(token)
        self.over = self._text.stopped or (self._constraint is not None and self._constraint.done)

    def _finish(self) -> Iterator[Piece | Done]:
        reason: Literal["stop", "length"] = "stop" if self.over else "length"
        self.over = True
        rest = self._text.finish()
        last = self._log.until(self._text.released if self._text.stopped else math.inf)
        if rest or last:
            yield Piece(text=rest, logprobs=last)
        certainty = self._gauge.done() if self.prompt.certainty else None
        yield Done(reason=reason, input_tokens=len(self.prompt.tokens), output_tokens=self._count, certainty=certainty)


def writer_for(prompt: Prompt, tokenizer: Tokenizer) -> Writer | Scorer:
    """Who answers `prompt`. Raises as `Writer` does.

    Choices are scored unless they are too many, chance or a stop string has a say, or `max_tokens` would cut one short.
    """
    from .scoring import Scorer, paths  # they need the records above

    if prompt.choices and prompt.sampling.greedy and not prompt.stop:
        found = paths(prompt.choices, tokenizer)
        room = min(prompt.max_tokens, prompt.context - len(prompt.tokens))
        if found is not None and max(map(len, found)) < room:
            return Scorer(prompt, found, tokenizer)
    return Writer(prompt, tokenizer)


def generate(prompt: Prompt, sequence: Sequence, tokenizer: Tokenizer, stop: Stop) -> Iterator[Piece | Done]:
    """Continue `prompt` alone in `sequence`; the last item is `Done`. What batches give must equal this.

    Raises `GenerationFailed` as `Writer` does, `Stopped` within a token of `stop`, and `ModelError` where the
    runtime fails.
    """
    writer = writer_for(prompt, tokenizer)
    sequence.reserve(writer.positions)
    logits = sequence.feed(prompt.tokens, stop)
    while True:
        yield from writer.take(logits)
        if writer.over:
            return
        sequence.length = writer.kept or sequence.length
        logits = sequence.feed((writer.token,), stop)


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
