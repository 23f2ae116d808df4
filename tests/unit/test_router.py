"""`Router`: threads, forks, interrupts, running loops."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from hybridinfer import ConfigurationError, Router, StreamInterrupted
from hybridinfer.receipt import Code
from hybridinfer.resilience.breaker import State
from hybridinfer.router import _Job, _LoopThread
from hybridinfer.testing import FakeTarget, Hang, Outage, Reply
from hybridinfer.types import End, Start, TextDelta

POLICY = {
    "version": 1,
    "name": "small",
    "targets": {
        "cloud": {"kind": "openai", "model": "m", "price": {"input": 1, "output": 2}},
        "local": {"kind": "onnx", "model": "m"},
    },
    "rules": [{"name": "all", "use": ["cloud", "local"]}],
    "resilience": {"deadline": "60s", "retry": {"attempts": 1}},
}


def fakes(*script):
    return {"cloud": FakeTarget("cloud", script=script or ("hello",)), "local": FakeTarget("local", zone="device")}


class Announced(FakeTarget):
    """Tells a thread that it was called, and that it was left."""

    def __init__(self, *script):
        super().__init__("cloud", script=script)
        self.reached, self.left = threading.Event(), threading.Event()

    async def stream(self, request, *, stream):
        self.reached.set()
        try:
            async for event in super().stream(request, stream=stream):
                yield event
        finally:
            self.left.set()


def test_the_whole_face():
    """policy, complete, stream, decide, health, warmup."""
    with Router.from_policy(POLICY, targets=fakes()) as router:
        assert router.policy.name == "small"
        assert router.complete("hi").text == "hello"
        assert list(router.stream("hi").text_stream) == ["hello"]
        assert router.decide("hi").plan == ("cloud", "local")
        assert router.health()["cloud"].state is State.CLOSED
        assert router.warmup() == {}


def test_many_threads_share_one_router():
    """Answers do not mix; there is one loop thread, and it stays one."""
    with Router(POLICY, targets=fakes()) as router, ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda i: router.complete("hi", tags={"n": str(i)}), range(100)))
        assert [answer.receipt.tags["n"] for answer in answers] == [str(i) for i in range(100)]
        assert sum(thread.name == "hybridinfer" for thread in threading.enumerate()) == 1


def test_inside_a_running_loop():
    """It blocks that loop, but it works: notebooks do this."""

    async def main():
        with Router(POLICY, targets=fakes()) as router:
            return router.complete("hi").text, list(router.stream("hi").text_stream)

    assert asyncio.run(main()) == ("hello", ["hello"])


def test_from_its_own_loop():
    """A hook that calls the router back would wait for ever: it is an error instead."""
    faults = []

    class CallsBack:
        def on_receipt(self, receipt):
            try:
                router.complete("again")
            except ConfigurationError as error:
                faults.append(str(error))

    with Router(POLICY, targets=fakes(), hooks=[CallsBack()]) as router:
        router.complete("hi")
    assert faults == [
        "Router was called from its own event loop (by a target or a hook of yours); use AsyncRouter there"
    ]


def test_an_interrupted_wait_cancels_the_work():
    """Ctrl-C: by the time it passes on, the upstream call is closed and booked."""
    receipts = []

    class Hook:
        def on_receipt(self, receipt):
            receipts.append(receipt)

    target = Announced(Hang())
    with Router(POLICY, targets=fakes() | {"cloud": target}, hooks=[Hook()]) as router:
        with pytest.raises(KeyboardInterrupt):
            _interrupted(target.reached, lambda: router.complete("hi"))
        assert target.left.is_set()
        assert target.open == 0
        assert [receipt.code for receipt in receipts] == [Code.CANCELLED]


def test_an_interrupt_before_the_work_has_begun():
    """The loop was busy: the work is dropped unbegun."""
    begun = []

    async def work():
        begun.append(True)

    async def main():
        job = _Job()
        job.stop()
        with pytest.raises(asyncio.CancelledError):
            await job.carry_out(work())
        return job.ended.is_set()

    assert asyncio.run(main())
    assert begun == []


def _interrupted(reached, work):
    """Run `work` here, and interrupt this thread once `reached`, as Ctrl-C does."""
    import signal

    def interrupt():
        reached.wait(10)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    helper = threading.Thread(target=interrupt)
    helper.start()
    try:
        work()
    finally:
        helper.join()


class TestStreams:
    def test_events(self):
        """Start, text, End."""
        with Router(POLICY, targets=fakes()) as router, router.stream("hi") as stream:
            events = list(stream)
            assert [type(event) for event in events] == [Start, TextDelta, End]
            assert stream.response is events[-1].response
            assert stream.receipt is stream.response.receipt
            assert list(stream) == []

    def test_closing_halfway(self):
        """Closed upstream when `with` ends; reading on gives nothing, and no response."""
        target = Announced(Hang(after=("a",)))
        with Router(POLICY, targets=fakes() | {"cloud": target}) as router:
            with router.stream("hi") as stream:
                for _text in stream.text_stream:
                    break
            assert target.open == 0
            assert list(stream) == []
            assert stream.receipt.code is Code.CANCELLED
            with pytest.raises(RuntimeError):
                _ = stream.response

    def test_closing_unread_and_twice(self):
        """No call was made."""
        targets = fakes()
        with Router(POLICY, targets=targets) as router:
            stream = router.stream("hi")
            stream.close()
            stream.close()
            assert list(stream) == []
        assert targets["cloud"].requests == []

    def test_closing_from_another_thread_wakes_the_reader(self):
        """A reader that waits for the next piece is let go."""
        target = Announced(Hang())
        with Router(POLICY, targets=fakes() | {"cloud": target}) as router:
            stream = router.stream("hi")
            with ThreadPoolExecutor(1) as pool:
                reading = pool.submit(list, stream)
                assert target.reached.wait(10)
                stream.close()
                assert reading.result(10) == []
            assert target.open == 0

    def test_a_dropped_stream_is_closed(self):
        """Whoever forgets the `with` block leaves no call open."""
        target = Announced(Hang(after=("a",)))
        with Router(POLICY, targets=fakes() | {"cloud": target}) as router:
            for _text in router.stream("hi").text_stream:
                break
            gc.collect()
            assert target.left.wait(10)
            assert router.warmup() == {}  # one round through the loop
            assert target.open == 0

    def test_an_error_is_raised_where_it_is_read(self):
        """After the pieces that came before it."""
        targets = fakes(Outage(Code.INTERRUPTED, after=("half",)))
        with Router(POLICY, targets=targets) as router, router.stream("hi") as stream:
            events = iter(stream)
            assert [type(next(events)), next(events).text] == [Start, "half"]
            with pytest.raises(StreamInterrupted):
                next(events)
            assert stream.receipt.code is Code.INTERRUPTED

    def test_an_interrupted_reader_closes_upstream(self):
        """Ctrl-C while waiting for the next piece."""
        target = Announced(Hang(after=("a",)))
        with Router(POLICY, targets=fakes() | {"cloud": target}) as router:

            def read():
                with router.stream("hi") as stream:
                    list(stream)

            with pytest.raises(KeyboardInterrupt):
                _interrupted(target.reached, read)
            assert target.open == 0

    def test_a_slow_reader_loses_nothing(self):
        """Pieces queue up."""
        with Router(POLICY, targets=fakes(Reply(chunks=tuple("abcdef")))) as router, router.stream("hi") as stream:
            events = iter(stream)
            next(events)
            router.complete("something else meanwhile")
            assert [event.text for event in events if isinstance(event, TextDelta)] == list("abcdef")


def test_closing_waits_for_other_threads():
    """Their answers come before the targets are closed."""
    release = threading.Event()

    class Slow(Announced):
        async def stream(self, request, *, stream):
            self.reached.set()
            await asyncio.to_thread(release.wait)
            async for event in super().stream(request, stream=stream):
                yield event

    target = Slow("done")
    router = Router(POLICY, targets=fakes() | {"cloud": target})
    with ThreadPoolExecutor(2) as pool:
        answering = pool.submit(router.complete, "hi")
        assert target.reached.wait(10)
        closing = pool.submit(router.close)
        release.set()
        assert answering.result(10).text == "done"
        closing.result(10)
    assert target.closed


def test_a_loop_that_is_gone_takes_no_more_work():
    """Streams that are collected at the very end of a program do no harm."""
    gone, ran = _LoopThread(), list[str]()
    gone.soon(lambda: ran.append("without a loop"))
    gone._loop = asyncio.new_event_loop()
    gone._loop.close()
    gone.soon(lambda: ran.append("with a closed loop"))
    assert not ran


FORKED = """
import os, sys, warnings
from hybridinfer import Router
from hybridinfer.testing import FakeTarget

