"""What makes a value look like a secret, or like the stand-in for one."""

from __future__ import annotations

import re
from collections import Counter
from math import log2

from .lazy import lazy

_STAND_IN = lazy(
    r"[xX*.•_#?y-]{3,}|<.*>|\$\{.*|\$[A-Za-z_]\w*|%\w+%?|\{.*\}|\[.*\]?"
    r"|(?:your|my|the|some|insert|enter|replace|put|add|paste|change)(?:[-_ ]?(?:own|me|this|here|real|super|very))*[-_ ]?(?:api|secret|access|auth|private|db|database|app|client|user|admin|root|new|old|strong|secure|password|passwd|pwd|pass|key|token|value|here|id)?(?:[-_ ]?\w+)?"
    r"|(?:example|sample|dummy|fake|placeholder|redacted|hidden|masked|removed|secret|changeme|change_me|todo|tbd|null|none|nil|true|false|undefined|string|required|optional|default|test|testing|foo|bar|baz|foobar|n/?a|empty|unknown|value|password|passwd|pwd|pass|passphrase|token|apikey|api[-_]key|key|username|user|str|int|bool|type|text|object|array)(?:[-_ ]?(?:here|value|key|token|password|secret|string|example|\d{1,3}))*",
    re.IGNORECASE,
)
_LONGEST_STAND_IN = 64
_MARKS = (
    "xxxx",
    "****",
    "....",
    "...",
    "${",
    "{{",
    "%(",
    "#{",
    "<",
    ">",
    "your_",
    "your-",
    "_here",
    "-here",
    "example",
    "placeholder",
    "redacted",
    "dummy",
    "changeme",
    "abcdefghij",
    "0123456789abc",
)


def entropy(value: str) -> float:
    """Shannon entropy of the characters, bits per character."""
    size = len(value)
    return -sum(count / size * log2(count / size) for count in Counter(value).values())


def is_placeholder(value: str) -> bool:
    """Whether `value` only stands where a secret would: `XXXX`, `${TOKEN}`, `your-key-here`, `<password>`."""
    lower = value.lower()
    if len(value) > _LONGEST_STAND_IN:
        return any(mark in lower for mark in _MARKS)
    return (
        len(set(value)) < 3
        or value.endswith("..")
        or any(mark in lower for mark in _MARKS)
        or _STAND_IN.fullmatch(value) is not None
    )
