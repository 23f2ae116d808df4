"""`hybridinfer doctor`: look at this machine's set-up and say what to change."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from ..errors import HybridinferError
from ..policy.model import Policy, zone_of
from .terminal import hanging, print_json

if TYPE_CHECKING:
    from ..edge.catalogue import Model

DISTRIBUTION = "hybridinfer-sdk"
FOREIGN = "hybridinfer"
"""Somebody else's distribution, which installs the same import name."""
ROOM = 3_000_000_000
"""Bytes that fetching and converting the default model takes at its peak, with something to spare."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at. Only a `fault` makes the exit code 1."""

    about: str
    status: Literal["ok", "note", "fault"]
    what: str
    hint: str = ""


def doctor(
    *,
    policy: Path | None = None,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Look at this machine's set-up and say what to change. Nothing is sent or fetched; keys are never shown.

    Exit code 1 when something is at fault; notes alone are 0. --json prints {ok, findings: [{about, status, what,
    hint}]}, with the status ok, note or fault.

    Args:
        policy: The policy's file; otherwise it is looked for.
        json: Print the findings as JSON.
    """
    findings = list(examine(policy, os.environ))
    if json:
        print_json({"ok": not _faults(findings), "findings": [asdict(finding) for finding in findings]})
    else:
        for finding in findings:
            hint = f"; {finding.hint}" if finding.hint else ""
            print(hanging(f"{finding.status:<5}  {finding.about:<11}  ", f"{finding.what}{hint}"))
    return 1 if _faults(findings) else 0


def examine(policy: Path | None, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Every finding, one after the other. A check that itself fails is a fault, not a crash."""
    yield python()
    yield from packages()
    yield telemetry()
    yield computing()
    loaded, findings = find_policy(policy, environ)
    yield from findings
    yield from models(loaded, environ)
    if loaded is not None:
        yield from keys(loaded, environ)
        yield ledger(loaded, environ)


def python() -> Finding:
    """The interpreter and the machine. A Python that is too old could not have run this."""
    what = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    return Finding(about="python", status="ok", what=what)


def packages() -> Iterator[Finding]:
    """This distribution, what it stands on, and the foreign distribution of the same import name."""
    try:
        requirements = metadata.requires(DISTRIBUTION) or []
        yield Finding(about="packages", status="ok", what=f"{DISTRIBUTION} {metadata.version(DISTRIBUTION)}")
    except metadata.PackageNotFoundError:
        requirements = []
        hint = f"pip install {DISTRIBUTION}"
        yield Finding(about="packages", status="fault", what=f"{DISTRIBUTION} is not installed", hint=hint)
    names = [match[0] for line in requirements if "extra ==" not in line and (match := re.match(r"[\w.-]+", line))]
    versions = {name: _version(name) for name in names}
    missing = [name for name, version in versions.items() if version is None]
    if missing:
        hint = f"pip install {' '.join(missing)}"
        yield Finding(about="packages", status="fault", what=f"missing: {', '.join(missing)}", hint=hint)
    present = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    if present:
        yield Finding(about="packages", status="ok", what=present)
    if (version := _version(FOREIGN)) is not None:
        yield Finding(
            about="packages",
            status="fault",
            what=f"the distribution {FOREIGN!r} {version} is installed: it is another project with the same import name",
            hint=f"pip uninstall {FOREIGN}, then pip install --force-reinstall --no-deps {DISTRIBUTION}",
        )


def computing() -> Finding:
    """What onnxruntime can compute on here, by the names of `options: {providers: [...]}`."""
    from ..edge.providers import here
    from ..edge.session import runtime

    what = f"local models can run on: {', '.join(here(runtime().get_available_providers()))}"
    return Finding(about="provider", status="ok", what=what)


def telemetry() -> Finding:
    """Whether onnxruntime, as this package imports it, can report home."""
    from ..edge.session import runtime

    early = "onnxruntime" in sys.modules and os.environ.get("ORT_DISABLE_TELEMETRY") != "1"
    version = runtime().__version__
    if early:
        what = f"onnxruntime {version} was imported before hybridinfer, with its telemetry on"
        return Finding(about="telemetry", status="fault", what=what, hint="set ORT_DISABLE_TELEMETRY=1 for the process")
    return Finding(about="telemetry", status="ok", what=f"onnxruntime {version} runs with its telemetry off")


def find_policy(policy: Path | None, environ: Mapping[str, str]) -> tuple[Policy | None, list[Finding]]:
    """The policy that a router would take here, and what checking it found."""
    from ..assembly import discover
    from ..policy.check import check
    from ..policy.load import load

    try:
        place = policy or discover(environ)
        loaded = load(place)
    except HybridinferError as error:
        return None, [Finding(about="policy", status="fault", what=line) for line in str(error).splitlines()]
    found = [finding for finding in check(loaded).findings if finding.severity != "info"]
    hint = f"hybridinfer policy check {place}" if found else ""
    wrong = any(finding.severity == "error" for finding in found)
    what = f"{loaded.name!r} in {place}: {len(found) or 'no'} {'finding' if len(found) == 1 else 'findings'}"
    return loaded, [
        Finding(about="policy", status="fault" if wrong else "note" if found else "ok", what=what, hint=hint)
    ]


def keys(policy: Policy, environ: Mapping[str, str]) -> Iterator[Finding]:
    """For each cloud, whether its key's variable is set. The value is never read further than that."""
    from ..policy.check import VENDOR_KEYS

    for name, block in policy.targets.items():
        variable = block.api_key or (VENDOR_KEYS.get(block.kind) if zone_of(block) == "cloud" else None)
        if variable is None:
            continue
        if environ.get(variable):
            yield Finding(about="key", status="ok", what=f"{name}: {variable} is set")
        else:
            what = f"{name}: {variable} is not set, so this target is skipped"
            yield Finding(about="key", status="note", what=what, hint=f"export {variable}=...")


def models(policy: Policy | None, environ: Mapping[str, str]) -> Iterator[Finding]:
    """The local models that the policy names: here or not; and room on the disk for them."""
    from ..edge.catalogue import AUTO, embedders, find
    from ..edge.fetch import offline
    from ..edge.store import Store

    store = Store.default(environ)
    blocks = policy.targets if policy else {}
    for name in dict.fromkeys(block.model for block in blocks.values() if block.kind == "onnx"):
        try:
            model = store.largest() if name == AUTO else find(name)
            state = store.state(model)
        except HybridinferError as error:
            yield Finding(about="model", status="fault", what=str(error))
            continue
        if state == "absent":
            hint = (
                f"hybridinfer models pull {name}" if model.form == "gguf" else "the policy names a path that is empty"
            )
            yield Finding(about="model", status="note", what=f"{name} is not on this machine", hint=hint)
        else:
            stage = "ready" if state == "ready" else "here, converted at its first use"
            what = f"{name if name != AUTO else f'auto: {model.id}'} is {stage}, {store.size(model) / 1e6:,.0f} MB"
            yield Finding(about="model", status="ok", what=what)
            yield from key(model, store.environ)
    for name, model in embedders().items() if policy is not None and policy.needs_embedder else ():
        here = store.state(model) == "ready"
        hint = "" if here else f"hybridinfer models pull {name}; until then no router takes this policy"
        what = f"{name} is {'ready' if here else 'not on this machine'}"
        yield Finding(about="model", status="ok" if here else "fault", what=what, hint=hint)
    if offline(environ):
        yield Finding(about="model", status="note", what="HYBRIDINFER_OFFLINE is set: nothing will be fetched")
    yield disk(store.root, shutil.disk_usage)


def key(model: Model, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Of a sealed model: whether its key is there. It is never shown."""
    if model.form != "sealed":
        return
    from ..edge.sealed import master_key

    try:
        master_key(environ)
    except HybridinferError as error:
        yield Finding(about="key", status="fault", what=f"{model.file}: {error}")
    else:
        yield Finding(about="key", status="ok", what=f"{model.file}: the model key is set")


def disk(root: Path, usage: Callable[[Path], tuple[int, int, int]]) -> Finding:
    """The room where models are kept, in the nearest folder that exists."""
    existing = next(folder for folder in (root, *root.parents) if folder.exists())
    free = usage(existing)[2]
    what = f"{free / 1e9:,.1f} GB free for models in {root}"
    if free < ROOM:
        hint = f"the default model needs {ROOM / 1e9:.0f} GB while it is converted; HYBRIDINFER_CACHE moves the folder"
        return Finding(about="disk", status="note", what=what, hint=hint)
    return Finding(about="disk", status="ok", what=what)


def ledger(policy: Policy, environ: Mapping[str, str]) -> Finding:
    """Where spending is kept, and whether it can be read."""
    import anyio

    from ..budget.ledger import ENVIRONMENT, default_path, open_ledger

    if all(budget.per == "request" for budget in policy.budgets):
        what = "not needed: the policy has no budget over a span of time"
        return Finding(about="ledger", status="ok", what=what)
    place = environ.get(ENVIRONMENT) or str(default_path())

    async def standing() -> bool:
        book = open_ledger(policy, environ=environ)
        try:
            return (await book.standing({})).known
        finally:
            await book.aclose()

    shown = place if "@" not in place else f"{place.split(':', 1)[0]}://... (holds a password)"
    try:
        known = anyio.run(standing)
    except HybridinferError as error:
        return Finding(about="ledger", status="fault", what=str(error), hint=f"see {ENVIRONMENT}")
    if known:
        return Finding(about="ledger", status="ok", what=f"{shown} can be read")
    hint = f"until then everything that costs money is denied; {ENVIRONMENT} names another place"
    return Finding(about="ledger", status="fault", what=f"{shown} cannot be read", hint=hint)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _faults(findings: list[Finding]) -> bool:
    return any(finding.status == "fault" for finding in findings)
