"""The circuit breaker: closed, open, one probe, a ramp."""

from __future__ import annotations

import logging
import threading

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from hybridinfer.policy.model import CircuitBreakerBlock
from hybridinfer.receipt import ANSWERED, Code
from hybridinfer.resilience.breaker import FAILURES, RAMP, Breaker, State
from hybridinfer.resilience.window import Window
from hybridinfer.testing import FakeClock

NEUTRAL = sorted(set(Code) - FAILURES - ANSWERED)


def breaker(**more):
    clock = FakeClock(1000.0)
    block = CircuitBreakerBlock(**({"failures": 3, "within": "30s", "cool_down": "15s"} | more))
    return Breaker("cloud", block, clock), clock


def fail(one, times=3, code=Code.UNAVAILABLE, **more):
    for _ in range(times):
        one.leave(one.enter(), code, **more)


def probe(one, code):
    ticket = one.enter()
    assert ticket is not None
    one.leave(ticket, code)


def state(one):
    return one.health().state


def test_failures_open_it():
    """Three, and nobody passes; the clock tells when."""
    one, clock = breaker()
    fail(one, 2)
    assert state(one) is State.CLOSED
    fail(one, 1)
    assert state(one) is State.OPEN
    assert one.enter() is None
    clock.advance(5)
    assert one.health().retry_in == pytest.approx(10)


@pytest.mark.parametrize("code", NEUTRAL)
def test_what_says_nothing_about_the_target_does_not_count(code):
    """Callers' mistakes, our own full pool, budgets, privacy."""
    one, _ = breaker()
    fail(one, 50, code)
    assert state(one) is State.CLOSED
    assert one.health().recent_calls == 0


def test_old_failures_are_forgotten():
    """The window slides."""
    one, clock = breaker()
    fail(one, 2)
    clock.advance(40)
    fail(one, 2)
    assert state(one) is State.CLOSED
    assert one.health().recent_failures == 2


def test_a_few_failures_among_many_calls_are_no_outage():
    """The share counts, not the number alone."""
    one, _ = breaker(share=0.5)
    for _ in range(100):
        one.leave(one.enter(), Code.OK)
    fail(one, 20)
    assert state(one) is State.CLOSED
    fail(one, 80)
    assert state(one) is State.OPEN


def test_crawling_is_an_outage_too():
    """Slow first pieces count like failures, where the policy says what slow is."""
    one, _ = breaker(slow="2s")
    fail(one, 3, Code.OK, first=3.0)
    assert state(one) is State.OPEN
    quick, _ = breaker(slow="2s")
    fail(quick, 50, Code.OK, first=1.0)
    assert state(quick) is State.CLOSED


def test_retry_after_lengthens_the_rest():
    """And never shortens it."""
    for wish, rest in ((60.0, 60.0), (1.0, 15.0), (None, 15.0)):
        one, _ = breaker()
        fail(one, 3, Code.RATE_LIMITED, retry_after=wish)
        assert one.health().retry_in == pytest.approx(rest)


def test_one_probe_at_a_time():
    """After the rest one call passes, and nobody else until it is back."""
    one, clock = breaker()
    fail(one)
    clock.advance(15)
    ticket = one.enter()
    assert ticket is not None
    assert [one.enter() for _ in range(10)] == [None] * 10
    assert state(one) is State.HALF_OPEN


def test_a_failed_probe_means_another_rest():
    """As long as the first."""
    one, clock = breaker()
    fail(one)
    clock.advance(15)
    probe(one, Code.TIMEOUT)
    assert state(one) is State.OPEN
    assert one.health().retry_in == pytest.approx(15)


@pytest.mark.parametrize("code", NEUTRAL)
def test_a_probe_that_says_nothing_makes_room_for_the_next(code):
    """A probe that was cancelled, or refused for its own fault, does not block the circuit for ever."""
    one, clock = breaker()
    fail(one)
    clock.advance(15)
    probe(one, code)
    assert state(one) is State.HALF_OPEN
    probe(one, Code.OK)


