"""Output that keeps a form while it is written: a JSON schema, a regular expression, one of several texts, a tool call.

The work is llguidance's (Microsoft, MIT): from a grammar it tells, before every token, which tokens may come. A
grammar is its text, so it can be cached, compared and made without a model.
"""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from ..receipt import Code
from .generate import GenerationFailed

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer
    from llguidance._lib import JsonCompileOptions

    from ..types import ResponseFormat, Tool
    from .constraint import Constraint, Logits
    from .tokenizer import Tokenizer

_COMPACT: JsonCompileOptions = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
"""As models write JSON on one line; free white space invites small ones to fill the page with it."""

LARGEST = 100_000
"""Characters of a grammar. Building one takes time that grows faster than it does, and all other answers wait meanwhile."""
_FUEL = 100_000
"""What building the states may cost, in llguidance's units; a tenth of its own limit, which takes seconds."""

_known: WeakKeyDictionary[Tokenizer, LLTokenizer] = WeakKeyDictionary()
_lock = threading.Lock()


def for_format(wanted: ResponseFormat | None) -> Callable[[Tokenizer], Constraint] | None:
    """What an answer in this format must keep to; None where it is free."""
    if wanted is None or wanted.type == "text":
        return None
    if wanted.type == "json_schema":
        return partial(Guided, _schema(wanted.schema or {}))
    if wanted.type == "json_object":
        return partial(Guided, _schema({"type": "object"}))
    if wanted.type == "regex":
        from llguidance import LLMatcher

        return partial(Guided, LLMatcher.grammar_from_regex(wanted.pattern))
    return lambda tokenizer: Guided(
        _lark(" | ".join(map(_literal, wanted.choices))), tokenizer
    )  # seldom: they are scored


def for_call(tools: Sequence[Tool], tool: str | None) -> Callable[[Tokenizer], Constraint]:
    """How a call goes on behind `toolcalls.opening(tool)`: the name where it is open, arguments that keep the schema."""
    ends = f"{_literal('}')} {_literal(chr(10) + '</tool_call>')}"
    if tool is not None:
        schema = next(dict(one.parameters) for one in tools if one.name == tool)
        return partial(Guided, _lark(f"{_literal(' ')} {_json(schema)} {ends}"))
    named = [
        f"{_literal(json.dumps(one.name, ensure_ascii=False)[1:] + ', ' + chr(34) + 'arguments' + chr(34) + ': ')} "
        f"{_json(dict(one.parameters))} {ends}"
        for one in tools
    ]
    return partial(Guided, _lark(" | ".join(named)))


class Guided:
    """A `Constraint` by a grammar of llguidance. Raises `GenerationFailed(UNSUPPORTED)` for one that cannot be kept."""

    def __init__(self, grammar: str, tokenizer: Tokenizer) -> None:
        import numpy as np
        from llguidance import LLMatcher, LLParserLimits

        if len(grammar) > LARGEST:
            raise GenerationFailed(Code.UNSUPPORTED, "the demanded format is too large for guided output")
        lexicon = _lexicon(tokenizer)
        limits = LLParserLimits(initial_lexer_fuel=_FUEL)
        self._matcher: LLMatcher = LLMatcher(lexicon, grammar, log_level=0, limits=limits)
        if self._matcher.is_error():
            raise GenerationFailed(Code.UNSUPPORTED, "the demanded format has what guided output does not know")
        self._size = lexicon.vocab_size
        self._bits = np.zeros((1, (self._size + 31) // 32), np.int32)

    @property
    def done(self) -> bool:
        """Nothing but the end can follow."""
        return self._matcher.is_stopped()

    def mask(self, logits: Logits) -> None:
        """Set what may not come next to -inf."""
        import numpy as np

        self._matcher.unsafe_compute_mask_ptr(self._bits.ctypes.data, self._bits.nbytes)
        self._check()
        allowed = np.unpackbits(self._bits.view(np.uint8)[0], bitorder="little")[: self._size].view(bool)
        logits[self._size :] = -math.inf  # models pad their vocabulary
        np.putmask(logits[: self._size], ~allowed, -math.inf)

    def accept(self, token: int) -> None:
        """`token` was chosen."""
        self._matcher.consume_token(token)
        self._check()

    def _check(self) -> None:
        if self._matcher.is_error():
            raise GenerationFailed(Code.INVALID_OUTPUT, "the demanded format grew beyond what guided output can follow")


def _lexicon(tokenizer: Tokenizer) -> LLTokenizer:
    """The vocabulary as llguidance wants it; made once for each (about a second for 150,000 tokens)."""
    with _lock:
        made = _known.get(tokenizer)
        if made is None:
            from llguidance import LLTokenizer, TokenizerWrapper

            made = _known[tokenizer] = LLTokenizer(
                TokenizerWrapper(_Words(tokenizer)), eos_token=sorted(tokenizer.end_ids)
            )
        return made


class _Words:
    """A tokenizer with the names that llguidance asks for."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        control = {number: token for token, number in tokenizer.special.items() if not tokenizer.spelling(number)}
        self.tokens = [
            control[number].encode() if number in control else tokenizer.spelling(number)
            for number in range(tokenizer.size)
        ]
        self.special_token_ids = sorted(control)
        self.eos_token_id = min(tokenizer.end_ids)
        self.bos_token_id = None
        self._encode = tokenizer.encode

    def __call__(self, text: bytes) -> list[int]:
        return self._encode(text.decode())


def _schema(schema: Mapping[str, Any]) -> str:
    from llguidance import LLMatcher

    try:
        return LLMatcher.grammar_from_json_schema(dict(schema), overrides=_COMPACT)
    except ValueError:
        raise GenerationFailed(Code.UNSUPPORTED, "the demanded schema is not JSON") from None


def _lark(body: str) -> str:
    from llguidance import LLMatcher

    return LLMatcher.grammar_from_lark(f"start: {body}")


def _json(schema: Mapping[str, Any]) -> str:
    return f"%json {json.dumps({**schema, 'x-guidance': _COMPACT}, ensure_ascii=False)}"


def _literal(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
