"""The flow, driven by hand: no loop, no targets, only commands and the answers to them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from itertools import count
from types import SimpleNamespace

import pytest

from hybridinfer import flow
from hybridinfer.budget.ledger import Reservation
from hybridinfer.budget.prices import PriceBook
from hybridinfer.commands import (
    Abandoned,
    Answer,
    Call,
    Deliver,
    Denied,
    Outcome,
    Pending,
    Race,
    Relay,
    Release,
    Reserve,
    Restart,
    Runtime,
    Score,
    Settle,
    Sleep,
    Work,
)
from hybridinfer.continuing import Join
from hybridinfer.errors import (
    AllTargetsFailed,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    BudgetExceeded,
    ContentRefused,
    PrivacyViolation,
    RateLimitError,
    StreamInterrupted,
)
from hybridinfer.policy.load import load
from hybridinfer.receipt import Code, Reason
from hybridinfer.resilience.breaker import Breaker, State
from hybridinfer.resilience.latency import Latency
from hybridinfer.resilience.retry import RetryBudget
from hybridinfer.signals.base import SignalResult
from hybridinfer.targets.base import TargetInfo
from hybridinfer.types import Message, Request, ResponseFormat, Text, Tool, ToolCall, Usage

TARGETS = {
    "cloud": {"kind": "openai", "model": "a", "price": {"input": 1000, "output": 1000}, "max_tokens": 100},
    "other": {"kind": "openai", "model": "b", "price": {"input": 500, "output": 500}, "max_tokens": 100},
    "local": {"kind": "onnx", "model": "c"},
    "sorry": {"kind": "canned", "text": "later"},
}
"""One token of `cloud` costs a tenth of a cent: the worst case of ten in and a hundred out is $0.11."""

REQUEST = Request(messages=(Message(role="user", parts=(Text(text="hello"),)),))
OK = Answer(text="fine", usage=Usage(input_tokens=10, output_tokens=5))


def ok(**more):
    return Outcome(code=Code.OK, answer=OK, seconds=0.5, **more)


def bad(code, **more):
    return Outcome(code=code, because="as scripted", seconds=0.1, **more)


def opened():
    return Outcome(code=Code.OK, answer=Answer(text="fi"), opened="the rest")


@dataclass
class Stage:
    """A policy, a clock, and everything a runtime needs."""

    use: tuple[str, ...] = ("cloud", "other", "local", "sorry")
    resilience: dict = field(default_factory=dict)
    budgets: list = field(default_factory=list)
    boundaries: list = field(default_factory=list)
    targets: dict = field(default_factory=dict)
    windows: dict = field(default_factory=dict)
    supports: dict = field(default_factory=dict)
    continues: tuple[str, ...] = ()
    idempotent: tuple[str, ...] = ()
    levels: dict = field(default_factory=dict)
    rule: dict = field(default_factory=dict)
    tokens: int = 10
    now: float = 100.0

    def __post_init__(self):
        targets = {name: block | self.targets.get(name, {}) for name, block in TARGETS.items()}
        self.policy = load(
            {
                "version": 1,
                "targets": targets,
                "budgets": self.budgets,
                "boundaries": self.boundaries,
                "rules": [{"name": "all", "use": list(self.use)} | self.rule],
                "resilience": {"retry": {"attempts": 2, "backoff": "200ms"}} | self.resilience,
            }
        )
        settings = self.policy.resilience.circuit_breaker
        names = ("cloud", "other", "local")
        self.breakers = {name: Breaker(name, settings, lambda: self.now) for name in names}
        ids = count(1)
        self.runtime = Runtime(
            policy=self.policy,
            digest="d1",
            infos={name: self._info(name) for name in targets},
            count_tokens=lambda _target, _request: self.tokens,
            count_text=lambda _target, text: len(text),
            prices=PriceBook(self.policy),
            breakers=self.breakers,
            latencies={name: Latency() for name in targets},
            retry_budget=RetryBudget(),
            clock=lambda: self.now,
            now=lambda: datetime(2026, 1, 1, tzinfo=UTC),
            random=lambda: 1.0,
            new_id=lambda: f"id{next(ids)}",
            window_budgets=any(budget["per"] != "request" for budget in self.budgets),
        )

    def _info(self, name):
        return TargetInfo(
            name=name,
            kind=TARGETS[name]["kind"],
            zone="device" if name in ("local", "sorry") else "cloud",
            supports=self.supports.get(name, frozenset({"tools", "json", "vision", "files"})),
            context_window=self.windows.get(name),
            continues=name in self.continues,
            idempotent=name in self.idempotent,
        )


class Play:
    """A flow that was driven to its end, or until the script said to leave."""

    def __init__(self, stage, *script, request=REQUEST, hold=True, deny=(), leave_at=None, reserving=0.0):
        self.commands = []
        self.result = self.error = self.gone = None
        self._stage, self._script, self._deny = stage, list(script), deny
        self._reserving = reserving
        self._leave_at = leave_at
        self._flow = flow.run(request, stage.runtime, hold=hold)
        answer = None
        try:
            while True:
                command = self._flow.send(answer)
                self.commands.append(command)
                if leave_at is not None and isinstance(command, leave_at):
                    self._leave()
                answer = self._answer(command)
        except StopIteration as done:
            self.result = done.value
        except Abandoned as gone:
            self.gone = gone
        except Exception as error:  # the flow's own, looked at by the tests
            self.error = error
            if isinstance(error, (AssertionError, KeyError, IndexError)):
                raise

    def _leave(self):
        outcome = bad(Code.CANCELLED) if not self._script else self._script.pop(0)
        command = self._flow.throw(Abandoned(dict.fromkeys(TARGETS, outcome)))
        while True:
            self.commands.append(command)
            command = self._flow.send(None)

    def _answer(self, command):
        match command:
            case Score():
                signals = self._stage.policy.signals
                levels = {
                    name: self._stage.levels.get(name, next(iter(block.levels))) for name, block in signals.items()
                }
                return {
                    name: SignalResult(score=0.0, level=level, because=("measured",)) for name, level in levels.items()
                }
            case Reserve():
                self._stage.now += self._reserving
                if command.target in self._deny:
                    return Denied(because="budget 'day' has nothing left")
                return Reservation(
                    id=f"r{len(self.commands)}", receipt_id=command.receipt_id, target=command.target, usd=command.usd
                )
            case Work(does=does):
                return does()
            case Call() | Relay():
                outcome = self._script.pop(0)
                self._stage.now += outcome.seconds if isinstance(outcome, Outcome) else 0
                return outcome
            case Race():
                return self._script.pop(0)
            case Sleep(seconds=seconds):
                self._stage.now += seconds
        return None

    @property
    def called(self):
        return [command.target for command in self.commands if isinstance(command, Call)]

    @property
    def slept(self):
        return [command.seconds for command in self.commands if isinstance(command, Sleep)]

    def all(self, kind):
        return [command for command in self.commands if isinstance(command, kind)]

    @property
    def receipt(self):
        if self.gone is not None:
            return self.gone.receipt
        return self.result.receipt if self.result is not None else self.error.receipt

    @property
    def codes(self):
        return [(attempt.target, attempt.number, attempt.code) for attempt in self.receipt.attempts]


DAY = [{"name": "day", "usd": 5, "per": "day"}]


class TestAnswers:
    def test_the_first_choice_answers(self):
        """One call, one line on the receipt, rung 1, not degraded."""
        play = Play(Stage(), ok())
        assert play.called == ["cloud"]
        assert play.result.answer.text == "fine"
        assert play.codes == [("cloud", 1, Code.OK)]
        assert (play.receipt.target, play.receipt.zone, play.receipt.rung) == ("cloud", "cloud", 1)
        assert play.receipt.degraded is False

    def test_the_receipt_tells_the_whole_story(self):
        """Id, policy, digest, levels, estimates, seconds and cost are there."""
        play = Play(Stage(), ok(), request=replace(REQUEST, tags={"team": "a"}))
        receipt = play.receipt
        assert (receipt.id, receipt.policy, receipt.policy_digest, receipt.tags) == (
            "id1",
            "policy",
            "d1",
            {"team": "a"},
        )
        assert receipt.decision.rule == "all"
        assert receipt.decision.because["privacy"] == ("measured",)
        assert receipt.decision.estimates["cloud"] == Decimal("0.11")
        assert receipt.decision.estimates["sorry"] == 0
        assert receipt.seconds == pytest.approx(0.5)
        assert receipt.cost_usd == Decimal("0.015")
        assert play.result.answer.usage.cost_usd == Decimal("0.015")

    def test_a_later_rung_is_degraded(self):
        """The rung counts from the ladder's top."""
        play = Play(Stage(), bad(Code.TIMEOUT), ok())
        assert (play.receipt.target, play.receipt.rung, play.receipt.degraded) == ("other", 2, True)

    def test_a_canned_first_choice_is_degraded(self):
        """A fixed text is never the real thing, not even on rung 1."""
        play = Play(Stage(use=("sorry",)), Outcome(code=Code.OK, answer=Answer(text="later", usage=Usage())))
        assert (play.receipt.rung, play.receipt.degraded) == (1, True)

    def test_truncated_is_delivered_and_marked(self):
        """max_tokens reached: the caller has the text, and the receipt says truncated."""
        cut = Outcome(code=Code.TRUNCATED, answer=replace(OK, finish_reason="length"))
        play = Play(Stage(), cut)
        assert play.result.answer.finish_reason == "length"
        assert play.receipt.code is Code.TRUNCATED

    def test_truncated_falls_through_where_the_policy_lists_it(self):
        """The next rung may do better."""
        stage = Stage(resilience={"fallback_on": ["truncated"]})
        play = Play(stage, Outcome(code=Code.TRUNCATED, answer=OK), ok())
        assert play.receipt.target == "other"

    def test_a_truncated_answer_is_better_than_none(self):
        """When nobody does better, the first answer is given, as truncated and under its own name."""
        stage = Stage(use=("cloud", "other"), resilience={"fallback_on": ["truncated", "timeout"]})
        play = Play(stage, Outcome(code=Code.TRUNCATED, answer=replace(OK, text="half")), bad(Code.TIMEOUT))
        assert play.result.answer.text == "half"
        assert (play.receipt.target, play.receipt.rung) == ("cloud", 1)

    def test_every_target_gets_the_original_request(self):
        """Hops never compound; what is missing (max_tokens) is filled in for each target anew."""
        stage = Stage(windows={"local": 120})
        play = Play(stage, bad(Code.TIMEOUT), bad(Code.TIMEOUT), ok())
        calls = play.all(Call)
        assert [call.request.max_tokens for call in calls] == [100, 100, 110]
        assert {call.request.messages for call in calls} == {REQUEST.messages}

    def test_the_callers_max_tokens_are_sent_as_they_are(self):
        """The very same object reaches the target."""
        request = replace(REQUEST, max_tokens=7)
        assert Play(Stage(), ok(), request=request).all(Call)[0].request is request

    def test_a_target_in_a_crowded_window_still_gets_room_for_an_answer(self):
        """The limit never falls below 64 tokens."""
        play = Play(Stage(use=("cloud",), windows={"cloud": 80}), ok())
        assert play.all(Call)[0].request.max_tokens == 70


