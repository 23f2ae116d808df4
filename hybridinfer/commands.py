"""What the flow asks of a driver, and what a driver answers: the whole vocabulary between the two.

`flow.run` yields commands and receives answers; a driver (`AsyncRouter`, the simulator, a test by hand)
carries them out. Nothing here does I/O.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from math import inf
from typing import TYPE_CHECKING, Any

from .quick import quick
from .receipt import Code, Decision, Receipt
from .types import FinishReason, Request, TokenLogprob, ToolCall, Usage

if TYPE_CHECKING:
    from .budget.ledger import Reservation
    from .budget.prices import PriceBook
    from .continuing import Join
    from .policy.model import Policy
    from .resilience.breaker import Breaker
    from .resilience.latency import Latency
    from .resilience.retry import RetryBudget
    from .targets.base import TargetInfo


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Run the signals on the request. Answer: `Mapping[str, SignalResult]`, one for every signal of the policy."""

    request: Request
    seconds: float
    """Past this, whatever is not scored yet counts as its highest level."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Compute what would hold up an event loop: a long prompt is counted. Answer: what `does` gives, never None."""

    does: Callable[[], Any]
    seconds: float = inf
    """Past this the answer is None, and the work is left to itself."""


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Reserve:
    """Put money aside in the ledger. Answer: a `Reservation`, or a `Denied`."""

    target: str
    usd: Decimal
    receipt_id: str
    tags: Mapping[str, str]
    seconds: float
    """A ledger that is silent for longer counts as one that says no."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Denied:
    """The ledger's no. `because` names the budget."""

    because: str


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Settle:
    """Book what a call really cost. Answer: None."""

    reservation: Reservation
    usd: Decimal
    estimated: bool
    seconds: float
    """The longest that the answer may wait for it; the booking itself goes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """Give a reservation back: nothing was processed. Answer: None."""

    reservation: Reservation
    seconds: float
    """As in `Settle`."""


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Seconds: for the whole attempt, to its first piece, and between two pieces."""

    total: float
    first_token: float
    stall: float
    deadline: float = inf
    """The other three count the target's time alone; this one also counts how long the caller lets a piece lie."""


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """Call a target. Answer: an `Outcome`.

    `hold`: read the whole answer before reporting. Otherwise report at the first piece (`Outcome.opened` holds
    the rest) and wait for `Relay`.
    """

    target: str
    number: int
    request: Request
    levels: Mapping[str, str]
    limits: Limits
    hold: bool
    join: Join | None = None
    """The caller holds the beginning of an answer already; None: nothing."""
    patience: float | None = None
    """Where there is neither answer nor first piece after so many seconds, answer `Pending` and keep it running."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """A call that is still silent. `handle` is the driver's own; `Race` must follow."""

    target: str
    handle: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Race:
    """Start `call` beside the pending one; None: only wait for that. Answer: target -> `Outcome`, for each of them.

    The first that is answered (or has begun to answer) ends the race: the other is stopped and `cancelled`.
    """

    pending: Pending
    call: Call | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Together:
    """Carry out all of these calls side by side and wait for each. Answer: target -> `Outcome`. All of them hold."""

    calls: tuple[Call, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sleep:
    """Wait before a retry. Answer: None."""

    seconds: float


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Relay:
    """Hand an opened answer to the caller, piece by piece. Answer: the final `Outcome`.

    `joins`: the answer of another target goes on; the caller is not told of a new one. It may turn out `cancelled`: it
    did not fit to what the caller holds.
    """

    target: str
    opened: Any
    joins: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Restart:
    """Tell the caller to forget what was delivered: another target begins anew. Answer: None."""

    because: str


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a target said, whole or as far as it came."""

    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: FinishReason = "stop"
    usage: Usage | None = None
    model: str = ""
    logprobs: tuple[TokenLogprob, ...] | None = None
    confidence: float | None = None
    """How likely it is right, 0..1; None: nobody can say."""
    probabilities: tuple[float, ...] = ()
    """Of the request's `choices`, in their order; empty: nobody scored them."""
    ran_on: str = ""
    """What computed it, where the target knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deliver:
    """Hand a whole answer to a caller who streams. Answer: None."""

    target: str
    answer: Answer


Command = Score | Work | Reserve | Settle | Release | Call | Race | Together | Sleep | Relay | Restart | Deliver


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a call ended. `answer` is partial when the code is a failure."""

    code: Code
    answer: Answer = Answer()
    because: str = ""
    status: int | None = None
    retry_after: float | None = None
    retry: bool | None = None
    seconds: float = 0.0
    first_token_seconds: float | None = None
    error: BaseException | None = None
    sent: bool = True
    """False where it is certain that the target never saw the request."""
    late: float = 0.0
    """Seconds by which our own event loop was late when it declared a silence: the target may be innocent."""
    opened: Any = None
    """The driver's own handle on a stream that has begun."""


class Abandoned(Exception):
    """The caller went away. The flow books what is owed, writes the receipt and lets it pass."""

    def __init__(self, outcomes: Mapping[str, Outcome]) -> None:
        super().__init__()
        self.outcomes = outcomes
        """How far each open call came, by target."""
        self.receipt: Receipt | None = None

    def of(self, target: str) -> Outcome:
        """How far the call of `target` came."""
        return self.outcomes.get(target, Outcome(code=Code.CANCELLED, sent=False))


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What the flow returns: the answer and its receipt."""

    answer: Answer
    receipt: Receipt


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """All that a flow stands on: the policy (immutable) and the state that requests share."""

    policy: Policy
    digest: str
    infos: Mapping[str, TargetInfo]
    count_tokens: Callable[[str, Request], int]
    """(target, request) -> prompt tokens, exact or an upper bound."""
    count_text: Callable[[str, str], int]
    """(target, text) -> tokens of an answer that came without usage."""
    prices: PriceBook
    breakers: Mapping[str, Breaker]
    latencies: Mapping[str, Latency]
    """Seconds to the first sign of an answer, for hedging."""
    retry_budget: RetryBudget
    clock: Callable[[], float]
    """Monotonic seconds."""
    now: Callable[[], datetime]
    random: Callable[[], float]
    new_id: Callable[[], str]
    window_budgets: bool = field(default=False)
    """Whether the ledger has to be asked at all."""
    alike: Callable[[str, Answer, Answer], bool] | None = None
    """(question, answer, answer) -> whether an embedding on this machine takes them for the same; None: there is none."""
    decisions: dict[Any, Decision] = field(default_factory=dict[Any, "Decision"])
    """What the policy decided before, by levels, tags and needs; `Planner` keeps it."""
