"""Policies that need no network, and a stdin to write to."""

from __future__ import annotations

import io
import sys

import pytest

CANNED = """
version: 1
name: fixed
targets:
  sorry: {kind: canned, text: "A fixed reply."}
  cloud: {kind: openai, model: gpt-6-luna}
boundaries:
  - {name: stays, when: {privacy: [personal, secret]}, cloud: never}
rules:
  - {name: team a, when: {tags: {team: a}}, use: [sorry]}
  - {name: all, use: [sorry, cloud]}
"""
DEAD = """
version: 1
targets:
  cloud: {kind: openai, model: gpt-6-luna}
rules:
  - {name: all, use: [cloud]}
"""
FALLING = """
version: 1
targets:
  cloud: {kind: openai, model: gpt-6-luna}
  sorry: {kind: canned, text: "A fixed reply."}
rules:
  - {name: all, use: [cloud, sorry]}
"""


@pytest.fixture
def write(tmp_path):
    """Write a policy file and return its path."""

    def write(text, name="policy.yaml"):
        file = tmp_path / name
        file.write_text(text)
        return file

    return write


@pytest.fixture
def policy(write):
    """A canned reply before a cloud without a key."""
    return write(CANNED)


@pytest.fixture
def dead_policy(write):
    """A cloud without a key, and nothing after it."""
    return write(DEAD, "dead.yaml")


@pytest.fixture
def falling_policy(write):
    """A cloud without a key, then a canned reply."""
    return write(FALLING, "falling.yaml")


@pytest.fixture
def stdin(monkeypatch):
    """Put a text into stdin."""
    return lambda text: monkeypatch.setattr(sys, "stdin", io.StringIO(text))
