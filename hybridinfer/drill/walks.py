"""Fallback coverage on disk: what one run walked, to be merged with the others'.

    {"version": 1, "policies": [{"policy": ..., "digest": ..., "walked": [[target, code, next], ...], "missed": [...]}]}

Runs are merged by the digest of the policy: a policy that changed has other edges, and begins anew.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ConfigurationError
from ..policy.load import digest
from ..policy.model import Policy
from ..policy.table import columns
from ..receipt import Code, Receipt
from .coverage import Coverage, Edge, possible, walked

VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """The coverage of one policy."""

    policy: str
    digest: str
    coverage: Coverage


class Collector:
    """A hook of routers that notes every edge their requests walk."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._walked: set[Edge] = set()

    def on_receipt(self, receipt: Receipt) -> None:
        """Note its edges."""
        self._walked.update(walked(receipt))

    def walk(self) -> Walk:
        """What was walked so far. Raises `TooManyCombinations` as `policy check` says."""
        edges = possible(self._policy)
        found = Coverage(possible=edges, walked=edges & self._walked)
        return Walk(policy=self._policy.name, digest=digest(self._policy), coverage=found)


def merge(walks: Iterable[Walk]) -> list[Walk]:
    """One for each policy, in the order in which they first come."""
    found: dict[str, Walk] = {}
    for walk in walks:
        before = found.get(walk.digest, walk).coverage
        both = Coverage(possible=before.possible | walk.coverage.possible, walked=before.walked | walk.coverage.walked)
        found[walk.digest] = Walk(policy=walk.policy, digest=walk.digest, coverage=both)
    return list(found.values())


def tree(walks: Iterable[Walk]) -> dict[str, Any]:
    """What is written to a file; sorted, so that equal runs give equal files."""
    return {
        "version": VERSION,
        "policies": [
            {
                "policy": walk.policy,
                "digest": walk.digest,
                "walked": [list(map(str, edge)) for edge in sorted(walk.coverage.walked)],
                "missed": [list(map(str, edge)) for edge in walk.coverage.missed],
            }
            for walk in walks
        ],
    }


def write(path: Path, walks: Iterable[Walk]) -> None:
    """Write the file; a run does it once, at its end."""
    path.write_text(json.dumps(tree(walks), indent=1) + "\n", encoding="utf-8")


def read(path: Path) -> list[Walk]:
    """What a run wrote. Raises `ConfigurationError` where it is no such file."""
    try:
        return list(walks_in(json.loads(path.read_text(encoding="utf-8"))))
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError):
        raise ConfigurationError(
            f"{path} is no coverage file; make one with `hybridinfer drill run --coverage FILE` "
            "or `pytest --hybridinfer-coverage=FILE`"
        ) from None


def walks_in(content: Mapping[str, Any]) -> Iterator[Walk]:
    """The walks in what `tree` made. Raises ValueError, KeyError or TypeError where it is something else."""
    if content["version"] != VERSION:
        raise ValueError("another version")
    for one in content["policies"]:
        hit, missed = (
            frozenset(Edge(str(target), Code(code), str(following)) for target, code, following in one[name])
            for name in ("walked", "missed")
        )
        found = Coverage(possible=hit | missed, walked=hit)
        yield Walk(policy=str(one["policy"]), digest=str(one["digest"]), coverage=found)


def lines(walk: Walk) -> Iterator[str]:
    """The coverage for people: the share, then a table of the edges that nobody walked."""
    found = walk.coverage
    yield (
        f"fallback coverage of policy {walk.policy!r} ({walk.digest}): {found.share:.0%}, "
        f"{len(found.walked)} of {len(found.possible)} edges walked"
    )
    if found.missed:
        yield columns(
            [
                ("target", "next", "never ended with"),
                *((target, following, ", ".join(codes)) for (target, following), codes in by_pair(found).items()),
            ]
        )


def by_pair(found: Coverage) -> dict[tuple[str, str], list[str]]:
    """For each target and the next one, the codes that were missed."""
    missed: dict[tuple[str, str], list[str]] = {}
    for edge in found.missed:
        missed.setdefault((edge.target, edge.next), []).append(str(edge.code))
    return missed