def test_success_ramps_up_and_closes():
    """One, two, four, eight at a time, then all."""
    one, clock = breaker()
    fail(one)
    clock.advance(15)
    passing = 1
    while passing <= RAMP:
        tickets = [one.enter() for _ in range(passing + 1)]
        assert None not in tickets[:-1]
        assert tickets[-1] is None
        for ticket in tickets[1:-1]:
            one.leave(ticket, Code.CANCELLED)
        one.leave(tickets[0], Code.OK)
        passing *= 2
    assert state(one) is State.CLOSED
    assert one.health().recent_failures == 0


def test_a_failure_during_the_ramp_opens_it_again():
    """All of the ramp is lost."""
    one, clock = breaker()
    fail(one)
    clock.advance(15)
    probe(one, Code.OK)
    probe(one, Code.UNAVAILABLE)
    assert state(one) is State.OPEN


def test_late_news_are_old_news():
    """A call that began before the circuit opened changes nothing when it comes back."""
    one, clock = breaker()
    stale = one.enter()
    fail(one)
    one.leave(stale, Code.OK)
    assert state(one) is State.OPEN
    clock.advance(15)
    ticket = one.enter()
    one.leave(stale, Code.UNAVAILABLE)
    assert state(one) is State.HALF_OPEN
    one.leave(ticket, Code.OK)


def test_one_line_for_each_change(caplog):
    """With the target's name; opening is a warning."""
    one, clock = breaker()
    with caplog.at_level(logging.INFO, "hybridinfer.breaker"):
        fail(one)
        clock.advance(15)
        probe(one, Code.OK)
    assert [(r.levelname, r.getMessage()) for r in caplog.records] == [
        ("WARNING", "target cloud: circuit closed -> open"),
        ("INFO", "target cloud: circuit open -> half_open"),
    ]


def test_threads_share_one_probe():
    """Twenty threads at the door, one passes."""
    one, clock = breaker()
    fail(one)
    clock.advance(15)
    tickets, door = [], threading.Barrier(20)

    def knock():
        door.wait()
        tickets.append(one.enter())

    threads = [threading.Thread(target=knock) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(ticket is not None for ticket in tickets) == 1


class Machine(RuleBasedStateMachine):
    """Any order of calls, ends and pauses."""

    def __init__(self):
        super().__init__()
        self.one, self.clock = breaker()
        self.tickets = []
        self.rests_until = 0.0

    @rule()
    def begin(self):
        ticket = self.one.enter()
        if ticket is not None:
            assert self.clock() >= self.rests_until
            self.tickets.append(ticket)

    @rule(data=st.data(), code=st.sampled_from(list(Code)), after=st.none() | st.floats(0, 100))
    def end(self, data, code, after):
        if self.tickets:
            ticket = self.tickets.pop(data.draw(st.integers(0, len(self.tickets) - 1)))
            before = state(self.one)
            self.one.leave(ticket, code, retry_after=after)
            if before is not State.OPEN and state(self.one) is State.OPEN:
                assert code in FAILURES
                self.rests_until = self.clock() + 15

    @rule(seconds=st.floats(0, 40))
    def wait(self, seconds):
        self.clock.advance(seconds)

    @invariant()
    def health_can_be_read(self):
        health = self.one.health()
        assert health.retry_in >= 0
        assert health.recent_failures <= health.recent_calls


TestAnyOrder = Machine.TestCase
TestAnyOrder.settings = settings(max_examples=50, stateful_step_count=40, deadline=None)


class TestWindow:
    def test_counts(self):
        """Calls, failures, slow ones."""
        clock = FakeClock()
        window = Window(10, clock)
        window.add(failed=True, slow=False)
        window.add(failed=False, slow=True)
        clock.advance(5)
        window.add(failed=True, slow=True)
        assert window.counts() == (3, 2, 2)
        clock.advance(6)
        assert window.counts() == (1, 1, 1)
        window.clear()
        assert window.counts() == (0, 0, 0)

    def test_memory_is_bounded(self):
        """However many calls."""
        clock = FakeClock()
        window = Window(10, clock)
        for _ in range(1000):
            window.add(failed=False, slow=False)
            clock.advance(0.1)
            window.counts()
        assert len(window._buckets) <= 11
