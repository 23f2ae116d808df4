"""How likely a small model is to fail at the request: a linear model, trained on recorded outcomes.

The score comes from the *last user turn*: sixty features (`features.py`) times the weights of
`complexity.json`, which `python -m benchmarks.train_complexity` makes from recorded successes and failures
of small models. A short follow-up inherits most of what the turns before it asked. What single prompts
cannot teach (tools, a schema, a long context, pictures) adds the documented, hand-set points of `Context`.
A logistic map spreads the sum over 0..1. With `model: embedding` the 384 numbers of `edge.embedder` are features, too,
with weights of their own file. docs/complexity.md has the method, the figures and the limits.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from itertools import accumulate

from ..policy.model import SignalBlock
from ..policy.shares import shares_of
from ..types import File, Image, Request, Text, ToolCall, ToolResult
from .bands import at_shares, between, level_of, say
from .base import SignalResult, Standing
from .features import GROUPS, NAMES, SAMPLE, Group, features
from .lexicon import ASKS
from .weights import scorer_of


class ComplexitySignal:
    """Scores 0..1 by the expected failure of a small model. Needs no network, no language guess, and no model unless asked.

    Time is bounded: of a text longer than 12,000 characters, head, middle and tail are read, and `because`
    says so. The other reasons are what weighed most, in points of expected failure, against the average of
    the training data.
    """

    name = "complexity"

    def __init__(self, block: SignalBlock) -> None:
        """Raises `ModelNotFound`, which says what to run, where the block asks for a model that is not here."""
        self._block = block
        self._scorer: Scorer | None = None  # the shipped one is read at its first use
        self._weights = ""
        if block.options or block.model is not None:
            self._scorer, self._weights = scorer_of(block)
        if block.model is not None:
            from ..edge.embedder import check_here

            check_here()

    def score(self, request: Request, standing: Standing) -> SignalResult:
        """Measure `request`: its last user turn first, then the conversation around it."""
        del standing
        scorer = self._scorer or load()
        turns = [message.text for message in request.messages if message.role == "user"] or [""]
        points, reasons = scorer.judge(turns[-1])
        earlier = "\n".join(turns[:-1])
        points, inherited = _inherit(points, turns[-1], scorer.judge(earlier)[0] if earlier.strip() else points)
        context, added = _context(request, len(turns[-1]))
        score = scorer.scale(points + context)
        because = (*reasons, *inherited, *added, *_sampled(turns[-1]), *((self._weights,) if self._weights else ()))
        if shares_of(self._block.levels) is None:
            return SignalResult(score=score, level=self._block.level_of(score), because=because)
        floors = at_shares(self._block, lambda rank: between(scorer.quantiles, rank))
        return SignalResult(score=score, level=level_of(floors, score), because=(*because, say(floors)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Scorer:
    """The trained weights, in the order of `features.NAMES`; those of a meaning behind them."""

    intercept: float
    """Expected failure of a small model on the average training prompt, 0..1."""
    means: tuple[float, ...]
    scales: tuple[float, ...]
    weights: tuple[float, ...]
    """Points of expected failure for one scale above the mean."""
    centre: float
    """The points that score 0.5."""
    slope: float
    quantiles: tuple[float, ...]
    """Scores of the training prompts at evenly spaced ranks, from the lowest to the highest."""
    meaning: Callable[[str], Sequence[float]] | None = None
    """What gives the numbers behind the features; None: there are none."""

    def judge(self, text: str) -> tuple[float, tuple[str, ...]]:
        """Expected failure of a small model at `text` (a linear estimate, so a little beyond 0..1), and why."""
        values = features(text)
        shares = self.contributions(values if self.meaning is None else [*values, *self.meaning(text)])
        sums: list[tuple[float, Group | str]] = [(sum(shares[part]), group) for group, part in _PARTS]
        sums.append((sum(shares[len(NAMES) :]), "what it is about"))
        sums += [(points, f"asks to {word}") for word, points in UNSEEN.items() if values[_ASKED[word]]]
        sums.sort(key=lambda item: -abs(item[0]))
        reasons = tuple(
            f"{self._phrase(what, values)} ({share:+.2f})"
            for share, what in sums[:_REASONS]
            if abs(share) >= _WORTH_SAYING
        )
        return self.intercept + sum([share for share, _ in sums]), reasons

    def contributions(self, values: Sequence[float | None]) -> list[float]:
        """What each feature adds to the intercept. None counts as average; nothing counts beyond 3 scales."""
        shares: list[float] = []
        for value, mean, scale, weight in zip(values, self.means, self.scales, self.weights, strict=True):
            if value is None:
                shares.append(0.0)
                continue
            scales = (value - mean) / scale
            if scales > _CLIP:  # not min() and max(): this runs sixty times for every request
                scales = _CLIP
            elif scales < -_CLIP:
                scales = -_CLIP
            shares.append(weight * scales)
        return shares

    def _phrase(self, what: Group | str, values: Sequence[float | None]) -> str:
        """In plain words: the words asked, or more or less of a group's leading feature than the average."""
        if isinstance(what, str):
            return what
        if what is GROUPS[-1]:
            asked = [word for word, position in _ASKED.items() if values[position]]
            return f"{what.more} {', '.join(asked)}" if asked else what.less
        lead = NAMES.index(what.features[0])
        value, mean = values[lead], self.means[lead]
        return what.more if (mean if value is None else value) > mean else what.less

    def scale(self, points: float) -> float:
        """Points of expected failure to a score between 0 and 1; monotone."""
        return 1 / (1 + math.exp(-self.slope * (points - self.centre)))


