"""The tables of a tokenizer, from a GGUF file's metadata or from a packed form that opens in an eighth of the time.

A vocabulary is 300,000 texts: reading them out of a GGUF header and spelling them takes most of a second of processor
time, their packed form a tenth. It is written beside a converted model and hashed with it.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

from ..errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_CONTROL, _USER_DEFINED = 3, 4
_END_NAMES = frozenset({"<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|end_of_text|>", "<|end|>", "</s>"})
_SEPARATOR = "\uffff"  # a noncharacter
_LENGTH = struct.Struct("<I")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lexicon:
    """What a vocabulary says. Read-only."""

    pre: str
    """How text is cut into words: a key of `tokenizer.SPLITS`."""
    spellings: list[bytes]
    """The bytes that each token writes; none for control tokens."""
    ranks: list[bytes]
    """What merging may make, in the order of merging: the 256 bytes first."""
    numbers: list[int]
    """The token of each rank, -1 where there is none."""
    special: dict[str, int]
    """Tokens that stand outside of ordinary text, by their own."""
    end_ids: list[int]
    """Tokens that end an answer."""
    bos: str
    eos: str

    @classmethod
    def of(cls, metadata: Mapping[str, Any], *, name: str = "the model") -> Lexicon:
        """The tables in a GGUF file's `metadata`. Raises `ModelError` for vocabularies that are not byte-level BPE."""
        kind, pre = metadata.get("tokenizer.ggml.model"), metadata.get("tokenizer.ggml.pre", "gpt-2")
        if kind != "gpt2":
            raise ModelError(f"{name} has a tokenizer of the kind {kind}; this engine knows gpt2")
        tokens: list[str] = metadata["tokenizer.ggml.tokens"]
        types: list[int] = metadata.get("tokenizer.ggml.token_type", [1] * len(tokens))
        special = {token: number for number, token in enumerate(tokens) if types[number] in {_CONTROL, _USER_DEFINED}}
        spellings = _to_bytes(tokens)
        for token, number in special.items():
            spellings[number] = b"" if types[number] == _CONTROL else token.encode("utf-8", "replace")
        ends = {metadata.get(f"tokenizer.ggml.{key}_token_id") for key in ("eos", "eot")}
        ends |= {special.get(end) for end in _END_NAMES}
        ranks, numbers = _ranks(tokens, metadata["tokenizer.ggml.merges"])
        return cls(
            pre=str(pre),
            spellings=spellings,
            ranks=ranks,
            numbers=numbers,
            special=special,
            end_ids=sorted(int(end) for end in ends if end is not None),
            bos=_token(metadata, tokens, "bos"),
            eos=_token(metadata, tokens, "eos"),
        )

    def pack(self, **more: str | int) -> bytes:
        """These tables and a few facts more; `unpack` reads it."""
        small = {name: getattr(self, name) for name in ("pre", "special", "end_ids", "bos", "eos")}
        head = {**small, "more": more, "tokens": len(self.spellings), "ranks": len(self.ranks)}
        data = json.dumps(head).encode()
        lengths = [len(text) for texts in (self.spellings, self.ranks) for text in texts]
        numbers = [*lengths, *self.numbers]
        table = struct.pack(f"<{len(numbers)}i", *numbers)
        return b"".join([_LENGTH.pack(len(data)), data, table, *self.spellings, *self.ranks])


def unpack(data: bytes) -> tuple[Lexicon, dict[str, Any]]:
    """The tables in `data`, and the facts packed with them. The bytes must be those that `pack` wrote."""
    # Without numpy: this runs while another thread imports onnxruntime, and two imports of numpy at once can fail.
    (length,) = _LENGTH.unpack_from(data)
    at = _LENGTH.size + length
    head = json.loads(data[_LENGTH.size : at])
    tokens, ranks, more = head.pop("tokens"), head.pop("ranks"), head.pop("more")
    form = f"<{tokens + 2 * ranks}i"
    numbers = struct.unpack_from(form, data, at)
    cuts = list(accumulate(numbers[: tokens + ranks], initial=at + struct.calcsize(form)))
    texts = [data[low:high] for low, high in pairwise(cuts)]
    return Lexicon(
        **head, spellings=texts[:tokens], ranks=texts[tokens:], numbers=list(numbers[tokens + ranks :])
    ), more


def byte_alphabet() -> dict[str, int]:
    """GPT-2's way to write any byte as a printable character (openai/gpt-2, encoder.py, bytes_to_unicode)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + at): byte for at, byte in enumerate(others)}


def _token(metadata: Mapping[str, Any], tokens: Sequence[str], key: str) -> str:
    number = metadata.get(f"tokenizer.ggml.{key}_token_id")
    return tokens[number] if isinstance(number, int) and 0 <= number < len(tokens) else ""


def _to_bytes(texts: Sequence[str]) -> list[bytes]:
    """Texts in GPT-2's alphabet to the bytes they stand for, spaces left out. In bulk: there are 300,000 of them."""
    table: dict[int, int | None] = {ord(char): byte for char, byte in byte_alphabet().items()}
    table[ord(" ")] = None
    return [text.encode("latin-1", "replace") for text in _SEPARATOR.join(texts).translate(table).split(_SEPARATOR)]


def _ranks(tokens: Sequence[str], merges: Sequence[str]) -> tuple[list[bytes], list[int]]:
    """The 256 bytes, then the merges in order, and the token of each."""
    ids = {token: number for number, token in enumerate(tokens)}
    alphabet = sorted(byte_alphabet().items(), key=lambda pair: pair[1])
    ranks = {bytes([byte]): ids.get(char, -1) for char, byte in alphabet}  # some lack bytes that UTF-8 never uses
    for merge, spelling in zip(merges, _to_bytes(merges), strict=True):
        if spelling not in ranks:
            ranks[spelling] = ids.get(merge.replace(" ", "", 1), -1)
    return list(ranks), list(ranks.values())
