"""Text to token ids and back, with tiktoken, from the vocabulary and merges inside a GGUF file.

Byte-level BPE only (`tokenizer.ggml.model: gpt2`). A merge's place in the file is its rank; ids are mapped
afterwards, because a vocabulary need not be numbered in the order of its merges.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import tiktoken

_LETTERS_AND_MARKS = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_CONTRACTIONS = "'s|'t|'re|'ve|'m|'ll|'d"
SPLITS: Mapping[str, str] = {
    "qwen2": rf"(?i:{_CONTRACTIONS})|{_LETTERS_AND_MARKS}|\p{{N}}|{_REST}",
    "llama-bpe": rf"(?i:{_CONTRACTIONS})|{_LETTERS_AND_MARKS}|\p{{N}}{{1,3}}|{_REST}",
    "gpt-2": rf"{_CONTRACTIONS}| ?\p{{L}}+| ?\p{{N}}+| ?[^\s\p{{L}}\p{{N}}]+|\s+(?!\S)|\s+",
    # Digits stand alone, and white space before a digit keeps its last character.
    "smollm": rf"{_CONTRACTIONS}| ?\p{{L}}+|\p{{N}}| ?[^\s\p{{L}}\p{{N}}]+|\s+(?![^\s\p{{N}}])|\s+",
}
"""`tokenizer.ggml.pre` to the pattern that cuts text into words before merging."""

_CONTROL, _USER_DEFINED = 3, 4
_END_NAMES = frozenset({"<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|end_of_text|>", "<|end|>", "</s>"})
_SEPARATOR = "\uffff"  # a noncharacter, too
_SHIELDS = tuple(map(chr, range(0xFDD0, 0xFDF0)))  # Unicode noncharacters: no text means anything by them


def _byte_alphabet() -> dict[str, int]:
    """GPT-2's way to write any byte as a printable character (openai/gpt-2, encoder.py, bytes_to_unicode)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + at): byte for at, byte in enumerate(others)}


@dataclass(frozen=True, slots=True)
class Shield:
    """Keeps texts from outside from spelling the model's control tokens.

    `guard` puts a noncharacter into every control token's text that a caller's text contains, so that
    `Tokenizer.encode_prompt` reads it as ordinary text, letter for letter as it was written.
    """

    mark: str
    pattern: re.Pattern[str]

    def guard(self, value: Any) -> Any:
        """`value` (text, or lists and mappings of it) with every control token's text broken up."""
        if isinstance(value, str):
            return self.pattern.sub(lambda match: match[0][0] + self.mark + match[0][1:], value)
        if isinstance(value, dict):
            return {self.guard(key): self.guard(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.guard(item) for item in value]
        return value


class Tokenizer:
    """One model's vocabulary. Safe to use from several threads.

    `end_ids` are the tokens that end an answer. Raises `ModelError` for vocabularies of other kinds.
    """

    def __init__(self, metadata: Mapping[str, Any], *, name: str = "the model") -> None:
        kind, pre = metadata.get("tokenizer.ggml.model"), metadata.get("tokenizer.ggml.pre", "gpt-2")
        if kind != "gpt2" or pre not in SPLITS:
            raise ModelError(
                f"{name} has a tokenizer of the kind {kind}/{pre}; this engine knows gpt2 with {', '.join(sorted(SPLITS))}"
            )
        tokens: list[str] = metadata["tokenizer.ggml.tokens"]
        types: list[int] = metadata.get("tokenizer.ggml.token_type", [1] * len(tokens))
        merges: list[str] = metadata["tokenizer.ggml.merges"]
        self.size = len(tokens)
        self._ids = {token: number for number, token in enumerate(tokens)}
        self.special = {
            token: number for number, token in enumerate(tokens) if types[number] in {_CONTROL, _USER_DEFINED}
        }
        self._special = re.compile("|".join(map(re.escape, sorted(self.special, key=len, reverse=True))) or r"(?!)")
        ends = {metadata.get(f"tokenizer.ggml.{key}_token_id") for key in ("eos", "eot")}
        ends |= {self.special.get(end) for end in _END_NAMES}
        self.end_ids = frozenset(int(end) for end in ends if end is not None)
        self.bos, self.eos = (_token(metadata, tokens, key) for key in ("bos", "eos"))
        control = {number for token, number in self.special.items() if types[number] == _CONTROL}
        self._bytes = _spellings(tokens, self.special, control)
        self._encoding, self._number = _encoding(str(pre), self._ids, merges)

    def encode(self, text: str) -> list[int]:
        """The ids of ordinary text: nothing in it is read as a control token."""
        number = self._number
        return [number[rank] for rank in self._encoding.encode_ordinary(text) if number[rank] >= 0]

    def encode_prompt(self, text: str, shield: Shield | None = None) -> list[int]:
        """The ids of a rendered chat template: control tokens count, except where `shield` broke them up."""
        ids: list[int] = []
        at = 0
        for match in self._special.finditer(text):
            ids += self._ordinary(text[at : match.start()], shield)
            ids.append(self.special[match[0]])
            at = match.end()
        return ids + self._ordinary(text[at:], shield)

    def shield(self, *texts: str) -> Shield:
        """A shield whose mark occurs in none of `texts`."""
        mark = next((mark for mark in _SHIELDS if not any(mark in text for text in texts)), _SHIELDS[0])
        return Shield(mark, self._special)

    def spelling(self, token: int) -> bytes:
        """The bytes that `token` writes; none for control tokens. They may be a part of a character."""
        return self._bytes[token]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of `ids`; broken characters become U+FFFD."""
        return b"".join(map(self.spelling, ids)).decode("utf-8", "replace")

    def _ordinary(self, text: str, shield: Shield | None) -> list[int]:
        return self.encode(text.replace(shield.mark, "") if shield else text) if text else []


def _token(metadata: Mapping[str, Any], tokens: list[str], key: str) -> str:
    number = metadata.get(f"tokenizer.ggml.{key}_token_id")
    return tokens[number] if isinstance(number, int) and 0 <= number < len(tokens) else ""


def _spellings(tokens: list[str], special: Mapping[str, int], control: set[int]) -> list[bytes]:
    spellings = _to_bytes(tokens)
    for token, number in special.items():
        spellings[number] = b"" if number in control else token.encode("utf-8", "replace")
    return spellings


def _to_bytes(texts: list[str]) -> list[bytes]:
    """Texts in GPT-2's alphabet to the bytes they stand for, spaces left out. In bulk: there are 300,000 of them."""
    table: dict[int, int | None] = {ord(char): byte for char, byte in _byte_alphabet().items()}
    table[ord(" ")] = None
    return [text.encode("latin-1", "replace") for text in _SEPARATOR.join(texts).translate(table).split(_SEPARATOR)]


def _encoding(pre: str, ids: Mapping[str, int], merges: list[str]) -> tuple[tiktoken.Encoding, list[int]]:
    """Ranks: the 256 bytes, then the merges in order. Also the token id of each rank, -1 where there is none."""
    import tiktoken

    alphabet = sorted(_byte_alphabet().items(), key=lambda pair: pair[1])
    ranks = {bytes([byte]): byte for _, byte in alphabet}
    number = [ids.get(char, -1) for char, _ in alphabet]  # some vocabularies lack bytes that UTF-8 never uses
    for merge, spelling in zip(merges, _to_bytes(merges), strict=True):
        if spelling not in ranks:
            ranks[spelling] = len(number)
            number.append(ids.get(merge.replace(" ", "", 1), -1))
    return tiktoken.Encoding("gguf", pat_str=SPLITS[pre], mergeable_ranks=ranks, special_tokens={}), number
