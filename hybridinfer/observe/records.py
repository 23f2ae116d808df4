"""Decision records: one line of JSON per receipt, without content, for `hybridinfer policy simulate`.

    router = Router.from_policy("policy.yaml", hooks=[RecordFile("decisions.jsonl")])

Tags are recorded as they are: keep persons' names out of them, or name the tags to keep.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..receipt import Code

if TYPE_CHECKING:
    from ..receipt import Receipt

VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedAttempt:
    """One attempt, as it was recorded; seconds, tokens and USD."""

    target: str
    code: Code
    seconds: float
    first: float | None
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """One request that ended."""

    at: float
    """When it ended, in seconds since the epoch."""
    seconds: float
    levels: Mapping[str, str]
    scores: Mapping[str, float]
    target: str | None
    zone: str | None
    degraded: bool
    cost_usd: Decimal
    tags: Mapping[str, str]
    attempts: tuple[RecordedAttempt, ...]


class RecordFile:
    """A hook that appends one line per receipt to `path`, readable by its owner only.

    Each line is one write, so lines of several processes never mix. At `max_bytes` the file becomes `path.1`, `path.1`
    becomes `path.2`, and so on up to `keep`. `tags`: the names to record; None: all of them.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        max_bytes: int = 50_000_000,
        keep: int = 3,
        tags: Collection[str] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.path = Path(path).expanduser().absolute()
        self._max_bytes = max_bytes
        self._keep = keep
        self._tags = tags
        self._clock = clock
        self._lock = threading.Lock()

    def on_receipt(self, receipt: Receipt) -> None:
        """Append one line. Raises OSError where that fails; the router logs it and goes on.

        Audits are left out: nobody asked, so they are no traffic to decide on.
        """
        if receipt.kind == "audit":
            return
        line = json.dumps(_tree(receipt, self._clock(), self._tags), separators=(",", ":")).encode() + b"\n"
        with self._lock:
            file = self._open(len(line))
            try:
                os.write(file, line)
            finally:
                os.close(file)

    def _open(self, more: int) -> int:
        """The file with room for `more` bytes. Under its lock nobody else turns it over."""
        while True:
            file = os.open(self.path, os.O_APPEND | os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600)
            fcntl.flock(file, fcntl.LOCK_EX)
            size = os.fstat(file).st_size
            if self._is_current(file):
                if not size or size + more <= self._max_bytes:
                    return file
                self._turn_over()
            os.close(file)

    def _is_current(self, file: int) -> bool:
        """Whether the path still leads to this file: another process may have turned it over meanwhile."""
        try:
            return os.path.samestat(os.fstat(file), os.stat(self.path))  # noqa: PTH116 - of a descriptor, too
        except FileNotFoundError:
            return False

    def _turn_over(self) -> None:
        if not self._keep:
            self.path.unlink()
            return
        names = [self.path, *(self.path.with_name(f"{self.path.name}.{n}") for n in range(1, self._keep + 1))]
        for older, newer in reversed(list(zip(names[1:], names, strict=False))):
            if newer.exists():
                newer.replace(older)


def read(path: str | Path) -> Iterator[Recorded | None]:
    """The records of a file in their order; None for each line that is none, such as one cut by a crash."""
    with Path(path).open("rb") as file:
        for line in file:
            try:
                yield _recorded(json.loads(line))
            except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError):
                yield None


def _tree(receipt: Receipt, now: float, tags: Collection[str] | None) -> dict[str, Any]:
    decision = receipt.decision
    return {
        "version": VERSION,
        "at": round(now, 3),
        "id": receipt.id,
        "policy": receipt.policy,
        "digest": receipt.policy_digest,
        "revision": receipt.policy_revision,
        "rule": decision.rule if decision else None,
        "levels": dict(decision.levels) if decision else {},
        "scores": {name: round(score, 4) for name, score in decision.scores.items()} if decision else {},
        "target": receipt.target,
        "zone": receipt.zone,
        "rung": receipt.rung,
        "degraded": receipt.degraded,
        "seconds": round(receipt.seconds, 4),
        "cost_usd": str(receipt.cost_usd),
        "tags": {name: value for name, value in receipt.tags.items() if tags is None or name in tags},
        "attempts": [
            {
                "target": attempt.target,
                "code": str(attempt.code),
                "seconds": round(attempt.seconds, 4),
                "first": attempt.first_token_seconds,
                "input_tokens": attempt.input_tokens,
                "output_tokens": attempt.output_tokens,
                "cost_usd": str(attempt.cost_usd),
            }
            for attempt in receipt.attempts
        ],
    }


def _recorded(tree: dict[str, Any]) -> Recorded:
    return Recorded(
        at=float(tree["at"]),
        seconds=float(tree["seconds"]),
        levels={str(name): str(level) for name, level in tree["levels"].items()},
        scores={str(name): float(score) for name, score in tree["scores"].items()},
        target=tree["target"],
        zone=tree["zone"],
        degraded=bool(tree["degraded"]),
        cost_usd=Decimal(tree["cost_usd"]),
        tags={str(name): str(value) for name, value in tree["tags"].items()},
        attempts=tuple(
            RecordedAttempt(
                target=str(one["target"]),
                code=Code(one["code"]),
                seconds=float(one["seconds"]),
                first=None if one["first"] is None else float(one["first"]),
                input_tokens=int(one["input_tokens"]),
                output_tokens=int(one["output_tokens"]),
            )
            for one in tree["attempts"]
        ),
    )
