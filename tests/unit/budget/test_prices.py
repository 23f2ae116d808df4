"""Worst case and cost of a target: who prices it, when, and that the bound holds."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal, localcontext
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridinfer.budget.prices import PriceBook
from hybridinfer.policy.model import Policy, TargetBlock
from hybridinfer.targets.base import TargetContext
from hybridinfer.targets.openai import OpenAITarget
from hybridinfer.types import Usage

NOW = datetime(2026, 11, 18, 12, tzinfo=UTC)


def book(block: Mapping[str, Any], *, now: datetime = NOW) -> PriceBook:
    """The price book of a policy with one target, `t`."""
    policy = Policy.model_validate({"version": 1, "targets": {"t": block}, "rules": [{"name": "r", "use": ["t"]}]})
    return PriceBook(policy, clock=now.timestamp)


def cost(block: Mapping[str, Any], *, at: datetime = NOW, seconds: float = 0.0, **tokens: int) -> Decimal:
    return book(block).cost("t", Usage(**tokens), at=at, seconds=seconds)


def worst(block: Mapping[str, Any], input_tokens: int, max_tokens: int, *, now: datetime = NOW) -> Decimal | None:
    return book(block, now=now).worst_case("t", input_tokens=input_tokens, max_tokens=max_tokens)


OPENAI: dict[str, Any] = {"kind": "openai", "model": "gpt-6-luna"}
CLAUDE: dict[str, Any] = {"kind": "anthropic", "model": "claude-haiku-5-5"}


@pytest.mark.parametrize(
    "block",
    [
        {"kind": "openai", "model": "no-such-model-anywhere"},
        {"kind": "openai", "model": "llama-3", "base_url": "https://llm.example.com/v1"},
        {"kind": "anthropic", "model": "claude-haiku-5-5", "base_url": "https://proxy.example.com"},
        {"kind": "openai", "model": "gpt-4.1", "base_url": "https://api.githubcopilot.com"},
        {"kind": "openai", "model": "no-such-model", "zone": "network"},
        {"kind": "openai", "model": "no-such", "zone": "network", "base_url": "https://api.deepseek.com"},
        {"kind": "somebody-elses"},
        {"kind": "openai", "model": "no-such-model", "price": {"usd_per_hour": 1}},
    ],
    ids=[
        "model",
        "address",
        "proxy",
        "listed-without-price",
        "vendor-as-own",
        "vendor-as-own-url",
        "kind",
        "hours-only",
    ],
)
def test_what_nobody_can_price_has_no_price(block: dict[str, Any]) -> None:
    """Unknown is never free: the worst case is None and a cost is an error that says what to do."""
    assert worst(block, 1, 1) is None
    with pytest.raises(LookupError, match="price:"):
        cost(block, input_tokens=1)


@pytest.mark.parametrize(
    "block",
    [
        {"kind": "onnx", "model": "m"},
        {"kind": "canned", "text": "-"},
        {"kind": "openai", "model": "llama-3", "base_url": "http://10.0.0.7:8000/v1", "zone": "network"},
        {"kind": "somebody-elses", "zone": "network"},
        {"kind": "somebody-elses", "zone": "device"},
        {"kind": "openai", "model": "no-such-model", "price": {"input": 0, "output": 0}},
    ],
)
def test_what_nobody_bills_is_free(block: dict[str, Any]) -> None:
    """In-process targets and one's own servers cost nothing unless the policy says so."""
    assert worst(block, 1000, 1000) == 0
    assert cost(block, input_tokens=1000, output_tokens=1000, seconds=9.0) == 0


def test_the_policy_overrides_the_list() -> None:
    """A `price:` of the policy is the price, whatever the list says."""
    block = {**OPENAI, "price": {"input": 3, "output": 15, "cache_read": 0.3}}
    assert cost(block, input_tokens=3000, output_tokens=100, cache_read_tokens=1000) == Decimal("0.0078")
    assert worst(block, 1000, 1000) == Decimal("0.018")


