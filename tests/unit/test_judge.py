"""A judge is asked one question after the other, and each counts for itself."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hybridinfer import AsyncRouter
from hybridinfer.testing import FakeTarget

POLICY = {
    "version": 1,
    "targets": {name: {"kind": "onnx", "model": "m"} for name in ("a", "b", "c", "judge")}
    | {"sorry": {"kind": "canned", "text": "no"}},
    "rules": [{"name": "all", "use": [{"agree": ["a", "b", "c"], "judge": "model", "by": "judge"}, "sorry"]}],
}


@pytest.mark.anyio
async def test_each_question_to_a_judge_has_a_key_of_its_own():
    """With one idempotency key for both, a server may repeat its first answer: an agreement that nobody looked at."""
    said = {"a": "one", "b": "1st", "c": "two", "judge": "yes"}
    targets = {name: FakeTarget(name, zone="device", script=(text,)) for name, text in said.items()}
    targets["judge"].info = replace(targets["judge"].info, idempotent=True)
    async with AsyncRouter(POLICY, targets=targets) as router:
        response = await router.complete("hello")
    first, second = targets["judge"].requests
    assert first.messages != second.messages
    assert first.idempotency_key != second.idempotency_key
    assert response.target == "a"
