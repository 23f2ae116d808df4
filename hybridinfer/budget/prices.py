"""What a call of a target costs: at most before it is made, exactly after it.

Who prices a target, in this order:

1. its `price:` block in the policy;
2. the price list of genai-prices (bundled with that package, never fetched), for the vendor that the target calls:
   kinds `openai` and `anthropic` without a `base_url` mean that vendor, any other address is matched against the
   addresses that genai-prices knows. `options: {extra_body: {service_tier, speed}}` choose the vendor's tariff, and
   the one that its answer names is billed; a body field that may add a fee which is not on the list makes the target
   unaffordable without a `price:`;
3. nothing, and the call is free, where no vendor sends a bill: zone `device`, and zone `network` at an address that
   is no known vendor's (writing `zone: network` declares a server to be one's own);
4. nobody: the target is unaffordable until the policy prices it. Unknown is never free.
"""

from __future__ import annotations

import math
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from . import tariffs
from .money import from_nano, to_nano

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from decimal import Decimal

    from ..policy.model import Policy, TargetBlock
    from ..types import Usage
    from .rates import Ceiling, Rates

    Today = tuple[Ceiling | None, dict[tuple[int, int], Decimal]]

_DAY = 86_400.0
_KEPT = 512  # bounds of one target that are remembered; alike requests ask for the same again and again


class PriceBook:
    """The prices of every target of one policy. Safe to share between threads; compiled anew every UTC day."""

    def __init__(self, policy: Policy, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._entries = {name: _Entry(block) for name, block in policy.targets.items()}

    def worst_case(self, target: str, *, input_tokens: int, max_tokens: int) -> Decimal | None:
        """An upper bound in USD for one call: dearest kind of token, dearest tier that the size can reach.

        It holds for every price of today and tomorrow (UTC), so a call may cross midnight. Zero is free;
        None means that nobody can price the target. Raises KeyError for an unknown target.
        """
        entry = self._entries[target]
        ceiling, known = entry.today(self._clock())
        if ceiling is None:
            return None
        size = (input_tokens, max_tokens)
        usd = known.get(size)
        if usd is None:
            nano = ceiling.nano(input_tokens=input_tokens, max_tokens=max_tokens)
            usd = from_nano(nano + entry.machine(entry.timeout))
            if len(known) >= _KEPT:
                known.clear()
            known[size] = usd
        return usd

    def cost(self, target: str, usage: Usage, *, at: datetime, seconds: float = 0.0) -> Decimal:
        """What `usage` cost in USD by the prices of `at` (naive means UTC), rounded up to a nano-dollar.

        The tariff is the one that the vendor says it charged by (`usage.tariff`), else the one that was asked for.
        `seconds` of work are billed by `usd_per_hour`, up to the target's timeout, which ends every attempt.
        Raises LookupError where nobody can price the target (`worst_case` is None), KeyError for an unknown one.
        """
        entry = self._entries[target]
        rates = entry.rates(at.replace(tzinfo=UTC) if at.tzinfo is None else at, usage)
        if not rates:
            raise LookupError(f"nobody knows the price of target {target!r}; give it a 'price:' in the policy")
        return from_nano(max([one.nano(usage) for one in rates]) + entry.machine(seconds))


class _Entry:
    """One target's tariff, and the compiled ceiling of the current day."""

    def __init__(self, block: TargetBlock) -> None:
        self.timeout = block.timeout
        self._hour = to_nano(block.price.usd_per_hour) if block.price else 0
        self._block = block
        self._tariff: tuple[tariffs.Tariff | None] | None = None
        self._day = -1.0
        self._today: Today = (None, {})

    def machine(self, seconds: float) -> int:
        """Nano-dollars for so many seconds of the machine, at most for the timeout; rounded up."""
        return math.ceil(self._hour * max(0.0, min(seconds, self.timeout)) / 3600) if self._hour else 0

    def rates(self, at: datetime, usage: Usage) -> Sequence[Rates]:
        """The prices that `usage` may have been charged by, at one moment: the dearest counts. Empty: nobody knows."""
        tariff = self._find()
        if tariff is None:
            return ()
        if usage.tariff and tariff.learn(usage.tariff):
            self._day = -1.0
        return tariff.at(at, None if usage.estimated else usage.tariff)

    def today(self, now: float) -> Today:
        """The bound for calls made at `now`, in seconds since the epoch, and what it gave before for some sizes."""
        day = now // _DAY
        if day != self._day:
            tariff = self._find()
            ceiling = None if tariff is None else tariff.ceiling(datetime.fromtimestamp(now, UTC).date())
            self._today = (ceiling, {})  # first: another thread that sees the new day shall not find the old bound
            self._day = day
        return self._today

    def _find(self) -> tariffs.Tariff | None:
        if self._tariff is None:  # two threads may both look: they find the same
            self._tariff = (tariffs.find(self._block),)
        return self._tariff[0]
