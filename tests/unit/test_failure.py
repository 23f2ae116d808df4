"""Which error tells best why nobody answered."""

from __future__ import annotations

import pytest

from hybridinfer import errors
from hybridinfer.commands import Outcome
from hybridinfer.failure import failure
from hybridinfer.receipt import Attempt, Code, Decision, Reason, Receipt, Removal


def receipt(*codes, removed=()):
    removals = tuple(Removal(target=f"r{i}", reason=reason, because="why") for i, reason in enumerate(removed))
    decision = Decision(rule="all", levels={}, ladder=("a",), plan=("a",), removed=removals)
    attempts = tuple(Attempt(target="a", number=1, code=code, because="why") for code in codes)
    return Receipt(id="id1", policy="p", decision=decision, attempts=attempts)


@pytest.mark.parametrize(
    ("codes", "error"),
    [
        ([Code.INVALID], errors.BadRequestError),
        ([Code.UNAVAILABLE, Code.INVALID], errors.BadRequestError),
        ([Code.UNSUPPORTED], errors.BadRequestError),
        ([Code.CONTEXT_TOO_LONG, Code.CONTEXT_TOO_LONG], errors.BadRequestError),
        ([Code.REFUSED], errors.ContentRefused),
        ([Code.RATE_LIMITED], errors.RateLimitError),
        ([Code.UNAUTHORIZED], errors.AuthenticationError),
        ([Code.TIMEOUT], errors.APITimeoutError),
        ([Code.STALLED], errors.APITimeoutError),
        ([Code.OVER_DEADLINE], errors.APITimeoutError),
        ([Code.OVER_BUDGET], errors.BudgetExceeded),
        ([Code.FORBIDDEN], errors.PrivacyViolation),
        ([Code.UNAVAILABLE], errors.AllTargetsFailed),
        ([Code.CIRCUIT_OPEN], errors.AllTargetsFailed),
        # Not servable by the last rung, but the first one was only down: the request is not to blame.
        ([Code.UNAVAILABLE, Code.UNSUPPORTED], errors.AllTargetsFailed),
        ([Code.UNAVAILABLE, Code.CONTEXT_TOO_LONG], errors.AllTargetsFailed),
        ([Code.UNAVAILABLE, Code.OVER_BUDGET], errors.AllTargetsFailed),
        ([Code.UNAVAILABLE, Code.FORBIDDEN], errors.AllTargetsFailed),
        ([Code.UNSUPPORTED, Code.CONTEXT_TOO_LONG], errors.BadRequestError),
    ],
)
def test_attempts_name_the_error(codes, error):
    """The last code, unless it only says that nothing was sent."""
    assert type(failure(receipt(*codes), None)) is error


@pytest.mark.parametrize(
    ("removed", "error"),
    [
        ([Reason.CAPABILITY], errors.BadRequestError),
        ([Reason.CONTEXT, Reason.BOUNDARY], errors.BadRequestError),
        ([Reason.BUDGET], errors.BudgetExceeded),
        ([Reason.PRICE], errors.BudgetExceeded),
        ([Reason.BOUNDARY], errors.PrivacyViolation),
        ([], errors.AllTargetsFailed),
    ],
)
def test_an_empty_plan_is_explained_by_its_removals(removed, error):
    """Nothing was tried."""
    assert type(failure(receipt(removed=removed), None)) is error


def test_without_a_decision():
    """Nothing is known."""
    error = failure(Receipt(id="id1", policy="p"), None)
    assert type(error) is errors.AllTargetsFailed
    assert str(error) == "no target answered: the plan was empty. Receipt id1."


def test_the_message_tells_the_story():
    """Rule, attempts, removals, receipt."""
    error = failure(receipt(Code.TIMEOUT, removed=[Reason.CONTEXT]), None)
    expected = "no target answered (rule 'all'): tried a: timeout (why). removed r0: context (why). Receipt id1."
    assert str(error) == expected


def test_the_vendors_error_is_the_cause():
    """For whoever wants to look."""
    cause = OSError()
    error = failure(receipt(Code.UNAVAILABLE), Outcome(code=Code.UNAVAILABLE, error=cause))
    assert error.__cause__ is cause
    assert error.receipt.id == "id1"