class TestRetries:
    def test_a_retry_can_save_the_day(self):
        """Unavailable is tried once more after a wait."""
        play = Play(Stage(), bad(Code.UNAVAILABLE), ok())
        assert play.called == ["cloud", "cloud"]
        assert play.slept == [0.2]
        assert play.codes == [("cloud", 1, Code.UNAVAILABLE), ("cloud", 2, Code.OK)]

    def test_attempts_never_exceed_what_is_declared(self):
        """Two attempts, then the next rung."""
        play = Play(Stage(), bad(Code.UNAVAILABLE), bad(Code.UNAVAILABLE), ok())
        assert play.called == ["cloud", "cloud", "other"]

    def test_a_retry_after_that_fits_is_waited_out(self):
        """The server's word is the least wait."""
        play = Play(Stage(), bad(Code.RATE_LIMITED, retry_after=3.0), ok())
        assert play.slept == [3.0]
        assert play.called == ["cloud", "cloud"]

    def test_a_retry_after_that_does_not_fit_is_not_begun(self):
        """Fall back at once."""
        play = Play(Stage(), bad(Code.RATE_LIMITED, retry_after=60.0), ok())
        assert play.slept == []
        assert play.called == ["cloud", "other"]

    def test_the_target_may_forbid_a_retry(self):
        """x-should-retry: false."""
        play = Play(Stage(), bad(Code.UNAVAILABLE, retry=False), ok())
        assert play.called == ["cloud", "other"]

    @pytest.mark.parametrize("code", [Code.TIMEOUT, Code.STALLED])
    def test_after_silence_the_same_route_is_not_tried_again(self, code):
        """Silence falls back at once."""
        assert Play(Stage(), bad(code), ok()).called == ["cloud", "other"]

    def test_first_attempts_earn_what_retries_spend(self):
        """One deposit for each target that is called, none for its retries; an empty budget ends retrying."""
        stage = Stage()
        budget = stage.runtime.retry_budget
        while budget.spend():
            pass
        play = Play(stage, bad(Code.UNAVAILABLE), ok())
        assert play.called == ["cloud", "other"]
        for _ in range(3):  # five calls in all, at a fifth of a retry each
            Play(stage, ok())
        assert Play(stage, bad(Code.UNAVAILABLE), ok()).called == ["cloud", "cloud"]
        assert not budget.spend()

    @pytest.mark.parametrize("code", [Code.INVALID, Code.UNAUTHORIZED, Code.CONTEXT_TOO_LONG, Code.UNSUPPORTED])
    def test_caller_errors_are_never_retried(self, code):
        """Not even where the policy lists them."""
        stage = Stage(resilience={"retry_on": [str(code)], "fallback_on": [str(code)]})
        assert Play(stage, bad(code), ok()).called == ["cloud", "other"]


class TestFallbacks:
    def test_the_plan_is_walked_in_order_and_never_left(self):
        """Every rung once, from left to right, and nobody else."""
        play = Play(Stage(), bad(Code.TIMEOUT), bad(Code.EMPTY), bad(Code.STALLED), ok())
        assert play.called == ["cloud", "other", "local", "sorry"]

    def test_a_wrong_request_is_the_callers(self):
        """A 400 is neither retried nor fallen back on."""
        play = Play(Stage(), bad(Code.INVALID))
        assert isinstance(play.error, BadRequestError)
        assert play.called == ["cloud"]

    def test_a_refusal_goes_to_the_caller(self):
        """Content policies are not shopped around."""
        play = Play(Stage(), bad(Code.REFUSED))
        assert isinstance(play.error, ContentRefused)
        assert play.called == ["cloud"]

    def test_a_refusal_falls_through_where_the_policy_lists_it(self):
        """The policy may want it."""
        play = Play(Stage(resilience={"fallback_on": ["refused"]}), bad(Code.REFUSED), ok())
        assert play.called == ["cloud", "other"]

    def test_a_bad_key_falls_back(self):
        """It is one target's trouble."""
        play = Play(Stage(), bad(Code.UNAUTHORIZED), ok())
        assert play.called == ["cloud", "other"]

    @pytest.mark.parametrize("code", [Code.SATURATED, Code.FORBIDDEN, Code.UNSUPPORTED])
    def test_what_was_not_sent_falls_through_whatever_the_policy_lists(self, code):
        """Nothing left this process: the next rung may try."""
        play = Play(Stage(resilience={"fallback_on": []}), bad(code), ok())
        assert play.called == ["cloud", "other"]

    def test_a_code_that_is_not_listed_ends_the_walk(self):
        """An empty list means: do not fall back."""
        play = Play(Stage(resilience={"fallback_on": [], "retry_on": []}), bad(Code.UNAVAILABLE))
        assert isinstance(play.error, AllTargetsFailed)
        assert play.called == ["cloud"]

    @pytest.mark.parametrize(
        ("code", "error"),
        [
            (Code.RATE_LIMITED, RateLimitError),
            (Code.UNAUTHORIZED, AuthenticationError),
            (Code.TIMEOUT, APITimeoutError),
            (Code.EMPTY, AllTargetsFailed),
            (Code.FORBIDDEN, PrivacyViolation),
        ],
    )
    def test_the_last_failure_names_the_error(self, code, error):
        """Nobody left: the error fits the last code and carries the cause and the receipt."""
        cause = ValueError("the vendor's")
        play = Play(Stage(use=("cloud",), resilience={"retry_on": []}), bad(code, error=cause))
        assert type(play.error) is error
        assert play.error.__cause__ is cause
        assert play.receipt.target is None
        assert (play.receipt.rung, play.receipt.degraded) == (None, False)


