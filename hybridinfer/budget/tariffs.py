"""Which prices a target has, and when: found once per target in the policy or in genai-prices' bundled list.

`hybridinfer.budget.prices` says in which order prices are looked for. The list is the one inside the installed
genai-prices distribution: nothing is fetched, and an update that another library applies in this process has no
effect here, so the same policy and the same date always give the same price.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from typing import TYPE_CHECKING, Protocol

from ..policy.model import Price, zone_of
from .rates import Ceiling, Rates, from_policy, from_vendor, highest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from genai_prices.data_snapshot import DataSnapshot
    from genai_prices.types import ModelInfo, ModelPrice, PriceVariant

    from ..policy.model import TargetBlock

VENDORS = {"openai": "openai", "anthropic": "anthropic"}
"""Whose bill it is where a target of this kind has no `base_url`."""
TARIFFS = ("service_tier", "speed", "processing")
"""Fields of `options: {extra_body: ...}` that choose the vendor's tariff. `processing: batch` no vendor takes here: it
is how the price list names the tariff, for gateways that collect calls."""
_STANDARD = frozenset({"auto", "default", "standard", "standard_only"})
PRICELESS = frozenset(
    {
        "cache_control",
        "frequency_penalty",
        "logit_bias",
        "logprobs",
        "metadata",
        "output_config",
        "parallel_tool_calls",
        "prediction",
        "presence_penalty",
        "prompt_cache_key",
        "prompt_cache_retention",
        "reasoning",
        "reasoning_effort",
        "response_format",
        "safety_identifier",
        "seed",
        "stop",
        "stop_sequences",
        "store",
        "stream_options",
        "temperature",
        "thinking",
        "tool_choice",
        "top_k",
        "top_logprobs",
        "top_p",
        "user",
        "verbosity",
    }
)
"""Fields of `extra_body` that change how many tokens are billed at most, not what one costs, nor add a fee."""
UNBOUNDED = frozenset({"best_of", "max_completion_tokens", "max_output_tokens", "max_tokens", "n"})
"""Fields of `extra_body` that lift the limit which the worst case is made of: no price can make up for that."""
_SEARCHES = re.compile(r"(?<!re)search|deep-research")  # models that look things up on every call, for a fee
_DAYS_KEPT = 8


class Tariff(Protocol):
    """A target's prices over time."""

    def at(self, moment: datetime) -> Rates | None:
        """The prices of one moment (aware); None where the list has none."""
        ...

    def ceiling(self, day: date) -> Ceiling | None:
        """A bound for every call made on `day` or the day after it, in UTC."""
        ...


def find(block: TargetBlock) -> Tariff | None:
    """The tariff of a target; None where nobody can price it."""
    if UNBOUNDED & _body(block).keys():
        return None
    if block.price is not None and "input" in block.price.model_fields_set:
        return Fixed(from_policy(block.price))
    zone = zone_of(block)
    listed = None if zone == "device" else _listed(block)
    if listed is not None:
        return listed
    own = zone == "device" or (zone == "network" and not _vendor_bills(block))
    return Fixed(from_policy(Price())) if own else None


@dataclass(frozen=True, slots=True)
class Fixed:
    """The policy's own price, or nothing to pay: the same at any time."""

    rates: Rates

    def at(self, moment: datetime) -> Rates:  # noqa: ARG002 - the protocol's signature
        """Always the same prices."""
        return self.rates

    def ceiling(self, day: date) -> Ceiling:  # noqa: ARG002 - the protocol's signature
        """Always the same bound."""
        return self.rates.ceiling()