policy = {policy!r}
targets = {{"cloud": FakeTarget("cloud", script=("hello",)), "local": FakeTarget("local", zone="device")}}
router = Router(policy, targets=targets)
assert router.complete("before").text == "hello"
reading, writing = os.pipe()
child = os.fork()
if child == 0:
    os.close(reading)
    text = router.complete("in the child").text + "".join(router.stream("again").text_stream)
    router.close()
    os.write(writing, text.encode())
    os._exit(0)
os.close(writing)
print(os.read(reading, 100).decode())
assert os.waitpid(child, 0)[1] == 0
print(router.complete("after").text)
router.close()
"""


def test_after_a_fork():
    """The child makes its own loop thread; the parent's goes on."""
    program = FORKED.format(policy=POLICY)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.stderr == ""
    assert done.stdout.split() == ["hellohello", "hello"]


def test_a_program_may_end_without_closing():
    """No hang at exit, no noise."""
    program = f"""
from hybridinfer import Router
from hybridinfer.testing import FakeTarget, Hang
targets = {{"cloud": FakeTarget("cloud", script=(Hang(after=("a",)),)), "local": FakeTarget("local", zone="device")}}
router = Router({POLICY!r}, targets=targets)
stream = iter(router.stream("hi").text_stream)
print(next(stream))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=300)
    assert (done.stdout, done.stderr, done.returncode) == ("a\n", "", 0)
