"""Answers that must pass a check: one body of behaviour for sync and async, whole and streamed."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybridinfer import AllTargetsFailed, AsyncRouter, RequestError, Router
from hybridinfer.receipt import Code
from hybridinfer.testing import FakeTarget, Outage, Reply

TARGETS = {
    "small": {"kind": "onnx", "model": "m"},
    "second": {"kind": "onnx", "model": "m"},
    "cloud": {"kind": "openai", "model": "m", "price": {"input": 1, "output": 2}},
    "sorry": {"kind": "canned", "text": "later, please"},
}
BASE = {
    "version": 1,
    "targets": TARGETS,
    "boundaries": [{"name": "stay", "when": {"privacy": ["personal", "secret"]}, "cloud": "never"}],
    "resilience": {"deadline": "60s", "retry": {"attempts": 2, "backoff": "1ms", "max_backoff": "2ms"}},
}
DOWN = Outage(Code.UNAVAILABLE)


def sure(text, confidence):
    return Reply(chunks=(text[: len(text) // 2], text[len(text) // 2 :]), confidence=confidence)


def accept(behind=("cloud", "sorry"), **block):
    return [{"target": "small", "accept": block}, *behind]


def agree(behind=("sorry",), **block):
    return [{"agree": ["small", "second"], "else": "cloud", **block}, *behind]


class Asked:
    """What one request gave: its answer or error, its events, its receipt."""

    def __init__(self, way, use, scripts, prompt="hello", **options):
        self.response = self.error = None
        self.events = []
        zones = {name: "cloud" if block["kind"] == "openai" else "device" for name, block in TARGETS.items()}
        self.targets = {
            name: FakeTarget(name, zone=zones[name], kind=TARGETS[name]["kind"], script=scripts.get(name, ["fine"]))
            for name in ("small", "second", "cloud")
        }
        given = {"policy": BASE | {"rules": [{"name": "all", "use": use}]}, "targets": self.targets}
        synchronous, self.streamed = way
        try:
            if synchronous:
                self._sync(given, prompt, options)
            else:
                asyncio.run(self._async(given, prompt, options))
        except RequestError as error:
            self.error = error
        assert all(target.open == 0 and target.closed for target in self.targets.values())

    def _sync(self, given, prompt, options):
        with Router(**given) as router:
            if not self.streamed:
                self.response = router.complete(prompt, **options)
                return
            with router.stream(prompt, **options) as stream:
                self.events.extend(stream)
                self.response = stream.response

    async def _async(self, given, prompt, options):
        async with AsyncRouter(**given) as router:
            if not self.streamed:
                self.response = await router.complete(prompt, **options)
                return
            async with router.stream(prompt, **options) as stream:
                self.events.extend([event async for event in stream])
                self.response = stream.response

    @property
    def receipt(self):
        return self.response.receipt if self.response else self.error.receipt

    @property
    def lines(self):
        return [(line.target, str(line.code)) for line in self.receipt.attempts]

    @property
    def shown(self):
        return "".join(event.text for event in self.events if event.type == "text")

    @property
    def shape(self):
        return [event.type for event in self.events]


@pytest.fixture(
    params=[(s, t) for s in (True, False) for t in (False, True)], ids=lambda w: f"sync={w[0]}-stream={w[1]}"
)
def way(request):
    return request.param


class TestConfidence:
    def test_a_sure_answer_counts(self, way):
        """At the threshold and above, and the response says how sure it was."""
        seen = Asked(way, accept(confidence=0.7), {"small": [sure("draft", 0.7)]})
        assert (seen.response.text, seen.response.target, seen.response.confidence) == ("draft", "small", 0.7)
        assert seen.lines == [("small", "ok")]
        assert not seen.response.degraded

    def test_an_unsure_answer_is_never_shown(self, way):
        """The next target answers; the draft stands on the receipt with its cost, and nowhere else."""
        seen = Asked(way, accept(confidence=0.7), {"small": [sure("DRAFT", 0.69)]})
        assert (seen.response.text, seen.response.target, seen.response.rung) == ("fine", "cloud", 2)
        assert seen.lines == [("small", "unsure"), ("cloud", "ok")]
        assert seen.receipt.attempts[0].confidence == 0.69
        assert seen.receipt.attempts[0].output_tokens == 2
        assert "DRAFT" not in seen.shown
        assert "DRAFT" not in repr(seen.receipt)

    def test_whoever_cannot_say_is_not_believed(self, way):
        """No confidence is no acceptance."""
        seen = Asked(way, accept(confidence=0.0), {"small": ["draft"]})
        assert seen.response.target == "cloud"
        assert seen.receipt.attempts[0].because == "nobody can say how sure it is: no calibrated confidence"

    def test_nobody_behind_it_is_an_error(self, way):
        """The typed error of a request that nobody answered; the draft is not in it."""
        seen = Asked(way, accept(behind=(), confidence=0.7), {"small": [sure("DRAFT", 0.1)]})
        assert isinstance(seen.error, AllTargetsFailed)
        assert "DRAFT" not in str(seen.error)
        assert seen.shown == ""

    def test_the_canned_reply_stands_behind(self, way):
        """Better a canned reply than an answer that did not pass."""
        seen = Asked(way, accept(confidence=0.7), {"small": [sure("draft", 0.1)], "cloud": [DOWN]})
        assert (seen.response.text, seen.response.target) == ("later, please", "sorry")

    def test_unsure_answers_trip_no_breaker(self, way):
        """The target works; the policy wants better."""
        use = accept(confidence=0.9)
        script = {"small": [sure("draft", 0.1)]}
        assert all(Asked(way, use, script).lines[0] == ("small", "unsure") for _ in range(2))

    def test_a_draft_is_not_asked_for_where_the_request_must_not_be_sent_twice(self, way):
        """A rejected draft would leave nobody else to ask."""
        seen = Asked(way, accept(confidence=0.7), {"small": [sure("draft", 0.9)]}, safe_to_retry=False)
        assert seen.response.target == "cloud"
        assert seen.lines == [("small", "unsafe"), ("cloud", "ok")]
        assert seen.targets["small"].requests == []

    def test_at_once_is_shown_and_taken_back(self, way):
        """The policy prefers latency: pieces come as they come, and a reset says to forget them."""
        seen = Asked(way, accept(confidence=0.7, deliver="at_once"), {"small": [sure("draft", 0.1)]})
        assert seen.response.text == "fine"
        if seen.streamed:
            assert seen.shape == ["start", "text", "text", "reset", "start", "text", "end"]

    def test_at_once_is_kept_where_it_passes(self, way):
        """Nothing is delivered twice."""
        seen = Asked(way, accept(confidence=0.7, deliver="at_once"), {"small": [sure("draft", 0.8)]})
        assert seen.response.text == "draft"
        if seen.streamed:
            assert seen.shape == ["start", "text", "text", "end"]


class TestSamples:
    def test_the_majority_answers(self, way):
        """Its share is the confidence; every call is on the receipt."""
        seen = Asked(way, accept(samples=3), {"small": ["Lyon", "Paris", "paris."]})
        assert (seen.response.text, round(seen.response.confidence, 3)) == ("Paris", 0.667)
        assert [(line.target, line.number) for line in seen.receipt.attempts] == [
            ("small", 1),
            ("small", 2),
            ("small", 3),
        ]
        if seen.streamed:
            assert seen.shown == "Paris"

    def test_what_is_decided_is_not_asked_again(self, way):
        """Two of three say the same: a third could change nothing."""
        seen = Asked(way, accept(samples=3), {"small": ["Paris"]})
        assert seen.lines == [("small", "ok"), ("small", "ok")]

    def test_no_majority_is_unsure(self, way):
        """Three answers, three opinions."""
        seen = Asked(way, accept(samples=3), {"small": ["a", "b", "c"]})
        assert seen.response.target == "cloud"
        assert seen.receipt.attempts[0].code is Code.UNSURE
        assert seen.receipt.attempts[0].because == "1 of 3 samples say the same"

    def test_a_higher_share_can_be_demanded(self, way):
        """With `confidence: 1` all have to agree, and the first other one ends it."""
        seen = Asked(way, accept(samples=5, confidence=1), {"small": ["a", "b"]})
        assert seen.lines == [("small", "unsure"), ("small", "ok"), ("cloud", "ok")]

    def test_a_failed_sample_agrees_with_nobody(self, way):
        """An outage is no vote."""
        seen = Asked(way, accept(samples=3, confidence=1), {"small": ["a", DOWN]})
        assert seen.lines == [("small", "unsure"), ("small", "unavailable"), ("cloud", "ok")]

    def test_only_further_samples_are_tempered(self, way):
        """The first is asked as the request says; seeds differ, so that samples do."""
        seen = Asked(way, accept(samples=3, temperature=0.4), {"small": ["a", "b", "a"]}, seed=7)
        assert [(one.temperature, one.seed) for one in seen.targets["small"].requests] == [
            (None, 7),
            (0.4, 9),
            (0.4, 10),
        ]

    def test_at_once_another_sample_may_replace_what_was_shown(self, way):
        """The caller ends with the majority's answer."""
        seen = Asked(way, accept(samples=3, deliver="at_once"), {"small": ["a", "b", "b"]})
        assert seen.response.text == "b"
        if seen.streamed:
            assert seen.shape == ["start", "text", "reset", "start", "text", "end"]


