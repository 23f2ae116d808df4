"""One body of behaviour for every way to ask: synchronous and asynchronous, whole and streamed."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field

import pytest

from hybridinfer import (
    AllTargetsFailed,
    AsyncRouter,
    BadRequestError,
    ConfigurationError,
    ContentRefused,
    RequestError,
    Router,
    StreamInterrupted,
)
from hybridinfer.receipt import Code
from hybridinfer.testing import FakeTarget, Hang, Outage, Reply
from hybridinfer.types import End, Reset, Response, Start, TextDelta, ToolCall, ToolCallDelta

POLICY = {
    "version": 1,
    "targets": {
        "cloud": {"kind": "openai", "model": "m", "price": {"input": 1, "output": 2}},
        "local": {"kind": "onnx", "model": "m"},
        "sorry": {"kind": "canned", "text": "later, please"},
    },
    "boundaries": [{"name": "stay", "when": {"privacy": ["personal", "secret"]}, "cloud": "never"}],
    "rules": [{"name": "all", "use": ["cloud", "local", "sorry"]}],
    "resilience": {"deadline": "60s", "retry": {"attempts": 2, "backoff": "1ms", "max_backoff": "2ms"}},
}


def policy(use=("cloud", "local", "sorry"), **resilience):
    rules = [{"name": "all", "use": list(use)}]
    return POLICY | {"rules": rules, "resilience": POLICY["resilience"] | resilience}


@dataclass
class Hook:
    receipts: list = field(default_factory=list)

    def on_receipt(self, receipt):
        self.receipts.append(receipt)


@dataclass
class Seen:
    """What one way of asking gave."""

    response: Response | None = None
    error: Exception | None = None
    events: list = field(default_factory=list)
    told: list = field(default_factory=list)

    @property
    def receipt(self):
        return self.response.receipt if self.response else self.error.receipt

    @property
    def shape(self):
        return [type(event).__name__ for event in self.events]


def check_grammar(seen):
    """Start, deltas, perhaps Reset and again; one End, last, or an error instead."""
    open_now = False
    for position, event in enumerate(seen.events):
        match event:
            case Start():
                assert not open_now
                open_now = True
            case Reset():
                assert open_now
                open_now = False
            case End():
                assert open_now
                assert position == len(seen.events) - 1
            case _:
                assert open_now
    assert (seen.error is None) == (bool(seen.events) and isinstance(seen.events[-1], End))


class Way:
    def __init__(self, *, synchronous, stream):
        self.synchronous, self.stream = synchronous, stream

    def ask(self, targets, prompt="hello", *, rules=POLICY, hook=None, behind=0, **options):
        """`behind`: calls that go on after the answer."""
        hook, seen, self.behind = hook or Hook(), Seen(), behind
        given = {"policy": rules, "targets": {target.info.name: target for target in targets}, "hooks": [hook]}
        try:
            if self.synchronous:
                self._sync(given, seen, prompt, options)
            else:
                asyncio.run(self._async(given, seen, prompt, options))
        except RequestError as error:
            seen.error = error
        seen.told = hook.receipts
        if self.stream:
            check_grammar(seen)
        for target in targets:
            assert target.open == 0
            assert target.closed
        return seen

    def _sync(self, given, seen, prompt, options):
        with Router(**given) as router:
            if not self.stream:
                seen.response = router.complete(prompt, **options)
                return
            with router.stream(prompt, **options) as stream:
                for event in stream:
                    seen.events.append(event)
                seen.response = stream.response

    async def _async(self, given, seen, prompt, options):
        async with AsyncRouter(**given) as router:
            if not self.stream:
                seen.response = await router.complete(prompt, **options)
            else:
                async with router.stream(prompt, **options) as stream:
                    async for event in stream:
                        seen.events.append(event)
                    seen.response = stream.response
            assert len(asyncio.all_tasks()) == 1 + self.behind


WAYS = {
    "sync-complete": Way(synchronous=True, stream=False),
    "sync-stream": Way(synchronous=True, stream=True),
    "async-complete": Way(synchronous=False, stream=False),
    "async-stream": Way(synchronous=False, stream=True),
}


@pytest.fixture(params=WAYS)
def way(request):
    return WAYS[request.param]


def cloud(*script):
    return FakeTarget("cloud", script=script or ("hello",))


def local(*script):
    return FakeTarget("local", zone="device", script=script or ("from here",))


def test_the_first_choice_answers(way):
    """The answer, its receipt, and one line told to the hook."""
    seen = way.ask([cloud(Reply(chunks=("he", "llo"))), local()])
    assert seen.response.text == "hello"
    assert (seen.response.target, seen.response.rung, seen.response.degraded) == ("cloud", 1, False)
    assert seen.told == [seen.response.receipt]
    if way.stream:
        assert seen.shape == ["Start", "TextDelta", "TextDelta", "End"]
        assert seen.events[-1].response is seen.response


def test_one_retry_saves_the_day(way):
    """The same target again, after a wait."""
    first = cloud(Outage(Code.UNAVAILABLE), "hello")
    seen = way.ask([first, local()])
    assert [a.code for a in seen.receipt.attempts] == [Code.UNAVAILABLE, Code.OK]
    assert len(first.requests) == 2


def test_an_outage_falls_back(way):
    """The local model answers, and the response says so."""
    here = local()
    seen = way.ask([cloud(Outage(Code.UNAVAILABLE)), here])
    assert seen.response.text == "from here"
    assert (seen.response.target, seen.response.zone, seen.response.rung, seen.response.degraded) == (
        "local",
        "device",
        2,
        True,
    )
    assert len(here.requests) == 1


def test_everything_down_gives_the_canned_reply(way):
    """The last rung cannot fail."""
    seen = way.ask([cloud(Outage(Code.UNAVAILABLE)), local(Outage(Code.UNAVAILABLE))])
    assert seen.response.text == "later, please"
    assert seen.response.degraded


def test_everything_down_without_a_canned_reply_is_a_typed_error(way):
    """AllTargetsFailed, with the receipt, told to the hook."""
    seen = way.ask([cloud(Outage(Code.UNAVAILABLE)), local(Outage(Code.EMPTY))], rules=policy(use=("cloud", "local")))
    assert type(seen.error) is AllTargetsFailed
    assert [a.target for a in seen.receipt.attempts] == ["cloud", "cloud", "local"]
    assert seen.told == [seen.receipt]
    assert seen.events == []


def test_a_wrong_request_is_the_callers(way):
    """No fallback for a 400."""
    here = local()
    seen = way.ask([cloud(Outage(Code.INVALID, status=400)), here])
    assert type(seen.error) is BadRequestError
    assert seen.receipt.attempts[0].status == 400
    assert here.requests == []


def test_a_refusal_is_the_callers(way):
    """ContentRefused."""
    seen = way.ask([cloud(Outage(Code.REFUSED)), local()])
    assert type(seen.error) is ContentRefused


def test_a_stream_without_its_end_is_interrupted(way):
    """No terminal event means no success, whatever came."""
    seen = way.ask([cloud(Reply(chunks=("half",), finish=None)), local()])
    if way.stream:
        assert type(seen.error) is StreamInterrupted
        assert seen.error.partial == "half"
    else:
        assert seen.response.target == "local"
    assert Code.INTERRUPTED in [a.code for a in seen.receipt.attempts]


def test_a_stream_that_dies_midway_can_restart(way):
    """A reset, then the next rung from its beginning; the response holds only the second answer."""
    here = local()
    seen = way.ask([cloud(Outage(Code.INTERRUPTED, after=("half",))), here], on_interrupt="restart")
    assert seen.response.text == "from here"
    if way.stream:
        assert seen.shape == ["Start", "TextDelta", "Reset", "Start", "TextDelta", "End"]


def test_a_stream_that_dies_midway_can_go_on_elsewhere(way):
    """One start, one end, and the pieces are the whole answer; the second target is given the beginning."""
    here = FakeTarget("local", zone="device", continues=True, script=(Reply(chunks=(" sat", ".")),))
    seen = way.ask([cloud(Outage(Code.INTERRUPTED, after=("The ", "cat"))), here], on_interrupt="continue")
    assert seen.response.target == "local"
    if way.stream:
        assert seen.response.text == "The cat sat."
        assert "".join(e.text for e in seen.events if isinstance(e, TextDelta)) == seen.response.text
        assert seen.shape.count("Start") == seen.shape.count("End") == 1
        assert here.requests[-1].messages[-1].text == "The cat"
    else:
        assert seen.response.text == " sat."
        assert here.requests[-1].messages[-1].role == "user"


def test_a_target_that_refuses_the_beginning_starts_underneath(way):
    """What it repeats is not shown twice."""
    script = (Outage(Code.INVALID, status=400), Reply(chunks=("The c", "at s", "at.")))
    here = FakeTarget("local", zone="device", continues=True, script=script if way.stream else script[1:])
    seen = way.ask([cloud(Outage(Code.INTERRUPTED, after=("The cat",))), here], on_interrupt="continue")
    assert seen.response.text == "The cat sat."
    if way.stream:
        assert "".join(e.text for e in seen.events if isinstance(e, TextDelta)) == "The cat sat."
        assert [(a.target, a.code) for a in seen.receipt.attempts] == [
            ("cloud", Code.INTERRUPTED),
            ("local", Code.INVALID),
            ("local", Code.OK),
        ]


def test_a_start_underneath_that_says_otherwise_is_an_error(way):
    """Nothing of it is shown; the error is that of the stream that broke."""
    script = (Outage(Code.INVALID, status=400), Reply(chunks=("A dog", " sat.")))
    here = FakeTarget("local", zone="device", continues=True, script=script if way.stream else script[1:])
    seen = way.ask([cloud(Outage(Code.INTERRUPTED, after=("The cat",))), here], on_interrupt="continue")
    if way.stream:
        assert type(seen.error) is StreamInterrupted
        assert seen.error.partial == "The cat"
        assert seen.shape == ["Start", "TextDelta"]
    else:
        assert seen.response.text == "A dog sat."


def test_a_beginning_that_turned_out_private_is_not_given_to_a_cloud(way):
    """The question was public; what the model on this machine said is not. The lock sees both."""
    away = FakeTarget("cloud", continues=True)
    here = local(Outage(Code.INTERRUPTED, after=("Her card is 4111 1111 1111 1111",)))
    seen = way.ask([here, away], rules=policy(use=("local", "cloud")), on_interrupt="continue")
    if way.stream:
        assert type(seen.error) is StreamInterrupted
        assert away.requests == []
        assert seen.receipt.attempts[-1].code is Code.FORBIDDEN
    else:
        assert seen.response.target == "cloud"


def test_buffer_shows_nothing_before_it_is_whole(way):
    """Only the good answer is delivered, text and tool calls alike."""
    call = ToolCall(id="c1", name="look", arguments='{"a": 1}')
    good = Reply(chunks=("yes",), tool_calls=(call,), finish="tool_calls")
    seen = way.ask([cloud(Outage(Code.INTERRUPTED, after=("half",))), local(good)], on_interrupt="buffer")
    assert seen.response.text == "yes"
    assert seen.response.tool_calls == (call,)
    if way.stream:
        assert seen.events[1:-1] == [
            TextDelta(text="yes"),
            ToolCallDelta(index=0, id="c1", name="look", arguments='{"a": 1}'),
        ]


def test_truncated_is_delivered_and_marked(way):
    """finish_reason and code both say it."""
    seen = way.ask([cloud(Reply(chunks=("abc",), finish="length")), local()])
    assert seen.response.finish_reason == "length"
    assert seen.receipt.code is Code.TRUNCATED


def test_an_empty_answer_is_a_failure(way):
    """Nothing in it: the next rung."""
    seen = way.ask([cloud(Reply(chunks=())), local()])
    assert seen.response.target == "local"
    assert seen.receipt.attempts[0].code is Code.EMPTY


def test_a_content_filter_is_a_refusal(way):
    """Whether it struck before or after the first piece."""
    seen = way.ask([cloud(Reply(chunks=(), finish="content_filter")), local()])
    assert type(seen.error) is ContentRefused


def test_silence_falls_back(way):
    """No first piece in time: the next rung, and the upstream call is closed."""
    rules = policy(last_rung="1s") | {
        "targets": POLICY["targets"] | {"cloud": _quick(first_token="20ms", timeout="30ms")}
    }
    seen = way.ask([cloud(Hang()), local()], rules=rules)
    assert seen.response.target == "local"
    assert seen.receipt.attempts[0].code is (Code.STALLED if way.stream else Code.TIMEOUT)


def test_a_stall_midway_is_not_a_success(way):
    """Silence between two pieces."""
    limits = {"stall": "20ms"} if way.stream else {"timeout": "60ms"}
    rules = policy() | {"targets": POLICY["targets"] | {"cloud": _quick(**limits)}}
    seen = way.ask([cloud(Hang(after=("half",))), local()], rules=rules)
    if way.stream:
        assert type(seen.error) is StreamInterrupted
        assert seen.receipt.code is Code.STALLED
    else:
        assert seen.receipt.attempts[0].code is Code.TIMEOUT


def test_nobody_waits_for_a_target_that_is_broken_off(way):
    """Its cleanup may take as long as it likes: the next rung's answer comes first, and closing waits for the rest."""
    order = []

    class Tidy(FakeTarget):
        async def stream(self, request, *, stream):
            try:
                async for event in super().stream(request, stream=stream):
                    yield event
            finally:
                for _ in range(1000):
                    with suppress(asyncio.CancelledError):
                        await asyncio.sleep(0.02)
                    if order:
                        break
                order.append("tidied")

    rules = policy(last_rung="1s") | {
        "targets": POLICY["targets"] | {"cloud": _quick(first_token="20ms", timeout="30ms")}
    }
    hook = Hook()
    hook.receipts = order
    seen = way.ask([Tidy("cloud", script=(Hang(),)), local()], rules=rules, hook=hook, behind=1)
    assert seen.response.target == "local"
    assert order == [seen.receipt, "tidied"]