@dataclass(frozen=True, slots=True)
class Listed:
    """A model on the price list: by date, by time of day, and by the vendor's tariff that the target asks for."""

    model: ModelInfo
    asked: Mapping[str, str]
    _days: dict[date, tuple[tuple[datetime, Rates | None], ...]] = field(default_factory=dict[date, "_Day"])

    def at(self, moment: datetime) -> Rates | None:
        """The prices of one moment."""
        moment = moment.astimezone(UTC)
        day = moment.date()
        if day not in self._days:
            if len(self._days) >= _DAYS_KEPT:
                self._days.clear()
            self._days[day] = tuple((start, self._rates(start, self.asked)) for start in self._changes(day))
        return [rates for start, rates in self._days[day] if start <= moment][-1]

    def ceiling(self, day: date) -> Ceiling | None:
        """A bound over two days, and over the standard tariff too: vendors answer on it where another is full."""
        moments = [*self._changes(day), *self._changes(day + timedelta(days=1))]
        tariffs = [{}, self.asked] if self.asked else [{}]
        rates = [self._rates(moment, tariff) for moment in moments for tariff in tariffs]
        ceilings = [one.ceiling() for one in rates if one is not None]
        return highest(ceilings) if ceilings else None

    def _rates(self, moment: datetime, tariff: Mapping[str, str]) -> Rates | None:
        return from_vendor(self.model.get_prices(moment, tariff))

    def _changes(self, day: date) -> list[datetime]:
        """The moments of a UTC day from which on prices may differ; the first is midnight."""
        midnight = datetime.combine(day, time(), UTC)
        return sorted({midnight, *(datetime.combine(day, at, UTC) for at in self._times())})

    def _times(self) -> Iterator[time]:
        prices = self.model.prices if isinstance(self.model.prices, list) else []
        constraints = [price.constraint for price in prices]
        constraints += [variant.constraint for variant in self.model.price_variants or []]
        for constraint in constraints:
            for moment in (getattr(constraint, "start_time", None), getattr(constraint, "end_time", None)):
                if moment is not None:
                    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
                    yield datetime.combine(date(2000, 1, 1), aware).astimezone(UTC).time()


_Day = tuple[tuple[datetime, Rates | None], ...]


def _listed(block: TargetBlock) -> Listed | None:
    vendor = VENDORS.get(block.kind) if block.base_url is None else None
    if vendor is None and block.base_url is None:
        return None
    try:
        provider, model = _price_list().find_provider_model(block.model, None, vendor, block.base_url)
    except LookupError:
        return None
    if not any(from_vendor(price) for price in _prices(model)):
        return None  # on the list without a price, which does not mean for nothing
    # A model that the vendor resells carries tariffs of the vendor who made it: they do not apply here.
    resold = not any(model is own for own in provider.models)
    asked = _asked(block, () if resold else model.price_variants or ())
    return None if asked is None or _SEARCHES.search(model.id) else Listed(model, asked)


def _asked(block: TargetBlock, variants: Iterable[PriceVariant]) -> Mapping[str, str] | None:
    """The tariff that the target asks for, on the list; None where it may be billed for what the list does not know.

    That is a tariff without a price, and any field of the body that is not known to cost nothing by itself: tools
    that the vendor runs (`tools`, `web_search_options`), a region (`inference_geo`), sound or pictures (`modalities`).
    """
    body = _body(block)
    if body.keys() - PRICELESS - set(TARIFFS):
        return None
    known = [variant.when for variant in variants]
    asked = {key: str(body[key]) for key in TARIFFS if key in body}
    extra = {key: value for key, value in asked.items() if value not in _STANDARD}
    if any(not any(when.get(key) == value for when in known) for key, value in extra.items()):
        return None
    return asked


def _body(block: TargetBlock) -> Mapping[str, object]:
    body = block.options.get("extra_body")
    return body if isinstance(body, dict) else {}  # anything else is refused where the target is built


def _prices(model: ModelInfo) -> list[ModelPrice]:
    return [one.prices for one in model.prices] if isinstance(model.prices, list) else [model.prices]


def _vendor_bills(block: TargetBlock) -> bool:
    if block.base_url is None:
        return block.kind in VENDORS
    try:
        _price_list().find_provider(None, None, block.base_url)
    except LookupError:
        return False
    return True


@cache
def _price_list() -> DataSnapshot:
    from genai_prices.data import providers
    from genai_prices.data_snapshot import DataSnapshot

    return DataSnapshot(providers=providers, from_auto_update=False)
