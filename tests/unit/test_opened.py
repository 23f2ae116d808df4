"""One call of one target: every way it can end becomes an outcome, and its iterator is closed."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from hybridinfer.commands import Call, Limits
from hybridinfer.continuing import Join
from hybridinfer.opened import Opened
from hybridinfer.receipt import Code
from hybridinfer.targets.base import Finish, Progress, TargetFailed
from hybridinfer.types import Message, Request, Text, TextDelta, Usage
from tests.virtual import virtual_time

REQUEST = Request(messages=(Message(role="user", parts=(Text(text="hello"),)),))
DONE = Finish(finish_reason="stop", usage=Usage(input_tokens=3, output_tokens=1), model="m")

pytestmark = pytest.mark.anyio


def call(*, hold=False, join=None, **limits):
    limits = Limits(**({"total": 5.0, "first_token": 5.0, "stall": 5.0} | limits))
    return Call(target="cloud", number=1, request=REQUEST, levels={}, limits=limits, hold=hold, join=join)


class Events:
    """An asynchronous iterator that plays steps: events, exceptions, or `wait` for silence."""

    def __init__(self, *steps, closing=None):
        self.steps, self.closing, self.closed = list(steps), closing, 0

    def __aiter__(self):
        return self

    async def __anext__(self):
        if not self.steps:
            raise StopAsyncIteration
        step = self.steps.pop(0)
        if step == "wait":
            await asyncio.Event().wait()
        if isinstance(step, BaseException):
            raise step
        return step

    async def aclose(self):
        self.closed += 1
        if self.closing == "wait":
            await asyncio.Event().wait()
        if self.closing is not None:
            raise self.closing


@pytest.fixture
def virtual():
    """Runs a coroutine on a virtual clock."""
    with virtual_time() as loop:
        yield loop.run_until_complete


async def whole(events, **limits):
    return await Opened(call(hold=True, **limits), events, judged=True).whole()


async def test_a_whole_answer():
    """Text, usage, model and times."""
    events = Events(TextDelta(text="he"), TextDelta(text="llo"), DONE)
    outcome = await whole(events)
    assert (outcome.code, outcome.answer.text, outcome.answer.model) == (Code.OK, "hello", "m")
    assert outcome.answer.usage.input_tokens == 3
    assert 0 <= outcome.first_token_seconds <= outcome.seconds


@pytest.mark.parametrize("after", ["wait", TargetFailed(Code.UNAVAILABLE), TextDelta(text="more"), DONE], ids=repr)
async def test_nothing_after_the_terminal_event_matters(after, monkeypatch):
    """An answer is whole at its `Finish`: what hangs, fails or comes behind it changes nothing."""
    monkeypatch.setattr("hybridinfer.opened.ENDING", 0.01)
    outcome = await whole(Events(TextDelta(text="hello"), DONE, after))
    assert (outcome.code, outcome.answer.text) == (Code.OK, "hello")
    opened = Opened(call(), Events(TextDelta(text="hello"), DONE, after), judged=True)
    await opened.first()
    assert (await opened.next()).text == "hello"
    assert await opened.next() is None
    assert (opened.outcome.code, opened.outcome.answer.text) == (Code.OK, "hello")
    empty = await Opened(call(), Events(DONE, after), judged=True).first()
    assert (empty.code, empty.opened) == (Code.EMPTY, None)


async def test_a_target_ends_by_itself_where_it_can():
    """What it does behind its last event is done: connections go back to their pool, warnings are logged."""
    done = []

    async def tidy():
        yield TextDelta(text="hello")
        yield DONE
        done.append(True)

    assert (await whole(tidy())).code is Code.OK
    opened = Opened(call(), tidy(), judged=True)
    await opened.first()
    while await opened.next() is not None:
        pass
    assert done == [True, True]


async def test_pieces_come_one_by_one():
    """The first is kept for `next`, empty ones are skipped, and the outcome is there at the end."""
    events = Events(TextDelta(text=""), TextDelta(text="he"), TextDelta(text=""), TextDelta(text="llo"), DONE)
    opened = Opened(call(), events, judged=True)
    outcome = await opened.first()
    assert (outcome.code, outcome.answer.text, outcome.opened) == (Code.OK, "he", opened)
    assert [(await opened.next()).text, (await opened.next()).text] == ["he", "llo"]
    assert await opened.next() is None
    assert (opened.outcome.code, opened.outcome.answer.text) == (Code.OK, "hello")
    assert await opened.next() is None


async def test_an_answer_can_end_before_its_first_piece():
    """Empty is a code; nothing is left open."""
    events = Events(DONE)
    outcome = await Opened(call(), events, judged=True).first()
    assert (outcome.code, outcome.opened) == (Code.EMPTY, None)


async def test_an_end_without_a_terminal_event_is_interrupted():
    """Before, during and after the pieces."""
    assert (await whole(Events())).code is Code.INTERRUPTED
    assert (await whole(Events(TextDelta(text="half")))).code is Code.INTERRUPTED
    assert (await Opened(call(), Events(), judged=True).first()).code is Code.INTERRUPTED
    opened = Opened(call(), Events(TextDelta(text="half")), judged=True)
    await opened.first()
    await opened.next()
    assert await opened.next() is None
    assert opened.outcome.code is Code.INTERRUPTED


async def test_a_canned_reply_counts_as_it_is():
    """No judging: not even of emptiness."""
    assert (await Opened(call(hold=True), Events(DONE), judged=False).whole()).code is Code.OK
    assert (await Opened(call(), Events(DONE), judged=False).first()).code is Code.OK


async def test_time_is_up_for_the_whole():
    """TIMEOUT, with what came, and the iterator closed."""
    events = Events(TextDelta(text="half"), "wait")
    outcome = await whole(events, total=0.01)
    assert (outcome.code, outcome.answer.text) == (Code.TIMEOUT, "half")
    assert isinstance(outcome.error, TimeoutError)
    assert events.closed == 1


def test_silence_before_the_first_piece(virtual):
    """STALLED by its own limit, TIMEOUT by the attempt's."""
    stalled = virtual(Opened(call(first_token=1.0), Events("wait"), judged=True).first())
    assert (stalled.code, stalled.because) == (Code.STALLED, "no sign of the first piece in time")
    late = virtual(Opened(call(first_token=1.0, total=1.0), Events("wait"), judged=True).first())
    assert (late.code, late.because) == (Code.TIMEOUT, "not done in time")


