"""The same promises through the public face: the real router, driver, lock, masking, signals and books on a virtual clock.

Targets follow scripts; callers read whole answers or streams, slowly, cancel, or close early.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass, replace
from decimal import Decimal
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hybridinfer import AsyncRouter, RequestError, StreamInterrupted
from hybridinfer.legs import ACTED
from hybridinfer.policy.load import load
from hybridinfer.receipt import Code
from hybridinfer.resilience.retry import RetryBudget
from hybridinfer.targets.base import Finish, Progress, TargetFailed
from hybridinfer.testing import FakeTarget
from hybridinfer.types import End, TextDelta, Usage
from tests.property.worlds import (
    CALLED,
    LATE,
    MARKS,
    SAID,
    Books,
    check_attempts,
    check_content_free,
    check_hidden,
    check_sent,
    check_sent_once,
    codes,
    numbered,
    requests,
    shown_of,
    trees,
    zone_of,
)
from tests.virtual import virtual_time

short = st.sampled_from([0.0, 0.01, 0.01, 0.2, 1.0, 30.0])


@dataclass(frozen=True)
class Step:
    """Pieces, one after `first` and then each after `gap`; then a finish, a failure, an exception, or silence.

    It takes `lingers` to end, whatever it is told.
    """

    pieces: tuple[str, ...]
    first: float
    gap: float
    end: object
    thinks: bool
    confidence: float | None
    usage: Usage | None
    lingers: float


steps = st.builds(
    Step,
    pieces=st.sampled_from(SAID).map(lambda text: tuple(text.partition(" ")) if " " in text else (text,)),
    first=short,
    gap=short,
    end=st.sampled_from(["stop"] * 8 + ["length", "content_filter", None, "hang", "raise"]) | codes,
    thinks=st.booleans(),
    confidence=st.sampled_from([None, 0.1, 0.5, 0.9]),
    usage=st.sampled_from([Usage(input_tokens=10, output_tokens=2), None]),
    lingers=st.sampled_from([0.0, 0.0, 0.0, 0.0, 0.5, 3.0]),
)


class Acting(FakeTarget):
    """Does its steps on the loop's clock; looks at whatever it gets."""

    def __init__(self, name, tree, script, world):
        block = tree["targets"][name]
        options = {"zone": zone_of(block), "kind": block["kind"], "region": block.get("region")}
        super().__init__(name, script=script, continues=block["continues"], **options)
        self.info = replace(self.info, idempotent=True)
        self._tree, self._world = tree, world

    async def stream(self, request, *, stream):
        """The next step."""
        self.requests.append(request)
        self._world.look(self, request)
        step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        self.open += 1
        try:
            await asyncio.sleep(step.first)
            for number, piece in enumerate(piece for piece in step.pieces if piece):
                if step.thinks:
                    yield Progress()
                yield TextDelta(text=(MARKS[self.info.name] if not number else "") + piece)
                await asyncio.sleep(step.gap)
            if step.end == "hang":
                await asyncio.Event().wait()
            if step.end == "raise":
                raise ValueError(*step.pieces)
            if isinstance(step.end, Code):
                raise TargetFailed(step.end, "scripted", usage=step.usage, retry=None)
            if step.end is not None:
                yield Finish(finish_reason=step.end, usage=step.usage, model="fake", confidence=step.confidence)
        finally:
            await _linger(step.lingers)
            self.open -= 1


async def _linger(seconds):
    """Cancel it as often as you like."""
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    while loop.time() < until:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(until - loop.time())


@dataclass(frozen=True)
class Visit:
    """A caller: when, what, how, and when they go away."""

    at: float
    request: object
    streams: bool
    pauses: float
    leaves_after: float | None
    closes_after: int | None


visits = st.lists(
    st.builds(
        Visit,
        at=short,
        request=requests(),
        streams=st.sampled_from([True, True, False]),
        pauses=st.sampled_from([0.0, 0.0, 0.0, 1.0, 10.0]),
        leaves_after=st.none() | st.none() | short,
        closes_after=st.sampled_from([None, None, None, None, 0, 1, 2]),
    ),
    min_size=1,
    max_size=4,
)
OPTIONS = ("timeout", "max_tokens", "on_interrupt", "safe_to_retry", "tags", "privacy", "budget_usd", "response_format")


