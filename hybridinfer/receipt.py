"""What was decided and what happened: plain records without content, safe to log, store and send.

Nothing here ever holds a prompt, an answer, a header or a key: only names, numbers and codes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any, Literal

from .quick import quick

Zone = Literal["device", "network", "cloud"]
"""Where a target runs: in this process, on one's own servers, or at somebody else's."""
OnInterrupt = Literal["error", "restart", "continue", "buffer"]
"""A stream that dies midway: raise, begin anew on the next rung after a `Reset`, let the next rung that can go on with
it, or deliver only whole answers."""
Need = Literal["tools", "vision", "files", "json"]
"""What a request demands of a target; `when: {needs: ...}` tests it."""


class Code(StrEnum):
    """How one attempt ended. The same words stand in policies, logs, receipts and errors."""

    OK = "ok"
    TRUNCATED = "truncated"  # max_tokens reached: delivered and marked, never a plain success
    TIMEOUT = "timeout"  # no answer within the attempt's time
    STALLED = "stalled"  # silence before the first token, or between two chunks
    RATE_LIMITED = "rate_limited"
    UNAVAILABLE = "unavailable"  # connection refused or reset, 5xx, model file broken
    INTERRUPTED = "interrupted"  # ended without its terminal event, or garbled
    EMPTY = "empty"  # a well-formed answer with nothing in it
    REFUSED = "refused"  # content policy
    CONTEXT_TOO_LONG = "context_too_long"
    INVALID = "invalid"  # the request itself is wrong (400, 404, 413, 422)
    INVALID_OUTPUT = "invalid_output"  # the answer does not keep the demanded format
    UNSURE = "unsure"  # a whole answer that did not pass the policy's check: never shown
    UNAUTHORIZED = "unauthorized"  # key missing, wrong or not allowed (401, 403)
    UNSUPPORTED = "unsupported"  # the target cannot express this request without loss
    FORBIDDEN = "forbidden"  # the egress lock refused: privacy
    CIRCUIT_OPEN = "circuit_open"
    OVER_DEADLINE = "over_deadline"
    OVER_BUDGET = "over_budget"
    SATURATED = "saturated"  # our own queue or connection pool is full
    UNSAFE = "unsafe"  # not tried: an earlier target may have acted on the request, and it must not act twice
    CANCELLED = "cancelled"  # the caller went away


ANSWERED: frozenset[Code] = frozenset({Code.OK, Code.TRUNCATED})
"""Codes after which the caller holds an answer."""


class Reason(StrEnum):
    """Why a target was removed from a plan before anything was tried."""

    BOUNDARY = "boundary"
    CAPABILITY = "capability"
    CONTEXT = "context"
    PRICE = "price"  # nobody can say what a call costs
    BUDGET = "budget"  # its worst case does not fit


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """One target that left the plan, and why."""

    target: str
    reason: Reason
    because: str


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Which rule matched, on which levels, and the ordered plan that it gave.

    `ladder` is what the rule offers within its boundaries; `plan` is the ladder without the targets
    that cannot serve this request (capability, window, price). A rung is a position on the ladder.
    """

    rule: str
    levels: Mapping[str, str]
    scores: Mapping[str, float] = field(default_factory=dict[str, float])
    because: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    ladder: tuple[str, ...]
    plan: tuple[str, ...]
    removed: tuple[Removal, ...] = ()
    masked: frozenset[str] = frozenset()
    """Targets on the ladder that may see this request only after masking."""
    estimates: Mapping[str, Decimal] = field(default_factory=dict[str, Decimal])
    """Worst-case USD of one call, for each target on the plan."""
    saved_tokens: int = 0
    """Prompt tokens that the rule's `prompt:` block cut out, by a count that is the same for every target."""


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One call of one target. `number` counts from 1 per target; `seconds` includes the stream."""

    target: str
    number: int
    code: Code
    because: str = ""
    seconds: float = 0.0
    first_token_seconds: float | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: Decimal = Decimal(0)
    estimated: bool = False
    status: int | None = None
    confidence: float | None = None
    """How sure the answer was, 0..1: calibrated, the share of samples that agree, or of `choices` the probability of the
    one taken; None: nobody can say."""
    ran_on: str = ""
    """What computed it, where the target knows: cpu, cuda and so on for a model in this process."""


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """The whole story of one request. It is on every response and on every error."""

    id: str
    kind: Literal["request", "audit"] = "request"
    """audit: no caller asked; what was answered here was asked of a cloud, too, to learn from (`audit_share`)."""
    audits: str = ""
    """Of an audit: the id of the request's receipt."""
    policy: str
    policy_digest: str = ""
    policy_revision: str = ""
    """The policy's own `revision`; empty where it names none."""
    decision: Decision | None = None
    attempts: tuple[Attempt, ...] = ()
    target: str | None = None
    """Who answered; None when nobody did."""
    zone: Zone | None = None
    rung: int | None = None
    """1 for the first choice; None when nobody answered."""
    degraded: bool = False
    """True when a later rung or a canned reply answered."""
    seconds: float = 0.0
    tags: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def cost_usd(self) -> Decimal:
        """Everything this request cost, failed attempts included."""
        return sum((attempt.cost_usd for attempt in self.attempts), Decimal(0))

    @property
    def code(self) -> Code | None:
        """The code of the last attempt; None when nothing was tried."""
        return self.attempts[-1].code if self.attempts else None

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready form: codes as text, money as text, tuples as lists. Stable between minor versions."""
        tree: dict[str, Any] = _plain(asdict(self))
        return tree | {"cost_usd": str(self.cost_usd)}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, frozenset):
        return sorted(_plain(item) for item in value)
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, Decimal):
        return str(value)
    return str(value) if isinstance(value, StrEnum) else value
