"""A policy's own tests through the real flow: retries, breakers, deadlines and money, on the virtual clock."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from decimal import Decimal
from typing import TYPE_CHECKING

from ..budget.ledger_memory import MemoryLedger, MemoryStore
from ..policy.cases import Situation, Walk
from ..receipt import Code
from ..types import File, Image, Message, Request, ResponseFormat, Text, Tool
from .simulator import at_once, simulate, stage
from .world import Answers, Fails, Step, World

if TYPE_CHECKING:
    from ..budget.ledger import Ledger
    from ..policy.model import BudgetBlock, Policy
    from ..types import Part

NOT_CALLED = frozenset({Code.CIRCUIT_OPEN, Code.OVER_BUDGET, Code.OVER_DEADLINE, Code.UNSAFE})
"""Lines of a receipt behind which there was no call."""

UNLIKE = 32
"""Answers of an unsure target that all differ: more than a rule's samples and retries."""


def rehearsal(policy: Policy) -> Callable[[Situation], Walk]:
    """Serves situations by `policy`: each alone, on fresh breakers and books. Whoever is not down answers at once."""

    def rehearse(situation: Situation) -> Walk:
        scripts = {name: _script(name, situation) for name in policy.targets}
        world = World(scripts=scripts, levels=situation.levels)
        own = {budget.name for budget in policy.budgets if budget.per == "request"}
        request = _request(situation, penniless=bool(own & situation.spent))
        receipt = simulate(request, stage(policy, world), world, ledger=_ledger(policy, situation, world)).receipt
        decision = receipt.decision
        assert decision is not None
        return Walk(
            rule=decision.rule,
            ladder=decision.ladder,
            masked=decision.masked,
            attempted=tuple(attempt.target for attempt in receipt.attempts if attempt.code not in NOT_CALLED),
            answered_by=receipt.target,
            rung=receipt.rung,
            code=receipt.code,
        )

    return rehearse


def _script(name: str, situation: Situation) -> Step | list[Step]:
    """Whoever is up and sure says the same as the others; whoever is unsure never says anything twice."""
    if name in situation.down:
        return Fails(Code.UNAVAILABLE, seconds=0.0)
    if name in situation.unsure:
        texts = (f'{{"{name}": {number}}}' for number in range(UNLIKE))
        return [Answers(first=0.0, seconds=0.0, text=text, confidence=0.0) for text in texts]
    return Answers(first=0.0, seconds=0.0, text="{}")


def _request(situation: Situation, *, penniless: bool) -> Request:
    """The smallest request that has these needs."""
    needs = situation.needs
    parts: list[Part] = [Text(text=situation.prompt or "hello")]
    if "vision" in needs:
        parts.append(Image(url="https://example.com/picture.png"))
    if "files" in needs:
        parts.append(File(file_id="file"))
    return Request(
        messages=(Message(role="user", parts=tuple(parts)),),
        tools=(Tool(name="tool", parameters={}),) if "tools" in needs else (),
        response_format=ResponseFormat(type="json_object") if "json" in needs else None,
        tags=situation.tags,
        budget_usd=Decimal(0) if penniless else None,
    )


def _ledger(policy: Policy, situation: Situation, world: World) -> Ledger | None:
    """Books in which the spent budgets are full, for the tags of this request; None: nothing needs books."""
    store, clock = MemoryStore(), lambda: world.date().timestamp()
    for budget in _windows(policy, situation.spent):
        alone = MemoryLedger(policy.model_copy(update={"budgets": (budget,)}), clock=clock, store=store)
        at_once(alone.reserve(receipt_id="before", target="before", usd=budget.usd, tags=situation.tags))
    return MemoryLedger(policy, clock=clock, store=store) if policy.budgets else None


def _windows(policy: Policy, names: AbstractSet[str]) -> Iterable[BudgetBlock]:
    return (budget for budget in policy.budgets if budget.name in names and budget.per != "request")