class Scene:
    """One router, its targets, books and callers."""

    def __init__(self, loop, tree, script, coming, seed):
        self.loop, self.tree = loop, tree
        self.receipts, self.begun, self.keys = [], 0, {}
        self._asked = [visit.request for visit in coming]
        policy = load(tree)
        self.books = Books(policy, loop.time)
        silent = [Step(("ok",), 0.0, 0.0, "stop", False, None, None, 0.0)]
        self.targets = {name: Acting(name, tree, script.get(name, silent), self) for name in CALLED}
        self.router = AsyncRouter(
            policy,
            targets=self.targets,
            ledger=self.books,
            hooks=[self],
            environ={},
            clock=loop.time,
            rng=Random(seed).random,
            retry_budget=RetryBudget(clock=loop.time),
        )

    def on_receipt(self, receipt):
        """As a hook: every request ends in one."""
        self.receipts.append(receipt)

    def look(self, target, request):
        """What arrives is allowed to, and its money is there."""
        name = target.info.name
        check_sent(self.tree, name, request, self._asked[int(request.tags["nr"])])
        paid = "price" in self.tree["targets"][name]
        if paid and any(budget["per"] != "request" for budget in self.tree["budgets"]):
            assert self.books.reserved_for(name), "a call without its money"
        body = replace(request, terms=None)
        assert self.keys.setdefault((name, request.idempotency_key), body) == body, "one key for two requests"

    async def play(self, coming):
        """All of them; then the router is closed, and the books are looked at."""
        await asyncio.gather(*(self._visit(visit) for visit in coming))
        await self.router.aclose()
        assert all(target.open == 0 and target.closed for target in self.targets.values())
        assert len(self.receipts) == self.begun
        assert len({receipt.id for receipt in self.receipts}) == self.begun
        self.books.check(self.tree, self.receipts)

    async def _visit(self, visit):
        await asyncio.sleep(visit.at)
        given = {name: getattr(visit.request, name) for name in OPTIONS}
        reading = self._stream if visit.streams else self._complete
        task = asyncio.create_task(reading(visit, {name: value for name, value in given.items() if value is not None}))
        if visit.leaves_after is not None:
            await asyncio.wait([task], timeout=visit.leaves_after)
            task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    async def _complete(self, visit, options):
        began, response, error = self.loop.time(), None, None
        self.begun += 1
        try:
            response = await self.router.complete(visit.request.messages, **options)
        except RequestError as raised:
            error = raised
        self._in_time(visit, began)
        self._check(visit, response, error, [])

    async def _stream(self, visit, options):
        began, events, response, error, waited = self.loop.time(), [], None, None, 0.0
        async with self.router.stream(visit.request.messages, **options) as stream:
            if visit.closes_after == 0:
                return
            self.begun += 1
            try:
                async for event in stream:
                    events.append(event)
                    if len(events) == visit.closes_after:
                        break
                    waited += visit.pauses
                    await asyncio.sleep(visit.pauses)
                else:
                    response = stream.response
            except RequestError as raised:
                error = raised
        if visit.closes_after is not None and response is None and error is None:
            return
        self._in_time(visit, began, waited)
        self._check(visit, response, error, events)

    def _in_time(self, visit, began, waited=0.0):
        limit = visit.request.timeout or float(self.tree["resilience"]["deadline"][:-1])
        assert self.loop.time() - began <= limit + waited + LATE

    def _check(self, visit, response, error, events):
        receipt = (response or error).receipt
        assert receipt in self.receipts
        check_attempts(self.tree, receipt)
        if not visit.request.safe_to_retry:
            check_sent_once(receipt, ACTED)
        if visit.request.budget_usd is not None:
            assert receipt.cost_usd <= visit.request.budget_usd
        assert receipt.cost_usd == sum((one.cost_usd for one in receipt.attempts), Decimal(0))
        final = response.text if response is not None else ""
        check_hidden(self.tree, receipt, "".join(one.text for one in events if isinstance(one, TextDelta)), final)
        check_content_free(json.dumps(replace(receipt, tags={}).to_dict()), str(error or ""))
        if not visit.streams:
            return
        shown, reading = shown_of(events)
        if response is not None:
            assert [event for event in events if isinstance(event, End)] == events[-1:]
            assert reading
            assert shown == response.text
        elif isinstance(error, StreamInterrupted):
            assert (reading, shown) == (True, error.partial)
        else:
            assert not reading


def check(*, tree, script, coming, seed):
    own = numbered([visit.request for visit in coming])
    coming = [replace(visit, request=request) for visit, request in zip(coming, own, strict=True)]
    with virtual_time() as loop:
        scene = Scene(loop, tree, {name: list(some) for name, some in script.items()}, coming, seed)
        loop.run_until_complete(scene.play(coming))
        for receipt in scene.receipts:
            check_attempts(tree, receipt)


cases = st.fixed_dictionaries(
    {
        "tree": trees(),
        "script": st.dictionaries(st.sampled_from(CALLED), st.lists(steps, min_size=1, max_size=4), min_size=2),
        "coming": visits,
        "seed": st.integers(0, 1000),
    }
)
calm = [HealthCheck.too_slow, HealthCheck.data_too_large]


@given(case=cases)
@settings(max_examples=100, deadline=None, suppress_health_check=calm)
def test_the_promises_hold_for_the_real_driver(case):
    """A hundred routers."""
    check(**case)


@pytest.mark.slow
@given(case=cases)
@settings(max_examples=3_000, deadline=None, suppress_health_check=calm)
def test_the_promises_hold_for_many_more_routers(case):
    """Three thousand."""
    check(**case)
