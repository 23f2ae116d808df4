"""What the router keeps of a request while it is under way, so that it can be learned from once it has ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..receipt import ANSWERED, Code
from ..signals.features import features
from .rephrased import SCORE

if TYPE_CHECKING:
    from ..policy.model import Policy
    from ..receipt import Receipt
    from ..signals.base import SignalResult
    from ..targets.base import TargetInfo
    from ..types import Request
    from .journal import Journal, Side, Source
    from .rephrased import Recent

_FAILED: Mapping[Code, Source] = {Code.INVALID_OUTPUT: "schema", Code.UNSURE: "escalated"}
"""Codes that judge an answer without anybody's feedback."""


class Note:
    """A hook for one request: holds its features, and a hash of its conversation, until its receipt is there."""

    def __init__(
        self,
        journal: Journal,
        recent: Recent,
        infos: Mapping[str, TargetInfo],
        values: list[float | None],
        conversation: bytes,
    ) -> None:
        self._journal = journal
        self._recent = recent
        self._infos = infos
        self._values = values
        self._conversation = conversation

    def on_receipt(self, receipt: Receipt) -> None:
        """Keep the features under the receipt's id, with what the attempts say of the answers by themselves."""
        bad: set[tuple[Side, Source]] = {
            (side, _FAILED[one.code])
            for one in receipt.attempts
            if one.code in _FAILED and (side := self._side(one.target)) is not None
        }
        answered = receipt.target if receipt.code in ANSWERED else None
        side = self._side(answered) if answered is not None else None
        if side is not None:
            self._recent.remember(receipt.id, self._conversation)
        if side is not None or bad:
            self._journal.remember(receipt.id, self._values, side=side, bad=sorted(bad))

    def _side(self, target: str) -> Side | None:
        info = self._infos[target]
        if info.kind == "canned":
            return None
        return "cloud" if info.zone == "cloud" else "local"


def take_note(
    journal: Journal | None,
    recent: Recent,
    request: Request,
    results: Mapping[str, SignalResult],
    *,
    policy: Policy,
    infos: Mapping[str, TargetInfo],
) -> Note | None:
    """The note for this request; None where the policy keeps nothing, or the request is not plainly public.

    Where it asks the question before it again in other words, that one's answer is labelled at once.
    """
    if journal is None:
        return None
    for name, block in policy.signals.items():
        result = results[name]
        if (block.kind or name) == "privacy" and (not result.measured or result.level != next(iter(block.levels))):
            return None
    turns = [message.text for message in request.messages if message.role == "user"]
    if not turns:
        return None
    again = recent.repeated(request)
    if again is not None:
        journal.note(again, SCORE, source="rephrased")
    return Note(journal, recent, infos, features(turns[-1]), recent.hashed(request.messages))
