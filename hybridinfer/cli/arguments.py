"""What the commands' arguments have in common."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

PROMPT = Parameter(allow_leading_hyphen=True)
"""A prompt may be "-" (stdin), or begin with a minus sign."""

Flag = Annotated[bool, Parameter(negative="")]
"""An option that is on or off; there is no `--no-...` of it."""
