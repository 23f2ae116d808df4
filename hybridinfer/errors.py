"""Every error that this package raises on purpose.

* HybridinferError
  + PolicyError                the policy is wrong: `problems` holds file, line, column, what, what to do
  + ConfigurationError         the set-up is wrong: no policy found, an extra is missing, a plugin is broken
  + ModelError                 a local model cannot be had or trusted
    x ModelNotFound            unknown id, or every source failed
    x ModelCorrupt             the file is not the one that was pinned
  + RequestError               no answer; carries `.receipt`, and the vendor's error in `__cause__`
    x BadRequestError          the request itself is wrong
    x PrivacyViolation         something tried to cross a boundary; nothing was sent
    x BudgetExceeded           no target on the plan is affordable
    x ContentRefused           a content policy refused
    x StreamInterrupted        a stream died after its first piece; carries `.partial`
    x AllTargetsFailed         the whole plan failed
      . RateLimitError         ... with the last failure a rate limit
      . AuthenticationError    ... with the last failure a key
      . APITimeoutError        ... because the deadline passed or the last target was too slow
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .receipt import Receipt


class HybridinferError(Exception):
    """`except HybridinferError` catches everything that this package raises on purpose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One fault of a policy: where it stands, what is wrong, what to do about it."""

    file: str
    line: int
    column: int
    what: str
    hint: str = ""
    severity: str = "error"

    def __str__(self) -> str:
        hint = f"; {self.hint}" if self.hint else ""
        return f"{self.file}:{self.line}:{self.column}: {self.what}{hint}"


class PolicyError(HybridinferError):
    """The policy is wrong; one line for each problem."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


class ConfigurationError(HybridinferError):
    """The set-up is wrong; the message says what to change."""


class ModelError(HybridinferError):
    """A local model cannot be had or trusted."""


class ModelNotFound(ModelError):
    """No such model, or none of its sources could be reached."""


class ModelCorrupt(ModelError):
    """A model's file does not have the checksum that was pinned. It is never loaded."""


class RequestError(HybridinferError):
    """A request ended without an answer."""

    def __init__(self, message: str, receipt: Receipt) -> None:
        super().__init__(message)
        self.receipt = receipt


class BadRequestError(RequestError):
    """The request itself is wrong; no other target would take it."""


class PrivacyViolation(RequestError):
    """Something tried to cross a privacy boundary. Nothing was sent."""


class BudgetExceeded(RequestError):
    """No target on the plan is affordable."""


class ContentRefused(RequestError):
    """A target's content policy refused, and the policy does not fall back on `refused`."""


class StreamInterrupted(RequestError):
    """A stream failed after its first piece; `partial` holds the text that was delivered.

    It was cut, or it came to its end and does not count: refused by a content filter, or not the demanded JSON.
    """

    def __init__(self, message: str, receipt: Receipt, partial: str) -> None:
        super().__init__(message, receipt)
        self.partial = partial


class AllTargetsFailed(RequestError):
    """Every target on the plan failed or was skipped; the receipt lists how."""


class RateLimitError(AllTargetsFailed):
    """Nothing answered; the last failure was a rate limit."""


class AuthenticationError(AllTargetsFailed):
    """Nothing answered; the last failure was a missing or refused key."""


class APITimeoutError(AllTargetsFailed):
    """Nothing answered before the deadline."""
