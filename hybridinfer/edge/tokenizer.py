"""Text to token ids and back, with tiktoken, by the tables of a model's `Lexicon`.

Byte-level BPE only. A merge's place in the file is its rank; ids are mapped afterwards, because a vocabulary need
not be numbered in the order of its merges.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .lexicon import Lexicon

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

_SHIELDS = tuple(map(chr, range(0xFDD0, 0xFDF0)))  # Unicode noncharacters: no text means anything by them


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

    `end_ids` are the tokens that end an answer.
    """

    def __init__(self, lexicon: Lexicon, *, name: str = "the model") -> None:
        """Raises `ModelError` where the model cuts text into words in an unknown way."""
        import tiktoken

        if lexicon.pre not in SPLITS:
            raise ModelError(f"{name} cuts words like {lexicon.pre}; this engine knows {', '.join(sorted(SPLITS))}")
        self.lexicon = lexicon
        self.size = len(lexicon.spellings)
        self.special = lexicon.special
        self.end_ids = frozenset(lexicon.end_ids)
        self.bos, self.eos = lexicon.bos, lexicon.eos
        self._special = re.compile("|".join(map(re.escape, sorted(self.special, key=len, reverse=True))) or r"(?!)")
        ranks = {text: rank for rank, text in enumerate(lexicon.ranks)}
        self._encoding = tiktoken.Encoding(
            "gguf", pat_str=SPLITS[lexicon.pre], mergeable_ranks=ranks, special_tokens={}
        )

    def encode(self, text: str) -> list[int]:
        """The ids of ordinary text: nothing in it is read as a control token."""
        number = self.lexicon.numbers
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
        return self.lexicon.spellings[token]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of `ids`; broken characters become U+FFFD."""
        return b"".join(map(self.spelling, ids)).decode("utf-8", "replace")

    def _ordinary(self, text: str, shield: Shield | None) -> list[int]:
        return self.encode(text.replace(shield.mark, "") if shield else text) if text else []