async def test_silence_between_two_pieces():
    """STALLED by its own limit, TIMEOUT when the attempt's time ends first."""
    for limits, code in (({"stall": 0.01}, Code.STALLED), ({"total": 0.02, "first_token": 0.02}, Code.TIMEOUT)):
        opened = Opened(call(**limits), Events(TextDelta(text="half"), "wait"), judged=True)
        await opened.first()
        assert (await opened.next()).text == "half"
        assert await opened.next() is None
        assert (opened.outcome.code, opened.outcome.answer.text) == (code, "half")


async def test_a_target_that_turns_our_cancelling_into_its_own_error_was_slow_all_the_same():
    """Adapters that catch everything cannot hide a timeout."""

    async def stubborn():
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise TargetFailed(Code.UNAVAILABLE, "something broke") from None
        yield DONE

    assert (await whole(stubborn(), total=0.01)).code is Code.TIMEOUT


async def test_a_target_failure_keeps_its_details():
    """Code, status, Retry-After, the target's word on retrying, usage, cause."""
    cause = ConnectionResetError()
    failure = TargetFailed(
        Code.RATE_LIMITED, "slow down", status=429, retry_after=2.0, retry=True, usage=Usage(input_tokens=9)
    )
    failure.__cause__ = cause
    outcome = await whole(Events(TextDelta(text="half"), failure))
    assert (outcome.code, outcome.because, outcome.status) == (Code.RATE_LIMITED, "slow down", 429)
    assert (outcome.retry_after, outcome.retry, outcome.error) == (2.0, True, cause)
    assert (outcome.answer.text, outcome.answer.usage.input_tokens) == ("half", 9)