def test_cached_tokens_without_a_price_cost_as_input() -> None:
    """A policy that prices input and output only bills cached tokens in full."""
    block = {**OPENAI, "price": {"input": 1, "output": 1}}
    assert cost(block, input_tokens=300, cache_read_tokens=100, cache_write_tokens=100) == Decimal("0.0003")


def test_a_dearer_cache_write_bounds_the_worst_case() -> None:
    """Every input token may turn out to be the dearest kind."""
    block = {**OPENAI, "price": {"input": 1, "output": 0, "cache_write": 1.25}}
    assert worst(block, 1_000_000, 0) == Decimal("1.25")


def test_the_address_tells_the_vendor() -> None:
    """A known vendor's address is priced by that vendor's list, in whatever zone it is declared."""
    block = {"kind": "openai", "model": "deepseek-chat", "base_url": "https://api.deepseek.com"}
    expected = cost(block, input_tokens=1000, output_tokens=1000)
    assert expected > 0
    assert cost({**block, "zone": "network"}, input_tokens=1000, output_tokens=1000) == expected


def test_a_machine_is_billed_by_the_second() -> None:
    """`usd_per_hour` is charged for the time worked, and bounded by the timeout."""
    block = {"kind": "onnx", "model": "m", "timeout": "30s", "price": {"usd_per_hour": 0.12}}
    assert cost(block, seconds=3.0) == Decimal("0.0001")
    assert cost(block, seconds=31.0) == worst(block, 1, 1) == Decimal("0.001")
    assert cost(block, seconds=-1.0) == 0


def test_a_machine_of_a_listed_vendor_costs_both() -> None:
    """An hourly price alone does not make the vendor's tokens free."""
    block = {**OPENAI, "timeout": "36s", "price": {"usd_per_hour": 1}}
    tokens = cost(OPENAI, input_tokens=1000)
    assert tokens > 0
    assert cost(block, input_tokens=1000, seconds=36.0) == tokens + Decimal("0.01")


def test_the_date_of_the_call_chooses_the_price() -> None:
    """o3 became cheaper on 2025-06-10; each call is billed by its own day, counted in UTC."""
    block = {"kind": "openai", "model": "o3"}
    before = cost(block, at=datetime(2025, 6, 9, 23, 59, 59, tzinfo=UTC), input_tokens=1_000_000)
    after = cost(block, at=datetime(2025, 6, 10, tzinfo=UTC), input_tokens=1_000_000)
    elsewhere = datetime(2025, 6, 9, 22, tzinfo=timezone(timedelta(hours=-5)))
    naive = datetime(2025, 6, 9, 12)  # noqa: DTZ001 - naive means UTC
    assert (before, after) == (10, 2)
    assert cost(block, at=elsewhere, input_tokens=1_000_000) == after
    assert cost(block, at=naive, input_tokens=1_000_000) == before


def test_the_worst_case_reaches_over_midnight() -> None:
    """On the eve of a cut, and two days before it, the dearer price bounds the call; afterwards the new one does."""
    block = {"kind": "openai", "model": "o3"}
    eve = worst(block, 1_000_000, 0, now=datetime(2025, 6, 9, 23, 59, tzinfo=UTC))
    day = worst(block, 1_000_000, 0, now=datetime(2025, 6, 10, 0, 1, tzinfo=UTC))
    assert (eve, day) == (10, 2)


def test_a_new_day_compiles_new_prices() -> None:
    """A book that lives for days follows the list's dates."""
    now = [datetime(2025, 6, 9, 12, tzinfo=UTC).timestamp()]
    policy = Policy.model_validate(
        {
            "version": 1,
            "targets": {"t": {"kind": "openai", "model": "o3"}},
            "rules": [{"name": "r", "use": ["t"]}],
        }
    )
    prices = PriceBook(policy, clock=lambda: now[0])
    assert prices.worst_case("t", input_tokens=1_000_000, max_tokens=0) == 10
    now[0] += 86_400
    assert prices.worst_case("t", input_tokens=1_000_000, max_tokens=0) == 2


