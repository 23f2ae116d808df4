"""Hybrid edge/cloud LLM routing: a small model on this machine first, a cloud where it pays, an answer always.

    from hybridinfer import Router

    with Router.from_policy("policies/default.yaml") as router:
        print(router.complete("Summarise: ...").text)

Names are loaded at first use (PEP 562), so importing this package costs almost nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from ._version import __version__

if TYPE_CHECKING:
    from .async_router import AsyncRouter, AsyncStream
    from .errors import (
        AllTargetsFailed,
        APITimeoutError,
        AuthenticationError,
        BadRequestError,
        BudgetExceeded,
        ConfigurationError,
        ContentRefused,
        HybridinferError,
        ModelCorrupt,
        ModelError,
        ModelNotFound,
        PolicyError,
        PrivacyViolation,
        Problem,
        RateLimitError,
        RequestError,
        StreamInterrupted,
    )
    from .observe.hooks import Hook
    from .policy.load import load as load_policy
    from .policy.model import Policy
    from .receipt import Attempt, Code, Decision, Reason, Receipt, Removal
    from .resilience.breaker import Health
    from .router import Router, Stream
    from .types import (
        End,
        File,
        Image,
        Message,
        Opaque,
        Request,
        Reset,
        Response,
        ResponseFormat,
        Start,
        StreamEvent,
        Text,
        TextDelta,
        TokenLogprob,
        Tool,
        ToolCall,
        ToolCallDelta,
        ToolChoice,
        ToolResult,
        Usage,
    )

__all__ = [
    "APITimeoutError",
    "AllTargetsFailed",
    "AsyncRouter",
    "AsyncStream",
    "Attempt",
    "AuthenticationError",
    "BadRequestError",
    "BudgetExceeded",
    "Code",
    "ConfigurationError",
    "ContentRefused",
    "Decision",
    "End",
    "File",
    "Health",
    "Hook",
    "HybridinferError",
    "Image",
    "Message",
    "ModelCorrupt",
    "ModelError",
    "ModelNotFound",
    "Opaque",
    "Policy",
    "PolicyError",
    "PrivacyViolation",
    "Problem",
    "RateLimitError",
    "Reason",
    "Receipt",
    "Removal",
    "Request",
    "RequestError",
    "Reset",
    "Response",
    "ResponseFormat",
    "Router",
    "Start",
    "Stream",
    "StreamEvent",
    "StreamInterrupted",
    "Text",
    "TextDelta",
    "TokenLogprob",
    "Tool",
    "ToolCall",
    "ToolCallDelta",
    "ToolChoice",
    "ToolResult",
    "Usage",
    "__version__",
    "load_policy",
]

_HOMES = {
    "async_router": ("AsyncRouter", "AsyncStream"),
    "observe.hooks": ("Hook",),
    "policy.model": ("Policy",),
    "receipt": ("Attempt", "Code", "Decision", "Reason", "Receipt", "Removal"),
    "resilience.breaker": ("Health",),
    "router": ("Router", "Stream"),
    "types": (
        "End",
        "File",
        "Image",
        "Message",
        "Opaque",
        "Request",
        "Reset",
        "Response",
        "ResponseFormat",
        "Start",
        "StreamEvent",
        "Text",
        "TextDelta",
        "TokenLogprob",
        "Tool",
        "ToolCall",
        "ToolCallDelta",
        "ToolChoice",
        "ToolResult",
        "Usage",
    ),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    if name == "load_policy":
        value: object = import_module(".policy.load", __name__).load
    elif name in _HOME_OF:
        value = getattr(import_module(f".{_HOME_OF[name]}", __name__), name)
    elif name in __all__:
        value = getattr(import_module(".errors", __name__), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
