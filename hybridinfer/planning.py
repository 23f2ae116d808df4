"""From scores to a plan for one request: the policy's decision, less the targets that cannot serve it.

Pure; used by the flow for every request and by `Router.decide` to explain without calling.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING

from .policy.decide import decide
from .quick import builder, replace
from .receipt import Decision, Reason, Removal
from .types import Text, ToolCall, ToolResult

if TYPE_CHECKING:
    from .commands import Runtime
    from .signals.base import SignalResult
    from .types import Request

new_decision = builder(Decision)

MIN_ANSWER = 64
"""Tokens of room for an answer that a window must offer when the caller names no `max_tokens`."""


INLINE_CHARACTERS = 20_000
"""Longer requests are scored and counted in a thread: that many characters take a few milliseconds."""

ALIKE = 512
"""Decisions that are remembered; tags with many values would fill the memory otherwise."""


class Planner:
    """One request against its policy: tokens, worst cases, plan. Counts once per target."""

    def __init__(self, request: Request, runtime: Runtime) -> None:
        self._request = request
        self._runtime = runtime
        self._tokens: dict[str, int] = {}
        self._worst: dict[str, Decimal | None] = {}
        self._needs = request.needs
        self._limits = tuple(self._own_budgets())
        self.long = characters(request) > INLINE_CHARACTERS
        """Counting takes so long that it belongs into a thread."""

    def plan(self, scores: Mapping[str, SignalResult]) -> Decision:
        """Decide, then take out of the plan what lacks a capability, the room or the money.

        A long request is counted for every target here and now, so that nobody has to do it later.
        """
        request, policy = self._request, self._runtime.policy
        levels = {name: result.level for name, result in scores.items()}
        decision = self._decided(levels)
        saved = self.trim(decision.rule)
        unable = {name: removal for name in decision.plan if (removal := self.removal(name)) is not None}
        if unable:
            decision = decide(policy, levels, needs=self._needs, tags=request.tags, unable=unable)
        if self.long:
            for name in decision.plan:
                if self._runtime.infos[name].kind != "canned":
                    self.tokens(name)
        return new_decision(
            rule=decision.rule,
            levels=levels,  # its own: a decision that is remembered shall not change with a caller's receipt
            scores={name: result.score for name, result in scores.items()},
            because={name: result.because for name, result in scores.items()},
            ladder=decision.ladder,
            plan=decision.plan,
            removed=decision.removed,
            masked=decision.masked,
            estimates={name: self.worst_case(name) or Decimal(0) for name in decision.plan},
            saved_tokens=saved,
        )

    def uncounted(self, scores: Mapping[str, SignalResult]) -> Decision:
        """The decision for a request that is too long to be counted in time: canned replies alone can serve it."""
        levels = {name: result.level for name, result in scores.items()}
        because = "the prompt is too long to be counted in time"
        unable = {
            name: Removal(target=name, reason=Reason.CONTEXT, because=because)
            for name, info in self._runtime.infos.items()
            if info.kind != "canned"
        }
        decision = decide(self._runtime.policy, levels, needs=self._needs, tags=self._request.tags, unable=unable)
        return replace(
            decision,
            scores={name: result.score for name, result in scores.items()},
            because={name: result.because for name, result in scores.items()},
        )

    def _decided(self, levels: Mapping[str, str]) -> Decision:
        """`decide`, once for requests that are alike to the policy."""
        known, tags = self._runtime.decisions, self._request.tags
        key = (*levels.items(), *tags.items(), self._needs)
        decision = known.get(key)
        if decision is None:
            if len(known) >= ALIKE:
                known.clear()
            decision = known[key] = decide(self._runtime.policy, levels, needs=self._needs, tags=tags)
        return decision

    @property
    def request(self) -> Request:
        """The request as its targets get it: what its rule trims is gone once `plan` was made."""
        return self._request

    def tokens(self, target: str) -> int:
        """Prompt tokens for this target."""
        if target not in self._tokens:
            self._tokens[target] = self._runtime.count_tokens(target, self._request)
        return self._tokens[target]

    def resolved(self, target: str, *, key: str | None = None) -> Request:
        """The request with the `max_tokens` that this target is sent: without a limit no budget could hold.

        `key`: its idempotency key.
        """
        if self._request.max_tokens is not None and key is None:
            return self._request
        return replace(self._request, max_tokens=self._max_tokens(target), idempotency_key=key)

    def worst_case(self, target: str) -> Decimal | None:
        """The most that one call can cost in USD; None: nobody can price it."""
        if target not in self._worst:
            self._worst[target] = self._price(target)
        return self._worst[target]

    def trim(self, rule: str) -> int:
        """From here on the request is what the rule's `prompt:` block leaves of it. Returns the tokens saved."""
        block = next(one.prompt for one in self._runtime.policy.rules if one.name == rule)
        if block is None:
            return 0
        from .tokens import count_request
        from .trimming import trim
        from .types import Request

        request = self._request
        self._request = trim(request, block, lambda messages: count_request(Request(messages=tuple(messages))))
        return 0 if self._request is request else count_request(request) - count_request(self._request)

    def _max_tokens(self, target: str) -> int:
        if self._request.max_tokens is not None:
            return self._request.max_tokens
        limit = self._runtime.policy.targets[target].max_tokens
        window = self._runtime.infos[target].context_window
        return limit if window is None else min(limit, max(MIN_ANSWER, window - self.tokens(target)))

    def _price(self, target: str) -> Decimal | None:
        if self._runtime.infos[target].kind == "canned":
            return Decimal(0)
        max_tokens, prices = self._max_tokens(target), self._runtime.prices
        least = prices.worst_case(target, input_tokens=1, max_tokens=max_tokens)
        if not least:  # unpriced or free: no need to count
            return least
        return prices.worst_case(target, input_tokens=self.tokens(target), max_tokens=max_tokens)

    def over_budget(self, target: str, *, spent: Decimal) -> str:
        """Why one more call would not fit the request's own budgets; an empty text when it fits."""
        worst = self.worst_case(target)
        if worst is None:
            return "nobody can price it; give it a `price:` in the policy"
        if worst > 0:
            for name, limit in self._limits:
                if spent + worst > limit:
                    return f"{name}: up to ${worst:f} more would pass ${limit:f}"
        return ""

    def _own_budgets(self) -> Iterator[tuple[str, Decimal]]:
        for budget in self._runtime.policy.budgets:
            if budget.per == "request":
                yield f"budget {budget.name}", budget.usd
        if self._request.budget_usd is not None:
            yield "budget_usd", self._request.budget_usd

    def removal(self, target: str) -> Removal | None:
        """Why `target` cannot serve this request; None where it can."""
        info = self._runtime.infos[target]
        if info.kind == "canned":
            return None
        if not self._needs <= info.supports:
            because = f"cannot do {', '.join(sorted(self._needs - info.supports))}"
            return Removal(target=target, reason=Reason.CAPABILITY, because=because)
        if info.context_window is not None:
            room = self._request.max_tokens or MIN_ANSWER
            if self.tokens(target) + room > info.context_window:
                need = f"{self.tokens(target)} prompt tokens and {room} for the answer"
                because = f"{need} pass its window of {info.context_window}"
                return Removal(target=target, reason=Reason.CONTEXT, because=because)
        because = self.over_budget(target, spent=Decimal(0))
        if because:
            reason = Reason.PRICE if self.worst_case(target) is None else Reason.BUDGET
            return Removal(target=target, reason=reason, because=because)
        return None


def characters(request: Request) -> int:
    """How much there is to read, roughly."""
    count = 0
    for message in request.messages:
        for part in message.parts:
            if isinstance(part, Text):
                count += len(part.text)
            elif isinstance(part, ToolResult):
                count += sum(len(getattr(inner, "text", "")) for inner in part.content)
            elif isinstance(part, ToolCall):
                count += len(part.arguments)
    return count
