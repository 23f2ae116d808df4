"""Every kind of request a policy can tell apart, as sets that are as cheap as numbers.

A dimension is a signal that some condition tests (its levels), a tag (its tested values and 'anything else') or
a need (absent or present). A set of combinations is an int with one bit for each, so that a condition over
200,000 combinations is a handful of machine-fast operations, and first-match-wins is one subtraction per rule.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import chain
from math import prod
from operator import or_
from typing import TYPE_CHECKING

from .decide import limit

if TYPE_CHECKING:
    from .model import Policy, When

MAX_COMBINATIONS = 200_000

OTHER = "(any other)"
"""Stands for every value of a tag that the policy never names, and for its absence."""


class TooManyCombinations(Exception):
    """The policy tells more combinations apart than can be tried. `count` is how many."""

    def __init__(self, count: int) -> None:
        super().__init__(f"{count} combinations")
        self.count = count


@dataclass(frozen=True, slots=True, kw_only=True)
class Dimension:
    """One thing that conditions test. `kind` is signal, tag or need."""

    kind: str
    name: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One combination: what `decide` is asked with."""

    levels: dict[str, str]
    needs: frozenset[str]
    tags: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one rule gives to the combinations in `bits`: the targets on its ladder, and those that see it masked."""

    rule: int
    ladder: tuple[str, ...]
    masked: frozenset[str]
    bits: int


class Space:
    """All combinations that these policies tell apart together."""

    def __init__(self, *policies: Policy) -> None:
        self.policies = policies
        self.dimensions = tuple(_dimensions(policies))
        self.size = prod(len(dimension.values) for dimension in self.dimensions)
        if self.size > MAX_COMBINATIONS:
            raise TooManyCombinations(self.size)
        self.everything = (1 << self.size) - 1
        self._atoms: dict[tuple[str, str], dict[str, int]] = {}
        stride = 1
        for dimension in self.dimensions:
            period = stride * len(dimension.values)
            comb = self.everything // ((1 << period) - 1)  # one bit at the start of each period
            band = (1 << stride) - 1
            self._atoms[dimension.kind, dimension.name] = {
                value: comb * (band << (i * stride)) for i, value in enumerate(dimension.values)
            }
            stride = period

    def where(self, when: When) -> int:
        """The combinations in which a condition holds."""
        found = self.everything
        for signal, levels in when.levels.items():
            found &= self._any("signal", signal, levels)
        for tag, values in when.tags.items():
            found &= self._any("tag", tag, values)
        if when.needs:
            found &= reduce(or_, (self._atoms["need", need]["yes"] for need in when.needs))
        return found

    def shares(self, policy: Policy) -> list[int]:
        """For each rule the combinations it decides: where it matches and none before it does; last, the rest."""
        left, shares = self.everything, list[int]()
        for rule in policy.rules:
            share = left & self.where(rule.when) if left else 0
            shares.append(share)
            left ^= share
        return [*shares, left]

    def limits(self, policy: Policy) -> dict[str, tuple[int, int]]:
        """For each target where it is forbidden, and where it is allowed only masked."""
        limits = {}
        bound = [(boundary, self.where(boundary.when)) for boundary in policy.boundaries]
        for name, block in policy.targets.items():
            verdicts = [(limit(boundary, name, block), where) for boundary, where in bound]
            never = reduce(or_, (where for verdict, where in verdicts if verdict == "never"), 0)
            masked = reduce(or_, (where for verdict, where in verdicts if verdict == "masked"), 0)
            limits[name] = never, masked & ~never
        return limits

    def outcomes(self, policy: Policy) -> list[Outcome]:
        """Rule after rule, what each gives and to whom; the same ladder of one rule is one outcome."""
        found: dict[tuple[int, tuple[str, ...], frozenset[str]], int] = {}
        limits = self.limits(policy)
        for i, (rule, share) in enumerate(zip(policy.rules, self.shares(policy), strict=False)):
            for part in partition(share, [cut for name in rule.use for cut in limits[name] if cut]):
                ladder = tuple(name for name in rule.use if not limits[name][0] & part)
                key = i, ladder, frozenset(name for name in ladder if limits[name][1] & part)
                found[key] = found.get(key, 0) | part
        return [Outcome(rule=i, ladder=ladder, masked=seen, bits=bits) for (i, ladder, seen), bits in found.items()]

    def first(self, bits: int) -> Point:
        """One combination of a set that is not empty."""
        index = (bits & -bits).bit_length() - 1
        levels = {name: next(iter(block.levels)) for policy in self.policies for name, block in policy.signals.items()}
        needs, tags = set[str](), dict[str, str]()
        for dimension in self.dimensions:
            index, at = divmod(index, len(dimension.values))
            value = dimension.values[at]
            if dimension.kind == "signal":
                levels[dimension.name] = value
            elif dimension.kind == "need" and value == "yes":
                needs.add(dimension.name)
            elif dimension.kind == "tag" and value != OTHER:
                tags[dimension.name] = value
        return Point(levels=levels, needs=frozenset(needs), tags=tags)

    def describe(self, bits: int) -> dict[str, tuple[str, ...]]:
        """The values that occur in a set, by dimension; those in which all values occur are left out."""
        seen = {}
        for dimension in self.dimensions:
            atoms = self._atoms[dimension.kind, dimension.name]
            values = tuple(value for value in dimension.values if atoms[value] & bits)
            if len(values) < len(dimension.values):
                seen[title(dimension)] = values
        return seen

    def boxes(self, bits: int) -> list[dict[str, tuple[str, ...]]]:
        """The set as a union of disjoint boxes, each described exactly."""
        return [self.describe(box) for box in self._split(bits, self.everything, 0)]

    def level(self, signal: str, level: str) -> int:
        """The combinations with this level; all of them, where no condition tests the signal."""
        return self._atoms.get(("signal", signal), {}).get(level, self.everything)

    def _any(self, kind: str, name: str, values: Sequence[str]) -> int:
        atoms = self._atoms[kind, name]
        return reduce(or_, (atoms[value] for value in values if value in atoms), 0)

    def _split(self, bits: int, box: int, depth: int) -> list[int]:
        """Cut along one dimension after the other, keeping values together that look alike from there on."""
        bits &= box
        if not bits:
            return []
        if bits == box or depth == len(self.dimensions):
            return [box]
        dimension = self.dimensions[-1 - depth]
        atoms = self._atoms[dimension.kind, dimension.name]
        alike: dict[int, int] = {}
        stride = prod(len(each.values) for each in self.dimensions[: len(self.dimensions) - 1 - depth])
        for i, value in enumerate(dimension.values):
            shape = (bits & atoms[value]) >> (i * stride)
            alike[shape] = alike.get(shape, 0) | atoms[value]
        return list(chain.from_iterable(self._split(bits, box & part, depth + 1) for part in alike.values()))


def title(dimension: Dimension) -> str:
    """How a dimension is called in tables: a signal by its name, others with their kind."""
    return dimension.name if dimension.kind == "signal" else f"{dimension.kind} {dimension.name}"


def partition(whole: int, cuts: Sequence[int]) -> list[int]:
    """The parts of a set inside of which every cut holds everywhere or nowhere."""
    parts = [whole] if whole else []
    for cut in cuts:
        parts = [piece for part in parts for piece in (part & cut, part & ~cut) if piece]
    return parts


def _dimensions(policies: Sequence[Policy]) -> Iterator[Dimension]:
    conditions = [block.when for policy in policies for block in policy.boundaries]
    conditions += [block.when for policy in policies for block in policy.rules]
    tested = {signal for when in conditions for signal in when.levels}
    signals = {name: None for policy in policies for name in policy.signals if name in tested}
    for name in signals:
        blocks = [policy.signals[name] for policy in policies if name in policy.signals]
        yield Dimension(kind="signal", name=name, values=tuple(dict.fromkeys(chain(*(b.levels for b in blocks)))))
    tags: dict[str, dict[str, None]] = {}
    for when in conditions:
        for tag, values in when.tags.items():
            tags.setdefault(tag, {}).update(dict.fromkeys(values))
    for tag, known in tags.items():
        yield Dimension(kind="tag", name=tag, values=(*known, OTHER))
    for need in sorted({need for when in conditions for need in when.needs}):
        yield Dimension(kind="need", name=need, values=("no", "yes"))
