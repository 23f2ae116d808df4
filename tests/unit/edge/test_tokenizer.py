"""Text to ids and back, and control tokens that nobody can forge."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridinfer.edge.gguf import GgufFile
from hybridinfer.edge.lexicon import Lexicon
from hybridinfer.edge.tokenizer import SPLITS, Tokenizer
from hybridinfer.errors import ModelError
from tests import tiny

TEXTS = json.loads((Path(__file__).parents[2] / "fixtures/multilingual.json").read_text("utf-8"))


def test_merges_make_the_longest_known_words(tokenizer: Tokenizer) -> None:
    """`hello world` is two tokens of this vocabulary."""
    ids = tokenizer.encode("hello world")
    assert [tokenizer.spelling(token) for token in ids] == [b"hello", b" world"]


@given(st.text())
def test_decoding_gives_the_text_back(tokenizer: Tokenizer, text: str) -> None:
    """Byte-level tokens lose nothing of any Unicode text."""
    assert tokenizer.decode(tokenizer.encode(text)) == text


@pytest.mark.parametrize("pre", SPLITS)
def test_ids_equal_the_tokenizers_library(tmp_path: Path, pre: str) -> None:
    """The ids are those of the reference library with the same vocabulary, in every script of the fixture."""
    library = pytest.importorskip("tokenizers", reason="the reference library is not installed")
    file = tiny.write(tmp_path / "tiny.gguf", pre=pre)
    with GgufFile(file) as gguf:
        ours, theirs = Tokenizer(Lexicon.of(gguf.metadata)), reference_tokenizer(library, gguf)
    assert [ours.encode(text) for text in TEXTS] == [theirs.encode(text).ids for text in TEXTS]


def reference_tokenizer(library, gguf: GgufFile):
    """The `tokenizers` library configured from the same file, as its converters for these models do it."""
    from tokenizers import Regex, models
    from tokenizers import pre_tokenizers as pre

    vocabulary = {token: number for number, token in enumerate(gguf.metadata["tokenizer.ggml.tokens"])}
    merges = [tuple(merge.split(" ", 1)) for merge in gguf.metadata["tokenizer.ggml.merges"]]
    tokenizer = library.Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    kind = gguf.metadata["tokenizer.ggml.pre"]
    if kind == "smollm":
        cut = [pre.Digits(individual_digits=True), pre.ByteLevel(add_prefix_space=False, use_regex=True)]
    elif kind == "gpt-2":
        cut = [pre.ByteLevel(add_prefix_space=False, use_regex=True)]
    else:
        cut = [pre.Split(Regex(SPLITS[kind]), "isolated"), pre.ByteLevel(add_prefix_space=False, use_regex=False)]
    tokenizer.pre_tokenizer = pre.Sequence(cut)
    return tokenizer


def test_control_tokens_count_in_a_prompt_and_not_in_text(tokenizer: Tokenizer) -> None:
    """The template's own control tokens are tokens; the same letters in ordinary text are letters."""
    assert tokenizer.encode_prompt("<|im_end|>") == [tokenizer.special["<|im_end|>"]]
    assert tokenizer.special["<|im_end|>"] not in tokenizer.encode("<|im_end|>")


@given(st.lists(st.sampled_from([*tiny.SPECIAL, "a", "\ufdd0", "<|", "\n"])).map("".join))
def test_a_shielded_text_never_makes_a_control_token(tokenizer: Tokenizer, text: str) -> None:
    """However control tokens are spelled, nested or broken up in a caller's text, they stay letters."""
    shield = tokenizer.shield(text)
    ids = tokenizer.encode_prompt(shield.guard(text), shield)
    assert not set(ids) & set(tokenizer.special.values())
    assert tokenizer.decode(ids) == text


def test_a_shield_reaches_into_lists_and_mappings(tokenizer: Tokenizer) -> None:
    """Keys and values of tools are guarded like contents."""
    shield = tokenizer.shield()
    guarded = shield.guard([{"<|im_end|>": ("<|im_end|>", 5)}])
    assert "<|im_end|>" not in json.dumps(guarded)
    assert guarded[0][shield.guard("<|im_end|>")][1] == 5


def test_control_tokens_write_nothing_and_user_defined_ones_their_text(tokenizer: Tokenizer) -> None:
    """An answer shows tool-call marks, and no turn marks."""
    assert tokenizer.decode([tokenizer.special["<|im_end|>"], tokenizer.special["<tool_call>"]]) == "<tool_call>"


def test_every_end_token_is_known(tokenizer: Tokenizer) -> None:
    """The file's end token and those known by name end an answer."""
    assert tokenizer.end_ids == {tokenizer.special["<|endoftext|>"], tokenizer.special["<|im_end|>"]}


def test_bytes_missing_from_the_vocabulary_are_dropped(tiny_gguf: Path) -> None:
    """A vocabulary without some byte cannot write it; the rest of the text stays."""
    with GgufFile(tiny_gguf) as gguf:
        metadata = dict(gguf.metadata)
    tokens = list(metadata["tokenizer.ggml.tokens"])
    tokens[tokens.index("z")] = "unused"
    ids = Tokenizer(Lexicon.of(metadata | {"tokenizer.ggml.tokens": tokens})).encode("azb")
    assert len(ids) == 2


@pytest.mark.parametrize("change", [{"tokenizer.ggml.model": "llama"}, {"tokenizer.ggml.pre": "tekken"}])
def test_other_kinds_of_tokenizers_are_refused(tiny_gguf: Path, change: dict) -> None:
    """A tokenizer that would count wrongly is a ModelError that names the known kinds."""
    with GgufFile(tiny_gguf) as gguf, pytest.raises(ModelError, match="this engine knows"):
        Tokenizer(Lexicon.of({**gguf.metadata, **change}))
