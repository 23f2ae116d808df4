"""Proofs about a policy, over every combination of levels, tags and needs that it tells apart.

What `check` does not report as an error holds for every request: some rule matches, its plan is not empty, no
plan holds a target that a boundary forbids. Warnings are about what is allowed but seldom meant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Literal

from ..receipt import Code
from .decide import Verdict, decide, limit, permit
from .model import REMOTE, Policy, ResilienceBlock, RuleBlock, TargetBlock, zone_of
from .space import MAX_COMBINATIONS, Space, TooManyCombinations, partition

if TYPE_CHECKING:
    from .source import Path

Severity = Literal["error", "warning", "info"]

VENDOR_KEYS = {"openai": "OPENAI_API_KEY", "anthropic": "ANTHROPIC_API_KEY"}
"""Where the vendors' SDKs look for a key when the policy names none."""

FINDINGS: Mapping[str, str] = {
    "no-rule": "Some request matches no rule.",
    "dead-rule": "A rule never decides, as earlier rules take all its requests.",
    "empty-plan": "Boundaries leave some request without any target.",
    "crossed-boundary": "A plan holds a target that a boundary forbids.",
    "too-many-combinations": "The policy tells too many requests apart to prove anything.",
    "unreachable-rung": "A rung gets no time when the rungs before it stay silent.",
    "after-canned": "A rung after a canned reply, which always answers.",
    "no-last-resort": "A plan ends on a target that can fail with the network.",
    "idle-boundary": "A boundary that restricts no target.",
    "idle-check": "A check on an answer that changes nothing.",
    "no-confidence": "A check needs a confidence that the target never reports.",
    "lone-agreement": "Boundaries leave some request only one of the targets that should agree, or no second target.",
    "idle-hedge": "A hedge where the first answer has to pass a check, so that it is never used.",
    "unused-target": "A target that no rule uses.",
    "unguarded": "Private requests may reach a cloud, and no boundary binds them.",
    "unpriced": "Nobody can say what a model costs, so no budget would admit it.",
    "costly-drills": "Drills against paid clouds are allowed, and no budget for a window of time bounds them together.",
    "missing-key": "This environment has no key for a target.",
}
"""Every finding by its id, with what it says in general."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One result. `path` leads to the block of the file that it is about."""

    id: str
    severity: Severity
    path: Path
    what: str
    hint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What `check` found, and what it proved."""

    findings: tuple[Finding, ...]
    combinations: int
    """How many kinds of request were tried; 0 when there were too many."""
    reach: Mapping[str, Mapping[str, Verdict]] = field(default_factory=dict[str, "Mapping[str, Verdict]"])
    """For each privacy level what each target may see at most."""

    def worst(self, severity: Severity) -> tuple[Finding, ...]:
        """The findings of one severity."""
        return tuple(finding for finding in self.findings if finding.severity == severity)


def check(
    policy: Policy,
    *,
    priced: Callable[[TargetBlock], bool] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Report:
    """Everything that can be said about a policy without a request.

    `priced` tells whether a price is known for a target; `environ` is where keys are looked up. Without them
    those two questions are not asked.
    """
    about = [*_rungs(policy), *_checks(policy), *_targets(policy), *_prices(policy, priced), *_keys(policy, environ)]
    about += _drills(policy)
    try:
        space = Space(policy)
    except TooManyCombinations as error:
        what = f"{error.count} combinations of levels, tags and needs are too many to try (at most {MAX_COMBINATIONS})"
        hint = "test fewer signals, tag values or needs in 'when'"
        proof = [Finding(id="too-many-combinations", severity="error", path=("rules",), what=what, hint=hint)]
        return Report(findings=(*proof, *about), combinations=0)
    *shares, rest = space.shares(policy)
    proof = [*_coverage(policy, space, shares, rest), *_plans(policy, space, shares)]
    proof += [*_alone(policy, space, shares), *_unguarded(policy, space, shares)]
    return Report(findings=(*proof, *about), combinations=space.size, reach=reach(policy, space))


def reach(policy: Policy, space: Space | None = None) -> dict[str, dict[str, Verdict]]:
    """What each target may see at most of each privacy level, over all rules and combinations."""
    space = space or Space(policy)
    limits, shares = space.limits(policy), space.shares(policy)
    used = dict.fromkeys(policy.targets, 0)
    for rule, share in zip(policy.rules, shares, strict=False):
        for name in _seers(rule):
            used[name] |= share
    table: dict[str, dict[str, Verdict]] = {}
    for level in policy.signals["privacy"].levels:
        here = space.level("privacy", level)
        table[level] = {}
        for name, (never, masked) in limits.items():
            seen = used[name] & here & ~never
            table[level][name] = "never" if not seen else "open" if seen & ~masked else "masked"
    return table


def _coverage(policy: Policy, space: Space, shares: Sequence[int], rest: int) -> Iterator[Finding]:
    if rest:
        what = f"no rule matches {_example(space, rest)}"
        hint = "end with a rule that has no 'when'"
        yield Finding(id="no-rule", severity="error", path=("rules",), what=what, hint=hint)
    for i, (rule, share) in enumerate(zip(policy.rules, shares, strict=True)):
        if not share:
            what = f"rule {rule.name!r} can never decide: earlier rules take all its requests"
            hint = "move it up, or remove it"
            yield Finding(id="dead-rule", severity="error", path=("rules", i), what=what, hint=hint)


def _plans(policy: Policy, space: Space, shares: Sequence[int]) -> Iterator[Finding]:
    """One request of each kind that rules and boundaries tell apart goes through `decide`, and is judged by `permit`."""
    cuts = [space.where(boundary.when) for boundary in policy.boundaries]
    seen: set[tuple[str, int]] = set()
    for i, (rule, share) in enumerate(zip(policy.rules, shares, strict=True)):
        for part in partition(share, cuts):
            for finding in _judge(policy, space, i, part):
                if (finding.id, i) not in seen:
                    seen.add((finding.id, i))
                    yield finding
        use = rule.use
        canned = [at for at, name in enumerate(use) if policy.targets[name].kind == "canned"]
        if canned and canned[0] + 1 < len(use):
            path: Path = ("rules", i, *rule.places[canned[0] + 1])
            what = f"rule {rule.name!r} never gets past {use[canned[0]]!r}: a canned reply always answers"
            hint = "put it last"
            yield Finding(id="after-canned", severity="warning", path=path, what=what, hint=hint)
        if share and zone_of(policy.targets[use[-1]]) != "device" and ("no-last-resort", i) not in seen:
            yield _no_last_resort(rule.name, use[-1], i, "")


def _judge(policy: Policy, space: Space, i: int, part: int) -> Iterator[Finding]:
    point = space.first(part)
    rule = policy.rules[i]
    decision = decide(policy, point.levels, needs=point.needs, tags=point.tags)
    for name in decision.ladder:
        verdict = permit(policy, name, point.levels, point.tags, point.needs).verdict
        if decision.rule != rule.name or verdict == "never" or (verdict == "masked") != (name in decision.masked):
            what = f"rule {decision.rule!r} plans {name!r} for {_example(space, part)}, where boundaries say {verdict}"
            hint = "this is a fault of hybridinfer, please report it"
            yield Finding(id="crossed-boundary", severity="error", path=("rules", i), what=what, hint=hint)
    if not decision.plan:
        gone = ", ".join(dict.fromkeys(removal.because for removal in decision.removed))
        what = f"rule {rule.name!r} has no target left for {_example(space, part)}: {gone}"
        hint = "add a target that the boundary allows, such as a canned reply"
        yield Finding(id="empty-plan", severity="error", path=("rules", i, "use"), what=what, hint=hint)
    elif decision.plan[-1] != rule.use[-1] and zone_of(policy.targets[decision.plan[-1]]) != "device":
        yield _no_last_resort(rule.name, decision.plan[-1], i, f" for {_example(space, part)}")


def _unguarded(policy: Policy, space: Space, shares: Sequence[int]) -> Iterator[Finding]:
    bound = reduce(or_, (space.where(boundary.when) for boundary in policy.boundaries), 0)
    clouds = {name for name, block in policy.targets.items() if zone_of(block) == "cloud"}
    sent = [share for rule, share in zip(policy.rules, shares, strict=True) if clouds.intersection(_seers(rule))]
    free = reduce(or_, sent, 0) & ~bound
    _, *private = policy.signals["privacy"].levels
    for level in private:
        if free & space.level("privacy", level):
            what = f"requests of privacy {level!r} may reach a cloud, and no boundary binds them"
            hint = f"add a boundary such as {{name: {level}-stays-here, when: {{privacy: {level}}}, cloud: never}}"
            yield Finding(id="unguarded", severity="warning", path=("rules",), what=what, hint=hint)


def _no_last_resort(rule: str, last: str, i: int, whom: str) -> Finding:
    what = f"rule {rule!r} ends on {last!r}{whom}, which can fail with the network"
    hint = "end 'use' with a target of kind onnx or canned"
    return Finding(id="no-last-resort", severity="warning", path=("rules", i, "use"), what=what, hint=hint)


def _example(space: Space, bits: int) -> str:
    point = space.first(bits)
    tested = [(each.kind, each.name) for each in space.dimensions]
    parts = [f"{name} {level}" for name, level in point.levels.items() if ("signal", name) in tested]
    parts += [f"tag {name} {point.tags[name]}" for kind, name in tested if kind == "tag" and name in point.tags]
    parts += [f"needs {name}" for name in sorted(point.needs)]
    return ", ".join(parts) or "any request"


def _rungs(policy: Policy) -> Iterator[Finding]:
    """Rungs whose time is used up when every rung before them stays silent."""
    settings = policy.resilience
    for i, rule in enumerate(policy.rules):
        use = rule.use
        blocks = [policy.targets[name] for name in use]
        silent, now = 0.0, 0.0
        together = len(rule.agree.targets) if rule.agree is not None else 1
        for at, block in enumerate(blocks):
            until = _until(settings, blocks[at + 1 :])
            if at >= together and block.kind != "canned" and now >= until:
                what = (
                    f"rule {rule.name!r} gives {use[at]!r} no time when the targets before it stay silent: "
                    f"they take {silent:g}s of a deadline of {settings.deadline:g}s"
                )
                hint = "raise 'deadline', or lower 'first_token', 'timeout' or 'retry.attempts'"
                path: Path = ("rules", i, *rule.places[at])
                yield Finding(id="unreachable-rung", severity="warning", path=path, what=what, hint=hint)
                break
            alone = _silence(settings, block)
            silent = max(silent, alone) if at < together else silent + alone
            now = max(now, min(silent, until))


def _checks(policy: Policy) -> Iterator[Finding]:
    """Checks on answers that change nothing, or that nobody can pass."""
    for i, rule in enumerate(policy.rules):
        use, checked = rule.use, rule.accept
        for name, way in zip(use, rule.places, strict=True) if checked else ():
            block, accept, path = policy.targets[name], checked.get(name), ("rules", i, *way[:2])
            if accept is None:
                continue
            if block.kind == "canned" or name == use[-1]:
                hint = "leave 'accept' out" if block.kind == "canned" else "put another target behind it"
                what = f"nothing follows from the check of {name!r}: a canned reply always counts"
                if block.kind != "canned":
                    what = f"rule {rule.name!r} has nobody behind {name!r}: an answer that fails its check is an error"
                yield Finding(id="idle-check", severity="warning", path=path, what=what, hint=hint)
            elif accept.confidence is not None and accept.samples is None and block.kind in REMOTE:
                what = f"kind {block.kind} reports no confidence, so no answer of {name!r} is ever accepted"
                hint = "use 'samples' or 'agree_with', or a target of kind onnx"
                yield Finding(id="no-confidence", severity="warning", path=path, what=what, hint=hint)
        if rule.hedge is not None and (rule.agree is not None or not checked.keys().isdisjoint(use[:2])):
            what = f"rule {rule.name!r} never hedges: its first answers have to pass a check"
            path = ("rules", i, "hedge")
            yield Finding(id="idle-hedge", severity="warning", path=path, what=what, hint="leave 'hedge' out")


def _alone(policy: Policy, space: Space, shares: Sequence[int]) -> Iterator[Finding]:
    """Where boundaries part those who should compare their answers."""
    limits = space.limits(policy)
    for i, (rule, share) in enumerate(zip(policy.rules, shares, strict=True)):
        agreeing = rule.agree.targets if rule.agree is not None else ()
        for name, way in (*zip(agreeing, rule.places, strict=False), *rule.helpers.items()):
            barred = share & limits[name][0]
            if barred:
                whom = _example(space, barred)
                what = f"rule {rule.name!r} may not ask {name!r} for {whom}, so there "
                what += "the others answer unchecked" if name in agreeing else "no answer passes its check"
                hint = "serve those requests by a rule of their own"
                path: Path = ("rules", i, *way)
                yield Finding(id="lone-agreement", severity="warning", path=path, what=what, hint=hint)


def _seers(rule: RuleBlock) -> tuple[str, ...]:
    """All targets that may see a request of this rule, to answer it or to check an answer."""
    return (*rule.use, *rule.helpers)


def _until(settings: ResilienceBlock, later: list[TargetBlock]) -> float:
    """When a rung has to be done: the deadline, less the slice that a later rung on this device keeps."""
    local = any(zone_of(block) == "device" and block.kind != "canned" for block in later)
    return settings.deadline - (min(settings.last_rung, settings.deadline / 2) if local else 0.0)


def _silence(settings: ResilienceBlock, block: TargetBlock) -> float:
    """Seconds that a silent target takes at least, retries included."""
    if block.kind == "canned":
        return 0.0
    code = Code.STALLED if block.first_token < block.timeout else Code.TIMEOUT
    attempts = settings.retry.attempts if code in settings.retry_on else 1
    return min(block.first_token, block.timeout) * attempts


def _targets(policy: Policy) -> Iterator[Finding]:
    used = {name for rule in policy.rules for name in _seers(rule)}
    for name in policy.targets:
        if name not in used:
            what, hint = f"no rule uses target {name!r}", "use it in a rule, or remove it"
            yield Finding(id="unused-target", severity="warning", path=("targets", name), what=what, hint=hint)
    for i, boundary in enumerate(policy.boundaries):
        if all(limit(boundary, name, policy.targets[name]) == "open" for name in used):
            what = f"boundary {boundary.name!r} restricts no target in use: {boundary.allows}"
            hint = "check its zones, regions or targets, or remove it"
            yield Finding(id="idle-boundary", severity="warning", path=("boundaries", i), what=what, hint=hint)


def _prices(policy: Policy, priced: Callable[[TargetBlock], bool] | None) -> Iterator[Finding]:
    for name, block in policy.targets.items() if priced is not None else ():
        if priced is not None and not priced(block):
            what = f"nobody can price {block.model!r} of target {name!r}, so it is never affordable"
            hint = "add 'price: {input: ..., output: ...}', in USD per million tokens"
            yield Finding(id="unpriced", severity="warning", path=("targets", name, "model"), what=what, hint=hint)


def _drills(policy: Policy) -> Iterator[Finding]:
    """Each live drill has a limit of its own; a policy that allows any number of them should have one, too."""
    if policy.drills != "allowed" or any(budget.per != "request" for budget in policy.budgets):
        return
    paid = [name for name, block in policy.targets.items() if zone_of(block) == "cloud"]
    if paid:
        what = f"drills may call {paid[0]!r} for money, and no budget bounds all of them together"
        hint = "add such as {name: drills, usd: 1.00, per: day, by: drill} to 'budgets'"
        yield Finding(id="costly-drills", severity="warning", path=("drills",), what=what, hint=hint)


def _keys(policy: Policy, environ: Mapping[str, str] | None) -> Iterator[Finding]:
    for name, block in policy.targets.items() if environ is not None else ():
        key = block.api_key or (VENDOR_KEYS.get(block.kind) if block.base_url is None else None)
        if environ is not None and key is not None and not environ.get(key):
            what, hint = f"no key for target {name!r} in this environment", f"set {key}"
            yield Finding(id="missing-key", severity="warning", path=("targets", name), what=what, hint=hint)
