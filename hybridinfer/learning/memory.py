"""What a router remembers under one policy: the bands in force, and features to learn from. See docs/learn.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..errors import ConfigurationError
from ..signals.weights import ENVIRONMENT, OFF, is_off, state_folder
from .journal import Journal
from .levels import LiveLevels, levels_path
from .notes import Note, take_note
from .rephrased import Recent

if TYPE_CHECKING:
    from ..policy.model import Policy
    from ..signals.base import SignalResult
    from ..targets.base import TargetInfo
    from ..types import Request

JOURNAL = "learning.sqlite3"
"""The file of features and labels, in the state folder."""


class Memory:
    """Shared by all requests of a router. A policy with plain levels that stores nothing touches no file."""

    def __init__(self, policy: Policy, environ: Mapping[str, str], before: Memory | None = None) -> None:
        """`before`: what the last policy's router remembers; what is still about the same things is taken over."""
        self.policy = policy
        self.levels: LiveLevels | None = None
        self.journal: Journal | None = None
        self.recent: Recent = Recent() if before is None else before.recent
        if is_off(environ):
            return
        folder = state_folder(environ)
        self.levels = LiveLevels(policy, levels_path(policy, folder))
        if policy.learning.store == "features":
            self.journal = Journal(folder / JOURNAL, keep=policy.learning.keep)
        if before is not None:
            if before.levels is not None and before.policy.name == policy.name and before.levels.takes(policy):
                self.levels = before.levels
            if self.journal is not None and before.policy.learning == policy.learning:
                self.journal = before.journal

    def place(self, results: Mapping[str, SignalResult], *, count: bool) -> Mapping[str, SignalResult]:
        """The results with the levels in force; see `LiveLevels.place`."""
        return results if self.levels is None else self.levels.place(results, count=count)

    def note(
        self, request: Request, results: Mapping[str, SignalResult], infos: Mapping[str, TargetInfo]
    ) -> Note | None:
        """A hook that keeps this request's features; None where nothing may be kept of it."""
        return take_note(self.journal, self.recent, request, results, policy=self.policy, infos=infos)

    async def label(self, receipt_id: str, score: float) -> bool:
        """Keep a label; see `AsyncRouter.feedback`. Raises ConfigurationError where the policy keeps nothing."""
        if self.journal is None:
            if self.levels is None:
                raise ConfigurationError(f"{ENVIRONMENT} is {OFF}, so nothing is kept to learn from")
            raise ConfigurationError(
                f"policy {self.policy.name!r} keeps nothing to learn from; say 'learning: {{store: features}}' in it"
            )
        import asyncio

        return await asyncio.wrap_future(self.journal.label(receipt_id, score))

    async def audited(self, receipt_id: str, score: float) -> None:
        """Keep what an audit found of a local answer."""
        if self.journal is not None:
            import asyncio

            await asyncio.wrap_future(self.journal.label(receipt_id, score, source="audit"))

    def leave(self, successor: Memory) -> None:
        """Write what `successor` does not go on with."""
        if self.levels is not None and successor.levels is not self.levels:
            self.levels.close()
        if self.journal is not None and successor.journal is not self.journal:
            self.journal.close()

    def close(self) -> None:
        """Write what is not written yet; blocks for a moment."""
        if self.levels is not None:
            self.levels.close()
        if self.journal is not None:
            self.journal.close()
