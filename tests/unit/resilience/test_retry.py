"""Whether and when the same target is called again."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridinfer.commands import Outcome
from hybridinfer.policy.model import ResilienceBlock
from hybridinfer.receipt import Code
from hybridinfer.resilience.retry import NEVER, Retries, RetryBudget


def series(*, left=100.0, random=1.0, budget=None, **settings):
    retry = {"attempts": 4, "backoff": "200ms", "max_backoff": "2s"} | settings.pop("retry", {})
    return Retries(
        ResilienceBlock(retry=retry, **settings),
        seconds_left=lambda: left,
        random=lambda: random,
        budget=budget or RetryBudget(),
    )


def bad(code=Code.UNAVAILABLE, **more):
    return Outcome(code=code, **more)


def test_waits_double_up_to_the_ceiling():
    """200 ms, 400 ms, ...; with the full jitter at its highest."""
    retries = series(retry={"attempts": 7})
    assert [retries.wait_after(bad()) for _ in range(7)] == pytest.approx([0.2, 0.4, 0.8, 1.6, 2.0, 2.0, None])


def test_jitter_is_full():
    """From nothing to the ceiling."""
    assert series(random=0.0).wait_after(bad()) == 0.0
    assert series(random=0.5).wait_after(bad()) == pytest.approx(0.1)


def test_attempts_are_counted_with_the_first():
    """`attempts: 2` is one retry; `attempts: 1` is none."""
    retries = series(retry={"attempts": 2})
    assert retries.wait_after(bad()) is not None
    assert retries.wait_after(bad()) is None
    assert series(retry={"attempts": 1}).wait_after(bad()) is None


def test_the_latest_retry_after_counts():
    """It is the least wait, and only while it is the last word."""
    retries = series()
    assert retries.wait_after(bad(Code.RATE_LIMITED, retry_after=5.0)) == 5.0
    assert retries.wait_after(bad(Code.RATE_LIMITED)) == pytest.approx(0.4)
    assert retries.wait_after(bad(Code.RATE_LIMITED, retry_after=0.1)) == pytest.approx(0.8)


def test_a_wait_that_does_not_fit_is_not_begun():
    """Nor does it cost a retry of the budget."""
    budget = RetryBudget(reserve=1)
    assert series(left=4.9, budget=budget).wait_after(bad(retry_after=5.0)) is None
    assert budget.spend()


def test_the_targets_no_is_final():
    """x-should-retry: false."""
    assert series().wait_after(bad(retry=False)) is None


def test_the_targets_yes_is_not_enough():
    """A code that the policy does not retry stays unretried."""
    assert series().wait_after(bad(Code.TIMEOUT, retry=True)) is None


@pytest.mark.parametrize("code", sorted(NEVER))
def test_some_codes_are_never_retried(code):
    """Whatever the policy lists."""
    assert series(retry_on=[str(one) for one in Code]).wait_after(bad(code)) is None


def test_an_empty_budget_stops_retries():
    """Storms end here."""
    assert series(budget=RetryBudget(reserve=0)).wait_after(bad()) is None


@given(
    attempts=st.integers(1, 10),
    outcomes=st.lists(st.tuples(st.sampled_from(list(Code)), st.none() | st.floats(0, 100)), max_size=20),
    random=st.floats(0, 1),
    left=st.floats(0, 50),
)
def test_waits_fit_and_attempts_are_bounded(attempts, outcomes, random, left):
    """For any outcomes: fewer waits than attempts, none below Retry-After, none as long as what is left."""
    retries = series(retry={"attempts": attempts}, random=random, left=left)
    waits = 0
    for code, after in outcomes:
        wait = retries.wait_after(bad(code, retry_after=after))
        if wait is None:
            break
        waits += 1
        assert (after or 0.0) <= wait < left
    assert waits < attempts


class TestBudget:
    def test_first_attempts_earn_a_share(self):
        """Five attempts pay for one retry."""
        budget = RetryBudget(share=0.25, reserve=0)
        for _ in range(3):
            budget.deposit()
        assert not budget.spend()
        budget.deposit()
        assert budget.spend()
        assert not budget.spend()

    def test_savings_have_a_ceiling(self):
        """A quiet day does not pay for a storm."""
        budget = RetryBudget(share=1, reserve=0, ceiling=2)
        for _ in range(100):
            budget.deposit()
        assert [budget.spend() for _ in range(3)] == [True, True, False]

    def test_threads_do_not_spend_twice(self):
        """A thousand tries for a hundred tokens."""
        budget = RetryBudget(reserve=100)
        taken = []

        def take():
            taken.extend(budget.spend() for _ in range(250))

        threads = [threading.Thread(target=take) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(taken) == 100

    def test_a_quiet_process_gets_its_reserve_back(self):
        """A tenth of a retry a second, and never more than the reserve."""
        now = 0.0
        budget = RetryBudget(reserve=2, clock=lambda: now)
        assert [budget.spend() for _ in range(3)] == [True, True, False]
        now = 9.0
        assert not budget.spend()
        now = 10.5
        assert budget.spend()
        now = 1000.0
        assert [budget.spend() for _ in range(3)] == [True, True, False]

    def test_savings_above_the_reserve_stay(self):
        """The trickle only fills up."""
        now = 0.0
        budget = RetryBudget(share=1, reserve=1, clock=lambda: now)
        budget.deposit()
        budget.deposit()
        now = 100.0
        assert [budget.spend() for _ in range(4)] == [True, True, True, False]
