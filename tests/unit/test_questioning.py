"""Questions with known answers are asked on this machine only."""

from __future__ import annotations

import pytest

from hybridinfer.edge.calibrate import Question
from hybridinfer.questioning import ask_all
from hybridinfer.receipt import Code
from hybridinfer.targets.base import TargetFailed
from hybridinfer.testing import FakeTarget, Outage, Reply
from hybridinfer.types import TextDelta, TokenLogprob

pytestmark = pytest.mark.anyio

QUESTIONS = [Question(ask="One and one?", answers=("2",)), Question(ask="Two and two?", answers=("4",))]


class Sure(FakeTarget):
    """Says how likely each of its tokens was."""

    async def stream(self, request, *, stream):
        """Always two."""
        self.requests.append(request)
        async for event in FakeTarget("x", script=[Reply(chunks=("2",))]).stream(request, stream=stream):
            likely = (TokenLogprob(token="2", logprob=-0.1, entropy=0.2),)
            yield TextDelta(text=event.text, logprobs=likely) if isinstance(event, TextDelta) else event


async def test_answers_are_labelled():
    """In the order of the questions, whoever ends first."""
    told = []
    answers = await ask_all(Sure("local", zone="device"), QUESTIONS, told=told.append)
    assert [(label.right, text) for label, text in answers] == [(True, "2"), (False, "2")]
    assert told == [1, 2]


async def test_nothing_said_is_wrong():
    """And there is nothing to look at."""
    [(label, text), _] = await ask_all(FakeTarget("local", zone="device", script=[Reply(chunks=())]), QUESTIONS)
    assert (label.right, text) == (False, "")


async def test_a_target_elsewhere_is_not_asked():
    """The lock says no, before the first byte."""
    cloud = FakeTarget("cloud")
    with pytest.raises(TargetFailed) as raised:
        await ask_all(cloud, QUESTIONS)
    assert raised.value.code is Code.FORBIDDEN
    assert cloud.requests == []


async def test_a_failure_is_raised():
    """A map of half the questions would be worth nothing."""
    with pytest.raises(TargetFailed, match="scripted outage"):
        await ask_all(FakeTarget("local", zone="device", script=[Outage(Code.UNAVAILABLE)]), QUESTIONS, parallel=1)
