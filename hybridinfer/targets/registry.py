"""Which adapter serves which kind."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, cast

from ..errors import ConfigurationError
from ..policy.names import OWN
from .base import Target, TargetContext, TargetFactory

if TYPE_CHECKING:
    from ..policy.model import Policy, TargetBlock

BUILT_IN: Mapping[str, tuple[str, str]] = {
    "anthropic": ("anthropic", "AnthropicTarget"),
    "canned": ("canned", "CannedTarget"),
    "onnx": ("onnx", "OnnxTarget"),
    "openai": ("openai", "OpenAITarget"),
}
"""Kind -> (module, class)."""

GROUP = "hybridinfer.targets"
"""The entry-point group for kinds of your own: a `TargetFactory`."""


def build(block: TargetBlock, context: TargetContext) -> Target:
    """The target of one block. Raises ConfigurationError for an unknown kind."""
    return _factory(block.kind)(block, context)


def refuse_unknown(policy: Policy, own: Mapping[str, Target]) -> None:
    """Raise ConfigurationError for names in `own` that the policy does not have."""
    unknown = sorted(set(own) - set(policy.targets))
    if unknown:
        raise ConfigurationError(
            f"targets {', '.join(unknown)} are not in policy {policy.name!r}, which has {', '.join(policy.targets)}"
        )


def _factory(kind: str) -> TargetFactory:
    if kind in BUILT_IN:
        module, name = BUILT_IN[kind]
        return cast("TargetFactory", getattr(import_module(f".{module}", __package__), name))
    for entry in entry_points(group=GROUP, name=kind):
        return cast("TargetFactory", entry.load())
    if kind == OWN:
        raise ConfigurationError("a target of kind 'own' is handed over: Router(..., targets={name: the target})")
    known = ", ".join(sorted(BUILT_IN))
    raise ConfigurationError(f"no target of kind {kind!r}; known are {known} and entry points of the group {GROUP}")
