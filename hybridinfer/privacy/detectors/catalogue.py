"""Every type of finding, and what it weighs: 0.6 contact data, 0.8 identity and money, 1.0 secrets."""

from __future__ import annotations

from collections.abc import Mapping

CONTACT = ("email", "phone", "address", "ip_address", "mac_address", "geo", "date_of_birth")
IDENTITY = (
    "payment_card",
    "iban",
    "bank_account",
    "crypto_wallet",
    "national_id",
    "tax_id",
    "passport",
    "driver_licence",
    "medical_id",
    "other_id",
    "own_term",
    "own_pattern",
)
SECRET = ("credential", "password", "private_key", "connection_string", "unscanned")
"""`unscanned`: a detector failed or ran out of time, so anything may be there."""
COMPANION = frozenset({"person_name"})
"""Never decides a route; masked when it stands next to something that does."""

SCORES: Mapping[str, float] = {
    **dict.fromkeys(CONTACT, 0.6),
    **dict.fromkeys(IDENTITY, 0.8),
    **dict.fromkeys(SECRET, 1.0),
    **dict.fromkeys(COMPANION, 0.0),
}
TYPES = tuple(sorted(SCORES))
