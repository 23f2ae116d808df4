"""Being told of every receipt: for logs, metrics and audits. Receipts hold no content."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from ..receipt import Code

if TYPE_CHECKING:
    from ..policy.model import Policy
    from ..receipt import Receipt

logger = logging.getLogger("hybridinfer.requests")


class Hook(Protocol):
    """Called after every request, answered or not, on the event loop: be quick, or hand over to a thread.

    Audits (`audit_share`) have receipts, too, as they cost money; their `kind` is `audit`.
    """

    def on_receipt(self, receipt: Receipt) -> None:
        """Take the receipt. What is raised here is logged and never reaches the caller."""
        ...


Watcher = Callable[["Policy"], Hook]
"""Gives the hook for one router under one policy."""
_watchers: list[Watcher] = []


class _Unwatched:
    def on_receipt(self, receipt: Receipt) -> None:
        """Nothing."""


UNWATCHED: Hook = _Unwatched()
"""Among a router's hooks: no watcher is told of it."""


@contextmanager
def watching(watcher: Watcher) -> Iterator[None]:
    """Let `watcher` give one more hook to every router that is made, or takes over a policy, within the block.

    For tools that have to see routers which somebody else makes, such as the fallback coverage of a test run.
    """
    _watchers.append(watcher)
    try:
        yield
    finally:
        _watchers.remove(watcher)


def watched(policy: Policy, hooks: Sequence[Hook]) -> tuple[Hook, ...]:
    """`hooks`, and those of everybody who watches."""
    return tuple(hooks) if UNWATCHED in hooks else (*hooks, *(watcher(policy) for watcher in _watchers))


def tell(receipt: Receipt, hooks: Sequence[Hook]) -> None:
    """Log one line and call every hook."""
    for attempt in receipt.attempts:
        if attempt.code is Code.UNAUTHORIZED:
            logger.error("target %s: %s; the key must be mended", attempt.target, attempt.because or "unauthorized")
    if receipt.kind == "audit":
        logger.info("%s: audit of %s for $%s", receipt.id, receipt.audits, receipt.cost_usd)
    elif receipt.target is None:
        logger.warning("%s: nobody answered (%s)", receipt.id, receipt.code)
    elif logger.isEnabledFor(logging.INFO):
        line = "%s: %s answered on rung %s in %.3f s for $%s"
        logger.info(line, receipt.id, receipt.target, receipt.rung, receipt.seconds, receipt.cost_usd)
    for hook in hooks:
        try:
            hook.on_receipt(receipt)
        except Exception as error:  # noqa: BLE001 - an observer must never cost the caller an answer
            logger.error("hook %s raised %s", type(hook).__name__, type(error).__name__)  # noqa: TRY400 - no content
