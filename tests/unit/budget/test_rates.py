"""Costs against the vendors' own formula: a table of published prices, and every model on the list."""

from __future__ import annotations

import warnings
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from importlib.metadata import version

import pytest
from genai_prices import Usage as TheirUsage
from genai_prices.data import providers
from genai_prices.types import ModelPrice, TieredPrices

from hybridinfer.budget.prices import PriceBook
from hybridinfer.budget.rates import from_vendor
from hybridinfer.policy.model import Policy
from hybridinfer.types import Usage

MADE_WITH = "0.2.3"
ADDRESS = {
    "deepseek": "https://api.deepseek.com",
    "google": "https://generativelanguage.googleapis.com/v1beta/openai",
    "groq": "https://api.groq.com/openai/v1",
    "mistral": "https://api.mistral.ai/v1",
    "openrouter": "https://openrouter.ai/api/v1",
    "perplexity": "https://api.perplexity.ai",
    "x-ai": "https://api.x.ai/v1",
}
# What, vendor, model, when (UTC), tariff, tokens (input, output, cache read, cache write, of it 1 h, reasoning), USD.
# The amounts are those of genai-prices 0.2.3's own calculation.
PUBLISHED = [
    ("plain", "openai", "gpt-4o-mini", "2026-11-18T12:00", {}, (1000, 500, 0, 0, 0, 0), "0.00045"),
    ("plain", "openai", "gpt-4o", "2026-11-18T12:00", {}, (1000, 500, 0, 0, 0, 0), "0.0075"),
    ("cached input", "openai", "gpt-4o", "2026-11-18T12:00", {}, (10000, 500, 8000, 0, 0, 0), "0.02"),
    ("reasoning", "openai", "o3", "2026-11-18T12:00", {}, (2000, 3000, 0, 0, 0, 2500), "0.028"),
    ("before the price cut", "openai", "o3", "2025-06-01T00:00", {}, (2000, 3000, 500, 0, 0, 2500), "0.13525"),
    ("on the day of the cut", "openai", "o3", "2025-06-10T00:00", {}, (2000, 3000, 500, 0, 0, 2500), "0.02725"),
    ("flex", "openai", "o3", "2026-11-18T12:00", {"service_tier": "flex"}, (2000, 3000, 500, 0, 0, 2500), "0.013625"),
    (
        "priority",
        "openai",
        "gpt-4o",
        "2026-11-18T12:00",
        {"service_tier": "priority"},
        (1000, 500, 200, 0, 0, 0),
        "0.012325",
    ),
    (
        "batch",
        "openai",
        "gpt-4o-mini",
        "2026-11-18T12:00",
        {"processing": "batch"},
        (100000, 50000, 0, 0, 0, 0),
        "0.0225",
    ),
    ("first tier, last token", "openai", "gpt-6-luna", "2026-11-18T12:00", {}, (272000, 1000, 0, 0, 0, 0), "0.0277"),
    (
        "second tier, first token",
        "openai",
        "gpt-6-luna",
        "2026-11-18T12:00",
        {},
        (272001, 1000, 0, 0, 0, 0),
        "0.0551502",
    ),
    ("tier, cached", "openai", "gpt-6.1-sol", "2026-11-18T12:00", {}, (300000, 2000, 250000, 0, 0, 1000), "0.28"),
    ("cache write", "openai", "gpt-6-sol", "2026-11-18T12:00", {}, (50000, 2000, 10000, 30000, 0, 0), "0.117"),
    (
        "tier, flex, cache write",
        "openai",
        "gpt-6-sol",
        "2026-11-18T12:00",
        {"service_tier": "flex"},
        (300000, 2000, 10000, 30000, 0, 0),
        "0.612",
    ),
    ("one token", "openai", "gpt-6-luna", "2026-11-18T12:00", {}, (1, 1, 0, 0, 0, 0), "0.0000006"),
    ("plain", "anthropic", "claude-haiku-4-5", "2026-11-18T12:00", {}, (1000, 500, 0, 0, 0, 0), "0.0035"),
    ("cache read", "anthropic", "claude-haiku-4-5", "2026-11-18T12:00", {}, (12000, 500, 10000, 0, 0, 0), "0.0055"),
    ("cache write 5m", "anthropic", "claude-sonnet-5", "2026-11-18T12:00", {}, (12000, 500, 0, 10000, 0, 0), "0.034"),
    (
        "cache write 1h",
        "anthropic",
        "claude-sonnet-5",
        "2026-11-18T12:00",
        {},
        (12000, 500, 0, 10000, 10000, 0),
        "0.049",
    ),
    (
        "both cache writes and a read",
        "anthropic",
        "claude-opus-5-5",
        "2026-11-18T12:00",
        {},
        (50000, 4000, 20000, 25000, 5000, 0),
        "0.244",
    ),
    ("tier below", "anthropic", "claude-sonnet-4-5", "2026-11-18T12:00", {}, (200000, 1000, 0, 0, 0, 0), "0.615"),
    ("tier above", "anthropic", "claude-sonnet-4-5", "2026-11-18T12:00", {}, (200001, 1000, 0, 0, 0, 0), "1.222506"),
    (
        "tier above, 1h write",
        "anthropic",
        "claude-haiku-5-5",
        "2026-11-18T12:00",
        {},
        (150000, 1000, 20000, 100000, 100000, 0),
        "0.1185",
    ),
    (
        "batch",
        "anthropic",
        "claude-opus-5-5",
        "2026-11-18T12:00",
        {"processing": "batch"},
        (30000, 3000, 10000, 0, 0, 0),
        "0.071",
    ),
    (
        "fast",
        "anthropic",
        "claude-opus-5",
        "2026-11-18T12:00",
        {"speed": "fast"},
        (30000, 3000, 10000, 5000, 0, 0),
        "0.3725",
    ),
    (
        "dated, long input cheaper since",
        "anthropic",
        "claude-opus-4-6",
        "2026-03-12T23:59",
        {},
        (250000, 1000, 0, 0, 0, 0),
        "2.5375",
    ),
    (
        "dated, long input cheaper since",
        "anthropic",
        "claude-opus-4-6",
        "2026-03-13T00:00",
        {},
        (250000, 1000, 0, 0, 0, 0),
        "1.275",
    ),
    (
        "retired model",
        "anthropic",
        "claude-3-5-sonnet-20241022",
        "2024-11-01T00:00",
        {},
        (5000, 1000, 0, 0, 0, 0),
        "0.03",
    ),
    ("peak hours", "deepseek", "deepseek-v4-flash", "2026-11-18T02:00", {}, (100000, 8000, 60000, 0, 0, 0), "0.02196"),
    (
        "off-peak hours",
        "deepseek",
        "deepseek-v4-flash",
        "2026-11-18T20:00",
        {},
        (100000, 8000, 60000, 0, 0, 0),
        "0.01098",
    ),
    ("tier", "google", "gemini-2.5-pro", "2026-11-18T12:00", {}, (250000, 4000, 100000, 0, 0, 3000), "0.46"),
    ("plain", "google", "gemini-2.5-flash", "2026-11-18T12:00", {}, (20000, 4000, 0, 0, 0, 1000), "0.016"),
    ("plain", "groq", "llama-3.3-70b-versatile", "2026-11-18T12:00", {}, (7000, 900, 0, 0, 0, 0), "0.004841"),
    ("plain", "mistral", "mistral-large-latest", "2026-11-18T12:00", {}, (7000, 900, 0, 0, 0, 0), "0.0194"),
    ("plain", "x-ai", "grok-4-0709", "2026-11-18T12:00", {}, (7000, 900, 3000, 0, 0, 500), "0.02775"),
    ("fee per request", "perplexity", "sonar-pro", "2026-11-18T12:00", {}, (700, 900, 0, 0, 0, 0), "0.0296"),
    (
        "resold",
        "openrouter",
        "anthropic/claude-sonnet-4.5",
        "2026-11-18T12:00",
        {},
        (7000, 900, 1000, 0, 0, 0),
        "0.0318",
    ),
]