class TestWindows:
    """A target said that the prompt is too long."""

    def test_a_window_that_is_no_larger_is_not_tried(self):
        """The same prompt would not fit there either; the receipt says why."""
        stage = Stage(windows={"cloud": 1000, "other": 1000, "local": 2000})
        play = Play(stage, bad(Code.CONTEXT_TOO_LONG), ok())
        assert play.called == ["cloud", "local"]
        assert play.codes[1] == ("other", 1, Code.CONTEXT_TOO_LONG)
        assert play.receipt.attempts[1].because == "its window of 1000 is no larger than one that was too small"

    def test_an_unknown_window_is_tried(self):
        """On either side nothing is known."""
        assert Play(Stage(windows={"cloud": 1000}), bad(Code.CONTEXT_TOO_LONG), ok()).called == ["cloud", "other"]
        assert Play(Stage(windows={"other": 1000}), bad(Code.CONTEXT_TOO_LONG), ok()).called == ["cloud", "other"]

    def test_the_canned_reply_still_stands_in(self):
        """It reads nothing."""
        windows = dict.fromkeys(("cloud", "other", "local"), 1000)
        play = Play(Stage(windows=windows), bad(Code.CONTEXT_TOO_LONG), ok())
        assert play.called == ["cloud", "sorry"]


class TestLongRequests:
    LONG = replace(REQUEST, messages=(Message(role="user", parts=(Text(text="word " * 5000),)),))

    def test_a_long_request_is_counted_as_work(self):
        """Whoever drives does it where it holds up nobody; every target is counted there and then."""
        stage, counted = Stage(), []
        stage.runtime = replace(stage.runtime, count_tokens=lambda target, _request: counted.append(target) or 10)
        steps = flow.run(self.LONG, stage.runtime, hold=True)
        score = steps.send(None)
        work = steps.send(Play._answer(SimpleNamespace(_stage=stage), score))
        assert isinstance(work, Work)
        assert counted == []
        decision = work.does()
        assert set(counted) == {"cloud", "other", "local"}
        assert isinstance(steps.send(decision), Call)
        assert len(counted) == 3

    def test_a_short_one_is_not(self):
        """One command less."""
        assert Play(Stage(), ok()).all(Work) == []


class TestIdempotencyKeys:
    def test_every_try_on_a_target_has_the_same_key(self):
        """And every target its own; those that take none get none."""
        stage = Stage(idempotent=("cloud", "other"))
        play = Play(stage, bad(Code.UNAVAILABLE), bad(Code.UNAVAILABLE), bad(Code.TIMEOUT), ok())
        first, second, third, fourth = (call.request.idempotency_key for call in play.all(Call))
        assert first == second
        assert len({first, third}) == 2
        assert fourth is None
        assert "cloud" not in first

    def test_another_request_has_another_key(self):
        """Equal words are not the same request."""
        stage = Stage(idempotent=("cloud",))
        keys = {Play(stage, ok()).all(Call)[0].request.idempotency_key for _ in range(3)}
        assert len(keys) == 3


class TestPlans:
    def test_a_prompt_that_passes_the_window_skips_the_target(self):
        """Checked before the call, with real counts."""
        play = Play(Stage(windows={"cloud": 50}), ok())
        assert play.called == ["other"]
        assert play.receipt.decision.removed[0].reason is Reason.CONTEXT
        assert play.receipt.rung == 2

    def test_a_missing_capability_skips_the_target(self):
        """Tools go where tools are."""
        request = replace(REQUEST, tools=(Tool(name="t", parameters={}),))
        play = Play(Stage(supports={"cloud": frozenset()}), ok(), request=request)
        assert play.called == ["other"]
        assert play.receipt.decision.removed[0].reason is Reason.CAPABILITY

    def test_an_empty_plan_is_a_typed_error(self):
        """Nothing fits: no call, and the reasons are in the message."""
        play = Play(Stage(use=("cloud",), windows={"cloud": 50}))
        assert isinstance(play.error, BadRequestError)
        assert "10 prompt tokens and 64 for the answer pass its window of 50" in str(play.error)
        assert play.called == []

    def test_a_boundary_empties_the_plan(self):
        """The private request has nowhere to go, and goes nowhere."""
        stage = Stage(
            use=("cloud", "other"),
            boundaries=[{"name": "stay", "when": {"privacy": "secret"}, "cloud": "never"}],
            levels={"privacy": "secret"},
        )
        play = Play(stage)
        assert isinstance(play.error, PrivacyViolation)
        assert play.called == []

    def test_an_unpriced_target_is_unaffordable(self):
        """Unknown means deny."""
        stage = Stage(targets={"cloud": {"model": "nobody-knows-it", "price": None}})
        play = Play(stage, ok())
        assert play.called == ["other"]
        assert play.receipt.decision.removed[0].reason is Reason.PRICE


class TestTime:
    def test_scoring_leaves_the_last_rungs_slice(self):
        """However long scoring takes, the local rung can still answer."""
        play = Play(Stage(), ok())
        assert play.all(Score)[0].seconds == 18.0

    def test_an_attempt_has_its_own_timeout(self):
        """The target's limits go with the call."""
        stage = Stage(targets={"cloud": {"timeout": "5s", "first_token": "2s", "stall": "1s"}})
        limits = Play(stage, ok()).all(Call)[0].limits
        assert (limits.total, limits.first_token, limits.stall) == (5.0, 2.0, 1.0)

    def test_the_first_token_cannot_take_longer_than_the_attempt(self):
        """Whichever limit is shorter."""
        limits = Play(Stage(targets={"cloud": {"timeout": "5s"}}), ok()).all(Call)[0].limits
        assert (limits.total, limits.first_token) == (5.0, 5.0)

    def test_the_last_device_rung_keeps_its_slice(self):
        """Earlier rungs end two seconds before the deadline; the local one has all of the rest."""
        play = Play(Stage(), bad(Code.TIMEOUT), bad(Code.TIMEOUT), ok())
        totals = [call.limits.total for call in play.all(Call)]
        assert totals == pytest.approx([18.0, 17.9, 19.75])

    def test_a_short_deadline_halves_the_slice(self):
        """The slice is never more than half of the time."""
        play = Play(Stage(), ok(), request=replace(REQUEST, timeout=1.0))
        assert play.all(Call)[0].limits.total == pytest.approx(0.5)

    def test_before_a_canned_rung_only_a_blink_is_kept(self):
        """A fixed reply needs no time."""
        play = Play(Stage(use=("cloud", "sorry")), ok())
        assert play.all(Call)[0].limits.total == pytest.approx(19.95)

    def test_the_last_rung_has_everything(self):
        """Nobody comes after it."""
        play = Play(Stage(use=("cloud",)), ok())
        assert play.all(Call)[0].limits.total == pytest.approx(20.0)

    def test_past_its_share_a_rung_is_not_called_and_the_local_one_is(self):
        """Slow clouds cannot make the device unreachable."""
        slow = replace(bad(Code.TIMEOUT), seconds=18.0)
        play = Play(Stage(), slow, ok())
        assert play.called == ["cloud", "local"]
        assert ("other", 1, Code.OVER_DEADLINE) in play.codes

    def test_canned_answers_after_the_deadline(self):
        """Everything overran; the fixed reply still comes."""
        play = Play(
            Stage(), replace(bad(Code.TIMEOUT), seconds=30.0), replace(ok(), answer=Answer(text="later", usage=Usage()))
        )
        assert play.called == ["cloud", "sorry"]
        assert play.receipt.target == "sorry"
        assert [code for _, _, code in play.codes] == [Code.TIMEOUT, Code.OVER_DEADLINE, Code.OVER_DEADLINE, Code.OK]

    def test_without_a_canned_rung_the_deadline_is_an_error(self):
        """APITimeoutError, not silence."""
        play = Play(Stage(use=("cloud", "other")), replace(bad(Code.TIMEOUT), seconds=30.0))
        assert isinstance(play.error, APITimeoutError)

    def test_time_spent_in_the_ledger_is_taken_from_the_call(self):
        """One deadline over everything."""
        play = Play(Stage(budgets=DAY), ok(), reserving=8.0)
        assert play.all(Reserve)[0].seconds == pytest.approx(18.0)
        assert play.all(Call)[0].limits.total == pytest.approx(10.0)

    def test_booking_waits_at_most_a_second(self):
        """And never past the deadline, but for a blink."""
        play = Play(Stage(budgets=DAY), ok())
        assert play.all(Settle)[0].seconds == 1.0
        late = Play(Stage(budgets=DAY, use=("cloud",)), replace(ok(), seconds=25.0))
        assert late.all(Settle)[0].seconds == 0.02


