"""Addresses of machines and places: IP, MAC, coordinates. Private and documentation ranges are nobody's."""

from __future__ import annotations

import ipaddress
import re
from bisect import bisect_right
from collections.abc import Iterator

from ..finding import Finding
from .hints import hints
from .lazy import lazy
from .view import View, around

_IPV4 = lazy(r"[0-9](?<![\w.][0-9])(?:[0-9]{0,2}\.)(?:[0-9]{1,3}\.){2}[0-9]{1,3}(?![0-9A-Za-z_]|\.[0-9])", re.ASCII)
_IPV6 = lazy(r"[0-9a-fA-F:](?<![\w:][0-9a-fA-F:])[0-9a-fA-F]{0,4}:(?:[0-9a-fA-F]{0,4}:){1,6}[0-9a-fA-F]{0,4}(?![\w:])")
_MAC = lazy(
    r"[0-9a-fA-F](?<![\w:.-].)[0-9a-fA-F](?:([:-])[0-9a-fA-F]{2}(?:\1[0-9a-fA-F]{2}){4}|[0-9a-fA-F]{2}\.[0-9a-fA-F]{4}\.[0-9a-fA-F]{4})(?![\w:-])"
)
_QUADS = lazy(r"\.[0-9]{1,3}\.[0-9]{1,3}")
_COLONS = lazy(r":[0-9a-fA-F]{0,4}:[0-9a-fA-F:]")
_HYPHENS = lazy(r"-[0-9a-fA-F]{2}-[0-9a-fA-F]{2}-[0-9a-fA-F]{2}-")
_DOTS = lazy(r"\.[0-9a-fA-F]{4}\.")
_DEGREES = lazy(r"\.[0-9]{4}")
_VERSION = lazy(r"(?:version|ver|v|release|build|section|chapter|§)[ .:=]*$|\b(?:up|down)grad|\bupdat|\bmigrat")
_MAC_HINTS = hints(
    "mac ",
    "mac:",
    "mac=",
    "mac-",
    "hwaddr",
    "hw addr",
    "bssid",
    "physical addr",
    "ethernet",
    "hardware addr",
)
_BARE_MAC = lazy(
    r"\b(?:mac|hwaddr|hw addr|bssid|physical addr|ethernet|hardware addr)(?:ess)?(?: addr(?:ess)?)?(?: is)?[\s:=#\"']{1,4}([0-9a-f]{12})(?![\w])"
)
_GEO = lazy(
    r"[-+]?[0-9](?<![\w.][-+0-9])[0-9]{0,2}\.[0-9]{4,15}°?\s?[NSns]?\s?[,;/]\s?(?:[\"']?lo?ng?(?:itude)?[\"']?[:=\s]{1,3})?[-+]?[0-9]{1,3}\.[0-9]{4,15}(?![0-9])"
)
_GEO_CUE = lazy(
    r"lat|lon|lng|gps|geo|coord|location|position|located|live|home|map|standort|ubicaci|posizione|position"
)
_NOBODYS = tuple(
    map(
        ipaddress.ip_network,
        (
            *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
            *("192.168.0.0/16", "192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "255.0.0.0/8"),
            *("1.1.1.1/32", "1.0.0.1/32", "8.8.8.8/32", "8.8.4.4/32", "9.9.9.9/32"),
            *("::/127", "fc00::/7", "fe80::/10", "ff00::/8", "2001:db8::/32"),
        ),
    )
)
"""Private, documentation and multicast ranges, netmasks, public resolvers: they tell nothing of a person."""
_RANGES = {
    version: sorted(
        (int(net.network_address), int(net.broadcast_address)) for net in _NOBODYS if net.version == version
    )
    for version in (4, 6)
}
"""The same by version, as first and last number, for a search by halves."""
_STARTS = {version: [first for first, _ in ranges] for version, ranges in _RANGES.items()}
_CUE = lazy(r"\bip\b|addr|host|server|client|login|logged|from|src|source|remote|node|ping|connect|network")


def detect(view: View) -> Iterator[Finding]:
    """Public addresses of machines, hardware addresses and exact coordinates."""
    if not view.has_digit:
        return
    if _QUADS.search(view.text):
        for match in _IPV4.finditer(view.text):
            if _is_public(match[0]) and not _is_version(view, match):
                yield _finding("ip_address", match, "format", 0.85)
    has_colons = _COLONS.search(view.text) is not None
    if has_colons:
        for match in _IPV6.finditer(view.text):
            if len(match[0]) >= 6 and _is_public(match[0]):
                yield _finding("ip_address", match, "format", 0.85)
    if has_colons or _HYPHENS.search(view.text) or _DOTS.search(view.text):
        for match in _MAC.finditer(view.text):
            if len(set(match[0].lower()) - set(":-.")) > 2:
                yield _finding("mac_address", match, "format", 0.9)
    for start, end in around(view.lower, view.hints & _MAC_HINTS, before=2, after=60):
        for match in _BARE_MAC.finditer(view.lower, start, end):
            if any(map(str.isdecimal, match[1])) and len(set(match[1])) > 2:
                yield Finding(
                    type="mac_address",
                    start=match.start(1),
                    end=match.end(1),
                    detector="network",
                    validator="label",
                    confidence=0.8,
                )
    if _DEGREES.search(view.text):
        for match in _GEO.finditer(view.text):
            if view.before(match.start(), _GEO_CUE, width=60) or _GEO_CUE.search(
                view.lower, match.end(), match.end() + 30
            ):
                yield _finding("geo", match, "label", 0.7)


def _is_public(text: str) -> bool:
    try:
        address = ipaddress.IPv6Address(text) if ":" in text else ipaddress.IPv4Address(text)
    except ValueError:
        return False
    if address.version == 6 and not any(map(str.isdecimal, text)):
        return False
    if text.endswith(".0"):
        return False
    number, ranges = int(address), _RANGES[address.version]
    at = bisect_right(_STARTS[address.version], number) - 1
    return at < 0 or number > ranges[at][1]


def _is_version(view: View, match: re.Match[str]) -> bool:
    """`1.4.12.3` may be a release: small numbers need a word that speaks of machines."""
    if view.before(match.start(), _VERSION, width=24):
        return True
    return max(map(int, match[0].split("."))) < 30 and not view.before(match.start(), _CUE)


def _finding(kind: str, match: re.Match[str], validator: str, confidence: float) -> Finding:
    return Finding(
        type=kind, start=match.start(), end=match.end(), detector="network", validator=validator, confidence=confidence
    )
