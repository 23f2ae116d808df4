"""Puts a router together: policy found and loaded, targets built and locked, prices, breakers, ledger."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from .budget.ledger import MemoryLedger, books_behind, open_ledger, open_log
from .budget.prices import PriceBook
from .commands import Runtime
from .driver import Equipment
from .errors import ConfigurationError
from .learning.memory import Memory
from .likeness import judge
from .load.limited import LimitedTarget
from .load.replicated import ReplicatedTarget
from .observe.hooks import watched
from .policy.load import digest, shipped
from .policy.model import Policy
from .privacy.egress import Guarded
from .resilience import retry
from .resilience.breaker import Breaker
from .resilience.latency import Latency
from .signals import registry as signals
from .targets import registry as targets
from .targets.base import TargetContext

if TYPE_CHECKING:
    from .budget.ledger import Ledger
    from .budget.requests import RequestLog
    from .observe.hooks import Hook
    from .resilience.retry import RetryBudget
    from .signals.base import Signal
    from .targets.base import Target
    from .types import Request

logger = logging.getLogger("hybridinfer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Assembled:
    """What requests share under one policy, and what a later policy may take over of it."""

    equipment: Equipment
    built: Mapping[str, Target]
    """The targets before the lock. Nobody but the lock may call them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assembler:
    """Puts equipment together for one policy after the other, with what the program handed over for all of them."""

    targets: Mapping[str, Target]
    signals: Mapping[str, Signal]
    ledger: Ledger | None
    hooks: Sequence[Hook]
    environ: Mapping[str, str]
    clock: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]
    rng: Callable[[], float]
    now: Callable[[], datetime]
    new_id: Callable[[], str]
    retry_budget: RetryBudget | None = None
    """None: the process's."""

    def assemble(self, policy: Policy, before: Assembled | None = None) -> Assembled:
        """Everything that requests share. No network, no model is loaded. Raises ConfigurationError.

        What `before` has and `policy` does not change is taken over: targets with their connections, models and
        limits, breakers with their state, the ledger. `before` itself stays as it is, for requests under way.
        """
        kept = _unchanged(policy, before) if before is not None else frozenset[str]()
        old = {name: before.built[name] for name in kept} if before is not None else {}
        built = build_targets(policy, self.environ, self.targets, old)
        meanings = any(rule.compares_meanings for rule in policy.rules)
        if meanings:
            from .edge.embedder import check_here  # only who asks for it pays for it

            check_here(self.environ)
        runtime = Runtime(
            policy=policy,
            digest=digest(policy),
            infos={name: target.info for name, target in built.items()},
            count_tokens=lambda name, request: _count(built[name], request),
            count_text=lambda name, text: _count_text(built[name], text),
            prices=PriceBook(policy),
            breakers={
                name: Breaker(name, policy.resilience.circuit_breaker, self.clock)
                for name, target in built.items()
                if target.info.kind != "canned"
            },
            latencies={name: Latency() for name in built},
            retry_budget=self.retry_budget or retry.PROCESS,
            clock=self.clock,
            now=self.now,
            random=self.rng,
            new_id=self.new_id,
            window_budgets=any(budget.per != "request" for budget in policy.budgets),
            alike=judge(self.environ) if meanings else None,
        )
        ledger, log = self._ledger(policy, before), self._log(policy, before)
        hooks = watched(policy, self.hooks)
        equipment = Equipment(
            runtime=runtime,
            targets={name: Guarded(target, policy) for name, target in built.items()},
            signals=signals.build(policy, self.signals),
            asks_standing=bool(self.signals) or signals.may_depend_on_money(policy),
            prompt=frozenset(
                name for name in built if name not in self.targets and policy.targets[name].kind in targets.BUILT_IN
            ),
            quick_signals=not self.signals and signals.all_quick(policy),
            ledger=ledger,
            books_behind=books_behind(ledger),
            sleep=self.sleep,
            memory=Memory(policy, self.environ, before.equipment.memory if before is not None else None),
            hooks=hooks if log is None else (*hooks, log),
            log=log,
        )
        if before is not None:
            equipment = _taking_over(equipment, before.equipment, kept)
        return Assembled(equipment=equipment, built=built)

    def _ledger(self, policy: Policy, before: Assembled | None) -> Ledger:
        if before is not None:
            last = before.equipment
            if last.runtime.policy.budgets == policy.budgets:
                return last.ledger
            if self.ledger is not None:
                raise ConfigurationError(
                    "the budgets changed, but the ledger was handed over ready-made and would keep the old ones; "
                    "restart with a ledger for the new policy"
                )
            if isinstance(last.ledger, MemoryLedger) and any(budget.per != "request" for budget in policy.budgets):
                return last.ledger.under(policy)  # a new one would forget what is spent
        return self.ledger if self.ledger is not None else open_ledger(policy, environ=self.environ)

    def _log(self, policy: Policy, before: Assembled | None) -> RequestLog | None:
        """A ledger that was handed over may lie anywhere; only our own file takes the records, too."""
        log = open_log(policy, environ=self.environ) if self.ledger is None else None
        known = before.equipment.log if before is not None else None
        return log if log is None or known is None else known


def _unchanged(policy: Policy, before: Assembled) -> frozenset[str]:
    """The targets that mean the same under both policies."""
    last = before.equipment.runtime.policy
    same_breaker = last.resilience.circuit_breaker == policy.resilience.circuit_breaker
    return frozenset(
        name
        for name, block in policy.targets.items()
        if last.targets.get(name) == block and (same_breaker or not block.replicas)  # replicas have breakers inside
    )


def _taking_over(equipment: Equipment, last: Equipment, kept: frozenset[str]) -> Equipment:
    """`equipment` with the state of `last` that is still about the same things."""
    runtime, old = equipment.runtime, last.runtime
    breakers, latencies = dict(runtime.breakers), dict(runtime.latencies)
    for name in kept:
        latencies[name] = old.latencies[name]
        if name in breakers:
            old.breakers[name].adjust(runtime.policy.resilience.circuit_breaker)
            breakers[name] = old.breakers[name]
    runtime = replace(runtime, breakers=breakers, latencies=latencies, retry_budget=old.retry_budget)
    return replace(equipment, runtime=runtime, bookings=last.bookings, behind=last.behind)


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


def build_targets(
    policy: Policy, environ: Mapping[str, str], own: Mapping[str, Target], kept: Mapping[str, Target]
) -> dict[str, Target]:
    """The targets of a policy behind their replicas and limits; only `Guarded` may call them. `kept` are there."""
    targets.refuse_unknown(policy, own)
    built: dict[str, Target] = {}
    for name, block in policy.targets.items():
        if name in kept:
            built[name] = kept[name]
            continue
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
    return ReplicatedTarget([targets.build(one, context) for one in blocks], policy.resilience.circuit_breaker, block)


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