def test_bounds_that_are_remembered_are_bounded_too() -> None:
    """However many sizes are asked for, and each of them gets its own."""
    prices = book({"kind": "openai", "model": "m", "price": {"input": 1, "output": 1}})
    for size in range(1, 3000):
        assert prices.worst_case("t", input_tokens=size, max_tokens=1) == Decimal(size + 1) / 1_000_000
    assert len(prices._entries["t"].today(NOW.timestamp())[1]) <= 512


def test_the_time_of_day_chooses_the_price() -> None:
    """A vendor with hours of its own is billed by the hour, and bounded by the dearest of the day."""
    block = {"kind": "openai", "model": "deepseek-v4-flash", "base_url": "https://api.deepseek.com"}
    day = {cost(block, at=NOW.replace(hour=hour), input_tokens=1_000_000) for hour in range(24)}
    assert len(day) == 2
    bound = worst(block, 1_000_000, 0)
    assert bound is not None
    assert bound >= max(day)


def test_a_tariff_is_asked_for_by_options() -> None:
    """A body with `service_tier: flex` is billed as flex, and bounded by the dearer standard tariff."""
    flex = {"kind": "openai", "model": "gpt-6-sol", "options": {"extra_body": {"service_tier": "flex"}}}
    standard = {"kind": "openai", "model": "gpt-6-sol"}
    assert cost(flex, input_tokens=1000) * 2 == cost(standard, input_tokens=1000) == Decimal("0.002")
    assert worst(flex, 1000, 0) == worst(standard, 1000, 0)


SOL = {"kind": "openai", "model": "gpt-6-sol"}
OPUS = {"kind": "anthropic", "model": "claude-opus-5"}


@pytest.mark.parametrize(
    ("block", "asked", "told", "usd"),
    [
        (SOL, {}, {}, "0.002"),
        (SOL, {}, {"service_tier": "default"}, "0.002"),
        (SOL, {}, {"service_tier": "flex"}, "0.001"),
        (SOL, {}, {"service_tier": "priority"}, "0.004"),
        (SOL, {}, {"service_tier": "batch"}, "0.001"),
        (SOL, {}, {"service_tier": "scale"}, "0.002"),
        (SOL, {"service_tier": "flex"}, {}, "0.001"),
        (SOL, {"service_tier": "flex"}, {"service_tier": "default"}, "0.002"),
        (SOL, {"service_tier": "flex"}, {"service_tier": "scale"}, "0.002"),
        (SOL, {"service_tier": "priority"}, {"service_tier": "default"}, "0.002"),
        (SOL, {"service_tier": "priority"}, {"service_tier": "scale"}, "0.004"),
        (OPUS, {}, {"service_tier": "standard", "speed": "standard"}, "0.005"),
        (OPUS, {}, {"service_tier": "batch"}, "0.0025"),
        (OPUS, {}, {"service_tier": "priority"}, "0.005"),
        (OPUS, {}, {"service_tier": "standard", "speed": "fast"}, "0.01"),
        (OPUS, {"speed": "fast"}, {"service_tier": "standard"}, "0.01"),
        (OPUS, {"speed": "fast"}, {"service_tier": "standard", "speed": "standard"}, "0.005"),
        (OPUS, {"speed": "fast"}, {"service_tier": "priority", "speed": "standard"}, "0.01"),
        ({**SOL, "price": {"input": 3, "output": 3}}, {}, {"service_tier": "priority"}, "0.003"),
    ],
)
def test_the_bill_follows_the_tariff_that_the_vendor_answers(
    block: dict[str, Any], asked: dict[str, str], told: dict[str, str], usd: str
) -> None:
    """A tariff on the list is billed as told; one that is not, by the dearest that was reserved for."""
    usage = Usage(input_tokens=1000, tariff=tuple(told.items()))
    assert book({**block, "options": {"extra_body": asked}}).cost("t", usage, at=NOW) == Decimal(usd)