async def test_a_failure_without_a_cause_is_its_own():
    """The caller has something to look at."""
    failure = TargetFailed(Code.UNAVAILABLE)
    assert (await whole(Events(failure))).error is failure


@pytest.mark.parametrize("code", [Code.OK, Code.TRUNCATED])
async def test_a_failure_cannot_claim_success(code):
    """An adapter that raises `ok` is broken; a caller without an answer is not told that there is one."""
    outcome = await whole(Events(TargetFailed(code)))
    assert (outcome.code, outcome.retry) == (Code.UNAVAILABLE, False)


async def test_any_other_exception_is_a_broken_target(caplog):
    """Its type is on the receipt and in the log; its text is nowhere."""
    outcome = await whole(Events(RuntimeError("the prompt was hello")))
    assert (outcome.code, outcome.because, outcome.retry) == (Code.UNAVAILABLE, "raised RuntimeError", False)
    assert "the prompt" not in caplog.text


async def test_a_fault_while_closing_changes_no_outcome(caplog):
    """It is logged, by type."""
    outcome = await whole(Events(TextDelta(text="half"), TargetFailed(Code.REFUSED), closing=OSError("details")))
    assert outcome.code is Code.REFUSED
    assert "closing a call raised OSError" in caplog.text
    assert "details" not in caplog.text


async def test_a_close_that_hangs_is_left(monkeypatch):
    """A target cannot hold a request up by not closing."""
    monkeypatch.setattr("hybridinfer.opened.CLOSING", 0.01)
    assert (await whole(Events(TargetFailed(Code.REFUSED), closing="wait"))).code is Code.REFUSED


async def test_an_iterator_without_aclose_is_fine():
    """The protocol asks for an iterator, not for a generator."""

    class Plain:
        def __init__(self):
            self.steps = [TextDelta(text="hello"), DONE]

        def __aiter__(self):
            return self

        async def __anext__(self):
            return self.steps.pop(0)

    assert (await whole(Plain())).code is Code.OK


@pytest.mark.parametrize("method", ["whole", "first"])
async def test_being_cancelled_is_not_the_targets_fault(method):
    """CancelledError passes through."""
    task = asyncio.ensure_future(getattr(Opened(call(hold=method == "whole"), Events("wait"), judged=True), method)())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_pieces_may_be_read_by_different_tasks():
    """Timers belong to one wait, never to the iterator."""
    opened = Opened(call(stall=0.5), Events(TextDelta(text="a"), TextDelta(text="b"), "wait"), judged=True)
    await opened.first()
    assert (await asyncio.create_task(opened.next())).text == "a"
    assert (await asyncio.create_task(opened.next())).text == "b"
    reader = asyncio.create_task(opened.next())
    await asyncio.sleep(0)
    reader.cancel()
    with suppress(asyncio.CancelledError):
        await reader
    await opened.close()
    assert await opened.next() is None


class Clock:
    """The time that `Opened` reads; `Events` moves it on where a step is a number."""

    def __init__(self, monkeypatch):
        self.now = 100.0
        monkeypatch.setattr("hybridinfer.opened.time.perf_counter", lambda: self.now)


async def read(opened):
    texts = []
    while (piece := await opened.next()) is not None:
        texts.append(piece.text)
    return texts


