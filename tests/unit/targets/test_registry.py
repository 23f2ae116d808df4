"""Which adapter serves which kind."""

from __future__ import annotations

import pytest

from hybridinfer.errors import ConfigurationError
from hybridinfer.policy.load import load
from hybridinfer.policy.model import TargetBlock
from hybridinfer.targets import registry
from hybridinfer.targets.base import TargetContext, TargetFailed
from hybridinfer.testing import FakeTarget

CONTEXT = TargetContext(name="one")


@pytest.mark.parametrize(
    ("kind", "more", "made"),
    [
        ("canned", {"text": "no"}, "CannedTarget"),
        ("openai", {"model": "m"}, "OpenAITarget"),
        ("anthropic", {"model": "m"}, "AnthropicTarget"),
        ("onnx", {"model": "qwen2.5-coder-0.5b"}, "OnnxTarget"),
    ],
)
def test_built_in_kinds(kind, more, made):
    """One adapter each, under the policy's name."""
    target = registry.build(TargetBlock(kind=kind, **more), CONTEXT)
    assert type(target).__name__ == made
    assert (target.info.name, target.info.kind) == ("one", kind)


def test_installed_kinds(monkeypatch):
    """By entry point."""

    class Entry:
        def load(self):
            return lambda _block, context: FakeTarget(context.name)

    monkeypatch.setattr(registry, "entry_points", lambda group, name: [Entry()] if name == "mine" else [])
    assert registry.build(TargetBlock(kind="mine"), CONTEXT).info.name == "one"


def test_unknown_kinds_are_told():
    """With what there is."""
    with pytest.raises(ConfigurationError, match="no target of kind 'gemini'; known are anthropic, canned, onnx"):
        registry.build(TargetBlock(kind="gemini"), CONTEXT)


def test_a_target_of_ones_own_must_be_handed_over():
    """The kind `own` says that the program brings it."""
    with pytest.raises(ConfigurationError, match="a target of kind 'own' is handed over"):
        registry.build(TargetBlock(kind="own"), CONTEXT)


def test_overrides_must_be_in_the_policy():
    """A misspelt one would leave the real target in place."""
    policy = load(
        {
            "version": 1,
            "targets": {"sorry": {"kind": "canned", "text": "no"}},
            "rules": [{"name": "all", "use": "sorry"}],
        }
    )
    registry.refuse_unknown(policy, {"sorry": FakeTarget("sorry")})
    with pytest.raises(ConfigurationError, match="targets sory are not in policy 'policy', which has sorry"):
        registry.refuse_unknown(policy, {"sory": FakeTarget("sory")})


def test_a_failure_reads_well():
    """Code and reason."""
    from hybridinfer.receipt import Code

    assert str(TargetFailed(Code.TIMEOUT)) == "timeout"
    assert str(TargetFailed(Code.TIMEOUT, "too slow")) == "timeout: too slow"