def test_what_was_not_told_is_estimated_by_the_dearest() -> None:
    """A call for flex that broke off may have been served on the standard tariff."""
    flex = book({**SOL, "options": {"extra_body": {"service_tier": "flex"}}})
    assert flex.cost("t", Usage(input_tokens=1000, estimated=True), at=NOW) == Decimal("0.002")


def test_a_tariff_of_the_vendors_own_settings_is_reserved_for_once_it_is_known() -> None:
    """The first answer on priority cannot be foreseen; the second call reserves for it."""
    prices = book(SOL)
    assert prices.worst_case("t", input_tokens=1000, max_tokens=0) == Decimal("0.0025")
    dear = Usage(input_tokens=1000, tariff=(("service_tier", "priority"),))
    for _ in range(2):
        assert prices.cost("t", dear, at=NOW) == Decimal("0.004")
        assert prices.worst_case("t", input_tokens=1000, max_tokens=0) == Decimal("0.005")
    assert prices.cost("t", Usage(input_tokens=1000), at=NOW) == Decimal("0.002")


def test_a_reseller_has_no_tariffs() -> None:
    """OpenRouter passes the vendor's word on, and charges its own price."""
    resold = {"kind": "openai", "model": "openai/gpt-4o", "base_url": "https://openrouter.ai/api/v1"}
    usage = Usage(input_tokens=1000, tariff=(("service_tier", "flex"),))
    assert book(resold).cost("t", usage, at=NOW) == cost(resold, input_tokens=1000) > 0


def test_the_adapter_takes_the_options_that_choose_a_tariff() -> None:
    """What the price book reads is what the target sends: the same field of the same mapping."""
    body = {"service_tier": "flex"}
    block = TargetBlock.model_validate({"kind": "openai", "model": "gpt-6-sol", "options": {"extra_body": body}})
    target = OpenAITarget(block, TargetContext(name="t", environ={"OPENAI_API_KEY": "k"}))
    assert target._extra_body == body


@pytest.mark.parametrize(
    ("model", "body"),
    [
        ("gpt-6-sol", {"web_search_options": {}}),
        ("gpt-6-sol", {"tools": [{"type": "web_search"}]}),
        ("gpt-6-sol", {"modalities": ["text", "audio"]}),
        ("gpt-6-sol", {"service_tier": "tomorrow"}),
        ("gpt-6-sol", {"something": "new"}),
        ("gpt-4o-search-preview", {}),
        ("o3-deep-research", {}),
    ],
)
def test_what_the_list_cannot_price_is_unaffordable(model: str, body: dict[str, object]) -> None:
    """Fees for tools that the vendor runs, sound, unknown tariffs and fields: never zero, but a price from the policy."""
    block: dict[str, object] = {"kind": "openai", "model": model, "options": {"extra_body": body}}
    assert worst(block, 1000, 100) is None
    with pytest.raises(LookupError):
        cost(block, input_tokens=1000)
    assert worst({**block, "price": {"input": 1, "output": 1}}, 1000, 100) == Decimal("0.0011")


@pytest.mark.parametrize("body", [{"inference_geo": "us"}, {"mcp_servers": []}])
def test_a_region_or_remote_tools_are_unaffordable(body: dict[str, object]) -> None:
    """Anthropic's surcharge for a region, and its tools' fees, are on no list."""
    assert worst({**CLAUDE, "options": {"extra_body": body}}, 1000, 100) is None


@pytest.mark.parametrize("field", ["n", "best_of", "max_tokens", "max_completion_tokens"])
def test_a_body_that_lifts_the_limit_is_unaffordable(field: str) -> None:
    """The worst case is made of `max_tokens`: a body that goes around it has none, whatever the policy's price."""
    block = {**OPENAI, "price": {"input": 1, "output": 1}, "options": {"extra_body": {field: 4}}}
    assert worst(block, 1000, 100) is None


@pytest.mark.parametrize("body", [{"temperature": 0.5}, {"reasoning_effort": "low"}, {"service_tier": "auto"}])
def test_fields_without_a_price_change_nothing(body: dict[str, object]) -> None:
    """Sampling and thinking are paid by the token."""
    assert worst({**OPENAI, "options": {"extra_body": body}}, 1000, 100) == worst(OPENAI, 1000, 100)