class TestBreaker:
    def test_an_open_circuit_is_skipped(self):
        """No call, a line on the receipt, the next rung."""
        stage = Stage()
        for _ in range(5):
            stage.breakers["cloud"].leave(stage.breakers["cloud"].enter(), Code.UNAVAILABLE)
        play = Play(stage, ok())
        assert play.called == ["other"]
        assert play.codes[0] == ("cloud", 1, Code.CIRCUIT_OPEN)

    def test_failures_of_calls_open_it(self):
        """Every attempt is reported."""
        stage = Stage(resilience={"retry_on": []})
        for _ in range(5):
            Play(stage, bad(Code.UNAVAILABLE), ok())
        assert stage.breakers["cloud"].health().state is State.OPEN

    def test_a_retry_after_is_respected_by_the_circuit(self):
        """It rests as long as the server asked for."""
        stage = Stage(resilience={"retry_on": []})
        for _ in range(5):
            Play(stage, replace(bad(Code.RATE_LIMITED, retry_after=600.0), seconds=0.0), ok())
        assert stage.breakers["cloud"].health().retry_in > 500

    def test_a_caller_in_a_hurry_says_nothing_about_the_target(self):
        """Calls that had a blink of time and ran out of it do not open the circuit."""
        stage = Stage()
        for _ in range(9):
            Play(stage, bad(Code.TIMEOUT), ok(), request=replace(REQUEST, timeout=0.5))
        health = stage.breakers["cloud"].health()
        assert (health.state, health.recent_failures) == (State.CLOSED, 0)

    @pytest.mark.parametrize("code", [Code.TIMEOUT, Code.STALLED])
    def test_silence_that_may_be_our_own_says_nothing_about_the_target(self, code):
        """The event loop was held up: the next rung answers, and no circuit opens."""
        stage = Stage()
        for _ in range(9):
            play = Play(stage, replace(bad(code), late=2.0), ok())
            assert play.codes[0] == ("cloud", 1, code)
        health = stage.breakers["cloud"].health()
        assert (health.state, health.recent_failures) == (State.CLOSED, 0)

    def test_a_timeout_in_fair_time_counts(self):
        """Half a deadline is enough to be judged by."""
        stage = Stage()
        Play(stage, bad(Code.TIMEOUT), ok(), request=replace(REQUEST, timeout=10))
        assert stage.breakers["cloud"].health().recent_failures == 1

    @pytest.mark.parametrize("where", [Call, Relay, Reserve, Settle])
    def test_a_caller_who_leaves_gives_the_ticket_back(self, where):
        """A probe that was abandoned does not block the next one."""
        stage = Stage(budgets=DAY)
        breaker = stage.breakers["cloud"]
        for _ in range(5):
            breaker.leave(breaker.enter(), Code.UNAVAILABLE)
        stage.now += 60
        play = Play(stage, opened(), ok(), hold=False, leave_at=where)
        assert play.gone is not None
        assert breaker.enter() is not None

    def test_a_closed_flow_gives_the_ticket_back(self):
        """Garbage collection of a flow halfway is not a leak."""
        stage = Stage()
        breaker = stage.breakers["cloud"]
        for _ in range(5):
            breaker.leave(breaker.enter(), Code.UNAVAILABLE)
        stage.now += 60
        steps = flow.run(REQUEST, stage.runtime, hold=True)
        steps.send(None)
        levels = {name: SignalResult(score=0, level=next(iter(b.levels))) for name, b in stage.policy.signals.items()}
        assert isinstance(steps.send(levels), Call)
        assert breaker.enter() is None
        steps.close()
        assert breaker.enter() is not None


class TestMoney:
    def test_nothing_is_called_before_its_money_is_reserved(self):
        """Reserve, call, settle, in that order, with the worst case and the real cost."""
        play = Play(Stage(budgets=DAY), ok())
        kinds = [type(command) for command in play.commands]
        assert kinds == [Score, Reserve, Call, Settle]
        assert play.all(Reserve)[0].usd == Decimal("0.11")
        settled = play.all(Settle)[0]
        assert (settled.usd, settled.estimated) == (Decimal("0.015"), False)

    def test_without_window_budgets_the_ledger_is_not_asked(self):
        """No file, no wait."""
        assert Play(Stage(), ok()).all(Reserve) == []

    def test_what_is_free_needs_no_reservation(self):
        """The local model costs nothing."""
        play = Play(Stage(use=("local",), budgets=DAY), ok())
        assert play.all(Reserve) == []
        assert play.all(Settle) == []

    def test_a_denied_reservation_falls_through(self):
        """The budget's name is on the receipt, and the circuit learns nothing from it."""
        play = Play(Stage(budgets=DAY), ok(), deny=("cloud",))
        assert play.called == ["other"]
        assert play.receipt.attempts[0].code is Code.OVER_BUDGET
        assert "day" in play.receipt.attempts[0].because

    def test_everything_denied_is_a_typed_error(self):
        """BudgetExceeded, and no call."""
        play = Play(Stage(use=("cloud", "other"), budgets=DAY), deny=("cloud", "other"))
        assert isinstance(play.error, BudgetExceeded)
        assert play.called == []

    def test_a_request_budget_takes_dear_targets_off_the_plan(self):
        """The worst case counts, not the hope."""
        play = Play(Stage(), ok(), request=replace(REQUEST, budget_usd=Decimal("0.06")))
        assert play.called == ["other"]
        removal = play.receipt.decision.removed[0]
        assert (removal.reason, removal.because) == (
            Reason.BUDGET,
            "budget_usd: up to $0.110000000 more would pass $0.06",
        )

    def test_the_policys_own_request_budget_holds_too(self):
        """Whichever is tighter."""
        play = Play(Stage(budgets=[{"name": "one", "usd": 0.06, "per": "request"}]), ok())
        assert play.called == ["other"]

    def test_what_was_spent_counts_against_the_next_attempt(self):
        """A failed call that was billed leaves less for the others."""
        billed = bad(Code.TIMEOUT, answer=Answer(usage=Usage(input_tokens=10, output_tokens=100)))
        play = Play(Stage(), billed, ok(), request=replace(REQUEST, budget_usd=Decimal("0.12")))
        assert play.called == ["cloud", "local"]
        assert ("other", 1, Code.OVER_BUDGET) in play.codes

    def test_a_failure_that_processed_nothing_is_released(self):
        """A refused connection costs nothing."""
        play = Play(Stage(budgets=DAY), bad(Code.UNAVAILABLE), bad(Code.UNAVAILABLE), ok())
        assert [type(c) for c in play.commands[1:9]] == [Reserve, Call, Release, Sleep, Reserve, Call, Release, Reserve]
        assert play.receipt.attempts[0].cost_usd == 0

    def test_a_silent_failure_is_settled_at_the_worst_case(self):
        """Nobody knows how far it went."""
        play = Play(Stage(budgets=DAY), bad(Code.TIMEOUT), ok())
        settled = play.all(Settle)[0]
        assert (settled.usd, settled.estimated) == (Decimal("0.11"), True)
        assert play.receipt.attempts[0].cost_usd == Decimal("0.11")
        assert play.receipt.attempts[0].estimated is True

    def test_half_an_answer_is_settled_by_counting(self):
        """Ten tokens in, and one for each character that came."""
        play = Play(Stage(budgets=DAY), bad(Code.TIMEOUT, answer=Answer(text="abcd")), ok())
        settled = play.all(Settle)[0]
        assert (settled.usd, settled.estimated) == (Decimal("0.014"), True)

    def test_a_tool_call_is_an_answer_that_was_heard(self):
        """Its arguments are counted; the worst case is for silence."""
        call = ToolCall(id="1", name="t", arguments="{}")
        play = Play(Stage(budgets=DAY), bad(Code.TIMEOUT, answer=Answer(tool_calls=(call,))), ok())
        assert play.all(Settle)[0].usd == Decimal("0.012")

    def test_a_failure_after_half_an_answer_is_paid_for(self):
        """Even `unavailable`, where text had come already."""
        play = Play(Stage(budgets=DAY), bad(Code.UNAVAILABLE, answer=Answer(text="abcd"), retry=False), ok())
        assert play.all(Settle)[0].usd == Decimal("0.014")
        assert play.all(Release) == []

    def test_an_answer_without_usage_is_estimated(self):
        """The caller sees that it is a guess."""
        play = Play(Stage(), Outcome(code=Code.OK, answer=Answer(text="abcd")))
        usage = play.result.answer.usage
        assert (usage.input_tokens, usage.output_tokens, usage.estimated) == (10, 4, True)

    def test_usage_that_came_with_a_failure_is_settled(self):
        """A refusal that was billed is on the books."""
        billed = bad(Code.REFUSED, answer=Answer(usage=Usage(input_tokens=10, output_tokens=1)))
        play = Play(Stage(budgets=DAY), billed)
        assert play.all(Settle)[0].usd == Decimal("0.011")
        assert play.receipt.cost_usd == Decimal("0.011")

    def test_canned_costs_nothing(self):
        """No counting, no price."""
        play = Play(Stage(use=("sorry",), budgets=DAY), Outcome(code=Code.OK, answer=Answer(text="later")))
        assert play.receipt.cost_usd == 0
        assert play.receipt.attempts[0].estimated is False


