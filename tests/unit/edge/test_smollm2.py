"""The real small model: what the int8 graph says against the recorded float32 reference (benchmarks/make_reference.py)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from hybridinfer.edge.catalogue import find
from hybridinfer.edge.engine import Loaded
from hybridinfer.edge.generate import Piece, Prompt, generate
from hybridinfer.edge.gguf import GgufFile
from hybridinfer.edge.pool import load
from hybridinfer.edge.session import Sequence, Stop
from hybridinfer.edge.store import Store
from hybridinfer.errors import ModelNotFound
from tests.unit.edge.test_tokenizer import TEXTS, reference_tokenizer

pytestmark = pytest.mark.model
RECORDED = json.loads((Path(__file__).parents[2] / "fixtures/smollm2_reference.json").read_text("utf-8"))
MODEL = find(RECORDED["model"])


@pytest.fixture(scope="module")
def store() -> Store:
    """The developer's own store, so that the model is fetched once."""
    store = Store.default()
    try:
        store.pull(MODEL)
    except ModelNotFound as error:
        pytest.skip(f"SmolLM2 cannot be had here: {error}")
    return store


@pytest.fixture(scope="module")
def smollm2(store: Store) -> Loaded:
    """It, loaded."""
    return load(MODEL, store, threads=2, pull=False)


def test_teacher_forced_top_1_agrees(smollm2: Loaded) -> None:
    """At 94 of 100 positions and more the int8 graph's first choice is that of the float32 weights."""
    hits: list[bool] = []
    for text in RECORDED["forced"]:
        logits = Sequence(smollm2.session).feed_all(text["tokens"], Stop())
        hits += (logits.argmax(-1) == np.array(text["top"])).tolist()
    share = sum(hits) / len(hits)
    assert share >= 0.94, f"{share:.4f} of {len(hits)}"


def test_greedy_answers_begin_like_the_references(smollm2: Loaded) -> None:
    """Most recorded answers begin with the same tokens; a near tie may part one of them from the first token on."""
    tokenizer, same = smollm2.vocabulary.tokenizer, 0
    for recorded in RECORDED["greedy"]:
        prompt = Prompt(tokens=tuple(recorded["prompt"]), max_tokens=6, context=512)
        items = generate(prompt, Sequence(smollm2.session), tokenizer, Stop())
        answer = "".join(item.text for item in items if isinstance(item, Piece))
        same += recorded["text"].startswith(answer) and bool(answer)
    assert same >= len(RECORDED["greedy"]) - 1


def test_token_ids_are_the_recorded_ones(smollm2: Loaded) -> None:
    """The whole multilingual fixture, id for id."""
    assert [smollm2.vocabulary.tokenizer.encode(text) for text in TEXTS] == RECORDED["ids"]


def test_token_ids_equal_the_tokenizers_library(store: Store, smollm2: Loaded) -> None:
    """The reference library, configured from the same file, writes the same ids."""
    library = pytest.importorskip("tokenizers", reason="the reference library is not installed")
    with GgufFile(store.file(MODEL)) as gguf:
        theirs = reference_tokenizer(library, gguf)
    assert [theirs.encode(text).ids for text in TEXTS] == RECORDED["ids"]
