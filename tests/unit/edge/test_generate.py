"""One answer: how it begins, what it shows, and every way it ends."""

from __future__ import annotations

import numpy as np
import pytest

from hybridinfer.edge.generate import Done, GenerationFailed, Piece, Prompt, generate
from hybridinfer.edge.sampling import Sampling
from hybridinfer.edge.session import Sequence, Session, Stop, Stopped
from hybridinfer.edge.tokenizer import Tokenizer
from hybridinfer.receipt import Code


class Script:
    """A sequence whose next tokens are written down beforehand."""

    def __init__(self, tokenizer: Tokenizer, *tokens: int) -> None:
        self._size, self._tokens = tokenizer.size, iter(tokens)
        self.room = self.length = 0

    def reserve(self, positions: int) -> None:
        self.room = positions

    def feed(self, tokens, stop: Stop) -> np.ndarray:
        if stop.requested:
            raise Stopped
        logits = np.zeros(self._size, np.float32)
        logits[next(self._tokens)] = 9
        return logits


def answer(tokenizer: Tokenizer, tokens: list[int], **options) -> tuple[list[Piece], Done]:
    prompt = Prompt(**{"tokens": (5, 6, 7), "max_tokens": 50, "context": 100} | options)
    *pieces, done = generate(prompt, Script(tokenizer, *tokens), tokenizer, Stop())
    assert isinstance(done, Done)
    return pieces, done


def text(pieces: list[Piece]) -> str:
    return "".join(piece.text for piece in pieces)


def test_an_end_token_stops_and_shows_nothing(tokenizer: Tokenizer) -> None:
    """The end token is counted, not shown."""
    end = tokenizer.special["<|im_end|>"]
    pieces, done = answer(tokenizer, [*tokenizer.encode("hello world"), end])
    assert text(pieces) == "hello world"
    assert done == Done(reason="stop", input_tokens=3, output_tokens=3)


def test_max_tokens_is_a_length(tokenizer: Tokenizer) -> None:
    """The limit ends the answer, marked as cut."""
    pieces, done = answer(tokenizer, tokenizer.encode("hello world hello"), max_tokens=2)
    assert text(pieces) == "hello world"
    assert done == Done(reason="length", input_tokens=3, output_tokens=2)


def test_the_window_limits_the_answer(tokenizer: Tokenizer) -> None:
    """Prompt and answer share the window."""
    _, done = answer(tokenizer, tokenizer.encode("hello world hello world"), context=5)
    assert done == Done(reason="length", input_tokens=3, output_tokens=2)


def test_a_prompt_that_fills_the_window_is_too_long(tokenizer: Tokenizer) -> None:
    """There must be room for one token; otherwise nothing is run."""
    with pytest.raises(GenerationFailed) as caught:
        answer(tokenizer, [], context=3)
    assert caught.value.code is Code.CONTEXT_TOO_LONG
    assert "3 tokens" in caught.value.because


def test_a_stop_string_ends_the_answer_before_itself(tokenizer: Tokenizer) -> None:
    """Also where it lies across tokens; what follows is not generated."""
    pieces, done = answer(tokenizer, tokenizer.encode("hello world"), stop=("o wor",))
    assert text(pieces) == "hell"
    assert done.reason == "stop"


def test_text_held_back_comes_at_the_end(tokenizer: Tokenizer) -> None:
    """The beginning of a stop string that never came is text."""
    pieces, _ = answer(tokenizer, tokenizer.encode("hello"), max_tokens=1, stop=("lots",))
    assert text(pieces) == "hello"


def test_half_a_character_at_the_end_is_marked(tokenizer: Tokenizer) -> None:
    """Tokens that write a part of a character show U+FFFD only when no more come."""
    first = tokenizer.encode("你")[0]
    pieces, _ = answer(tokenizer, [first], max_tokens=1)
    assert text(pieces) == "\ufffd"


def test_logprobs_come_with_their_text(tokenizer: Tokenizer) -> None:
    """Each token shown has its log-probability and entropy; with stop strings none beyond the text."""
    ids = tokenizer.encode("hello world")
    pieces, _ = answer(tokenizer, [*ids, tokenizer.special["<|im_end|>"]], logprobs=True)
    logprobs = [entry for piece in pieces for entry in piece.logprobs]
    assert [entry.token for entry in logprobs] == ["hello", " world"]
    assert all(entry.logprob < 0 < (entry.entropy or 0) for entry in logprobs)
    pieces, _ = answer(tokenizer, ids, logprobs=True, stop=(" world",))
    assert [entry.token for piece in pieces for entry in piece.logprobs] == ["hello"]


def test_logprobs_are_left_out_where_nobody_asked(tokenizer: Tokenizer) -> None:
    """They cost time."""
    pieces, _ = answer(tokenizer, tokenizer.encode("hello"), max_tokens=1)
    assert pieces == [Piece(text="hello")]


def test_broken_numbers_end_in_a_code(tokenizer: Tokenizer) -> None:
    """NaN logits never become text."""

    class Broken(Script):
        def feed(self, tokens, stop: Stop) -> np.ndarray:
            return np.full(self._size, np.nan, np.float32)

    prompt = Prompt(tokens=(1,), max_tokens=5, context=10)
    with pytest.raises(GenerationFailed, match="NaN") as caught:
        list(generate(prompt, Broken(tokenizer), tokenizer, Stop()))
    assert caught.value.code is Code.UNAVAILABLE


def test_a_stop_between_tokens_ends_it(tiny_session: Session, tokenizer: Tokenizer) -> None:
    """After `stop` no further token comes."""
    stop = Stop()
    prompt = Prompt(tokens=(20, 21), max_tokens=50, context=100)
    pieces = generate(prompt, Sequence(tiny_session), tokenizer, stop)
    next(pieces)
    stop()
    with pytest.raises(Stopped):
        list(pieces)


def test_a_seed_repeats_an_answer(tiny_session: Session, tokenizer: Tokenizer) -> None:
    """Same seed, same answer; another seed, another one."""

    def sample(seed: int) -> str:
        sampling = Sampling(temperature=1, seed=seed)
        prompt = Prompt(tokens=(20, 21), max_tokens=20, context=100, sampling=sampling)
        items = generate(prompt, Sequence(tiny_session), tokenizer, Stop())
        return text([item for item in items if isinstance(item, Piece)])

    assert sample(1) == sample(1) != sample(2)