class TestAgreeWith:
    def test_the_same_number_is_the_same_answer(self, way):
        """Layout is no difference."""
        seen = Asked(way, accept(agree_with="second"), {"small": ["42"], "second": ["The answer is 42."]})
        assert seen.response.text == "42"
        assert seen.lines == [("small", "ok"), ("second", "ok")]

    @pytest.mark.parametrize("other", ["43", DOWN])
    def test_another_answer_or_none_is_no_agreement(self, way, other):
        """What cannot be confirmed does not count."""
        seen = Asked(way, accept(agree_with="second"), {"small": ["42"], "second": [other]})
        assert seen.response.target == "cloud"
        assert seen.lines[0] == ("small", "unsure")

    @pytest.mark.parametrize(
        ("said", "by"), [("Yes.", "small"), ("No, they differ", "second"), ("Yesterday", "second")]
    )
    def test_a_model_judges_what_words_do_not(self, way, said, by):
        """It is asked once, for a word; whatever is not yes is no."""
        use = accept(behind=("second", "sorry"), agree_with="cloud", judge="model", by="second")
        seen = Asked(way, use, {"small": ["forty-two"], "cloud": ["42"], "second": [said, "mine"]})
        assert seen.response.target == by
        judged = seen.targets["second"].requests[0].messages[-1].text
        assert "forty-two" in judged
        assert "42" in judged
        assert "hello" in judged

    def test_a_boundary_forbids_the_second_target_too(self, way):
        """A private request is not sent out to be confirmed."""
        use = accept(agree_with="cloud")
        seen = Asked(way, use, {"small": ["a"]}, prompt="my card is 4111 1111 1111 1111")
        assert seen.targets["cloud"].requests == []
        assert seen.lines == [("small", "unsure"), ("cloud", "forbidden"), ("sorry", "ok")]

    def test_the_judge_does_not_see_what_an_answer_made_private(self, way):
        """The answers are measured before they leave for the judge: they may hold what no question held."""
        use = accept(behind=("sorry",), agree_with="second", judge="model", by="cloud")
        seen = Asked(way, use, {"small": ["call 4111 1111 1111 1111"], "second": ["no idea"]})
        assert seen.targets["cloud"].requests == []
        assert seen.response.target == "sorry"