class TestLeaving:
    def test_a_caller_who_leaves_during_a_call_pays_the_worst_case(self):
        """Nothing was heard; the reservation is settled, and the receipt tells it."""
        play = Play(Stage(budgets=DAY), leave_at=Call)
        assert [(c.usd, c.estimated) for c in play.all(Settle)] == [(Decimal("0.11"), True)]
        assert play.codes == [("cloud", 1, Code.CANCELLED)]
        assert play.receipt.cost_usd == Decimal("0.11")

    def test_a_caller_who_leaves_during_a_stream_pays_what_came(self):
        """Counted tokens."""
        half = Outcome(code=Code.CANCELLED, answer=Answer(text="ab"))
        play = Play(Stage(budgets=DAY), opened(), half, hold=False, leave_at=Relay)
        assert play.all(Settle)[0].usd == Decimal("0.012")

    @pytest.mark.parametrize("where", [Score, Reserve, Sleep])
    def test_a_caller_who_leaves_between_calls_owes_nothing_more(self, where):
        """Only what earlier attempts cost."""
        play = Play(Stage(budgets=DAY), bad(Code.UNAVAILABLE), leave_at=where)
        assert isinstance(play.gone, Abandoned)
        assert play.all(Settle) == []
        assert play.receipt.cost_usd == 0
        assert play.receipt.target is None

    def test_a_caller_who_leaves_while_it_is_booked_has_the_attempt_on_the_receipt(self):
        """The line is written before the booking begins."""
        play = Play(Stage(budgets=DAY), ok(), leave_at=Settle)
        assert play.codes == [("cloud", 1, Code.OK)]
        assert play.receipt.cost_usd == Decimal("0.015")
        assert len(play.all(Settle)) == 1


class TestStreams:
    def test_an_opened_stream_is_relayed(self):
        """Call, relay, done."""
        play = Play(Stage(), opened(), ok(), hold=False)
        assert [type(c) for c in play.commands] == [Score, Call, Relay]
        assert play.all(Relay)[0].opened == "the rest"
        assert play.all(Call)[0].hold is False
        assert play.result.answer.text == "fine"

    def test_a_failure_before_the_first_piece_falls_back_silently(self):
        """No reset: the caller saw nothing."""
        play = Play(Stage(), bad(Code.STALLED), opened(), ok(), hold=False)
        assert play.called == ["cloud", "other"]
        assert play.all(Restart) == []

    def test_a_failure_after_the_first_piece_is_an_error(self):
        """StreamInterrupted with what came, the cause and the receipt; nobody else is called."""
        cause = ConnectionResetError()
        cut = bad(Code.INTERRUPTED, answer=Answer(text="half"), error=cause)
        play = Play(Stage(), opened(), cut, hold=False)
        assert isinstance(play.error, StreamInterrupted)
        assert play.error.partial == "half"
        assert play.error.__cause__ is cause
        assert play.called == ["cloud"]
        assert "failed after 4 characters (interrupted: as scripted)" in str(play.error)

    def test_interrupted_streams_are_never_retried_on_the_same_target(self):
        """`interrupted` is in retry_on, yet the pieces are out."""
        stage = Stage(resilience={"on_interrupt": "restart"})
        play = Play(stage, opened(), bad(Code.INTERRUPTED), opened(), ok(), hold=False)
        assert play.called == ["cloud", "other"]

    def test_restart_takes_back_and_begins_anew(self):
        """The reset comes just before the next target's first piece."""
        stage = Stage(resilience={"on_interrupt": "restart"})
        play = Play(stage, opened(), bad(Code.INTERRUPTED), opened(), ok(), hold=False)
        assert [type(c) for c in play.commands] == [Score, Call, Relay, Call, Restart, Relay]
        assert play.all(Restart)[0].because == "cloud: interrupted"
        assert play.receipt.target == "other"

    def test_nothing_is_taken_back_for_nothing(self):
        """When nobody else answers, the caller keeps the partial text and hears of it; there is no reset."""
        stage = Stage(use=("cloud", "other"), resilience={"on_interrupt": "restart"})
        cut = bad(Code.INTERRUPTED, answer=Answer(text="half"))
        play = Play(stage, opened(), cut, bad(Code.TIMEOUT), hold=False)
        assert isinstance(play.error, StreamInterrupted)
        assert play.error.partial == "half"
        assert play.all(Restart) == []

    def test_the_caller_may_wish_otherwise(self):
        """`on_interrupt` of the request wins over the policy's."""
        stage = Stage(resilience={"on_interrupt": "restart"})
        play = Play(stage, opened(), bad(Code.INTERRUPTED), hold=False, request=replace(REQUEST, on_interrupt="error"))
        assert isinstance(play.error, StreamInterrupted)

    def test_restart_respects_fallback_on(self):
        """A code that the policy does not fall back on ends the request."""
        stage = Stage(resilience={"on_interrupt": "restart"})
        play = Play(stage, opened(), bad(Code.REFUSED), hold=False)
        assert isinstance(play.error, StreamInterrupted)

    def test_the_last_rung_cannot_restart(self):
        """Nobody comes after it."""
        stage = Stage(use=("cloud",), resilience={"on_interrupt": "restart"})
        play = Play(stage, opened(), bad(Code.INTERRUPTED), hold=False)
        assert isinstance(play.error, StreamInterrupted)

    def test_an_answer_that_came_whole_and_does_not_count_is_an_error_too(self):
        """Not the demanded JSON: the pieces are out, so it is StreamInterrupted."""
        play = Play(Stage(), opened(), bad(Code.INVALID_OUTPUT, answer=Answer(text="not json")), hold=False)
        assert isinstance(play.error, StreamInterrupted)
        assert play.receipt.code is Code.INVALID_OUTPUT

    def test_buffer_reads_whole_answers_and_delivers_them(self):
        """Nothing is shown before it is complete; then all of it is."""
        play = Play(
            Stage(),
            bad(Code.INTERRUPTED, retry=False),
            ok(),
            hold=False,
            request=replace(REQUEST, on_interrupt="buffer"),
        )
        assert all(call.hold for call in play.all(Call))
        assert [(c.target, c.answer.text) for c in play.all(Deliver)] == [("other", "fine")]
        assert play.all(Relay) == []

    def test_complete_is_not_delivered_in_pieces(self):
        """Whoever waits for the whole gets it as the result."""
        play = Play(Stage(), ok())
        assert play.all(Deliver) == []
        assert play.all(Call)[0].hold is True

    def test_a_truncated_stream_stays_with_the_caller(self):
        """It was shown: falling back would append another answer to it."""
        stage = Stage(resilience={"fallback_on": ["truncated"]})
        play = Play(stage, opened(), Outcome(code=Code.TRUNCATED, answer=OK), hold=False)
        assert play.called == ["cloud"]
        assert play.receipt.code is Code.TRUNCATED

    def test_a_truncated_stream_can_be_taken_back(self):
        """With `restart`, the next rung begins anew after a reset."""
        stage = Stage(resilience={"fallback_on": ["truncated"], "on_interrupt": "restart"})
        play = Play(stage, opened(), Outcome(code=Code.TRUNCATED, answer=OK), opened(), ok(), hold=False)
        assert [type(c) for c in play.commands] == [Score, Call, Relay, Call, Restart, Relay]
        assert play.receipt.target == "other"

    def test_a_truncated_stream_that_was_not_taken_back_counts(self):
        """Nobody did better: the caller has it already, nothing is delivered twice."""
        stage = Stage(
            use=("cloud", "other"), resilience={"fallback_on": ["truncated", "timeout"], "on_interrupt": "restart"}
        )
        play = Play(stage, opened(), Outcome(code=Code.TRUNCATED, answer=OK), bad(Code.TIMEOUT), hold=False)
        assert play.receipt.target == "cloud"
        assert play.all(Deliver) == []
        assert play.all(Restart) == []

    def test_a_truncated_stream_that_was_taken_back_is_delivered_again(self):
        """The other target's stream died after the reset: the truncated answer is still better than an error."""
        stage = Stage(
            use=("cloud", "other"), resilience={"fallback_on": ["truncated", "interrupted"], "on_interrupt": "restart"}
        )
        play = Play(
            stage, opened(), Outcome(code=Code.TRUNCATED, answer=OK), opened(), bad(Code.INTERRUPTED), hold=False
        )
        assert [type(c) for c in play.commands] == [Score, Call, Relay, Call, Restart, Relay, Restart, Deliver]
        assert play.result.answer.text == "fine"
        assert play.receipt.target == "cloud"

    def test_a_short_answer_that_ended_at_once_is_delivered(self):
        """No piece was opened (a whole answer came instead): the streaming caller still gets it."""
        play = Play(Stage(), ok(), hold=False)
        assert [type(c) for c in play.commands] == [Score, Call, Deliver]


