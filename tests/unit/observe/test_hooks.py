"""Receipts are logged in one line and told to every hook."""

from __future__ import annotations

import logging

from hybridinfer.observe.hooks import UNWATCHED, tell, watched, watching
from hybridinfer.receipt import Attempt, Code, Receipt


class Hook:
    def __init__(self):
        self.seen = []

    def on_receipt(self, receipt):
        self.seen.append(receipt)


class Broken:
    def on_receipt(self, receipt):
        raise KeyError("details")


def receipt(*codes, target=None):
    attempts = tuple(Attempt(target="cloud", number=1, code=code) for code in codes)
    return Receipt(id="id1", policy="p", target=target, rung=1 if target else None, attempts=attempts, seconds=0.5)


def test_every_hook_is_told(caplog):
    """Even after one that raises, whose text stays out of the log."""
    first, last, one = Hook(), Hook(), receipt(Code.OK, target="cloud")
    tell(one, [first, Broken(), last])
    assert first.seen == last.seen == [one]
    assert "hook Broken raised KeyError" in caplog.text
    assert "details" not in caplog.text


def test_watchers_see_every_router():
    """As long as they watch, and by the policy; who must not be watched is not."""
    own, theirs, policies = Hook(), Hook(), []
    with watching(lambda policy: policies.append(policy) or theirs):
        assert watched("a policy", [own]) == (own, theirs)
        assert watched("another", [own, UNWATCHED]) == (own, UNWATCHED)
    assert watched("a third", [own]) == (own,)
    assert policies == ["a policy"]
    UNWATCHED.on_receipt(receipt(Code.OK))


def test_an_answer_is_one_line(caplog):
    """Who, on which rung, how long, for how much."""
    with caplog.at_level(logging.INFO, "hybridinfer.requests"):
        tell(receipt(Code.OK, target="cloud"), [])
    assert [r.getMessage() for r in caplog.records] == ["id1: cloud answered on rung 1 in 0.500 s for $0"]


def test_answers_are_quiet_by_default(caplog):
    """Nothing below INFO's threshold is even formatted."""
    with caplog.at_level(logging.WARNING, "hybridinfer.requests"):
        tell(receipt(Code.OK, target="cloud"), [])
    assert caplog.records == []


def test_nobody_answered_is_a_warning(caplog):
    """With the last code."""
    tell(receipt(Code.TIMEOUT), [])
    assert [(r.levelname, r.getMessage()) for r in caplog.records] == [("WARNING", "id1: nobody answered (timeout)")]


def test_a_bad_key_is_loud(caplog):
    """An error, even when somebody else answered."""
    tell(receipt(Code.UNAUTHORIZED, Code.OK, target="other"), [])
    assert [(r.levelname, r.getMessage()) for r in caplog.records] == [
        ("ERROR", "target cloud: unauthorized; the key must be mended")
    ]
