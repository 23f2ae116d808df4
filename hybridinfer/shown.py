"""What a streaming caller holds of an answer: it is shown, goes on, is taken back, or stays as half an answer."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from .commands import Command, Outcome, Relay, Restart
from .continuing import continuable
from .errors import StreamInterrupted
from .quick import replace
from .receipt import ANSWERED, Code

if TYPE_CHECKING:
    from .continuing import Join
    from .receipt import OnInterrupt, Receipt
    from .types import Request


class Shown:
    """The pieces of one request that the caller has seen and that were not taken back."""

    def __init__(self, request: Request, on_interrupt: OnInterrupt) -> None:
        self._request = request
        self._on_interrupt = on_interrupt
        self.last: tuple[str, Outcome] | None = None
        """Who said the last piece, and how that ended; None: the caller holds nothing."""

    @property
    def goes_on(self) -> bool:
        """Whatever comes now has to go on with what the caller holds."""
        return self.last is not None and self._on_interrupt == "continue"

    @property
    def stays(self) -> bool:
        """No other target may say anything: what was shown stays."""
        if self.last is None:
            return False
        if self._on_interrupt == "continue":
            return not continuable(self._request, self.last[1])
        return self._on_interrupt != "restart"

    def by(self, target: str) -> bool:
        """Whether the last piece is this target's."""
        return self.last is not None and self.last[0] == target

    def relay(self, target: str, outcome: Outcome, join: Join | None = None) -> Generator[Command, Any, Outcome]:
        """A stream that has begun is shown to its end; anything else is as it is."""
        ended = outcome
        if outcome.code not in ANSWERED or (outcome.opened is None and join is None):
            return outcome
        if join is None:
            yield from self.take_back()
        if outcome.opened is not None:
            ended = yield Relay(target=target, opened=outcome.opened, joins=join is not None)
        if join is None or self.last is None:
            self.last = target, ended
        elif ended.code is not Code.CANCELLED:  # else it did not fit, and the caller holds what was there before
            self.last = target, replace(ended, answer=join.whole(self.last[1].answer, ended.answer))
        return ended

    def reject(self, outcome: Outcome) -> Generator[Command, Any, None]:
        """The last target's answer does not count after all: `outcome` says why."""
        if self.last is not None:
            self.last = self.last[0], replace(outcome, code=Code.UNSURE)
            yield from self.take_back()

    def take_back(self) -> Generator[Command, Any, None]:
        """Before anything new is shown. Not earlier: if nobody else answers, the caller keeps what came."""
        if self.last is not None:
            target, outcome = self.last
            self.last = None
            yield Restart(because=f"{target}: {outcome.code}")

    def error(self, receipt: Receipt) -> StreamInterrupted:
        """That nobody came to the end of what the caller holds."""
        assert self.last is not None
        target, outcome = self.last
        partial = outcome.answer.text
        because = f"{outcome.code}: {outcome.because}" if outcome.because else str(outcome.code)
        message = f"the stream of target {target!r} failed after {len(partial)} characters ({because})"
        error = StreamInterrupted(message, receipt, partial=partial)
        error.__cause__ = outcome.error
        return error