class TestContinuing:
    """A stream broke after its first piece; the next target that can goes on with it."""

    def stage(self, *, resilience=(), **more):
        given = {"continues": ("other", "local")} | more
        return Stage(resilience={"on_interrupt": "continue"} | dict(resilience), **given)

    def cut(self, text="The cat ", code=Code.INTERRUPTED, **more):
        return bad(code, answer=Answer(text=text), **more)

    def on(self, text="sat."):
        return Outcome(
            code=Code.OK, answer=Answer(text=text, usage=Usage(input_tokens=12, output_tokens=3)), seconds=0.5
        )

    def play(self, *script, stage=None, **more):
        return Play(stage or self.stage(), opened(), *script, hold=False, **more)

    def test_the_next_target_goes_on(self):
        """It is asked with the beginning, without its last blanks; the caller hears of no new start."""
        play = self.play(self.cut(), opened(), self.on())
        assert [type(c) for c in play.commands] == [Score, Call, Relay, Score, Call, Relay]
        call, relay = play.all(Call)[1], play.all(Relay)[1]
        assert call.request.messages == (*REQUEST.messages, Message(role="assistant", parts=(Text(text="The cat"),)))
        assert (call.join, relay.joins) == (Join(held="The cat ", anew=False), True)
        assert play.result.answer.text == "The cat sat."
        assert (play.receipt.target, play.receipt.degraded) == ("other", True)

    def test_both_halves_are_paid(self):
        """Each by what it did: the second is billed for its own words."""
        play = self.play(self.cut("abcd"), opened(), self.on(), stage=self.stage(budgets=DAY))
        assert [settle.usd for settle in play.all(Settle)] == [Decimal("0.014"), Decimal("0.0075")]

    def test_a_half_without_usage_is_estimated_with_the_beginning(self):
        """The beginning is a part of the second one's prompt."""
        stage = self.stage()
        stage.runtime = replace(stage.runtime, count_tokens=lambda _, request: 10 * len(request.messages))
        play = self.play(self.cut("abcd"), opened(), Outcome(code=Code.OK, answer=Answer(text="ef")), stage=stage)
        assert [(a.input_tokens, a.output_tokens) for a in play.receipt.attempts] == [(10, 4), (20, 2)]

    def test_max_tokens_are_those_of_the_whole_answer(self):
        """What was delivered is taken off."""
        request = replace(REQUEST, max_tokens=10)
        play = self.play(self.cut("abcd"), opened(), self.on(), request=request)
        assert [call.request.max_tokens for call in play.all(Call)] == [10, 6]

    def test_the_beginning_is_measured_like_any_message(self):
        """An answer may hold what no question held: the higher level goes to the lock."""
        stage = self.stage()
        steps = flow.run(REQUEST, stage.runtime, hold=False)
        helper = SimpleNamespace(_stage=stage)
        steps.send(Play._answer(helper, steps.send(None)))
        steps.send(opened())
        score = steps.send(self.cut("call 555-0100"))
        assert isinstance(score, Score)
        assert score.request.messages[-1].text == "call 555-0100"
        stage.levels = {"privacy": "personal"}
        call = steps.send(Play._answer(helper, score))
        assert call.levels["privacy"] == "personal"
        steps.close()

    def test_a_target_that_cannot_is_passed_over(self):
        """The receipt says why."""
        play = self.play(self.cut(), opened(), self.on(), stage=self.stage(continues=("local",)))
        assert play.called == ["cloud", "local"]
        assert play.codes[1] == ("other", 1, Code.UNSUPPORTED)
        assert play.result.answer.text == "The cat sat."

    def test_where_nobody_can_it_is_an_error(self):
        """A canned reply cannot either; the first cause is told."""
        cause = ConnectionResetError()
        play = self.play(self.cut(error=cause), stage=self.stage(continues=()))
        assert isinstance(play.error, StreamInterrupted)
        assert (play.error.partial, play.error.__cause__) == ("The cat ", cause)
        assert play.called == ["cloud"]

    def test_a_beginning_that_passes_the_window_is_known_beforehand(self):
        """Not tried."""
        stage = self.stage(windows={"other": 200, "local": 2000})
        stage.runtime = replace(stage.runtime, count_tokens=lambda _, request: 100 * len(request.messages))
        play = self.play(self.cut(), opened(), self.on(), stage=stage)
        assert play.called == ["cloud", "local"]
        assert play.codes[1][2] is Code.CONTEXT_TOO_LONG

    def test_it_may_break_again(self):
        """The third goes on with what the first two said; scored once for each break."""
        play = self.play(self.cut("one "), opened(), self.cut("two "), opened(), self.on("three"))
        assert play.called == ["cloud", "other", "local"]
        assert play.all(Call)[2].join.held == "one two "
        assert play.result.answer.text == "one two three"
        assert len(play.all(Score)) == 3

    def test_a_failure_before_it_goes_on_is_retried_and_fallen_back_on(self):
        """As any other; what the caller holds stays the same, and is not scored again."""
        down = bad(Code.UNAVAILABLE)
        play = self.play(self.cut(), down, down, opened(), self.on())
        assert play.called == ["cloud", "other", "other", "local"]
        assert len(play.all(Score)) == 2
        assert play.result.answer.text == "The cat sat."

    @pytest.mark.parametrize("refusal", [Code.INVALID, Code.UNSUPPORTED])
    def test_a_target_that_refuses_the_beginning_starts_underneath(self, refusal):
        """From the original request; what it repeats is dropped by whoever relays."""
        play = self.play(self.cut(), bad(refusal, status=400), opened(), self.on("The cat sat."))
        assert play.called == ["cloud", "other", "other"]
        again = play.all(Call)[2]
        assert (again.request.messages, again.join) == (REQUEST.messages, Join(held="The cat ", anew=True))
        assert play.all(Relay)[1].joins
        assert play.result.answer.text == "The cat sat."
        assert play.codes[1:] == [("other", 1, refusal), ("other", 2, Code.OK)]

    def test_a_start_underneath_that_says_otherwise_is_the_first_error(self):
        """Neither the refusal nor the other answer masks it; what came is paid for."""
        cause = ConnectionResetError()
        other = bad(Code.CANCELLED, answer=Answer(text="A dog"))
        play = self.play(self.cut(error=cause), bad(Code.INVALID, error=ValueError("400")), opened(), other)
        assert isinstance(play.error, StreamInterrupted)
        assert (play.error.partial, play.error.__cause__) == ("The cat ", cause)
        assert "target 'cloud'" in str(play.error)
        assert play.receipt.attempts[2].output_tokens == 5

    def test_a_start_underneath_that_breaks_before_it_is_level_loses_nothing(self):
        """The caller still holds the longer text, and the next one goes on from there."""
        play = self.play(self.cut(), bad(Code.INVALID), opened(), self.cut("The"), opened(), self.on())
        assert play.all(Call)[3].join.held == "The cat "
        assert play.result.answer.text == "The cat sat."

    def test_the_refusal_counts_as_an_attempt(self):
        """Attempts never exceed what is declared."""
        stage = self.stage(resilience={"retry": {"attempts": 1}})
        play = self.play(self.cut(), bad(Code.INVALID), stage=stage)
        assert isinstance(play.error, StreamInterrupted)
        assert play.called == ["cloud", "other"]

    def test_nothing_but_blanks_is_no_beginning(self):
        """The next target starts underneath at once."""
        play = self.play(self.cut("\n"), opened(), self.on("\nsat."))
        assert play.all(Call)[1].join == Join(held="\n", anew=True)
        assert play.result.answer.text == "\nsat."

    def test_the_end_alone_may_have_been_lost(self):
        """The second has nothing to add: the answer is what the caller holds."""
        play = self.play(self.cut(), self.on(""))
        assert play.result.answer.text == "The cat "
        assert play.all(Deliver) == []
        assert play.all(Restart) == []

    def test_a_refusal_is_not_continued(self):
        """It is whole, and the answer is no."""
        stage = self.stage(resilience={"fallback_on": ["refused"]})
        play = self.play(self.cut(code=Code.REFUSED), stage=stage)
        assert isinstance(play.error, StreamInterrupted)

    def test_half_a_tool_call_is_not_continued(self):
        """No dialect has a form for it."""
        half = bad(Code.INTERRUPTED, answer=Answer(text="so", tool_calls=(ToolCall(id="1", name="t", arguments="{"),)))
        play = self.play(half)
        assert isinstance(play.error, StreamInterrupted)
        assert play.called == ["cloud"]

    def test_demanded_json_is_not_continued(self):
        """Servers guide it from its first character."""
        request = replace(REQUEST, response_format=ResponseFormat(type="json_object"))
        assert isinstance(self.play(self.cut("{"), request=request).error, StreamInterrupted)

    def test_a_request_that_acts_is_not_continued(self):
        """The first may have acted."""
        play = self.play(self.cut(), request=replace(REQUEST, safe_to_retry=False))
        assert isinstance(play.error, StreamInterrupted)
        assert play.called == ["cloud"]

    def test_a_caller_who_leaves_midway_pays_for_both(self):
        """The receipt has both lines."""
        stage = self.stage(budgets=DAY)
        steps, answers = flow.run(REQUEST, stage.runtime, hold=False), [opened(), self.cut("abcd"), opened()]
        helper = SimpleNamespace(_stage=stage, _reserving=0, _deny=(), commands=[], _script=answers)
        command = steps.send(None)
        while not (isinstance(command, Relay) and command.joins):
            command = steps.send(Play._answer(helper, command))
        command = steps.throw(Abandoned({"other": bad(Code.CANCELLED, answer=Answer(text="ef"))}))
        with pytest.raises(Abandoned) as gone:
            steps.send(None)
        assert isinstance(command, Settle)
        codes = [(a.target, a.code) for a in gone.value.receipt.attempts]
        assert codes == [("cloud", Code.INTERRUPTED), ("other", Code.CANCELLED)]

    def test_nobody_races_for_the_second_half(self):
        """A hedge is for the first piece."""
        stage = self.stage(rule={"hedge": {"after": "800ms"}})
        play = self.play(self.cut(), opened(), self.on(), stage=stage)
        assert [call.patience for call in play.all(Call)] == [pytest.approx(0.8), None]

    def test_a_long_request_is_counted_as_work_there_too(self):
        """The window's check counts."""
        request = replace(TestLongRequests.LONG, on_interrupt="continue")
        stage = self.stage(windows={"other": 500})
        play = self.play(self.cut(), opened(), self.on(), stage=stage, request=request)
        assert len(play.all(Work)) == 2
        assert play.result.answer.text == "The cat sat."


