"""One file per family of sensitive data; this one runs them all and fails closed."""

from __future__ import annotations

from .catalogue import COMPANION, SCORES, TYPES
from .own import Own
from .scanner import Scanner, scan

__all__ = ["COMPANION", "SCORES", "TYPES", "Own", "Scanner", "scan"]
