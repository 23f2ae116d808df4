"""Which error tells the caller best why nobody answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import (
    AllTargetsFailed,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    BudgetExceeded,
    ContentRefused,
    PrivacyViolation,
    RateLimitError,
    RequestError,
)
from .receipt import Code, Reason, Receipt

if TYPE_CHECKING:
    from .commands import Outcome

_BY_LAST_CODE: dict[Code, type[RequestError]] = {
    Code.INVALID: BadRequestError,
    Code.UNSUPPORTED: BadRequestError,
    Code.CONTEXT_TOO_LONG: BadRequestError,
    Code.REFUSED: ContentRefused,
    Code.RATE_LIMITED: RateLimitError,
    Code.UNAUTHORIZED: AuthenticationError,
    Code.TIMEOUT: APITimeoutError,
    Code.STALLED: APITimeoutError,
    Code.OVER_DEADLINE: APITimeoutError,
    Code.OVER_BUDGET: BudgetExceeded,
    Code.FORBIDDEN: PrivacyViolation,
}

_UNFIT = frozenset({Code.OVER_BUDGET, Code.FORBIDDEN, Code.UNSUPPORTED, Code.CONTEXT_TOO_LONG})
"""The last rung was not fit for the request; that explains the failure only where no other rung was."""


def failure(receipt: Receipt, last: Outcome | None) -> RequestError:
    """The error for a request that nobody answered, with the last target's own error as its cause."""
    error = _kind(receipt)(_message(receipt), receipt)
    error.__cause__ = last.error if last is not None else None
    return error


def _kind(receipt: Receipt) -> type[RequestError]:
    codes = [attempt.code for attempt in receipt.attempts if attempt.code is not Code.UNSAFE]
    if not codes:
        reasons = {removal.reason for removal in receipt.decision.removed} if receipt.decision else set[Reason]()
        if reasons & {Reason.CAPABILITY, Reason.CONTEXT}:
            return BadRequestError
        if reasons & {Reason.BUDGET, Reason.PRICE}:
            return BudgetExceeded
        return PrivacyViolation if Reason.BOUNDARY in reasons else AllTargetsFailed
    if codes[-1] in _UNFIT and len({_BY_LAST_CODE.get(code) for code in codes}) > 1:
        # Something else went wrong first; the whole story is on the receipt.
        return AllTargetsFailed
    return _BY_LAST_CODE.get(codes[-1], AllTargetsFailed)


def _message(receipt: Receipt) -> str:
    decision = receipt.decision
    rule = f" (rule {decision.rule!r})" if decision else ""
    tried = [_line(a.target, str(a.code), a.because) for a in receipt.attempts]
    removed = [_line(r.target, str(r.reason), r.because) for r in decision.removed] if decision else []
    parts = []
    if tried:
        parts.append("tried " + "; ".join(tried))
    if removed:
        parts.append("removed " + "; ".join(removed))
    story = ". ".join(parts) or "the plan was empty"
    return f"no target answered{rule}: {story}. Receipt {receipt.id}."


def _line(target: str, what: str, because: str) -> str:
    return f"{target}: {what}" + (f" ({because})" if because else "")
