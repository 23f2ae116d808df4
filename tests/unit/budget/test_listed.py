"""The index of priced models: fresh, true, and silent where it cannot know."""

from __future__ import annotations

import pytest

from hybridinfer.budget import listed
from hybridinfer.policy.model import TargetBlock


@pytest.fixture(autouse=True)
def _forget():
    """Each test reads the index anew."""
    listed._index.cache_clear()
    yield
    listed._index.cache_clear()


def block(**more):
    """A target of OpenAI's with a listed model."""
    return TargetBlock.model_validate({"kind": "openai", "model": "gpt-6-luna", **more})


def test_the_index_is_what_the_list_says():
    """Regenerating the file changes nothing; if it does: python -m hybridinfer.budget.listed."""
    assert listed.FILE.read_text(encoding="utf-8") == listed.made()


def test_a_listed_model_is_priced():
    """The vendor's own model at the vendor is certain."""
    assert listed.certainly_priced(block())


def test_a_target_on_this_machine_is_priced_without_any_list(monkeypatch):
    """What runs here is free, or priced by the policy itself."""
    monkeypatch.setattr(listed, "_digest", lambda: "another")
    assert listed.certainly_priced(block(kind="onnx", model="some-model"))


def test_a_lifted_limit_has_no_certain_price_even_here():
    """`extra_body` may hold what no price can make up for: that is for the tariffs to say."""
    options = {"extra_body": {"n": 3}}
    assert not listed.certainly_priced(block(kind="onnx", model="some-model", options=options))


@pytest.mark.parametrize("more", [{"model": "gpt-nobody-knows"}, {"base_url": "https://api.example.com"}])
def test_it_says_nothing_of_others(more):
    """An unknown model and somebody else's server are questions for the list itself."""
    assert not listed.certainly_priced(block(**more))


def test_another_price_list_makes_it_silent(monkeypatch):
    """After an update of genai-prices the index is not believed."""
    monkeypatch.setattr(listed, "_digest", lambda: "another")
    assert not listed.certainly_priced(block())


def test_a_missing_price_list_makes_it_silent(monkeypatch):
    """Where the list's file cannot be seen, nothing is certain."""
    monkeypatch.setattr(listed, "find_spec", lambda _: None)
    assert not listed.certainly_priced(block())