async def test_pauses_of_the_caller_are_not_the_targets(monkeypatch):
    """Whoever reads slowly may take longer than the attempt; its outcome says how long it was."""
    clock = Clock(monkeypatch)
    opened = Opened(call(total=5.0), Events(TextDelta(text="a"), TextDelta(text="b"), DONE), judged=True)
    await opened.first()
    clock.now += 60
    assert await read(opened) == ["a", "b"]
    assert (opened.outcome.code, opened.outcome.seconds) == (Code.OK, 60.0)


async def test_the_deadline_counts_them(monkeypatch):
    """It is the caller's own."""
    clock = Clock(monkeypatch)
    opened = Opened(call(deadline=30.0), Events(TextDelta(text="a"), "wait"), judged=True)
    await opened.first()
    clock.now += 60
    assert await read(opened) == ["a"]
    assert opened.outcome.code is Code.TIMEOUT


async def test_the_targets_own_time_adds_up_over_all_pieces(monkeypatch):
    """Between the pieces, too: an attempt has one time, however it is cut."""
    clock = Clock(monkeypatch)

    async def slow():
        yield TextDelta(text="a")
        for text in ("b", "c"):
            clock.now += 3
            yield TextDelta(text=text)
        await asyncio.Event().wait()

    opened = Opened(call(total=5.0), slow(), judged=True)
    await opened.first()
    assert await read(opened) == ["a", "b", "c"]
    assert (opened.outcome.code, opened.outcome.because) == (Code.TIMEOUT, "not done in time")


def test_progress_is_no_silence_and_is_not_shown(virtual):
    """A target that thinks longer than `first_token`, and shows that it does, goes on."""

    async def thinks():
        for _ in range(5):
            await asyncio.sleep(2)
            yield Progress()
        yield TextDelta(text="a")
        yield Progress()
        yield DONE

    async def play():
        opened = Opened(call(total=20.0, first_token=3), thinks(), judged=True)
        assert (await opened.first()).code is Code.OK
        assert await read(opened) == ["a"]
        assert opened.outcome.code is Code.OK
        assert (await Opened(call(hold=True, total=20.0), thinks(), judged=True).whole()).answer.text == "a"

    virtual(play())


@pytest.mark.parametrize(
    ("limits", "code"),
    [({"first_token": 0.02}, Code.STALLED), ({"total": 0.02, "first_token": 0.02}, Code.TIMEOUT)],
)
async def test_progress_that_ends_in_silence_is_silence(limits, code):
    """And whoever thinks for ever ends with the attempt."""
    events = Events(Progress(), Progress(), "wait")
    assert (await Opened(call(**limits), events, judged=True).first()).code is code


@pytest.mark.parametrize("way", ["whole", "first"])
def test_an_answer_that_is_whole_at_the_deadline_waits_no_longer(way):
    """A target that lingers behind its answer delays nobody past the deadline."""

    async def lingers():
        await asyncio.sleep(0.9)
        yield DONE
        await asyncio.Event().wait()

    with virtual_time() as loop:
        asked = call(hold=True, total=1.0, first_token=1.0, deadline=1.0)
        outcome = loop.run_until_complete(getattr(Opened(asked, lingers(), judged=False), way)())
        assert (outcome.code, loop.time()) == (Code.OK, pytest.approx(1.0))


def test_thinking_for_ever_ends_with_the_attempt(virtual):
    """Progress moves the limit of silence, never that of the attempt."""

    async def thinks():
        while True:
            await asyncio.sleep(0.5)
            yield Progress()

    outcome = virtual(Opened(call(total=5.0, first_token=4.0), thinks(), judged=True).first())
    assert (outcome.code, outcome.because, outcome.seconds) == (Code.TIMEOUT, "not done in time", 5.0)


def held_up(loop, at, seconds):
    """The loop's thread computes something for so long."""

    def compute():
        loop.now += seconds

    loop.call_later(at, compute)