def _quick(**times):
    return POLICY["targets"]["cloud"] | times


def test_a_target_that_breaks_its_contract_is_a_broken_target(way):
    """Any exception becomes a code, its text stays out of the receipt, and the next rung answers."""
    seen = way.ask([cloud(ValueError("secret words")), local()])
    assert seen.response.target == "local"
    assert seen.receipt.attempts[0].code is Code.UNAVAILABLE
    assert "secret" not in str(seen.receipt)


def test_a_timeout_error_of_the_targets_own_is_not_ours(way):
    """Raised long before any limit: a broken target, not a slow one."""
    seen = way.ask([cloud(TimeoutError()), local()])
    assert (seen.receipt.attempts[0].code, seen.receipt.attempts[0].because) == (
        Code.UNAVAILABLE,
        "raised TimeoutError",
    )


def test_a_private_request_never_leaves(way):
    """The boundary holds on every way of asking."""
    away = cloud()
    seen = way.ask([away, local()], "my card is 4111 1111 1111 1111", privacy="secret")
    assert seen.response.target == "local"
    assert away.requests == []


def test_a_closed_router_refuses(way):
    """A clear error instead of a strange one."""
    router = Router(POLICY, targets={"cloud": cloud(), "local": local()})
    router.close()
    with pytest.raises(ConfigurationError, match="this router is closed"):
        list(router.stream("hello")) if way.stream else router.complete("hello")
