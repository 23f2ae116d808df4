"""What the commands' arguments have in common."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from .terminal import UsageError

PROMPT = Parameter(allow_leading_hyphen=True)
"""A prompt may be "-" (stdin), or begin with a minus sign."""

Flag = Annotated[bool, Parameter(negative="")]
"""An option that is on or off; there is no `--no-...` of it."""


def part(text: str) -> float:
    """What `--cloud-share` says: 30% or 0.3. Raises UsageError."""
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise UsageError(f"--cloud-share {text}: write it as 30% or 0.3")
    return share
