"""What a detector found: a type, a place and the reason to believe it. Never the text itself."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One span of sensitive data. Safe to log: it holds no content."""

    type: str
    """What it is, such as `payment_card`; the names are listed in `detectors.TYPES`."""
    start: int
    end: int
    """Half-open, in code points of the scanned text."""
    detector: str
    """The family that found it."""
    validator: str
    """Why it is believed: a checksum (`luhn`), a `label` next to it, a vendor's `format`, ..."""
    confidence: float
    """0..1."""

    def overlaps(self, other: Finding) -> bool:
        """Whether both cover a common code point."""
        return self.start < other.end and other.start < self.end


def merge(findings: list[Finding]) -> tuple[Finding, ...]:
    """`findings` in the order of the text, overlapping ones united: the surest names it, the union is covered."""
    merged: list[Finding] = []
    for finding in sorted(findings, key=lambda f: (f.start, -f.end)):
        if not merged or not merged[-1].overlaps(finding):
            merged.append(finding)
            continue
        last = merged[-1]
        surest = max(last, finding, key=lambda f: (f.confidence, f.end - f.start))
        merged[-1] = Finding(
            type=surest.type,
            start=last.start,
            end=max(last.end, finding.end),
            detector=surest.detector,
            validator=surest.validator,
            confidence=surest.confidence,
        )
    return tuple(merged)
