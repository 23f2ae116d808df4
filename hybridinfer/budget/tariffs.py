"""Which prices a target has, and when: found once per target in the policy or in genai-prices' bundled list.

`hybridinfer.budget.prices` says in which order prices are looked for. The list is the one inside the installed
genai-prices distribution: nothing is fetched, and an update that another library applies in this process has no
effect here, so the same policy and the same date always give the same price.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from typing import TYPE_CHECKING, Protocol

from ..policy.model import Price, zone_of
from .rates import Ceiling, Rates, from_policy, from_vendor, highest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from genai_prices.data_snapshot import DataSnapshot
    from genai_prices.types import ModelInfo, ModelPrice

    from ..policy.model import TargetBlock

VENDORS = {"openai": "openai", "anthropic": "anthropic"}
"""Whose bill it is where a target of this kind has no `base_url`."""
_OPTIONS = ("service_tier", "speed", "processing")
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
    asked = {key: str(block.options[key]) for key in _OPTIONS if key in block.options}
    return Listed(model, {} if resold else asked)


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
