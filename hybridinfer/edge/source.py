"""What every way of fetching shares."""

from __future__ import annotations


class SourceFailed(Exception):
    """One source could not deliver; the message says why, without addresses or keys."""
