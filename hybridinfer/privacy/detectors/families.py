"""The registry: one family, one file, one line."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from ..finding import Finding
from . import (
    address,
    bank,
    birth,
    cards,
    codes,
    contact,
    credentials,
    documents,
    keys,
    names,
    national,
    network,
    passwords,
    phone,
)
from .view import View

FAMILIES: Mapping[str, Callable[[View], Iterable[Finding]]] = {
    "cards": cards.detect,
    "bank": bank.detect,
    "national": national.detect,
    "contact": contact.detect,
    "phone": phone.detect,
    "network": network.detect,
    "keys": keys.detect,
    "credentials": credentials.detect,
    "passwords": passwords.detect,
    "codes": codes.detect,
    "documents": documents.detect,
    "address": address.detect,
    "birth": birth.detect,
    "names": names.detect,
}
NUMERIC = frozenset({"cards", "national", "phone", "network", "address", "birth"})
"""What these find holds a digit."""
HINTED = frozenset({"passwords", "birth"})
"""What these find stands beside one of the `hints`."""
