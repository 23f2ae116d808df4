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
    from collections.abc import Iterator, Mapping, Sequence

    from genai_prices.data_snapshot import DataSnapshot
    from genai_prices.types import ModelInfo, ModelPrice

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

Charged = tuple[tuple[str, str], ...]
"""A tariff in the vendor's fields: those that differ from the standard one."""
_Day = tuple[tuple[datetime, "Rates | None"], ...]


class Tariff(Protocol):
    """A target's prices over time."""

    def at(self, moment: datetime, charged: Charged | None) -> Sequence[Rates]:
        """The prices of one moment (aware) that may have been charged: one, as a rule; the dearest counts.

        `charged` is what the vendor said: empty where it said nothing, and None where nobody can know.
        """
        ...

    def learn(self, charged: Charged) -> bool:
        """Whether the bound has to be made anew: the vendor charged by a tariff that nobody asked for."""
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

    def at(self, moment: datetime, charged: Charged | None) -> tuple[Rates]:  # noqa: ARG002 - the protocol's signature
        """Always the same prices."""
        return (self.rates,)

    def learn(self, charged: Charged) -> bool:  # noqa: ARG002 - the protocol's signature
        """There is nothing to learn."""
        return False

    def ceiling(self, day: date) -> Ceiling:  # noqa: ARG002 - the protocol's signature
        """Always the same bound."""
        return self.rates.ceiling()


@dataclass(frozen=True, slots=True)
class Listed:
    """A model on the price list: by date, by time of day, and by the vendor's tariff that the target asks for."""

    model: ModelInfo
    asked: Charged
    known: frozenset[tuple[str, str]]
    """Fields and values that have a price of their own on the list."""
    _told: set[Charged] = field(default_factory=set["Charged"])
    """Tariffs that the vendor charged by, though nobody asked for them."""
    _days: dict[tuple[date, Charged], _Day] = field(default_factory=dict[tuple[date, "Charged"], "_Day"])

    def at(self, moment: datetime, charged: Charged | None) -> tuple[Rates, ...]:
        """The prices of one moment, by the tariff that was charged; of what has no price, the dearest that was assumed."""
        moment = moment.astimezone(UTC)
        tariff = None if charged is None else self._charged(charged)
        found = (self._at(moment, one) for one in (self._assumed() if tariff is None else (tariff,)))
        return tuple(rates for rates in found if rates is not None)

    def learn(self, charged: Charged) -> bool:
        """Remembers a tariff that the vendor's own settings must have chosen."""
        tariff = self._charged(charged)
        if tariff is None or tariff in self._assumed():
            return False
        self._told.add(tariff)
        return True

    def ceiling(self, day: date) -> Ceiling | None:
        """A bound over two days, and over the standard tariff too: vendors answer on it where another is full."""
        moments = [*self._changes(day), *self._changes(day + timedelta(days=1))]
        rates = [self._rates(moment, tariff) for moment in moments for tariff in self._assumed()]
        ceilings = [one.ceiling() for one in rates if one is not None]
        return highest(ceilings) if ceilings else None

    def _assumed(self) -> tuple[Charged, ...]:
        """The tariffs that a call may be charged by, as far as anybody knows before it."""
        return ((), self.asked, *self._told)

    def _charged(self, told: Charged) -> Charged | None:
        """What was asked for, corrected by what the vendor told; None where that has no price on the list."""
        said = dict(("processing", value) if value == "batch" else (key, value) for key, value in told)
        said = {key: value for key, value in said.items() if value not in _STANDARD}
        if not self.known.issuperset(said.items()):
            return None
        silent = {key for key, _ in self.asked} - {key for key, _ in told}
        return tuple(sorted({**{key: value for key, value in self.asked if key in silent}, **said}.items()))

    def _at(self, moment: datetime, tariff: Charged) -> Rates | None:
        key = (moment.date(), tariff)
        if key not in self._days:
            if len(self._days) >= _DAYS_KEPT:
                self._days.clear()
            self._days[key] = tuple((start, self._rates(start, tariff)) for start in self._changes(key[0]))
        return [rates for start, rates in self._days[key] if start <= moment][-1]

    def _rates(self, moment: datetime, tariff: Charged) -> Rates | None:
        return from_vendor(self.model.get_prices(moment, dict(tariff)))

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
    variants = () if resold else model.price_variants or ()
    known = frozenset(pair for variant in variants if len(variant.when) == 1 for pair in variant.when.items())
    asked = _asked(block, known)
    return None if asked is None or _SEARCHES.search(model.id) else Listed(model, asked, known)


def _asked(block: TargetBlock, known: frozenset[tuple[str, str]]) -> Charged | None:
    """The tariff that the target asks for, on the list; None where it may be billed for what the list does not know.

    That is a tariff without a price, and any field of the body that is not known to cost nothing by itself: tools
    that the vendor runs (`tools`, `web_search_options`), a region (`inference_geo`), sound or pictures (`modalities`).
    """
    body = _body(block)
    if body.keys() - PRICELESS - set(TARIFFS):
        return None
    asked = [(key, str(body[key])) for key in sorted(TARIFFS) if key in body]
    extra = tuple(pair for pair in asked if pair[1] not in _STANDARD)
    return extra if known.issuperset(extra) else None


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
