"""Exact money: USD as `Decimal` outside, whole nano-dollars (10^-9 USD) as `int` in every book.

One unit everywhere means that receipts and ledger agree to the last digit: amounts are rounded up to a
nano-dollar once, where they are made (`PriceBook`, `Ledger.reserve`), and only added afterwards.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, Context, Decimal

_EXACT = Context(prec=60, rounding=ROUND_CEILING)  # never the caller's context: it may round
_ONE = Decimal(1)

MAX_NANO = 2**53 - 1
"""About nine million USD: the largest sum that Redis' Lua numbers (doubles) hold exactly."""


def to_nano(usd: Decimal) -> int:
    """`usd` in nano-dollars, rounded up. Raises ValueError below zero and above `MAX_NANO`."""
    nano = int(_EXACT.quantize(_EXACT.scaleb(usd, 9), _ONE)) if usd.is_finite() else -1
    if not 0 <= nano <= MAX_NANO:
        raise ValueError(f"an amount of money lies between 0 and {from_nano(MAX_NANO)} USD, not at {usd}")
    return nano


def from_nano(nano: int) -> Decimal:
    """Nano-dollars as USD, exact."""
    return _EXACT.scaleb(Decimal(nano), -9) if nano else Decimal(0)
