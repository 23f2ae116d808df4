"""`complexity: {model: embedding}`: what a prompt is about counts beside its form."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hybridinfer import AsyncRouter
from hybridinfer.edge import embedder
from hybridinfer.errors import ConfigurationError, ModelNotFound, PolicyError
from hybridinfer.policy.check import check
from hybridinfer.policy.load import digest, load
from hybridinfer.policy.model import DEFAULT_SIGNALS, Policy, SignalBlock
from hybridinfer.signals import complexity
from hybridinfer.signals.base import SignalResult, Standing
from hybridinfer.signals.complexity import MEANING, ComplexitySignal
from hybridinfer.signals.features import NAMES
from hybridinfer.signals.weights import scorer_of
from hybridinfer.types import Message, Request, Text
from tests import tiny_embedder


def policy(**signals: object) -> Policy:
    return load(
        {
            "version": 1,
            "targets": {"sorry": {"kind": "canned", "text": "no"}},
            "rules": [{"name": "all", "use": "sorry"}],
            "signals": signals,
        }
    )


EMBEDDING = policy(complexity={"model": "embedding"}).signals["complexity"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tiny embedder."""
    made = tiny_embedder.write(tmp_path / "cache")
    monkeypatch.setattr(embedder, "embedders", lambda: {embedder.NAME: made})
    monkeypatch.setenv("HYBRIDINFER_CACHE", str(tmp_path / "cache"))


def score(block: SignalBlock, prompt: str) -> SignalResult:
    request = Request(messages=(Message(role="user", parts=(Text(text=prompt),)),))
    return ComplexitySignal(block).score(request, Standing())


@pytest.mark.usefixtures("here")
def test_two_prompts_of_one_form_may_differ() -> None:
    """By what they are about; without the model they are the same."""
    cats, dogs = "How are the cats?", "How are the dogs?"
    assert score(EMBEDDING, cats).score != score(EMBEDDING, dogs).score
    plain = DEFAULT_SIGNALS["complexity"]
    assert score(plain, cats) == score(plain, dogs)


@pytest.mark.usefixtures("here")
def test_the_reason_stands_beside_the_others() -> None:
    """In points of expected failure."""
    shipped = complexity.load("embedding")
    about_alone = replace(shipped, weights=(0.0,) * len(NAMES) + shipped.weights[len(NAMES) :])
    points, reasons = about_alone.judge("cats")
    assert reasons == (f"what it is about ({points - shipped.intercept:+.2f})",)


def test_a_missing_model_is_told_when_the_signal_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the command that brings it; the policy itself is sound without."""
    monkeypatch.setenv("HYBRIDINFER_CACHE", str(tmp_path))
    chosen = policy(complexity={"model": "embedding"})
    assert not [finding for finding in check(chosen).findings if finding.severity == "error"]
    with pytest.raises(ModelNotFound, match="run: hybridinfer models pull minilm-l6-v2"):
        AsyncRouter(chosen)


@pytest.mark.anyio
@pytest.mark.usefixtures("here")
async def test_a_router_scores_with_it() -> None:
    """From end to end, on a thread of its own, as a model takes longer than an event loop should wait."""
    async with AsyncRouter(policy(complexity={"model": "embedding"})) as router:
        decision = await router.decide("How are the cats?")
    assert decision.scores["complexity"] == score(EMBEDDING, "How are the cats?").score


@pytest.mark.anyio
@pytest.mark.usefixtures("here")
async def test_a_model_that_fails_counts_as_the_highest_level(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with every signal: unknown means deny."""

    def broken(environ: object = None) -> None:
        raise RuntimeError

    monkeypatch.setattr(embedder, "load", broken)
    async with AsyncRouter(policy(complexity={"model": "embedding"})) as router:
        decision = await router.decide("How are the cats?")
    assert decision.levels["complexity"] == "high"


def test_shares_need_no_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where bands begin stands in the file of the weights."""
    monkeypatch.setenv("HYBRIDINFER_CACHE", str(tmp_path))
    assert len(scorer_of(EMBEDDING)[0].quantiles) == 101


def test_the_shipped_weights_are_of_both() -> None:
    """Sixty features, 384 numbers, and which model they are of."""
    scorer = complexity.load("embedding")
    assert len(scorer.weights) == len(NAMES) + len(MEANING) == 444
    assert len(MEANING) == embedder.SIZE
    assert complexity.load().meaning is None


def test_learned_weights_know_no_embedding() -> None:
    """So the two do not go together."""
    block = EMBEDDING.model_copy(update={"options": {"weights": "learned"}})
    with pytest.raises(ConfigurationError, match="sixty features alone"):
        scorer_of(block)


def test_only_complexity_has_a_model_to_choose() -> None:
    """Any other signal refuses it, and so does a word that is none."""
    with pytest.raises(PolicyError, match="only complexity has a model"):
        policy(size={"model": "embedding"})
    with pytest.raises(PolicyError, match="embeding"):
        policy(complexity={"model": "embeding"})


def test_built_in_signals_have_usual_levels() -> None:
    """So `complexity: {model: embedding}` is enough; a signal of one's own names its levels."""
    assert EMBEDDING.levels == DEFAULT_SIGNALS["complexity"].levels
    assert digest(policy(privacy={"options": {"unscannable": "secret"}})) != digest(policy())
    assert policy(mine={"kind": "size"}).signals["mine"].levels == DEFAULT_SIGNALS["size"].levels
    with pytest.raises(PolicyError, match="names no levels"):
        policy(mood={"kind": "own"})