class TestAgree:
    def test_agreement_answers_with_the_first(self, way):
        """Both are asked, both stand on the receipt, the first one's words count."""
        seen = Asked(way, agree(), {"small": ["**42**"], "second": ["42"]})
        assert (seen.response.text, seen.response.target, seen.response.degraded) == ("**42**", "small", False)
        assert seen.lines == [("small", "ok"), ("second", "ok")]
        assert seen.targets["cloud"].requests == []

    def test_disagreement_goes_on(self, way):
        """Neither is shown."""
        seen = Asked(way, agree(), {"small": ["LEFT"], "second": ["RIGHT"]})
        assert seen.response.target == "cloud"
        assert seen.lines == [("small", "unsure"), ("second", "unsure"), ("cloud", "ok")]
        assert "LEFT" not in seen.shown + repr(seen.receipt)

    def test_an_answer_alone_is_no_agreement(self, way):
        """The stronger target decides, as long as it can."""
        seen = Asked(way, agree(), {"small": ["a"], "second": [DOWN]})
        assert seen.response.target == "cloud"
        assert seen.receipt.attempts[0].because == "nobody could confirm it"

    def test_an_answer_alone_is_better_than_a_canned_one(self, way):
        """Not confirmed, but not contradicted either: the last resort before the canned reply."""
        seen = Asked(way, agree(), {"small": ["a"], "second": [DOWN], "cloud": [DOWN]})
        assert (seen.response.text, seen.response.target) == ("a", "small")

    def test_a_failure_that_ends_the_plan_ends_it_here_too(self, way):
        """`refused` is not in fallback_on: nobody else is asked."""
        seen = Asked(way, agree(), {"small": [Outage(Code.REFUSED)], "second": [Outage(Code.REFUSED)]})
        assert isinstance(seen.error, RequestError)
        assert seen.targets["cloud"].requests == []

    def test_without_its_partner_a_target_is_an_ordinary_one(self, way):
        """Where a boundary forbids the other, there is nothing to compare."""
        use = [{"agree": ["small", "cloud"]}, "sorry"]
        seen = Asked(way, use, {"small": ["a"]}, prompt="my card is 4111 1111 1111 1111")
        assert seen.response.text == "a"
        assert seen.targets["cloud"].requests == []

    def test_a_request_that_must_not_be_sent_twice_is_not_compared(self, way):
        """The one behind them answers alone."""
        seen = Asked(way, agree(), {}, safe_to_retry=False)
        assert seen.lines == [("small", "unsafe"), ("second", "unsafe"), ("cloud", "ok")]


