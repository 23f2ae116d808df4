"""The budget signal tells what the ledger told, and denies what it does not know."""

from __future__ import annotations

import pytest

from hybridinfer.policy.model import DEFAULT_SIGNALS
from hybridinfer.signals.budget import BudgetSignal
from hybridinfer.types import Message, Request, Standing, Text

REQUEST = Request(messages=(Message(role="user", parts=(Text(text="hello"),)),))


@pytest.mark.parametrize(
    ("used", "score", "level"),
    [
        (0.0, 0.0, "ok"),
        (0.79, 0.79, "ok"),
        (0.8, 0.8, "tight"),
        (0.999, 0.999, "tight"),
        (1.0, 1.0, "spent"),
        (1.7, 1.0, "spent"),
    ],
)
def test_the_score_is_the_share_used(used: float, score: float, level: str) -> None:
    """The tightest budget's share is the score, at most 1, and the policy's bands name it."""
    result = BudgetSignal(DEFAULT_SIGNALS["budget"]).score(REQUEST, Standing(used=used, budget="day"))
    assert (result.score, result.level) == (score, level)
    assert "'day'" in result.because[0]


def test_unknown_money_is_spent_money() -> None:
    """A ledger out of reach scores highest, so that what costs money is not chosen."""
    result = BudgetSignal(DEFAULT_SIGNALS["budget"]).score(REQUEST, Standing(used=0.0, budget="day", known=False))
    assert (result.score, result.level) == (1.0, "spent")
    assert "cannot be reached" in result.because[0]


def test_without_budgets_nothing_is_used() -> None:
    """A policy that limits nothing scores 0 and has nothing to explain."""
    result = BudgetSignal(DEFAULT_SIGNALS["budget"]).score(REQUEST, Standing())
    assert (result.score, result.level, result.because) == (0.0, "ok", ())