@pytest.mark.skipif(version("genai-prices") != MADE_WITH, reason=f"the amounts are those of genai-prices {MADE_WITH}")
@pytest.mark.parametrize(("what", "vendor", "model", "when", "tariff", "tokens", "usd"), PUBLISHED)
def test_a_published_price_is_met_exactly(
    *, what: str, vendor: str, model: str, when: str, tariff: dict[str, str], tokens: tuple[int, ...], usd: str
) -> None:
    """What a receipt says is what the vendor's formula gives, to the last digit."""
    block = {"kind": vendor if vendor == "anthropic" else "openai", "model": model, "options": {"extra_body": tariff}}
    if vendor in ADDRESS:
        block["base_url"] = ADDRESS[vendor]
    policy = Policy.model_validate({"version": 1, "targets": {"t": block}, "rules": [{"name": "r", "use": ["t"]}]})
    at = datetime.fromisoformat(when).replace(tzinfo=UTC)
    assert PriceBook(policy).cost("t", _ours(tokens), at=at) == Decimal(usd), what


@pytest.mark.skipif(version("genai-prices") != MADE_WITH, reason=f"the amounts are those of genai-prices {MADE_WITH}")
@pytest.mark.parametrize(
    ("vendor", "model", "when", "tariff", "tokens", "usd"), [row[1:] for row in PUBLISHED if row[4]]
)
def test_a_tariff_that_only_the_answer_tells_is_met_exactly(
    *, vendor: str, model: str, when: str, tariff: dict[str, str], tokens: tuple[int, ...], usd: str
) -> None:
    """Nobody asked for flex, priority, fast or batch, but the vendor says that it charged so: that is what is billed."""
    block = {"kind": vendor, "model": model}
    policy = Policy.model_validate({"version": 1, "targets": {"t": block}, "rules": [{"name": "r", "use": ["t"]}]})
    told = tuple(("service_tier" if value == "batch" else key, value) for key, value in tariff.items())
    at = datetime.fromisoformat(when).replace(tzinfo=UTC)
    assert PriceBook(policy).cost("t", replace(_ours(tokens), tariff=told), at=at) == Decimal(usd)