class TestRequestsThatAct:
    UNSAFE = replace(REQUEST, safe_to_retry=False)

    @pytest.mark.parametrize("code", [Code.TIMEOUT, Code.INTERRUPTED, Code.UNAVAILABLE, Code.EMPTY])
    def test_nothing_is_sent_again_after_a_target_may_have_acted(self, code):
        """Neither retry nor fallback: only the canned reply, which sends nothing, may still stand in."""
        play = Play(Stage(), bad(code), ok(), request=self.UNSAFE)
        assert play.called == ["cloud", "sorry"]
        assert play.codes[1:3] == [("other", 1, Code.UNSAFE), ("local", 1, Code.UNSAFE)]
        assert play.receipt.target == "sorry"

    @pytest.mark.parametrize("code", [Code.RATE_LIMITED, Code.UNAUTHORIZED, Code.SATURATED])
    def test_a_refusal_before_processing_is_no_action(self, code):
        """The next target may be asked: nobody has acted yet."""
        stage = Stage(resilience={"retry_on": []})
        assert Play(stage, bad(code), ok(), request=self.UNSAFE).called == ["cloud", "other"]

    def test_half_an_answer_is_an_action_whatever_the_code(self):
        """A rate limit in the middle of a stream: the target had begun."""
        cut = bad(Code.RATE_LIMITED, answer=Answer(text="half"))
        play = Play(Stage(), cut, ok(), request=self.UNSAFE)
        assert play.called == ["cloud", "sorry"]

    def test_a_connection_that_was_never_made_is_no_action(self):
        """Refused connections are retried and fallen back on as ever."""
        refused = bad(Code.UNAVAILABLE, sent=False)
        assert Play(Stage(), refused, refused, ok(), request=self.UNSAFE).called == ["cloud", "cloud", "other"]

    def test_without_a_canned_reply_the_first_failure_is_told(self):
        """The error is that of the target that failed, not of the rungs that were left out."""
        play = Play(Stage(use=("cloud", "other")), bad(Code.TIMEOUT), request=self.UNSAFE)
        assert isinstance(play.error, APITimeoutError)
        assert play.codes == [("cloud", 1, Code.TIMEOUT), ("other", 1, Code.UNSAFE)]