def test_a_regional_address_is_unaffordable() -> None:
    """OpenAI's addresses for data residency bill a surcharge that is on no list."""
    assert worst({**OPENAI, "base_url": "https://eu.api.openai.com/v1"}, 1000, 100) is None


def test_a_dearer_tariff_raises_the_bound() -> None:
    """`speed: fast` doubles the price, and the worst case with it."""
    slow = {"kind": "anthropic", "model": "claude-opus-5"}
    fast = {**slow, "options": {"extra_body": {"speed": "fast"}}}
    assert cost(fast, output_tokens=1000) == 2 * cost(slow, output_tokens=1000)
    assert worst(fast, 0, 1000) == 2 * (worst(slow, 0, 1000) or 0)


def test_an_unknown_target_is_an_error() -> None:
    """A name that the policy does not have is a KeyError, not a price."""
    with pytest.raises(KeyError):
        book(OPENAI).worst_case("other", input_tokens=1, max_tokens=1)
    with pytest.raises(KeyError):
        book(OPENAI).cost("other", Usage(), at=NOW)


def test_the_callers_decimal_context_changes_nothing() -> None:
    """A program that works with three digits still pays the exact amount."""
    exact = cost(OPENAI, input_tokens=123_457, output_tokens=7)
    bound = worst(OPENAI, 123_457, 7)
    with localcontext() as context:
        context.prec = 3
        assert cost(OPENAI, input_tokens=123_457, output_tokens=7) == exact
        assert worst(OPENAI, 123_457, 7) == bound


def test_contradicting_counts_are_billed_in_full() -> None:
    """Usage that claims more cached than input, or more reasoning than output tokens, is never cheaper."""
    consistent = cost(CLAUDE, input_tokens=300, cache_read_tokens=100, cache_write_tokens=200, output_tokens=50)
    strange = cost(
        CLAUDE, input_tokens=0, cache_read_tokens=100, cache_write_tokens=200, output_tokens=0, reasoning_tokens=50
    )
    assert strange == consistent


BLOCKS = [
    OPENAI,
    CLAUDE,
    {"kind": "openai", "model": "gpt-6-sol", "options": {"extra_body": {"service_tier": "priority"}}},
    {"kind": "anthropic", "model": "claude-sonnet-4-5"},
    {"kind": "openai", "model": "deepseek-v4-flash", "base_url": "https://api.deepseek.com"},
    {"kind": "openai", "model": "sonar-pro", "base_url": "https://api.perplexity.ai"},
    {"kind": "onnx", "model": "m", "timeout": "30s", "price": {"usd_per_hour": 0.37}},
]
BOOKS = [book(block) for block in BLOCKS]


@given(
    prices=st.sampled_from(BOOKS),
    counted=st.integers(0, 1_200_000),
    limit=st.integers(0, 200_000),
    parts=st.tuples(*[st.floats(0, 1)] * 5),
    hours=st.integers(0, 35),
    seconds=st.floats(0, 60),
)
def test_no_call_costs_more_than_its_worst_case(
    *, prices: PriceBook, counted: int, limit: int, parts: tuple[float, ...], hours: int, seconds: float
) -> None:
    """Whatever usage stays within the counted tokens, at whatever hour until tomorrow, costs at most the bound."""
    size = int(counted * parts[0])
    read = int(size * parts[1])
    write = int((size - read) * parts[2])
    output = int(limit * parts[3])
    usage = Usage(
        input_tokens=size,
        cache_read_tokens=read,
        cache_write_tokens=write,
        cache_write_1h_tokens=int(write * parts[4]),
        output_tokens=output,
        reasoning_tokens=int(output * parts[4]),
    )
    bound = prices.worst_case("t", input_tokens=counted, max_tokens=limit)
    assert bound is not None
    assert prices.cost("t", usage, at=NOW + timedelta(hours=hours), seconds=seconds) <= bound
