"""Choosing tokens."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from hybridinfer.edge.sampling import Sampler, Sampling, sureness

LOGITS = np.log(np.array([0.5, 0.3, 0.15, 0.05], np.float32))
finite = arrays.arrays(np.float32, st.integers(1, 50), elements=st.floats(-30, 30, width=32))


def draws(sampling: Sampling, count: int = 4000) -> np.ndarray:
    sampler = Sampler(sampling)
    return np.bincount([sampler.choose(LOGITS) for _ in range(count)], minlength=4) / count


def test_temperature_zero_takes_the_most_likely() -> None:
    """Greedy is the argmax, always."""
    assert draws(Sampling(temperature=0))[0] == 1


def test_temperature_one_draws_from_the_distribution() -> None:
    """Shares of 4,000 seeded draws lie near the probabilities."""
    np.testing.assert_allclose(draws(Sampling(temperature=1, seed=1)), np.exp(LOGITS), atol=0.03)


def test_a_low_temperature_sharpens() -> None:
    """At 0.5 probabilities are squared and normalised."""
    squared = np.exp(LOGITS) ** 2
    np.testing.assert_allclose(draws(Sampling(temperature=0.5, seed=1)), squared / squared.sum(), atol=0.03)


@pytest.mark.parametrize(("top_p", "kept"), [(0.5, 1), (0.6, 2), (0.9, 3), (1.0, 4), (0.01, 1)])
def test_top_p_keeps_the_smallest_set_that_reaches_it(top_p: float, kept: int) -> None:
    """Tokens beyond the nucleus never come."""
    assert np.count_nonzero(draws(Sampling(temperature=1, top_p=top_p, seed=1))) == kept


@pytest.mark.parametrize("top_k", [1, 2, 3])
def test_top_k_keeps_the_k_most_likely(top_k: int) -> None:
    """Tokens beyond the first k never come."""
    shares = draws(Sampling(temperature=1, top_k=top_k, seed=1))
    assert np.flatnonzero(shares).tolist() == list(range(top_k))


def test_the_same_seed_gives_the_same_tokens() -> None:
    """Two samplers of one seed agree; another seed differs."""
    runs = [[Sampler(Sampling(temperature=1, seed=seed)).choose(LOGITS) for _ in range(1)] for seed in (7, 7)]
    a, b, c = (Sampler(Sampling(temperature=1, seed=seed)) for seed in (7, 7, 8))
    first, second, third = ([s.choose(LOGITS) for _ in range(50)] for s in (a, b, c))
    assert first == second != third
    assert runs[0] == runs[1]


@given(logits=finite, data=st.data())
def test_every_choice_is_a_token(logits: np.ndarray, data: st.DataObject) -> None:
    """Whatever the settings, an index of the vocabulary comes."""
    sampling = Sampling(
        temperature=data.draw(st.floats(0, 5)),
        top_p=data.draw(st.floats(0.001, 1)),
        top_k=data.draw(st.integers(0, 60)),
        seed=1,
    )
    assert 0 <= Sampler(sampling).choose(logits) < len(logits)


@given(logits=finite)
def test_sureness_is_a_log_probability_and_an_entropy(logits: np.ndarray) -> None:
    """Probabilities of all tokens sum to one; the entropy is theirs, between 0 and log n."""
    logprobs = [sureness(logits, token)[0] for token in range(len(logits))]
    entropy = sureness(logits, 0)[1]
    assert math.isclose(sum(map(math.exp, logprobs)), 1, rel_tol=1e-6)
    assert math.isclose(entropy, -sum(p * math.exp(p) for p in logprobs), rel_tol=1e-5, abs_tol=1e-5)
    assert 0 <= entropy <= math.log(len(logits)) + 1e-6