MEANING: tuple[str, ...] = tuple(f"meaning_{number:03}" for number in range(384))
"""The names of an embedding's numbers."""
PIECES = 128
"""Pieces of words that the embedding reads of a prompt: as many as it was trained with."""


@cache
def load(model: str | None = None) -> Scorer:
    """The shipped weights, for the features alone or with the embedding; read once."""
    name = "complexity.json" if model is None else f"complexity_{model}.json"
    return parse(resources.files("hybridinfer.signals").joinpath(name).read_text("utf-8"))


def meaning(text: str) -> list[float]:
    """The numbers behind the features. Loads the model at its first use; raises `ModelError` where that fails."""
    from ..edge import embedder

    numbers: list[float] = embedder.load().vector(text, pieces=PIECES).tolist()
    return numbers


def parse(text: str) -> Scorer:
    """A scorer from the JSON that the training command writes. Raises ValueError where its features are not ours."""
    tree = json.loads(text)
    table: Mapping[str, Mapping[str, float]] = tree["features"]
    if tuple(table) not in {NAMES, (*NAMES, *MEANING)}:
        raise ValueError(
            "complexity.json has other features than features.py; train again: python -m benchmarks.train_complexity"
        )
    return Scorer(
        intercept=tree["intercept"],
        means=tuple(row["mean"] for row in table.values()),
        scales=tuple(row["scale"] for row in table.values()),
        weights=tuple(row["weight"] for row in table.values()),
        centre=tree["score"]["centre"],
        slope=tree["score"]["slope"],
        quantiles=tuple(tree["score"]["quantiles"]),
        meaning=meaning if len(table) > len(NAMES) else None,
    )


# Points for what single prompts cannot teach. Set by hand: the recorded outcomes hold one user turn each, so
# nothing here is learned, and a single turn below some hundred characters, without tools, schema and pictures,
# that asks for no proof, derivation or design, keeps its rank. Each is small beside the spread of the learned part (0.5 between the easiest and the hardest
# twentieth of the training prompts), and each only ever adds.
UNSEEN = {"prove": 0.2, "derive": 0.1, "design": 0.08}
"""For what the recorded prompts hardly hold (16 of 17,665 open so) and small models are known to fail at."""
TOOLS, TOOLS_DOUBLED = 0.06, 0.02
"""For having to choose a tool and fill in its arguments, and for every doubling of their number."""
SCHEMA = 0.04
"""For an answer that must keep a JSON schema."""
PICTURE = 0.08
"""For pictures and files to be read."""
CONTEXT, CONTEXT_CHARS = 0.03, 2_000
"""Times log2(1 + characters / 2000) of everything around the last user turn: 0.03 at 2,000, 0.1 at 20,000."""
FOLLOW_UP, FOLLOW_UP_CHARS = 0.8, 200
"""The share of the earlier turns' surplus that an empty follow-up inherits; none from 200 characters."""

_REASONS = 3
_WORTH_SAYING = 0.01
_CLIP = 3.0
_ENDS = tuple(accumulate(len(group.features) for group in GROUPS))
_PARTS = tuple((group, slice(end - len(group.features), end)) for group, end in zip(GROUPS, _ENDS, strict=True))
"""Where each group's features stand."""
_ASKED = {word: NAMES.index(f"asks_{word}") for word in ASKS}


def _inherit(points: float, turn: str, earlier: float) -> tuple[float, tuple[str, ...]]:
    share = FOLLOW_UP * max(0.0, 1 - len(turn) / FOLLOW_UP_CHARS) * max(0.0, earlier - points)
    return points + share, (f"a short follow-up on harder turns ({share:+.2f})",) if share >= _WORTH_SAYING else ()


def _context(request: Request, last_turn: int) -> tuple[float, tuple[str, ...]]:
    parts = [part for message in request.messages for part in message.parts]
    nested = [inner for part in parts if isinstance(part, ToolResult) for inner in part.content]
    everything = (*parts, *nested)
    chars = sum(len(part.text) for part in everything if isinstance(part, Text))
    chars += sum(len(part.arguments) for part in parts if isinstance(part, ToolCall)) - last_turn
    format_ = request.response_format
    added: list[tuple[float, str]] = []
    if request.tools:
        added.append((_tools(len(request.tools)), f"{len(request.tools)} tools to choose from"))
    if format_ is not None and format_.type == "json_schema":
        added.append((SCHEMA, "an answer that must keep a schema"))
    if any(isinstance(part, (Image, File)) for part in everything):
        added.append((PICTURE, "pictures or files to read"))
    if chars:
        added.append((CONTEXT * math.log2(1 + chars / CONTEXT_CHARS), f"{chars:,} characters of context"))
    reasons = tuple(f"{why} ({share:+.2f})" for share, why in added if share >= _WORTH_SAYING)
    return sum(share for share, _ in added), reasons


def _tools(number: int) -> float:
    return TOOLS + TOOLS_DOUBLED * math.log2(number)


def _sampled(text: str) -> tuple[str, ...]:
    return (f"only {SAMPLE:,} of {len(text):,} characters were read",) if len(text) > SAMPLE else ()