SECRET = "\N{SNOWMAN}"


@settings(deadline=None, max_examples=40)
@given(
    streamed=st.booleans(),
    block=st.fixed_dictionaries(
        {},
        optional={
            "confidence": st.sampled_from([0.3, 0.7, 1.0]),
            "samples": st.integers(2, 4),
            "agree_with": st.just("second"),
        },
    ).filter(bool),
    drafts=st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([None, 0.1, 0.8])), min_size=1, max_size=4),
    second=st.sampled_from(["a", "b", DOWN]),
    cloud=st.sampled_from(["fine", DOWN]),
)
def test_nothing_of_a_rejected_draft_reaches_the_caller(streamed, block, drafts, second, cloud):
    """Whatever is checked and however it ends: held answers are shown whole and accepted, or not at all."""
    script = [Reply(chunks=(SECRET, text), confidence=confidence) for text, confidence in drafts]
    other = f"{SECRET}{second}" if isinstance(second, str) else second
    seen = Asked((True, streamed), accept(**block), {"small": script, "second": [other], "cloud": [cloud]})
    story = repr(seen.receipt) + repr(seen.error)
    assert SECRET not in story
    if seen.response is not None and seen.response.target == "small":
        assert SECRET in seen.response.text
        assert seen.receipt.attempts[0].code is Code.OK
    else:
        assert SECRET not in seen.shown
        assert seen.receipt.attempts[0].code is Code.UNSURE
