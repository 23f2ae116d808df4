"""What the demo plays on: the policy, the clouds (real, or the emulator), the local models, and their failures."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...budget.prices import PriceBook
from ...edge.catalogue import find
from ...errors import ModelError
from ...policy.check import VENDOR_KEYS
from ...policy.model import Policy, Price, TargetBlock, zone_of
from ...types import Usage

if TYPE_CHECKING:
    from ...edge.catalogue import Model
    from ...edge.store import Store

NO_SECRET = "demo"  # noqa: S105 - the emulator takes any key
SMALLER = "smollm2-135m"
"""Taken when a model of the policy cannot be had."""

Pull = Callable[["Store", "Model"], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """The policy and the environment that one act of the demo runs with."""

    policy: Policy
    environ: Mapping[str, str]
    emulated: frozenset[str] = frozenset()
    """Clouds that the emulator plays."""
    notes: tuple[str, ...] = ()
    """What is not as the policy has it, in words for the reader."""
    problems: Mapping[str, str] = field(default_factory=dict[str, str])
    """Local target -> why it cannot answer."""

    @property
    def clouds(self) -> tuple[str, ...]:
        """The targets on other people's machines."""
        return tuple(name for name, block in self.policy.targets.items() if zone_of(block) == "cloud")

    @property
    def locals(self) -> tuple[str, ...]:
        """The targets that run a model in this process."""
        return tuple(name for name, block in self.policy.targets.items() if block.kind == "onnx")

    def without_key(self) -> tuple[str, ...]:
        """The clouds that an emulator can play and whose key is not there."""
        blocks = self.policy.targets
        return tuple(n for n in self.clouds if blocks[n].kind in VENDOR_KEYS and not self.environ.get(_key(blocks[n])))

    def emulate(self, names: tuple[str, ...], urls: Mapping[str, str]) -> Stage:
        """The same stage with the clouds `names` played by an emulator; `urls` is its base URL for each kind.

        Each keeps the list price of the model that it stands for: the price list knows no loopback addresses.
        """
        prices = {name: price for name in names if (price := list_price(self.policy, name)) is not None}
        moved = self._at(names, urls)
        policy = _changed(moved.policy, {name: {"price": price} for name, price in prices.items()})
        return replace(moved, policy=policy, emulated=frozenset(names))

    def clouds_down(self) -> Stage:
        """The same stage with every cloud at an address where nobody listens."""
        nobody = f"http://127.0.0.1:{_closed_port()}"
        return self._at(self.clouds, {block.kind: nobody for block in self.policy.targets.values()})

    def models_damaged(self, folder: Path) -> Stage:
        """The same stage with each local model's file replaced by one that is not what was pinned."""
        changes: dict[str, dict[str, Any]] = {}
        for name in self.locals:
            damaged = folder / f"{name}.gguf"
            damaged.write_bytes(b"GGUF, but not the bytes that were pinned")
            options = {**self.policy.targets[name].options, "sha256": find(self.policy.targets[name].model).sha256}
            changes[name] = {"model": str(damaged), "options": options}
        return replace(self, policy=_changed(self.policy, changes))

    def with_models(self, store: Store, pull: Pull) -> Stage:
        """The same stage with its models on this machine: fetched, or a smaller one, or named in `problems`."""
        changes: dict[str, dict[str, Any]] = {}
        notes, problems = [*self.notes], dict(self.problems)
        for name in self.locals:
            wanted = self.policy.targets[name].model
            try:
                pull(store, find(wanted))
            except ModelError as error:
                notes.append(f"{name}: {error}")
                try:
                    pull(store, find(SMALLER))
                except ModelError as again:
                    problems[name] = str(again)
                    notes.append(f"{name}: without a model; every request goes on to the next rung")
                else:
                    changes[name] = {"model": SMALLER}
                    notes.append(f"{name}: {SMALLER} takes its place; it is smaller and often wrong")
        return replace(self, policy=_changed(self.policy, changes), notes=tuple(notes), problems=problems)

    def _at(self, names: tuple[str, ...], urls: Mapping[str, str]) -> Stage:
        blocks = self.policy.targets
        changes = {name: {"base_url": urls[blocks[name].kind]} for name in names}
        keys = {_key(blocks[name]): NO_SECRET for name in names if blocks[name].kind in VENDOR_KEYS}
        return replace(self, policy=_changed(self.policy, changes), environ={**self.environ, **keys})


def list_price(policy: Policy, name: str) -> Price | None:
    """USD per million tokens of a target, today; None where nobody can say."""
    book, now, thousand = PriceBook(policy), datetime.now(UTC), 1000
    try:
        price = (
            book.cost(name, Usage(input_tokens=thousand), at=now),
            book.cost(name, Usage(output_tokens=thousand), at=now),
        )
    except LookupError:
        return None
    return Price(input=price[0] * thousand, output=price[1] * thousand)


def _key(block: TargetBlock) -> str:
    return block.api_key or VENDOR_KEYS[block.kind]


def _changed(policy: Policy, changes: Mapping[str, Mapping[str, Any]]) -> Policy:
    """The policy with fields of some targets changed."""
    targets = {name: block.model_copy(update=dict(changes.get(name, {}))) for name, block in policy.targets.items()}
    return policy.model_copy(update={"targets": targets})


def _closed_port() -> int:
    """A port of this machine where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
