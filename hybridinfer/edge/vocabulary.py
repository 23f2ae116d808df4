"""What a GGUF file says about text: tokenizer, chat template and window, without its weights."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import ModelError
from .checksum import stamp
from .gguf import GgufFile
from .hyper import MAX_CONTEXT
from .lexicon import Lexicon, unpack
from .template import ChatTemplate
from .tokenizer import Tokenizer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .checksum import Stamp

_known: dict[Stamp, Vocabulary] = {}
_lock = threading.Lock()


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """Read-only; shared by threads."""

    tokenizer: Tokenizer
    template: ChatTemplate
    context_window: int

    @classmethod
    def of(
        cls, file: Path, header: Callable[[], bytes] | None = None, packed: Callable[[], bytes | None] | None = None
    ) -> Vocabulary:
        """The vocabulary of `file`, read once per process. Raises `ModelError` or `OSError`.

        `header` gives the GGUF header where the file does not show it: it is sealed. `packed` gives what `pack` gave
        once, or None; it takes 0.4 s and a header 1.1 s.
        """
        key = stamp(file)
        with _lock:
            if key not in _known:
                data = None if packed is None else packed()
                _known[key] = _read(file, None if header is None else header()) if data is None else _unpacked(data)
            return _known[key]

    def pack(self) -> bytes:
        """It as bytes that `of` reads quickly."""
        return self.tokenizer.lexicon.pack(template=self.template.source, window=self.context_window)


def _read(file: Path, data: bytes | None) -> Vocabulary:
    with GgufFile(file, data) as gguf:
        source = gguf.metadata.get("tokenizer.chat_template")
        if not isinstance(source, str):
            raise ModelError(f"{file.name} has no chat template; use an instruction-tuned model")
        tokenizer = Tokenizer(Lexicon.of(gguf.metadata, name=file.name), name=file.name)
        window = min(int(gguf.hyper("context_length")), MAX_CONTEXT)
        return Vocabulary(tokenizer=tokenizer, template=ChatTemplate(source, tokenizer), context_window=window)


def _unpacked(data: bytes) -> Vocabulary:
    lexicon, more = unpack(data)
    tokenizer = Tokenizer(lexicon)
    template = ChatTemplate(more["template"], tokenizer)
    return Vocabulary(tokenizer=tokenizer, template=template, context_window=more["window"])
