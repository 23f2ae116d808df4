"""Choices by their probability: each is scored whole, exactly, and the same whoever else is served."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hybridinfer.edge.engine import Loaded
from hybridinfer.edge.generate import Done, GenerationFailed, Piece, Prompt, Writer, generate, writer_for
from hybridinfer.edge.guided import for_format
from hybridinfer.edge.sampling import Sampling, sureness
from hybridinfer.edge.scoring import MOST, Scorer, paths
from hybridinfer.edge.session import Sequence, Session, Stop
from hybridinfer.edge.tokenizer import Tokenizer
from hybridinfer.edge.vocabulary import Vocabulary
from hybridinfer.receipt import Code
from hybridinfer.types import ResponseFormat
from tests.unit.edge.test_batch import Caller, Desk, prompt

CHOICES = ("no", "none", "nobody knows", "yes")
"""Some begin like others."""


@pytest.fixture(scope="module")
def loaded(tiny_session: Session, tiny_gguf: Path) -> Loaded:
    return Loaded(session=tiny_session, vocabulary=Vocabulary.of(tiny_gguf))


def asked(*choices: str, seed: int = 0, **changes) -> Prompt:
    wanted = prompt(40, seed=seed, max_tokens=30)
    form = ResponseFormat(type="choice", choices=choices)
    return replace(wanted, choices=choices, constraint=for_format(form), **changes)


def alone(loaded: Loaded, wanted: Prompt) -> list[Piece | Done]:
    return list(generate(wanted, Sequence(loaded.session), loaded.vocabulary.tokenizer, Stop()))


def forced(loaded: Loaded, wanted: Prompt, choice: str) -> float:
    """The reference: every choice by itself, from the prompt's first token on."""
    tokenizer, sequence, total = loaded.vocabulary.tokenizer, Sequence(loaded.session), 0.0
    logits = sequence.feed(wanted.tokens, Stop())
    for token in tokenizer.encode(choice):
        total += sureness(logits, token)[0]
        logits = sequence.feed((token,), Stop())
    return total + math.log(sum(math.exp(sureness(logits, end)[0]) for end in tokenizer.end_ids))


@given(seed=st.integers(0, 99), order=st.permutations(CHOICES))
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_each_choice_has_the_probability_of_its_tokens_and_the_end(loaded: Loaded, seed: int, order: list[str]) -> None:
    """As if it had been forced by itself; the likeliest one is the answer, whatever their order."""
    wanted = asked(*order, seed=seed)
    piece, done = alone(loaded, wanted)
    scores = {choice: forced(loaded, wanted, choice) for choice in order}
    total = math.fsum(map(math.exp, scores.values()))
    assert isinstance(piece, Piece)
    assert isinstance(done, Done)
    assert piece.text == max(scores, key=scores.__getitem__)
    assert done.shares == pytest.approx([math.exp(scores[choice]) / total for choice in order], rel=1e-9)
    assert (done.reason, done.output_tokens) == ("stop", len(loaded.vocabulary.tokenizer.encode(piece.text)) + 1)


@given(seeds=st.lists(st.integers(0, 9), min_size=2, max_size=5))
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_scores_are_the_same_to_the_last_bit_among_others(loaded: Loaded, seeds: list[int]) -> None:
    """Rows that write and rows that are scored share steps, join and leave, and disturb nobody."""
    desk = Desk(loaded, count=3)
    scored = [desk.add(Caller(asked(*CHOICES, seed=seed, scope="a", logprobs=True))) for seed in seeds]
    writing = [desk.add(Caller(prompt(7 * seed + 1, seed=seed, max_tokens=9, logprobs=True))) for seed in seeds]
    desk.run()
    for caller in (*scored, *writing):
        reference = alone(loaded, caller.prompt)
        assert caller.items[:-1] == reference[:-1]
        assert replace(caller.done, cached_tokens=0) == reference[-1]
    assert desk.leaks() == []


def test_log_probabilities_are_those_of_the_choice_taken(loaded: Loaded) -> None:
    """One for each of its tokens, where they are asked for."""
    wanted = asked("hello world", "hello", logprobs=True)
    piece, _ = alone(loaded, wanted)
    assert isinstance(piece, Piece)
    assert "".join(entry.token for entry in piece.logprobs) == piece.text
    quiet, _ = alone(loaded, replace(wanted, logprobs=False))
    assert quiet == Piece(text=piece.text)


@pytest.mark.parametrize(
    "changes",
    [
        {"choices": tuple(f"{number} is the number" for number in range(100, 200))},
        {"choices": ("x" * 20_000, "no")},
        {"sampling": Sampling(temperature=1.0)},
        {"stop": ("o",)},
        {"max_tokens": 2},
    ],
    ids=["many", "long", "drawn", "stopped", "short"],
)
def test_what_cannot_be_scored_is_written_under_the_constraint(loaded: Loaded, changes: dict) -> None:
    """Too many tokens, chance, a stop string, or an answer that would be cut."""
    choices = changes.pop("choices", CHOICES)
    assert isinstance(writer_for(replace(asked(*choices), **changes), loaded.vocabulary.tokenizer), Writer)


def test_as_many_tokens_as_stated_are_scored(tokenizer: Tokenizer) -> None:
    """A common beginning counts once."""
    assert len(tokenizer.encode("x" * MOST)) == MOST
    shared = ["x" * size for size in range(1, MOST + 1)]
    assert paths(shared, tokenizer) == [tuple(tokenizer.encode(choice)) for choice in shared]
    assert paths([*shared, "y"], tokenizer) is None
    assert paths(["x" * MOST, "y"], tokenizer) is None


def test_broken_numbers_end_in_a_code(loaded: Loaded) -> None:
    """No choice is the likeliest among NaN."""
    writer = writer_for(asked(*CHOICES), loaded.vocabulary.tokenizer)
    assert isinstance(writer, Scorer)
    with pytest.raises(GenerationFailed) as caught:
        list(writer.take(np.full(loaded.session.vocabulary, np.nan, np.float32)))
    assert caught.value.code is Code.UNAVAILABLE
