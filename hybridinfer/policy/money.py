"""The blocks of the policy file that are about money: prices and budgets."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from .block import Block
from .scalars import Name, Usd, fault

LARGEST_BUDGET = Decimal(9_000_000)
"""USD; books are exact up to there."""


class Price(Block):
    """What a call costs. `input`, `output`, `cache_read`, `cache_write`: USD per million tokens."""

    input: Usd = Decimal(0)
    output: Usd = Decimal(0)
    cache_read: Usd | None = None
    cache_write: Usd | None = None
    usd_per_hour: Usd = Decimal(0)
    """The machine's price while it works; for in-process targets."""

    @model_validator(mode="after")
    def _both_ways(self) -> Self:
        given = self.model_fields_set & {"input", "output", "cache_read", "cache_write"}
        if given and not {"input", "output"} <= given:
            raise fault("a price names both 'input' and 'output'", "add the other one, in USD per million tokens")
        return self


class LedgerDownBlock(Block):
    """What a budget allows while its ledger cannot be reached."""

    allow_up_to: Annotated[Usd, Field(gt=0)]
    """USD per process, for all requests together, whole again when the ledger has booked it and has room; the smallest of
    all budgets counts."""


class BudgetBlock(Block):
    """A limit in USD."""

    name: Name
    usd: Annotated[Usd, Field(gt=0)]
    per: Literal["request", "minute", "hour", "day", "week", "month"]
    by: Name | None = None
    """A request tag; each of its values has a budget of its own. Requests without the tag share one."""
    window: Literal["calendar", "rolling"] = "calendar"
    """From one midnight (or full hour, Monday, ...) to the next, or the last 24 hours (or 60 minutes, 30 days, ...)."""
    time_zone: Name = "UTC"
    """Where the calendar's midnight is, such as Europe/Berlin."""
    pace: Literal["even"] | None = None
    """`even`: the budget signal compares what is used with the share of the window that has passed."""
    on_ledger_down: LedgerDownBlock | None = None
    """None: while the ledger cannot be reached, nothing that costs money is called."""

    @model_validator(mode="after")
    def _window_exists(self) -> Self:
        from zoneinfo import ZoneInfo

        try:
            ZoneInfo(self.time_zone)
        except (KeyError, ValueError, OSError):
            raise fault("no such time zone", "write its IANA name, such as Europe/Berlin", at="time_zone") from None
        if self.usd > LARGEST_BUDGET:
            raise fault("a budget is at most 9 million USD", "books are exact up to there", at="usd")
        if self.pace and (self.window == "rolling" or self.per == "request"):
            raise fault("only a calendar window has a pace", "leave out 'pace'", at="pace")
        return self
