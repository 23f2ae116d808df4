"""Puts a router together: policy found and loaded, targets built and locked, prices, breakers, ledger."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .budget.ledger import open_ledger
from .budget.prices import PriceBook
from .commands import Runtime
from .driver import Equipment
from .errors import ConfigurationError
from .load.limited import LimitedTarget
from .load.replicated import ReplicatedTarget
from .policy.load import digest, load, shipped
from .policy.model import Policy
from .privacy.egress import Guarded
from .resilience.breaker import Breaker
from .resilience.latency import Latency
from .resilience.retry import RetryBudget
from .signals import registry as signals
from .targets import registry as targets
from .targets.base import TargetContext

if TYPE_CHECKING:
    from .budget.ledger import Ledger
    from .observe.hooks import Hook
    from .signals.base import Signal
    from .targets.base import Target
    from .types import Request

logger = logging.getLogger("hybridinfer")


def equip(
    policy: str | Path | Mapping[str, Any] | Policy | None,
    *,
    targets: Mapping[str, Target],
    own_signals: Mapping[str, Signal],
    ledger: Ledger | None,
    hooks: Sequence[Hook],
    environ: Mapping[str, str],
    clock: Callable[[], float],
    sleep: Callable[[float], Awaitable[None]],
    rng: Callable[[], float],
    now: Callable[[], datetime],
    new_id: Callable[[], str],
) -> Equipment:
    """Everything that requests share. No network, no model is loaded. Raises PolicyError, ConfigurationError."""
    loaded = load(discover(environ) if policy is None else policy)
    built = build_targets(loaded, environ, targets)
    settings = loaded.resilience.circuit_breaker
    runtime = Runtime(
        policy=loaded,
        digest=digest(loaded),
        infos={name: target.info for name, target in built.items()},
        count_tokens=lambda name, request: _count(built[name], request),
        count_text=lambda name, text: _count_text(built[name], text),
        prices=PriceBook(loaded),
        breakers={
            name: Breaker(name, settings, clock) for name, target in built.items() if target.info.kind != "canned"
        },
        latencies={name: Latency() for name in built},
        retry_budget=RetryBudget(),
        clock=clock,
        now=now,
        random=rng,
        new_id=new_id,
        window_budgets=any(budget.per != "request" for budget in loaded.budgets),
    )
    return Equipment(
        runtime=runtime,
        targets={name: Guarded(target, loaded) for name, target in built.items()},
        signals=signals.build(loaded, own_signals),
        quick_signals=not own_signals and signals.all_built_in(loaded),
        ledger=ledger if ledger is not None else open_ledger(loaded, environ=environ),
        sleep=sleep,
        hooks=tuple(hooks),
    )


def discover(environ: Mapping[str, str]) -> Path:
    """The policy file to use when the caller names none. Raises ConfigurationError when a named one is missing."""
    named = environ.get("HYBRIDINFER_POLICY")
    if named:
        if not Path(named).is_file():
            raise ConfigurationError(f"HYBRIDINFER_POLICY names {named!r}, which is not a file")
        return Path(named)
    from platformdirs import user_config_path

    places = (Path("hybridinfer.yaml"), Path("policies/default.yaml"), user_config_path("hybridinfer") / "policy.yaml")
    found = next((place for place in places if place.is_file()), None)
    return found or shipped("default")


def build_targets(policy: Policy, environ: Mapping[str, str], own: Mapping[str, Target]) -> dict[str, Target]:
    """The targets of a policy behind their replicas and limits; only `Guarded` may call them."""
    targets.refuse_unknown(policy, own)
    built: dict[str, Target] = {}
    for name, block in policy.targets.items():
        target = own[name] if name in own else _replicated(policy, name, environ)
        if target.info.name != name:  # the lock judges a target by its own name
            raise ConfigurationError(f"target {name!r} calls itself {target.info.name!r}; both names must be the same")
        limited = (block.max_concurrency, block.requests_per_minute, block.tokens_per_minute) != (None, None, None)
        built[name] = LimitedTarget(target, block) if limited else target
    return built


def _replicated(policy: Policy, name: str, environ: Mapping[str, str]) -> Target:
    block, context = policy.targets[name], TargetContext(name=name, environ=environ)
    if not block.replicas:
        return targets.build(block, context)
    changes = [replica.model_dump(exclude_none=True) for replica in block.replicas]
    blocks = [block.model_copy(update={"replicas": (), **change}) for change in changes]
    return ReplicatedTarget([targets.build(one, context) for one in blocks], policy.resilience.circuit_breaker)


def _count(target: Target, request: Request) -> int:
    """The target's own count; where it fails, an upper bound, so that one broken counter costs nobody an answer."""
    try:
        return target.count_tokens(request)
    except Exception as error:  # noqa: BLE001 - a target may be anybody's code
        logger.error("target %s: counting tokens raised %s", target.info.name, type(error).__name__)  # noqa: TRY400 - no content
        from .tokens import count_request

        return count_request(request, target.info.model, dialect="anthropic")


def _count_text(target: Target, text: str) -> int:
    from .types import Message, Request, Text

    return _count(target, Request(messages=(Message(role="assistant", parts=(Text(text=text),)),)))