TOKENS = [
    (1, 1, 0, 0, 0, 0),
    (999, 77, 500, 300, 100, 50),
    (130_001, 5, 7, 0, 0, 0),
    (999_983, 65_537, 500_009, 250_007, 8, 9),
]


@pytest.mark.parametrize("vendor", providers, ids=lambda vendor: vendor.id)
def test_every_price_on_the_list_is_computed_as_its_source_does(vendor: object) -> None:
    """For every model, date and tariff on the list: the same amount as genai-prices, rounded up to a nano-dollar."""
    compared = 0
    for price in _all_prices(vendor):
        rates = from_vendor(price)
        if rates is None:
            assert not {"input_mtok", "output_mtok"} <= {k for k, v in vars(price).items() if v is not None}
            continue
        for tokens in TOKENS:
            theirs = price.calc_price(_theirs(tokens, price))["total_price"]
            ours = rates.nano(_ours(tokens))
            assert 0 <= ours - theirs * 10**9 < 1, (price, tokens)
            size, limit = tokens[:2]
            assert ours <= rates.ceiling().nano(input_tokens=size, max_tokens=limit), (price, tokens)
            compared += 1
    assert compared or all(from_vendor(price) is None for price in _all_prices(vendor))


def test_a_smaller_tier_that_is_dearer_still_bounds_the_call() -> None:
    """Where long calls are cheaper, a call that turns out shorter than counted is bounded all the same."""
    falling = TieredPrices(base=Decimal(4), tiers=[])
    falling.tiers.extend(type("Tier", (), {"start": s, "price": Decimal(p)})() for s, p in ((1000, 1),))
    rates = from_vendor(ModelPrice(input_mtok=falling, output_mtok=Decimal(0)))
    assert rates is not None
    assert rates.nano(_ours((1000, 0, 0, 0, 0, 0))) <= rates.ceiling().nano(input_tokens=1001, max_tokens=0)


def test_other_kinds_of_input_raise_the_bound() -> None:
    """Sound costs more than text: a request that carries it is still bounded."""
    price = ModelPrice(input_mtok=Decimal(1), output_mtok=Decimal(1), input_audio_mtok=Decimal(7))
    rates = from_vendor(price)
    assert rates is not None
    assert rates.ceiling().nano(input_tokens=1000, max_tokens=0) == 7_000_000


def test_a_price_finer_than_the_unit_rounds_up() -> None:
    """No digit of a price is dropped in the caller's favour."""
    rates = from_vendor(ModelPrice(input_mtok=Decimal("1e-25"), output_mtok=Decimal(0)))
    assert rates is not None
    assert rates.input.rates == (1,)


def _all_prices(vendor: object) -> list[ModelPrice]:
    found: list[ModelPrice] = []
    for model in vendor.models:  # type: ignore[attr-defined]
        standard = [model.prices] if isinstance(model.prices, ModelPrice) else [one.prices for one in model.prices]
        found += standard
        for variant in model.price_variants or []:
            found.append(model.get_prices(datetime(2026, 11, 18, 12, tzinfo=UTC), variant.when))
    return found


def _ours(tokens: tuple[int, ...]) -> Usage:
    size, output, read, write, hour, reasoning = tokens
    return Usage(
        input_tokens=size,
        output_tokens=output,
        cache_read_tokens=read,
        cache_write_tokens=write,
        cache_write_1h_tokens=hour,
        reasoning_tokens=reasoning,
    )


def _theirs(tokens: tuple[int, ...], price: ModelPrice) -> TheirUsage:
    size, output, read, write, hour, reasoning = tokens
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return TheirUsage(
            input_tokens=size,
            output_tokens=output,
            cache_read_tokens=read,
            cache_write_tokens=write,
            cache_write_1h_tokens=hour,
            output_reasoning_tokens=reasoning,
        )


def test_reasoning_with_a_price_of_its_own() -> None:
    """Perplexity's deep research bills thinking apart (it also bills searches, so the price book refuses it)."""
    (model,) = [one for p in providers if p.id == "perplexity" for one in p.models if one.id == "sonar-deep-research"]
    assert isinstance(model.prices, ModelPrice)
    rates = from_vendor(model.prices)
    assert rates is not None
    assert rates.nano(_ours((700, 9000, 0, 0, 0, 6000))) == 43_400_000
