"""The policy in force: read from its file, replaced whole between requests, kept when its successor is broken.

A request holds the equipment it began with, so it ends on the policy it started with, boundaries included. What a new
policy does not change is taken over (see `assembly`); what it drops is closed once the requests of its time are done.

The file is watched by asking for its identity every second, not by notifications: one `stat`, which follows symbolic
links, sees an atomic replacement and Kubernetes' swap of `..data` alike, also on network and overlay file systems,
where notifications stay away. `watchfiles` would add a compiled package of 1.3 MB, 50 ms of import and a thread.
"""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import ref

from .errors import ConfigurationError, HybridinferError, PolicyError
from .policy.load import digest, load

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .assembly import Assembled, Assembler
    from .driver import Equipment
    from .policy.model import Policy
    from .underway import UnderWay

logger = logging.getLogger("hybridinfer")

EVERY = 1.0
"""Seconds between two looks at the file."""

Identity = tuple[int, int, int, int] | None
"""Which bytes a path leads to: device, inode, modification time and size; None: to nothing that can be seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reloads:
    """How often a policy was read again since the router was made: a metric for dashboards, alarms on `refused`."""

    taken: int = 0
    """Another policy came into force."""
    unchanged: int = 0
    """The file meant the same."""
    refused: int = 0
    """The file was broken, and the last good policy stayed."""


class InForce:
    """What requests run on now. `path`: where the policy came from; None: from the program, so it cannot change."""

    def __init__(self, policy: Policy, path: Path | None, assembler: Assembler, under_way: UnderWay) -> None:
        self._path = None if path is None else path.absolute()
        self._assembler = assembler
        self._assembled: Assembled = assembler.assemble(policy)
        self._under_way = under_way
        self._one_at_a_time = asyncio.Lock()
        self._watching: asyncio.Task[None] | None = None
        self._retiring: set[asyncio.Task[None]] = set()
        self.seen: Identity = None
        """The identity of the file that was read last, good or bad. None at first: the first look reads it again, so
        that a change between loading and watching is not missed."""
        self.reloads = Reloads()
        """How often it was tried."""
        self.error: Exception | None = None
        """Why the file, as it is now, was refused; None: what it says is in force."""

    @property
    def equipment(self) -> Equipment:
        """For the next request."""
        return self._assembled.equipment

    async def reload(self) -> bool:
        """Read the file again. True: what it says is in force; False: it is broken, the last good policy stays.

        Raises ConfigurationError where there is no file, or the router is closed.
        """
        if self._path is None:
            raise ConfigurationError("this policy came from the program, not from a file: there is nothing to reload")
        if self._under_way.closed:
            raise ConfigurationError("this router is closed; make a new one")
        async with self._one_at_a_time:
            try:
                self.seen = await asyncio.to_thread(identity, self._path)  # first: no later change is missed
                policy = await asyncio.to_thread(load, self._path)
                changed = digest(policy) != self.equipment.runtime.digest
                if changed:
                    self._replace(policy)
            except Exception as error:  # noqa: BLE001 - a factory of anybody's may raise anything; the old policy stays
                self.error = error
                self.reloads = replace(self.reloads, refused=self.reloads.refused + 1)
                text = "policy %s is refused, %s stays in force: %s"
                logger.error(text, self._path, self.equipment.runtime.digest, _line(error))  # noqa: TRY400 - one line
                return False
            self.error = None
            if changed:
                self.reloads = replace(self.reloads, taken=self.reloads.taken + 1)
            else:
                self.reloads = replace(self.reloads, unchanged=self.reloads.unchanged + 1)
            return True

    def watch(self) -> None:
        """See to it that the file is watched on the running loop; does nothing where it is already."""
        assert self._path is not None, "the router has refused this before"
        loop = asyncio.get_running_loop()
        if self._watching is None or self._watching.get_loop() is not loop:  # a fork brings a new loop
            self._watching = loop.create_task(_watch(ref(self), self._path, self.equipment.sleep))

    async def aclose(self) -> None:
        """Stop watching, and wait for what is being closed. The requests are done by now."""
        watching, self._watching = self._watching, None
        if watching is not None:
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching
        if self._retiring:
            await asyncio.wait(self._retiring)

    def _replace(self, policy: Policy) -> None:
        before = self._assembled
        after = self._assembler.assemble(policy, before)
        self._assembled = after
        old, new = before.equipment, after.equipment
        if old.memory is not None and new.memory is not None:
            old.memory.leave(new.memory)
        logger.info("policy %s: %s replaces %s", self._path, new.runtime.digest, old.runtime.digest)
        dropped: dict[str, Callable[[], Awaitable[None]]] = {
            name: target.aclose
            for name, target in before.built.items()
            if after.built.get(name) is not target and name not in self._assembler.targets
        }
        if new.ledger is not old.ledger:
            dropped["(ledger)"] = old.ledger.aclose
        if old.log is not None and new.log is None:
            dropped["(log)"] = partial(asyncio.to_thread, old.log.close)
        if dropped:
            task = asyncio.create_task(self._retire(dropped))
            self._retiring.add(task)
            task.add_done_callback(self._retiring.discard)

    async def _retire(self, dropped: dict[str, Callable[[], Awaitable[None]]]) -> None:
        """Close what nobody uses once the requests that are open now are done."""
        await self._under_way.present_gone()
        for name, close in dropped.items():
            try:
                await close()
            except Exception as error:  # noqa: BLE001 - a target may be anybody's code, and nobody waits for it
                logger.warning("closing %s raised %s", name, type(error).__name__)


async def _watch(one: ref[InForce], path: Path, sleep: Callable[[float], Awaitable[None]]) -> None:
    """Reload whenever the path leads to other bytes than were read last; end when nobody holds the router any more."""
    while (in_force := one()) is not None:
        # In a thread: a network file system that hangs must not stop the loop.
        if await asyncio.to_thread(identity, path) != in_force.seen:
            with suppress(ConfigurationError):  # closed meanwhile
                await in_force.reload()
        del in_force
        await sleep(EVERY)


def identity(path: Path) -> Identity:
    """Which bytes `path` leads to, through symbolic links."""
    try:
        found = os.stat(path)  # noqa: PTH116 - the same, without a detour
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size


def _line(error: Exception) -> str:
    """The error in one line; of foreign ones only the type, as their text may quote anything."""
    if isinstance(error, PolicyError):
        first, *more = error.problems
        return f"{first} (and {len(more)} more)" if more else str(first)
    return str(error) if isinstance(error, HybridinferError) else type(error).__name__