class TestHedging:
    """A silent first choice is joined by the next one; the first answer counts."""

    def stage(self, after="800ms", **more):
        return Stage(rule={"hedge": {"after": after}}, **more)

    def test_a_quick_answer_is_alone(self):
        """No second call before the delay."""
        play = Play(self.stage(), ok())
        assert play.called == ["cloud"]
        assert play.all(Call)[0].patience == pytest.approx(0.8)

    def test_after_the_delay_the_next_target_is_asked_beside_it(self):
        """The winner answers; both are billed and stand on the receipt."""
        slow = Pending(target="cloud", handle="running")
        play = Play(self.stage(budgets=DAY), slow, {"cloud": bad(Code.CANCELLED), "other": ok()})
        assert [type(c) for c in play.commands] == [Score, Reserve, Call, Reserve, Race, Settle, Settle]
        assert play.codes == [("cloud", 1, Code.CANCELLED), ("other", 1, Code.OK)]
        assert [attempt.cost_usd for attempt in play.receipt.attempts] == [Decimal("0.11"), Decimal("0.0075")]
        assert (play.receipt.target, play.receipt.degraded) == ("other", True)

    def test_the_first_may_still_win(self):
        """Then the second is the one that was stopped."""
        slow = Pending(target="cloud", handle="running")
        play = Play(self.stage(), slow, {"cloud": ok(), "other": bad(Code.CANCELLED)})
        assert (play.receipt.target, play.receipt.rung, play.receipt.degraded) == ("cloud", 1, False)

    def test_when_both_fail_the_plan_goes_on_behind_them(self):
        """Neither is tried again."""
        slow = Pending(target="cloud", handle="running")
        play = Play(self.stage(), slow, {"cloud": bad(Code.UNAVAILABLE), "other": bad(Code.TIMEOUT)}, ok())
        assert play.receipt.target == "local"
        assert [attempt.target for attempt in play.receipt.attempts] == ["cloud", "other", "local"]

    @pytest.mark.parametrize(
        ("first", "second", "called"),
        [(Code.STALLED, Code.REFUSED, ["cloud", "other", "local"]), (Code.INVALID, Code.TIMEOUT, ["cloud", "other"])],
    )
    def test_the_first_choice_decides_where_the_plan_goes(self, first, second, called):
        """Whoever was asked for speed alone does not end it, and does not keep it going."""
        slow = Pending(target="cloud", handle="running")
        play = Play(self.stage(), slow, {"cloud": bad(first), "other": bad(second)}, ok())
        assert [attempt.target for attempt in play.receipt.attempts] == called

    @pytest.mark.parametrize(
        ("second", "use"), [(Code.TIMEOUT, ("cloud", "other")), (Code.REFUSED, ("cloud", "other"))]
    )
    def test_the_first_choice_names_the_error_and_its_cause(self, second, use):
        """Type, cause and course of the plan tell one story; the other leg's end stands on the receipt."""
        slow, cause = Pending(target="cloud", handle="running"), RuntimeError("the first one's")
        ends = {"cloud": bad(Code.RATE_LIMITED, error=cause), "other": bad(second, error=RuntimeError("the other's"))}
        play = Play(self.stage(use=use), slow, ends)
        assert type(play.error) is RateLimitError
        assert play.error.__cause__ is cause
        assert [code for _target, _number, code in play.codes] == [Code.RATE_LIMITED, second]

    def test_a_first_choice_that_may_not_be_called_is_skipped(self):
        """No race without it: the next target has one of its own."""
        play = Play(self.stage(budgets=DAY), ok(), deny=("cloud",))
        assert play.codes == [("cloud", 1, Code.OVER_BUDGET), ("other", 1, Code.OK)]
        assert play.all(Call)[0].patience == pytest.approx(0.8)

    def test_a_quick_failure_is_retried_as_ever(self):
        """The race never began: retries are the policy's."""
        play = Play(self.stage(), bad(Code.UNAVAILABLE), ok())
        assert play.called == ["cloud", "cloud"]
        assert play.all(Call)[1].patience is None

    def test_a_partner_that_may_not_be_called_leaves_the_first_alone(self):
        """A denied reservation: nothing starts beside it, the first is waited for."""
        slow = Pending(target="cloud", handle="running")
        play = Play(self.stage(budgets=DAY), slow, {"cloud": ok()}, deny=("other",))
        assert play.all(Race)[0].call is None
        assert play.receipt.target == "cloud"

    def test_both_legs_share_the_budget_of_the_request(self):
        """The open worst case of the first counts when the second asks for money."""
        slow = Pending(target="cloud", handle="running")
        play = Play(self.stage(), slow, {"cloud": ok()}, request=replace(REQUEST, budget_usd=Decimal("0.12")))
        assert play.codes == [("other", 1, Code.OVER_BUDGET), ("cloud", 1, Code.OK)]

    def test_a_boundary_holds_for_the_second_leg(self):
        """A target that left the plan is no partner."""
        stage = self.stage(
            use=("local", "cloud", "sorry"),
            levels={"privacy": "secret"},
            boundaries=[{"name": "b", "when": {"privacy": "secret"}, "cloud": "never"}],
        )
        play = Play(stage, ok())
        assert play.all(Call)[0].patience is None

    def test_a_canned_reply_is_no_partner(self):
        """Nobody races against a fixed text."""
        assert Play(self.stage(use=("cloud", "sorry")), ok()).all(Call)[0].patience is None

    def test_a_request_that_acts_is_never_hedged(self):
        """Two targets would act."""
        play = Play(self.stage(), ok(), request=replace(REQUEST, safe_to_retry=False))
        assert play.all(Call)[0].patience is None

    def test_p95_needs_enough_calls_and_then_is_the_targets_own(self):
        """From the twentieth answered call on."""
        stage = self.stage(after="p95")
        assert Play(stage, ok()).all(Call)[0].patience is None
        for tenth in range(1, 21):
            stage.runtime.latencies["cloud"].add(tenth / 10)
        assert Play(stage, ok()).all(Call)[0].patience == pytest.approx(2.0)

    def test_a_stream_that_wins_is_shown_and_the_loser_billed(self):
        """The race ends at the first piece."""
        slow = Pending(target="cloud", handle="running")
        play = Play(self.stage(), slow, {"cloud": bad(Code.CANCELLED), "other": opened()}, ok(), hold=False)
        assert [type(c) for c in play.commands] == [Score, Call, Race, Relay]
        assert play.all(Relay)[0].target == "other"
        assert play.receipt.target == "other"

    def test_leaving_during_a_race_books_both(self):
        """Both may send a bill."""
        slow = Pending(target="cloud", handle="running")
        play = Play(self.stage(budgets=DAY), slow, leave_at=Race)
        assert [settle.usd for settle in play.all(Settle)] == [Decimal("0.11"), Decimal("0.055")]
        assert play.codes == [("cloud", 1, Code.CANCELLED), ("other", 1, Code.CANCELLED)]

    def test_leaving_while_the_first_leg_is_booked_still_books_the_second(self):
        """Neither reservation stays open, and both lines are on the receipt."""
        slow = Pending(target="cloud", handle="running")
        ends = {"cloud": bad(Code.CANCELLED), "other": ok()}
        play = Play(self.stage(budgets=DAY), slow, ends, leave_at=Settle)
        assert [settle.reservation.target for settle in play.all(Settle)] == ["cloud", "other"]
        assert play.codes == [("cloud", 1, Code.CANCELLED), ("other", 1, Code.OK)]

    def test_a_leg_that_was_never_sent_costs_nothing(self):
        """The first answered while money was put aside for the second."""
        slow = Pending(target="cloud", handle="running")
        ends = {"cloud": ok(), "other": bad(Code.CANCELLED, sent=False)}
        play = Play(self.stage(budgets=DAY), slow, ends)
        assert [release.reservation.target for release in play.all(Release)] == ["other"]
        assert play.receipt.attempts[1].cost_usd == 0

    def test_closing_the_booking_of_a_race_gives_both_tickets_back(self):
        """Garbage collection between two bookings is not a leak."""
        stage = self.stage(budgets=DAY, resilience={"circuit_breaker": {"failures": 1}})
        for name in ("cloud", "other"):
            stage.breakers[name].leave(stage.breakers[name].enter(), Code.UNAVAILABLE)
        stage.now += 60
        steps, answer = flow.run(REQUEST, stage.runtime, hold=True), None
        while not isinstance(command := steps.send(answer), Settle):
            match command:
                case Call():
                    answer = Pending(target="cloud", handle="x")
                case Race():
                    answer = {"cloud": bad(Code.CANCELLED), "other": bad(Code.CANCELLED)}
                case _:
                    answer = Play._answer(SimpleNamespace(_stage=stage, _reserving=0, _deny=(), commands=[]), command)
        steps.close()
        assert all(stage.breakers[name].enter() is not None for name in ("cloud", "other"))

    def test_closing_a_race_gives_both_tickets_back(self):
        """No breaker waits for a call that nobody makes."""
        stage = self.stage()
        steps = flow.run(REQUEST, stage.runtime, hold=True)
        answer = None
        while not isinstance(command := steps.send(answer), Race):
            answer = (
                Pending(target="cloud", handle="x")
                if isinstance(command, Call)
                else Play._answer(SimpleNamespace(_stage=stage), command)
            )
        steps.close()
        assert all(breaker.enter() is not None for breaker in stage.breakers.values())
