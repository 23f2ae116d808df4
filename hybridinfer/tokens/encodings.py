"""OpenAI's byte-pair encodings from bundled ranks: built on first use, once, and never downloaded.

tiktoken itself fetches its ranks over the network, without a timeout, at first use. Here they lie beside
this file, packed to a third (data/NOTICE says where they come from and in which format), and
`tiktoken.Encoding` is built from them: about 0.1 s for cl100k_base and 0.3 s for o200k_base.
"""

from __future__ import annotations

import os
import re
from functools import lru_cache
from importlib import resources
from itertools import accumulate, pairwise
from threading import Lock
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from tiktoken import Encoding

EncodingName = Literal["o200k_base", "cl100k_base"]


def encoding(name: EncodingName) -> Encoding:
    """The encoding `name`. The first call builds it; calls from several threads build it once."""
    if name not in _built:
        with _building:
            if name not in _built:
                _built[name] = _build(name)
    return _built[name]


@lru_cache(maxsize=256)
def encoding_name(model: str) -> tuple[EncodingName, bool]:
    """The encoding of `model`, and whether that is known (True) or only the nearest one we have (False).

    Vendor prefixes (`openai/`) and fine-tunes (`ft:`) are looked through. An empty name is no model at
    all: o200k_base, known. Source: tiktoken/model.py, and OpenAI's newer models all use o200k.
    """
    base = model.lower().rsplit("/", 1)[-1].removeprefix("ft:")
    if _CL100K.match(base):
        return "cl100k_base", True
    return "o200k_base", not base or _O200K.match(base) is not None


def ranks(name: EncodingName) -> dict[bytes, int]:
    """The merge ranks of `name`: token bytes to rank, in rank order. Unpacked on every call."""
    import lzma  # only the first count pays for it

    raw = lzma.decompress(resources.files("hybridinfer.tokens").joinpath("data", f"{name}.xz").read_bytes())
    size = _VOCABULARY[name]
    ends = accumulate(raw[:size], initial=size)
    return {raw[start:end]: rank for rank, (start, end) in enumerate(pairwise(ends))}


_CL100K = re.compile(r"gpt-4(?![\w.])|gpt-3\.?5|text-embedding-|davinci-002|babbage-002")
_O200K = re.compile(r"gpt-|chatgpt-|o\d")
_VOCABULARY: dict[EncodingName, int] = {"o200k_base": 199_998, "cl100k_base": 100_256}

# The patterns are tiktoken's own (tiktoken_ext/openai_public.py); a unit test holds them equal.
_PATTERN: dict[EncodingName, str] = {
    "o200k_base": (
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
        r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
        r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    ),
    "cl100k_base": r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s",
}

_built: dict[EncodingName, Encoding] = {}
_building = Lock()


def _new_lock() -> None:
    global _building  # noqa: PLW0603 - a lock held by a thread that the fork left behind would never open
    _building = Lock()


os.register_at_fork(after_in_child=_new_lock)


def _build(name: EncodingName) -> Encoding:
    from tiktoken import Encoding

    # No special tokens: in a prompt, `<|endoftext|>` is ordinary text.
    return Encoding(name, pat_str=_PATTERN[name], mergeable_ranks=ranks(name), special_tokens={})
