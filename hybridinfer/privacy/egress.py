"""The lock: the one place through which a request leaves for a target.

`Guarded` wraps every target before anything else can hold it. It looks at the clearance of exactly the request
that is about to leave and asks the policy again, independently of the decision that built the plan; whatever path
led here (rule, retry, fallback, hedge, shadow, probe) meets the same answer. Unknown means no.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..policy.decide import Verdict, permit
from ..policy.model import zone_of
from ..quick import quick
from ..receipt import Code
from ..signals.privacy import PrivacySignal
from ..targets.base import Progress, Target, TargetEvent, TargetFailed, TargetInfo
from ..types import Request, TextDelta, ToolCallDelta
from .detectors.scanner import UNSCANNED
from .fields import Field, fields, rewrite
from .redact import Restorer, Vault

if TYPE_CHECKING:
    from ..policy.model import Policy
    from .finding import Finding

_log = logging.getLogger("hybridinfer.privacy")
_REACH = {"device": 0, "network": 1, "cloud": 2}


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Clearance:
    """What is known of one request: its measured levels and its tags. Good for that very object only."""

    request: Request
    levels: Mapping[str, str]
    tags: Mapping[str, str]


class Guarded:
    """A target behind the lock. It has a target's face, but `stream` demands a clearance."""

    def __init__(self, target: Target, policy: Policy) -> None:
        self._target = target
        self._policy = policy
        self._signals = tuple(
            PrivacySignal(block) for name, block in policy.signals.items() if (block.kind or name) == "privacy"
        )

    @property
    def info(self) -> TargetInfo:
        """The target's own."""
        return self._target.info

    def count_tokens(self, request: Request) -> int:
        """The target's own; nothing leaves the process for it."""
        return self._target.count_tokens(request)

    async def warmup(self) -> None:
        """The target's own; it carries no request."""
        await self._target.warmup()

    async def aclose(self) -> None:
        """The target's own."""
        await self._target.aclose()

    async def stream(self, request: Request, *, stream: bool, clearance: Clearance) -> AsyncIterator[TargetEvent]:
        """Send `request` as its clearance allows: as it is, masked and restored, or not at all.

        Raises `TargetFailed(Code.FORBIDDEN)` before the first byte where a boundary says never, where the clearance
        belongs to another request, or where masking leaves something behind.
        """
        verdict = self._verdict(request, clearance)
        if verdict == "open":
            events = self._target.stream(request, stream=stream)
            try:
                async for event in events:
                    yield event
            finally:
                await _close(events)
            return
        import anyio.to_thread  # only a masked request needs it

        masked, vault = await anyio.to_thread.run_sync(self._mask, request, abandon_on_cancel=True)
        answer = _Answer(vault, as_json=request.response_format is not None and request.response_format.is_json)
        events = self._target.stream(masked, stream=stream)
        try:
            async for event in events:
                for restored in answer.restore(event):
                    yield restored
        finally:
            await _close(events)
        if vault.strays:
            _log.warning(
                "%s returned %d unknown placeholders; they were left as they are", self.info.name, vault.strays
            )

    def cleared(self, request: Request, clearance: Clearance) -> Request:
        """What `stream` would hand to the target, for simulations. Raises as `stream` does."""
        return request if self._verdict(request, clearance) == "open" else self._mask(request)[0]

    def _verdict(self, request: Request, clearance: Clearance) -> Verdict:
        if clearance.request is not request:
            raise _forbidden("the clearance belongs to another request")
        block = self._policy.targets.get(self.info.name)
        if block is not None and _REACH[self.info.zone] > _REACH[zone_of(block)]:
            raise _forbidden(f"the policy says {zone_of(block)}, the target says {self.info.zone}")
        allowed = permit(self._policy, self.info.name, clearance.levels, clearance.tags, request.needs)
        if allowed.verdict == "never":
            raise _forbidden(allowed.boundary)
        return allowed.verdict

    def _mask(self, request: Request) -> tuple[Request, Vault]:
        """`request` without anything that the privacy signals find, and the way back. Refuses what is left over."""
        if not self._signals:
            raise _forbidden("nothing can mask: the policy has no privacy signal")
        vault = Vault(field.text for field in fields(request))
        found: dict[tuple[str, bool], tuple[Finding, ...]] = {}
        for field in fields(request):
            found[field.text, field.json] = self._find(field)
            if any(finding.type == UNSCANNED for finding in found[field.text, field.json]):
                raise _forbidden("a detector failed or ran out of time")  # nothing would be left to answer
            vault.learn(field.text, found[field.text, field.json], as_json=field.json)

        def change(field: Field) -> str:
            findings = found.get((field.text, field.json)) or ()
            return vault.mask(field.text, findings, as_json=field.json)

        masked = rewrite(request, change)
        for signal in self._signals:
            if not signal.is_clean(masked):
                raise _forbidden("masking left something behind")
        return masked, vault

    def _find(self, field: Field) -> tuple[Finding, ...]:
        return tuple(found for signal in self._signals for found in signal.find(field))


class _Answer:
    """Restores the events of one answer; text and each tool call are streams of their own."""

    def __init__(self, vault: Vault, *, as_json: bool) -> None:
        self._vault = vault
        self._text = vault.restorer(as_json=as_json)
        self._calls: dict[int, Restorer] = {}

    def restore(self, event: TargetEvent) -> Iterator[TargetEvent]:
        if isinstance(event, TextDelta):
            text = self._text.feed(event.text)
            if text or event.logprobs:
                yield replace(event, text=text)
        elif isinstance(event, ToolCallDelta):
            call = self._calls.setdefault(event.index, self._vault.restorer(as_json=True))
            yield replace(event, arguments=call.feed(event.arguments))
        elif isinstance(event, Progress):
            yield event
        else:
            if rest := self._text.flush():
                yield TextDelta(text=rest)
            for index, call in self._calls.items():
                if rest := call.flush():
                    yield ToolCallDelta(index=index, arguments=rest)
            yield event


async def _close(events: AsyncIterator[TargetEvent]) -> None:
    if (close := getattr(events, "aclose", None)) is not None:
        await close()


def _forbidden(because: str) -> TargetFailed:
    return TargetFailed(Code.FORBIDDEN, because, retry=False)
