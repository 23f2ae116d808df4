"""A prompt that cannot be counted in time costs the caller the deadline at most, and nobody any money."""

from __future__ import annotations

import threading

import pytest

from hybridinfer import AsyncRouter, BadRequestError
from hybridinfer.planning import INLINE_CHARACTERS
from hybridinfer.receipt import Reason
from hybridinfer.testing import FakeTarget

pytestmark = pytest.mark.anyio

LONG = "word " * INLINE_CHARACTERS
TARGETS = {
    "cloud": {"kind": "openai", "model": "m", "price": {"input": 1, "output": 1}},
    "local": {"kind": "onnx", "model": "m", "context_window": 100},
    "sorry": {"kind": "canned", "text": "later"},
}


class Slow(FakeTarget):
    """Counts for as long as it is not let go."""

    def __init__(self, name, go_on, **options):
        super().__init__(name, context_window=100, **options)
        self._go_on = go_on

    def count_tokens(self, request):
        """After everybody else."""
        self._go_on.wait(60)
        return 1


def slow(go_on):
    return {"cloud": Slow("cloud", go_on), "local": Slow("local", go_on, zone="device")}


async def test_the_canned_reply_answers_in_time():
    """Nothing is called that nobody could count for."""
    policy = {"version": 1, "targets": TARGETS, "rules": [{"name": "all", "use": ["cloud", "local", "sorry"]}]}
    go_on = threading.Event()
    targets = slow(go_on)
    async with AsyncRouter(policy, targets=targets) as router:
        response = await router.complete(LONG, timeout=0.2)
        go_on.set()
    assert response.target == "sorry"
    assert {removal.reason for removal in response.receipt.decision.removed} == {Reason.CONTEXT}
    assert response.receipt.decision.levels.keys() == response.receipt.decision.scores.keys()
    assert targets["cloud"].requests == targets["local"].requests == []


async def test_without_one_the_error_says_why():
    """The prompt is too long for so little time."""
    policy = {"version": 1, "targets": TARGETS, "rules": [{"name": "all", "use": ["cloud", "local"]}]}
    go_on = threading.Event()
    async with AsyncRouter(policy, targets=slow(go_on)) as router:
        with pytest.raises(BadRequestError, match="too long to be counted in time"):
            await router.complete(LONG, timeout=0.2)
        go_on.set()
