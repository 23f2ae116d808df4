"""Dollars and nano-dollars."""

from __future__ import annotations

from decimal import Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridinfer.budget.money import MAX_NANO, from_nano, to_nano


@given(st.integers(0, MAX_NANO))
def test_every_amount_comes_back(nano: int) -> None:
    """Nano-dollars to dollars and back is exact, in whatever context the caller computes."""
    with localcontext() as context:
        context.prec = 2
        assert to_nano(from_nano(nano)) == nano


def test_fractions_round_up() -> None:
    """Less than a nano-dollar is a nano-dollar."""
    assert to_nano(Decimal("0.0000000001")) == 1
    assert to_nano(Decimal("0.0000000010")) == 1


@pytest.mark.parametrize("amount", ["-0.01", "NaN", "Infinity", "9007199.254740992"])
def test_what_is_no_amount_is_refused(amount: str) -> None:
    """Negative, endless and overlarge amounts never reach a book."""
    with pytest.raises(ValueError, match="between 0 and 9007199"):
        to_nano(Decimal(amount))
