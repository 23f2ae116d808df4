"""The vendors' billing formula, compiled to integers: what a call costs, and what it can cost at most.

Formula (genai-prices, `ModelPrice.calc_price`): each token is billed once, at the price of the most specific
kind it belongs to (hour-long cache write, cache write, cache read, plain input; reasoning, plain output); a kind
without a price of its own is billed as its parent. Prices with tiers are cliffs: the tier is chosen by *all* input
tokens of the call and holds for every token. Some vendors add a fee per request.
Rates are integers of 10^-24 USD per token, so nothing is rounded before the final step to nano-dollars.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from genai_prices.types import ModelPrice, TieredPrices

    from ..policy.model import Price
    from ..types import Usage

_EXACT = Context(prec=60)
_TOKEN = 18  # USD per million tokens -> 10^-24 USD per token
_KILO = 21  # USD per thousand requests -> 10^-24 USD per request
_PER_NANO = 10**15


@dataclass(frozen=True, slots=True)
class Steps:
    """A price by size: `rates[i]` holds for calls of more than `starts[i - 1]` input tokens."""

    starts: tuple[int, ...]
    rates: tuple[int, ...]

    def at(self, input_tokens: int) -> int:
        """The rate of a call with so many input tokens."""
        return self.rates[bisect_left(self.starts, input_tokens)] if self.starts else self.rates[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceiling:
    """The dearest that any token of a call can be; rises with the call's size, never falls."""

    input: Steps
    output: Steps
    request: int = 0

    def nano(self, *, input_tokens: int, max_tokens: int) -> int:
        """An upper bound in nano-dollars for a call with at most so many tokens."""
        total = self.input.at(input_tokens) * input_tokens + self.output.at(input_tokens) * max_tokens + self.request
        return -(-total // _PER_NANO)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """One model's prices at one moment."""

    input: Steps
    output: Steps
    cache_read: Steps
    cache_write: Steps
    cache_write_1h: Steps
    reasoning: Steps
    request: int = 0
    others: tuple[Steps, ...] = ()
    """Input kinds that usage does not tell apart (audio, pictures): they raise the ceiling only."""

    def nano(self, usage: Usage) -> int:
        """What `usage` costs, in nano-dollars, rounded up. Counts that contradict each other count in full."""
        hour = usage.cache_write_1h_tokens
        write = max(usage.cache_write_tokens, hour)
        size = max(usage.input_tokens, usage.cache_read_tokens + write)
        output = max(usage.output_tokens, usage.reasoning_tokens)
        total = (
            (size - usage.cache_read_tokens - write) * self.input.at(size)
            + (output - usage.reasoning_tokens) * self.output.at(size)
            + self.request
        )
        if usage.cache_read_tokens or write:
            total += (
                usage.cache_read_tokens * self.cache_read.at(size)
                + (write - hour) * self.cache_write.at(size)
                + hour * self.cache_write_1h.at(size)
            )
        if usage.reasoning_tokens:
            total += usage.reasoning_tokens * self.reasoning.at(size)
        return -(-total // _PER_NANO)

    def ceiling(self) -> Ceiling:
        """The bound that holds for every usage these rates can be asked for."""
        return Ceiling(
            input=_highest((self.input, self.cache_read, self.cache_write, self.cache_write_1h, *self.others)),
            output=_highest((self.output, self.reasoning)),
            request=self.request,
        )


def highest(ceilings: Iterable[Ceiling]) -> Ceiling:
    """The bound that holds whichever of the `ceilings` applies."""
    every = tuple(ceilings)
    return Ceiling(
        input=_highest(one.input for one in every),
        output=_highest(one.output for one in every),
        request=max(one.request for one in every),
    )


def from_policy(price: Price) -> Rates:
    """The rates of a policy's `price:` block; cached tokens without a price of their own cost as input."""
    plain = _flat(price.input)
    write = plain if price.cache_write is None else _flat(price.cache_write)
    output = _flat(price.output)
    return Rates(
        input=plain,
        output=output,
        cache_read=plain if price.cache_read is None else _flat(price.cache_read),
        cache_write=write,
        cache_write_1h=write,
        reasoning=output,
    )


def from_vendor(price: ModelPrice) -> Rates | None:
    """The rates of a genai-prices entry; None where input or output tokens have no price: that is not free."""
    prices: Mapping[str, Decimal | TieredPrices] = {k: v for k, v in vars(price).items() if v is not None}
    if "input_mtok" not in prices or "output_mtok" not in prices:
        return None
    plain, output = _steps(prices["input_mtok"]), _steps(prices["output_mtok"])
    write = _steps(prices["cache_write_mtok"]) if "cache_write_mtok" in prices else plain
    fee = prices.get("requests_kcount", Decimal(0))
    return Rates(
        input=plain,
        output=output,
        cache_read=_steps(prices["cache_read_mtok"]) if "cache_read_mtok" in prices else plain,
        cache_write=write,
        cache_write_1h=_steps(prices["cache_write_1h_mtok"]) if "cache_write_1h_mtok" in prices else write,
        reasoning=_steps(prices["output_reasoning_mtok"]) if "output_reasoning_mtok" in prices else output,
        request=max(_steps(fee, scale=_KILO).rates),
        others=tuple(_steps(value) for key, value in sorted(prices.items()) if _other_input(key)),
    )


def _other_input(key: str) -> bool:
    modal = key.startswith(("input_", "cache_")) and key.endswith("_mtok")
    return modal and key not in ("input_mtok", "cache_read_mtok", "cache_write_mtok", "cache_write_1h_mtok")


def _flat(usd: Decimal) -> Steps:
    return Steps(starts=(), rates=(_whole(usd, _TOKEN),))


def _steps(price: Decimal | TieredPrices, *, scale: int = _TOKEN) -> Steps:
    if isinstance(price, Decimal):
        return Steps(starts=(), rates=(_whole(price, scale),))
    tiers = sorted(price.tiers, key=lambda tier: tier.start)
    return Steps(
        starts=tuple(tier.start for tier in tiers),
        rates=(_whole(price.base, scale), *(_whole(tier.price, scale) for tier in tiers)),
    )


def _whole(usd: Decimal, scale: int) -> int:
    scaled = _EXACT.scaleb(usd, scale)
    whole = int(scaled)
    return whole + (whole != scaled)  # a price finer than the unit rounds up


def _highest(several: Iterable[Steps]) -> Steps:
    """The running maximum: a call may turn out smaller than counted, so lower steps bound it too."""
    every = tuple(several)
    starts = sorted({start for steps in every for start in steps.starts})
    rates: list[int] = []
    for size in (0, *(start + 1 for start in starts)):
        rates.append(max([*rates[-1:], *(steps.at(size) for steps in every)]))
    return Steps(starts=tuple(starts), rates=tuple(rates))
