"""How sensitive is a request? Findings, what cannot be read, and the caller's label; the highest counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, field_validator
from pydantic import Field as Option

from ..privacy.detectors import COMPANION, SCORES, TYPES, Own, Scanner
from ..privacy.fields import Field, fields, unscannable
from .base import SignalResult, Standing

if TYPE_CHECKING:
    from ..policy.model import SignalBlock
    from ..privacy.detectors.model import NameModel
    from ..privacy.finding import Finding
    from ..types import Request


class PrivacyOptions(BaseModel):
    """The signal's `options` in a policy."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    terms: tuple[str, ...] = ()
    """Words of one's own that must not leave (project names, customers); any case, whole words."""
    patterns: tuple[str, ...] = ()
    """Regular expressions of one's own; linear-time ones only."""
    unscannable: str = "personal"
    """The level of pictures, files and blocks that no text detector can read."""
    trust_labels: bool = False
    """The caller's label may then also lower the level."""
    secret_types: frozenset[str] = frozenset()
    """Types that count as the highest score whatever their default."""
    public_types: frozenset[str] = frozenset()
    """Types that do not count at all."""

    @field_validator("secret_types", "public_types")
    @classmethod
    def _known(cls, types: frozenset[str]) -> frozenset[str]:
        if unknown := sorted(types - set(TYPES)):
            raise ValueError(f"no such type: {', '.join(unknown)}; there are {', '.join(TYPES)}")
        return types

    names: str = Option(default="labels", min_length=1)
    """How names of persons are found, to be masked beside harder findings: `labels`; `model`, a small one on this
    machine (see `docs/privacy.md`), which finds addresses too; or the folder that holds the model."""
    names_characters: int = Option(default=10_000, gt=0)
    """The longest text that the model reads; a longer one counts as a hit."""
    seconds: float = Option(default=2.0, gt=0)
    """Time for scanning one request; past it the rest counts as a hit."""


class PrivacySignal:
    """Scores a request from 0 (nothing found) to 1 (credentials). See `docs/privacy.md` for the scores by type."""

    name = "privacy"

    def __init__(self, block: SignalBlock) -> None:
        self._block = block
        self._options = PrivacyOptions.model_validate(block.options)
        own = Own(terms=self._options.terms, patterns=self._options.patterns)
        self._model = self._name_model()
        more = () if self._model is None else (("model", self._model.detect),)
        self._scanner = Scanner(own=own, seconds=self._options.seconds, more=more)

    def _name_model(self) -> NameModel | None:
        options = self._options
        if options.names == "labels":
            return None
        from ..privacy.detectors.model import NameModel  # only who asks for it pays for it

        return NameModel(options.names, characters=options.names_characters, seconds=options.seconds)

    def score(self, request: Request, standing: Standing) -> SignalResult:
        """The level of the whole conversation: the highest of its parts."""
        del standing
        return self._score(request, trust_labels=self._options.trust_labels)

    def find(self, field: Field) -> tuple[Finding, ...]:
        """What masking has to replace in `field`; people's names only next to something harder."""
        findings = [
            f for f in self._scanner.scan(field.text, as_json=field.json) if f.type not in self._options.public_types
        ]
        hard = any(finding.type not in COMPANION for finding in findings)
        return tuple(findings) if hard else ()

    def is_clean(self, request: Request) -> bool:
        """Whether `request` scores the lowest level, its label taken at its word where it is higher."""
        return self._score(request, trust_labels=False).level == next(iter(self._block.levels))

    def _score(self, request: Request, *, trust_labels: bool) -> SignalResult:
        score, because = 0.0, list[str]()
        for where, counts in self._findings(request):
            for kind, count in counts.items():
                score = max(score, self._score_of(kind))
                because.append(f"{kind}: {count} in {where}")
        for where in unscannable(request):
            score = max(score, self._floor(self._options.unscannable))
            because.append(f"unscannable: {where}")
        if request.privacy is not None:
            label = self._floor(request.privacy)
            if label > score or trust_labels:
                score = label
                because.append("the caller's label")
        return SignalResult(score=score, level=self._block.level_of(score), because=tuple(because))

    def _findings(self, request: Request) -> Iterator[tuple[str, Mapping[str, int]]]:
        if self._model is not None:
            self._model.warm()
        clock = self._scanner.clock()
        for field in fields(request):
            findings = self._scanner.scan(field.text, as_json=field.json, clock=clock)
            counts = Counter(f.type for f in findings if self._score_of(f.type) > 0)
            if counts:
                yield field.where, counts

    def _score_of(self, kind: str) -> float:
        if kind in self._options.secret_types:
            return 1.0
        return 0.0 if kind in self._options.public_types else SCORES[kind]

    def _floor(self, level: str) -> float:
        """Where a named level begins; an unknown name is the highest level."""
        return self._block.levels.get(level, max(self._block.levels.values()))