@pytest.mark.parametrize("hold", [True, False], ids=["whole", "stream"])
def test_our_own_loop_held_up_is_not_the_targets_silence(hold):
    """What came in meanwhile is read, and what could only begin afterwards has its time."""

    async def answers():
        await asyncio.sleep(2.0)  # a handshake, which nobody goes on with while the loop is held up
        await asyncio.sleep(2.0)
        yield TextDelta(text="hello")
        yield DONE

    with virtual_time() as loop:
        held_up(loop, 1.0, 6.0)
        opened = Opened(call(hold=hold, total=5.0, first_token=5.0, deadline=60.0), answers(), judged=True)
        outcome = loop.run_until_complete(opened.whole() if hold else opened.first())
        if not hold:
            assert loop.run_until_complete(read(opened)) == ["hello"]
            outcome = opened.outcome
    assert (outcome.code, outcome.late) == (Code.OK, 0.0)


@pytest.mark.parametrize(("deadline", "seconds"), [(60.0, 9.0), (8.0, 8.0)])
def test_silence_after_our_own_lateness_says_so(deadline, seconds):
    """It ends in time, and whoever counts failures can see whose they may be."""
    with virtual_time() as loop:
        held_up(loop, 1.0, 6.0)
        opened = Opened(call(first_token=5.0, total=50.0, deadline=deadline), Events("wait"), judged=True)
        outcome = loop.run_until_complete(opened.first())
    assert (outcome.code, outcome.late, outcome.seconds) == (Code.STALLED, 2.0, seconds)
    assert "this program held its own event loop up for 2.0 s" in outcome.because


async def test_a_second_half_shows_only_what_is_new():
    """The outcome holds what the target said."""
    join = Join(held="The cat ", anew=False)
    opened = Opened(call(join=join), Events(TextDelta(text=" "), TextDelta(text="sat"), DONE), judged=True)
    assert (await opened.first()).opened is opened
    assert await read(opened) == ["sat"]
    assert opened.outcome.answer.text == " sat"


async def test_what_was_held_back_is_shown_at_the_end():
    """Whether the target ended well or badly."""
    for last, code in ((DONE, Code.OK), (TargetFailed(Code.UNAVAILABLE), Code.UNAVAILABLE)):
        join = Join(held="The cat\n\n", anew=False)
        opened = Opened(call(join=join), Events(TextDelta(text="\n"), last), judged=True)
        await opened.first()
        assert await read(opened) == ["\n"]
        assert opened.outcome.code is code


async def test_nothing_to_add_is_an_answer():
    """Only the end had been lost; from the beginning, nothing is nothing."""
    assert (await Opened(call(join=Join(held="a", anew=False)), Events(DONE), judged=True).first()).code is Code.OK
    assert (await Opened(call(join=Join(held="a", anew=True)), Events(DONE), judged=True).first()).code is Code.EMPTY


@pytest.mark.parametrize(
    "steps",
    [
        (TextDelta(text="A dog"), "wait"),
        (TextDelta(text="The"), TextDelta(text="re"), "wait"),
        (TextDelta(text="The"), DONE),
    ],
    ids=["at once", "later", "shorter"],
)
async def test_another_answer_is_broken_off(steps):
    """Nothing of it is shown, and the call is closed as soon as it is seen."""
    events = Events(*steps)
    opened = Opened(call(join=Join(held="The cat", anew=True)), events, judged=True)
    await opened.first()
    assert await read(opened) == []
    assert (opened.outcome.code, opened.outcome.because) == (
        Code.CANCELLED,
        "its answer is not the one that was delivered",
    )
    assert opened.outcome.answer.text
    assert events.closed == (steps[-1] == "wait")


async def test_a_repetition_that_breaks_off_fails_as_it_failed():
    """It was not another answer."""
    events = Events(TextDelta(text="The"), TargetFailed(Code.UNAVAILABLE))
    opened = Opened(call(join=Join(held="The cat", anew=True)), events, judged=True)
    await opened.first()
    assert await read(opened) == []
    assert opened.outcome.code is Code.UNAVAILABLE
