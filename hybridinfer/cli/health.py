"""`hybridinfer health`: how each target has done lately, and whether it could be called now."""

from __future__ import annotations

import os
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from .doctor import keys, models
from .terminal import print_json, talk
from .usage import moment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..budget.health import Doing
    from ..policy.model import Policy
    from .doctor import Finding

ENOUGH = 5
"""Calls before a share says anything."""

LEAST = 0.9
"""A lower share of answered calls is a finding."""

PROBE = "Say ok."
PROBE_TOKENS = 16
NOT_PERMITTED = "not permitted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What one tiny request to one target gave."""

    code: str
    because: str
    seconds: float


def health(
    *,
    policy: Path | None = None,
    ledger: Path | None = None,
    since: str = "1h",
    probe: Annotated[bool, Parameter(negative="")] = False,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Show how each target of the policy has done lately, and whether its key or model is there.

    Calls are recorded where a policy has a budget for a window of time; never their content. The circuit breakers of a
    running program are its own: `router.health()` shows them. Exit code 1 when there is a finding: a key or model that
    is missing, fewer than 90% of at least five calls answered, a probe that failed.

    Args:
        policy: The policy's file; otherwise it is looked for.
        ledger: The ledger's file; otherwise HYBRIDINFER_LEDGER, or the user's own.
        since: How far to look back (90m, 12h, 7d), or a date (2026-11-01, in UTC).
        probe: Send each target that boundaries and budgets permit one request of a few tokens. It is paid like any other.
        json: Print {targets: [...], findings: [...]} as JSON.
    """
    from ..assembly import discover
    from ..budget.health import doings
    from ..budget.ledger import ENVIRONMENT, records_path
    from ..budget.requests import read
    from ..policy.load import load

    loaded = load(policy or discover(os.environ))
    place = records_path(ledger)
    environ = os.environ if ledger is None else {**os.environ, ENVIRONMENT: str(ledger)}
    seen = doings(read(place, since=moment(since)))
    probes = {name: _probe(loaded, name, environ) for name in _called(loaded)} if probe else {}
    findings = [
        finding.what for finding in (*keys(loaded, os.environ), *models(loaded, os.environ)) if _missing(finding)
    ]
    findings += [found for name in _called(loaded) for found in _findings(name, seen.get(name), probes.get(name))]
    if json:
        print_json({"targets": [_picture(name, seen, probes) for name in _called(loaded)], "findings": findings})
    else:
        if not seen:
            talk(
                f"no calls are recorded in {place} since {since}; they are where a policy has a budget per hour, day, ..."
            )
        print("\n".join([*_table(_called(loaded), seen, probes), "", *(findings or ["no findings"])]))
    return 1 if findings else 0


def _called(policy: Policy) -> list[str]:
    return [name for name, block in policy.targets.items() if block.kind != "canned"]


def _missing(finding: Finding) -> bool:
    return finding.about in ("key", "model") and (finding.status == "fault" or bool(finding.hint))


def _findings(name: str, doing: Doing | None, probe: Probe | None) -> list[str]:
    from ..receipt import ANSWERED, Code

    found: list[str] = []
    share = None if doing is None else doing.share
    if doing is not None and share is not None and doing.answered + doing.failed >= ENOUGH and share < LEAST:
        found.append(f"{name}: {share:.0%} of its calls were answered; the latest codes are {', '.join(doing.latest)}")
    alive = ANSWERED | {Code.EMPTY, NOT_PERMITTED}  # a model that thinks may use up so few tokens before its first word
    if probe is not None and probe.code not in alive:
        why = f" ({probe.because})" if probe.because else ""
        found.append(f"{name}: the probe ended with {probe.code}{why}")
    return found


def _probe(policy: Policy, name: str, environ: Mapping[str, str]) -> Probe:
    """Ask `name` alone, once, behind the policy's own boundaries and budgets."""
    from ..errors import RequestError
    from ..policy.model import RetryBlock, RuleBlock
    from ..router import Router
    from ..signals.weights import ENVIRONMENT, OFF

    alone = policy.model_copy(
        update={
            "rules": (RuleBlock.model_validate({"name": "probe", "use": name}),),
            "resilience": policy.resilience.model_copy(update={"retry": RetryBlock(attempts=1)}),
        }
    )
    began = time.perf_counter()
    with Router(alone, environ={**environ, ENVIRONMENT: OFF}) as router:  # a probe is no traffic to learn from
        try:
            receipt = router.complete(PROBE, max_tokens=PROBE_TOKENS).receipt
        except RequestError as error:
            receipt = error.receipt
    seconds = time.perf_counter() - began
    if receipt.attempts:
        last = receipt.attempts[-1]
        return Probe(code=str(last.code), because=last.because, seconds=last.seconds)
    removed = receipt.decision.removed if receipt.decision else ()
    return Probe(code=NOT_PERMITTED, because="; ".join(removal.because for removal in removed), seconds=seconds)


def _picture(name: str, seen: dict[str, Doing], probes: dict[str, Probe]) -> dict[str, object]:
    doing, probe = seen.get(name), probes.get(name)
    picture: dict[str, object] = {"target": name}
    if doing is not None:
        picture |= asdict(doing) | {"share": doing.share}
    return picture | {"probe": asdict(probe)} if probe else picture


def _table(names: list[str], seen: dict[str, Doing], probes: dict[str, Probe]) -> list[str]:
    head = ("target", "calls", "answered", "p50", "p95", "last failure", "latest codes")
    rows: list[tuple[str, ...]] = [head + (("probe",) if probes else ())]
    for name in names:
        doing, probe = seen.get(name), probes.get(name)
        row: tuple[str, ...] = (name, *(_cells(doing) if doing else ("0", "-", "-", "-", "-", "-")))
        rows.append(row + ((f"{probe.code}, {probe.seconds:.2f} s",) if probe else ()))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _cells(doing: Doing) -> tuple[str, ...]:
    failure = doing.last_failure
    return (
        f"{doing.attempts:,}",
        "-" if doing.share is None else f"{doing.share:.0%}",
        "-" if doing.p50_seconds is None else f"{doing.p50_seconds:.2f} s",
        "-" if doing.p95_seconds is None else f"{doing.p95_seconds:.2f} s",
        "-" if failure is None else datetime.fromtimestamp(failure, UTC).strftime("%m-%d %H:%M:%S UTC"),
        " ".join(doing.latest),
    )
