"""The registry: one family, one file, one line."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from ..finding import Finding
from . import cards, contact
from .view import View

FAMILIES: Mapping[str, Callable[[View], Iterable[Finding]]] = {
    "cards": cards.detect,
    "contact": contact.detect,
}
