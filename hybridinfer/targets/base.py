"""What a target is. Implement `Target`, register its kind, and the rest of the package never changes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from ..policy.model import TargetBlock
from ..quick import quick
from ..receipt import Code, Need, Zone
from ..types import FinishReason, Request, TextDelta, ToolCallDelta, Usage


class TargetFailed(Exception):
    """Raised by adapters only, and caught by the driver: how an attempt failed, in the words of the policy.

    The vendor's own error stands in `__cause__`. `because` is for receipts: it never holds content or keys.
    """

    def __init__(
        self,
        code: Code,
        because: str = "",
        *,
        status: int | None = None,
        retry_after: float | None = None,
        retry: bool | None = None,
        usage: Usage | None = None,
        sent: bool = True,
    ) -> None:
        super().__init__(f"{code}: {because}" if because else str(code))
        self.code = code
        self.because = because
        self.status = status
        self.retry_after = retry_after
        """Seconds the target asks to wait."""
        self.retry = retry
        """The target's own word on retrying (x-should-retry, or False where it cannot help); None: by code."""
        self.usage = usage
        """What the failed attempt used, where the target told."""
        self.sent = sent
        """False where it is certain that the target never saw the request."""


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """The last event of every complete answer. A stream that ends without it was interrupted."""

    finish_reason: FinishReason
    usage: Usage | None = None
    model: str = ""
    confidence: float | None = None
    """How likely the answer is right, 0..1 and calibrated; None: the target cannot say."""
    probabilities: tuple[float, ...] = ()
    """Of the request's `choices`, in their order and 1 together, where the target scored them."""
    ran_on: str = ""
    """What computed it, where the target knows: onnxruntime's execution provider, such as cpu or cuda."""


@dataclass(frozen=True, slots=True)
class Progress:
    """The target works and has nothing to show yet: it thinks, or says that it is alive. Never shown to a caller."""


TargetEvent = TextDelta | ToolCallDelta | Progress | Finish


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetInfo:
    """What decisions need to know of a target; all of it is known without a call."""

    name: str
    kind: str
    zone: Zone
    model: str = ""
    region: str | None = None
    supports: frozenset[Need] = frozenset()
    context_window: int | None = None
    """Tokens of prompt and answer together; None: unknown, nothing is refused beforehand."""
    continues: bool = False
    """Where the last message is the assistant's, its text is the beginning of the answer: the target says only what
    follows, or refuses with `invalid` or `unsupported`."""
    idempotent: bool = False
    """It takes `Request.idempotency_key`."""


class Target(Protocol):
    """One thing that can answer. One object per target per event loop; calls may overlap."""

    info: TargetInfo

    def stream(self, request: Request, *, stream: bool) -> AsyncIterator[TargetEvent]:
        """Answer `request`: deltas, perhaps `Progress` between them, then one `Finish`. Raise `TargetFailed`, nothing else.

        `stream=False` says that nobody waits for the first token: the adapter may then answer in one piece.
        Closing the iterator (or cancelling the task) must stop the work and free what it holds.
        """
        ...

    def count_tokens(self, request: Request) -> int:
        """Prompt tokens of `request` for this target: exact, or an upper bound that money can trust."""
        ...

    async def warmup(self) -> None:
        """Load what the first call would load. Raise `TargetFailed` where that cannot work."""
        ...

    async def aclose(self) -> None:
        """Free everything. Later calls are errors."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetContext:
    """What the registry hands to a target's factory beside its YAML block."""

    name: str
    environ: Mapping[str, str] = field(default_factory=dict[str, str])


TargetFactory = Callable[[TargetBlock, TargetContext], Target]
"""Builds a target from its block of the policy. It does no I/O and imports nothing heavy."""
