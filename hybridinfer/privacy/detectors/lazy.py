"""Regular expressions that are compiled when the first text needs them: most texts need few, and all take 0.15 s."""

from __future__ import annotations

import re
from typing import Any, cast


def lazy(pattern: str, flags: int = 0) -> re.Pattern[str]:
    """`re.compile(pattern, flags)`, later."""
    return cast("re.Pattern[str]", _Lazy(pattern, flags))


class _Lazy:
    def __init__(self, pattern: str, flags: int) -> None:
        self._source = pattern
        self._flags = flags

    def __getattr__(self, name: str) -> Any:
        """Only the first use of a method comes here; from then on the instance has it."""
        method = getattr(re.compile(self._source, self._flags), name)
        setattr(self, name, method)
        return method
