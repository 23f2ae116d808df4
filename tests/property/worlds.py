"""Random policies with every field that decides who is called, and an oracle of boundaries that shares no code with it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from decimal import Decimal

from hypothesis import strategies as st

from hybridinfer.budget.ledger import MemoryLedger
from hybridinfer.receipt import ANSWERED, Code
from hybridinfer.types import Message, Request, Reset, ResponseFormat, Start, Text, TextDelta

LATE = 0.05
CALLED = ("a", "b", "c", "e")
CANNED = "d"
NAMES = (*CALLED, CANNED)
MARKS = {"a": "*", "b": "`", "c": '"', "e": "'"}
"""Signs that tell whose words they are, and that a comparison of two answers overlooks."""

EMAIL = "jo.doe@example.com"
CARD = "4111 1111 1111 1111"
KEY = "AKIAIOSFODNN7EXAMPLE"
"""As Amazon's documentation writes it: nobody's."""
LONG = "the same long text " * 20
PROMPTS = ("hello", "hello", f"write to {EMAIL}", f"the key is {KEY}", f"{LONG}\n\n\n\n{LONG}  x")
SAID = ("ok", "ok", "ok", "quite different", "a longer answer", "yes", "yes", f"ask {EMAIL}", f"use {KEY}", "")
CONTENT = (EMAIL, KEY, "the same long", "hello", "longer answer", "quite different")
UNSENT = {Code.UNSAFE, Code.CIRCUIT_OPEN, Code.OVER_BUDGET, Code.OVER_DEADLINE, Code.UNSUPPORTED, Code.FORBIDDEN}

LEVELS = ("public", "personal", "secret")
BOUNDARIES = (
    {"name": "secrets-stay", "when": {"privacy": "secret"}, "cloud": "never"},
    {"name": "personal-masked", "when": {"privacy": "personal"}, "cloud": "masked"},
    {"name": "secrets-here", "when": {"privacy": "secret"}, "zones": ["device"]},
    {"name": "personal-near", "when": {"privacy": ["personal", "secret"]}, "zones": ["device", "network"]},
    {"name": "team-x", "when": {"tags": {"team": "x"}}, "targets": ["a", "b", "d"]},
    {"name": "europe", "when": {"privacy": "personal"}, "regions": ["eu"]},
)
BUDGETS = (
    {"name": "day", "usd": 2, "per": "day"},
    {"name": "team-day", "usd": 1, "per": "day", "by": "team"},
    {"name": "one", "usd": 1.5, "per": "request"},
)

seconds = st.sampled_from([0.01, 0.2, 1.0, 5.0, 30.0]) | st.floats(0.001, 30.0).map(lambda value: round(value, 3))
limits = st.sampled_from([30.0, 30.0, 30.0, 5.0]) | seconds
"""Mostly generous: a world in which nobody gets to the end tests little."""
codes = st.sampled_from([Code.INTERRUPTED, Code.UNAVAILABLE]) | st.sampled_from(
    [code for code in Code if code not in ANSWERED | {Code.CANCELLED, Code.UNSURE}]  # these are the router's own
)
usual = [
    Code.TIMEOUT, Code.STALLED, Code.RATE_LIMITED, Code.UNAVAILABLE, Code.INTERRUPTED, Code.EMPTY, Code.INVALID_OUTPUT
]  # fmt: skip
listed = st.just(usual) | st.lists(st.sampled_from(list(Code)), unique=True, max_size=8)


def some(choices, most=None):
    return st.lists(st.sampled_from(choices), unique_by=lambda one: one["name"], max_size=most or len(choices))


@st.composite
def targets(draw, name):
    if name == CANNED:
        return {"kind": "canned", "text": "later"}
    zone = draw(st.sampled_from(["device", "network", "cloud", "cloud"]))
    block = {
        "kind": "onnx" if zone == "device" else "openai",
        "model": "m",
        "continues": draw(st.sampled_from([True, True, False])),
    }
    if zone != "device":
        block |= {"zone": zone, "price": {"input": 1000, "output": 1000}, "max_tokens": 200}
        block |= draw(st.sampled_from([{}, {"region": "eu"}, {"region": "us"}]))
    return block | {key: f"{draw(limits):f}s" for key in ("timeout", "first_token", "stall")}


@st.composite
def judges(draw):
    return draw(st.sampled_from([{}, {"judge": "model", "by": draw(st.sampled_from(CALLED))}]))


@st.composite
def rungs(draw, name):
    if name == CANNED or draw(st.booleans()):
        return name
    other = draw(st.sampled_from([one for one in CALLED if one != name]))
    block = draw(
        st.fixed_dictionaries(
            {"deliver": st.sampled_from(["held", "held", "at_once"])},
            optional={
                "confidence": st.sampled_from([0.3, 0.7]),
                "samples": st.integers(2, 4),
                "agree_with": st.just(other),
            },
        ).filter(lambda block: len(block) > 1)
    )
    if "agree_with" in block:
        block |= draw(judges())
    return {"target": name, "accept": block}


@st.composite
def uses(draw):
    names = draw(st.lists(st.sampled_from(NAMES), unique=True, min_size=1))
    agreeing = [name for name in names[:3] if name != CANNED]
    if len(agreeing) > 1 and draw(st.booleans()):
        rest = [draw(rungs(name)) for name in names if name not in agreeing]
        return [{"agree": agreeing} | draw(judges()), *rest]
    return [draw(rungs(name)) for name in names]


@st.composite
def trees(draw):
    """A policy as its file says it: any targets, boundaries, budgets, checks, hedges and limits that the loader accepts."""
    rule = {"name": "all", "use": draw(uses())}
    rule |= draw(
        st.sampled_from([{}, {"hedge": {"after": "100ms"}}, {"hedge": {"after": "5s"}}, {"hedge": {"after": "p95"}}])
    )
    prompt = {"dedupe": True, "collapse_whitespace": True, "trim_history": draw(st.sampled_from([1, 100, 4000]))}
    rule |= draw(st.sampled_from([{}, {}, {"prompt": prompt}]))
    return {
        "version": 1,
        "targets": {name: draw(targets(name)) for name in NAMES},
        "budgets": draw(some(BUDGETS)),
        "boundaries": draw(some(BOUNDARIES, 3)),
        "rules": [rule],
        "resilience": {
            "deadline": f"{draw(limits):f}s",
            "last_rung": f"{draw(seconds):f}s",
            "retry": {"attempts": draw(st.integers(1, 4)), "backoff": "100ms", "max_backoff": "2s"},
            "retry_on": [str(code) for code in draw(listed)],
            "fallback_on": [str(code) for code in draw(listed)],
            "on_interrupt": draw(st.sampled_from(["error", "restart", "continue", "continue", "buffer"])),
            "circuit_breaker": {"failures": draw(st.integers(1, 5)), "within": "30s", "cool_down": "5s"},
        },
    }


@st.composite
def requests(draw):
    turns = draw(st.lists(st.sampled_from(PROMPTS), min_size=1, max_size=3))
    messages = [Message(role="user", parts=(Text(text=turns[0]),))]
    for turn in turns[1:]:
        messages += [
            Message(role=role, parts=(Text(text=text),)) for role, text in (("assistant", "ok"), ("user", turn))
        ]
    return Request(
        messages=tuple(messages),
        timeout=draw(st.none() | st.none() | seconds),
        max_tokens=draw(st.sampled_from([200, 200, None])),
        on_interrupt=draw(st.sampled_from([None, None, None, "error", "restart", "continue", "buffer"])),
        safe_to_retry=draw(st.sampled_from([True, True, True, False])),
        tags=draw(st.sampled_from([{}, {"team": "x"}, {"team": "y"}])),
        privacy=draw(st.sampled_from([None, None, *LEVELS])),
        budget_usd=draw(st.sampled_from([None, None, Decimal("0.9")])),
        response_format=draw(st.sampled_from([None, None, None, ResponseFormat(type="choice", choices=("ok", "*ok"))])),
    )


def numbered(asked):
    """The same requests, each with a tag of its own, so that whatever is sent can be told to whom it belongs."""
    return [replace(one, tags={**one.tags, "nr": str(number)}) for number, one in enumerate(asked)]


def texts(request):
    return "\n".join(message.text for message in request.messages)


def privacy(*requests):
    """How private these are at least: by what was planted, and by what the caller says."""
    said = "\n".join(map(texts, requests))
    found = "secret" if KEY in said else "personal" if EMAIL in said else "public"
    return max([found, *(request.privacy or "public" for request in requests)], key=LEVELS.index)


def zone_of(block):
    return block.get("zone", "device")


def forbidden(tree, name, level, tags):
    """Why `name` may not see a request of this level; empty where it may, `masked` where only without what was planted."""
    block, verdict = tree["targets"][name], ""
    for boundary in tree["boundaries"]:
        when = boundary["when"]
        levels = when.get("privacy", LEVELS)
        if level not in ([levels] if isinstance(levels, str) else levels):
            continue
        if any(tags.get(tag) != value for tag, value in when.get("tags", {}).items()):
            continue
        if boundary.get("cloud") == "never" and zone_of(block) == "cloud":
            return boundary["name"]
        if "zones" in boundary and zone_of(block) not in boundary["zones"]:
            return boundary["name"]
        if "targets" in boundary and name not in boundary["targets"]:
            return boundary["name"]
        if "regions" in boundary and zone_of(block) != "device" and block.get("region") not in boundary["regions"]:
            return boundary["name"]
        if boundary.get("cloud") == "masked" and zone_of(block) == "cloud":
            verdict = "masked"
    return verdict


def check_sent(tree, name, sent, original):
    """What a target got: nothing that is forbidden there, neither of the question nor of an answer on its way to a judge."""
    verdict = forbidden(tree, name, privacy(sent, original), original.tags)
    assert verdict in {"", "masked"}, f"{name} was called in spite of {verdict}"
    if verdict == "masked":
        assert EMAIL not in repr(sent), "it was not masked"


def declared(tree):
    """Calls of each target for one request, at most."""
    rule, tries = tree["rules"][0], tree["resilience"]["retry"]["attempts"]
    most = Counter()
    for rung in rule["use"]:
        if isinstance(rung, str):
            most[rung] += tries
        elif "agree" in rung:
            most.update(rung["agree"])
            most.update(dict.fromkeys(rung["agree"], tries))  # where it is alone, it is an ordinary rung
            most.update({rung["by"]: len(rung["agree"]) - 1} if "by" in rung else {})
        else:
            block = rung["accept"]
            most[rung["target"]] += tries + block.get("samples", 1) - 1
            most.update([block[key] for key in ("agree_with", "by") if key in block])
    return most


def check_attempts(tree, receipt):
    """No more of them than the policy says."""
    most = declared(tree)
    assert all(count <= most[name] for name, count in Counter(one.target for one in receipt.attempts).items())


def check_sent_once(receipt, acted):
    """After a target may have acted, only a canned reply may follow. `acted`: the codes after which it may."""
    over = False
    for attempt in receipt.attempts:
        if attempt.code not in UNSENT and attempt.target != CANNED:
            assert not over, "a request that acts was sent again"
            over = attempt.code in acted


def shown_of(events):
    """(the text that is not taken back, whether an answer is open); the grammar is checked on the way."""
    shown, reading = "", False
    for event in events:
        if isinstance(event, Start):
            assert not reading, "two beginnings without a reset"
            reading = True
        elif isinstance(event, Reset):
            assert reading, "a reset of nothing"
            shown, reading = "", False
        elif isinstance(event, TextDelta):
            assert reading, "a piece before the beginning"
            shown += event.text
    return shown, reading


def check_hidden(tree, receipt, seen, final):
    """Whoever only helps, and whoever was held and rejected, is never read by the caller."""
    rule = tree["rules"][0]
    ladder, at_once = set(), set()
    for rung in rule["use"]:
        ladder |= {rung} if isinstance(rung, str) else {*rung.get("agree", ()), rung.get("target")}
        if isinstance(rung, dict) and rung.get("accept", {}).get("deliver") == "at_once":
            at_once.add(rung["target"])
    for name, mark in MARKS.items():
        lines = [one.code for one in receipt.attempts if one.target == name]
        rejected = lines and Code.UNSURE in lines and receipt.target != name
        if name not in ladder or (rejected and name not in at_once):
            assert mark not in seen, "a draft was shown"
        if name not in ladder or rejected:
            assert mark not in final, "a draft is part of the answer"


def check_content_free(*records):
    """Receipts, errors and logs hold nothing of a question or an answer."""
    for record in records:
        assert not any(content in record for content in CONTENT), record


@dataclass
class Books(MemoryLedger):
    """The real ledger in memory; remembers what is open, and what each team spent."""

    policy: object
    clock: object
    open: dict = field(default_factory=dict)
    spent: Counter = field(default_factory=Counter)

    def __post_init__(self):
        super().__init__(self.policy, clock=self.clock)

    async def reserve(self, **what):
        reservation = await super().reserve(**what)
        self.open[reservation.id] = reservation
        return reservation

    async def settle(self, reservation, usd, *, estimated=False):
        await super().settle(reservation, usd, estimated=estimated)
        del self.open[reservation.id]
        self.spent[reservation.tags.get("team")] += usd

    async def release(self, reservation):
        await super().release(reservation)
        del self.open[reservation.id]

    def reserved_for(self, name):
        return any(reservation.target == name for reservation in self.open.values())

    def check(self, tree, receipts):
        """Nothing is open, every dollar is on a receipt, no budget is overspent."""
        assert self.open == {}, "a reservation was neither settled nor released"
        names = {budget["name"] for budget in tree["budgets"]}
        if names & {"day", "team-day"}:
            paid = Counter()
            for receipt in receipts:
                paid[receipt.tags.get("team")] += receipt.cost_usd
            assert +paid == +self.spent, "receipts and ledger differ"
        if "day" in names:
            assert sum(self.spent.values()) <= 2, "the budget was overspent"
        if "team-day" in names:
            assert all(usd <= 1 for usd in self.spent.values()), "a team's budget was overspent"
        if "one" in names:
            assert all(receipt.cost_usd <= Decimal("1.5") for receipt in receipts), "a request cost too much"
