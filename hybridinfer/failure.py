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
    """The error for a request that nobody answered: `last` gives its type and its cause.

    That is how the last target of the plan ended. In a hedge it is the first choice's end, which also decides where the
    plan goes on; the line of the target that was asked beside it stands behind it on the receipt.
    """
    error = _kind(receipt, last)(_message(receipt), receipt)
    error.__cause__ = last.error if last is not None else None
    return error


def _kind(receipt: Receipt, last: Outcome | None) -> type[RequestError]:
    codes = [attempt.code for attempt in receipt.attempts if attempt.code is not Code.UNSAFE]
    if not codes:
        reasons = {removal.reason for removal in receipt.decision.removed} if receipt.decision else set[Reason]()
        if reasons & {Reason.CAPABILITY, Reason.CONTEXT}:
            return BadRequestError
        if reasons & {Reason.BUDGET, Reason.PRICE}:
            return BudgetExceeded
        return PrivacyViolation if Reason.BOUNDARY in reasons else AllTargetsFailed
    code = codes[-1] if last is None else last.code
    if code in _UNFIT and len({_BY_LAST_CODE.get(code) for code in codes}) > 1:
        # Something else went wrong first; the whole story is on the receipt.
        return AllTargetsFailed
    return _BY_LAST_CODE.get(code, AllTargetsFailed)


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
