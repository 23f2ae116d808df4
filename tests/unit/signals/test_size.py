from __future__ import annotations

import pytest

from hybridinfer.policy.model import DEFAULT_SIGNALS
from hybridinfer.signals.base import Standing
from hybridinfer.signals.size import SizeSignal
from hybridinfer.types import Image, Message, Part, Request, Text


def score(*parts: Part):
    request = Request(messages=(Message(role="user", parts=parts),))
    return SizeSignal(DEFAULT_SIGNALS["size"]).score(request, Standing())


@pytest.mark.parametrize(("words", "level"), [(5, "short"), (1_500, "medium"), (5_000, "long")])
def test_levels_follow_the_tokens(words: int, level: str) -> None:
    """A thousand tokens end the short band, four thousand the medium one."""
    assert score(Text(text="word " * words)).level == level


def test_score_is_the_documented_curve() -> None:
    """1,000 tokens score exactly one half."""
    result = score(Text(text=" word" * 993))
    assert result.score == 0.5
    assert result.because == ("1,000 tokens, counted with o200k_base",)


def test_an_estimate_is_called_one() -> None:
    """What was not counted exactly says so."""
    assert score(Image(url="https://example.com/a.png")).because[0].endswith("estimated with o200k_base")


def test_because_does_not_quote_the_request() -> None:
    """The reasons hold numbers, never content."""
    assert "swordfish" not in " ".join(score(Text(text="swordfish")).because)
