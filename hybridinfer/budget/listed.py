"""Which models are on the price list, without loading it: 0.2 s of CPU saved for `hybridinfer policy check`.

`listed.json` is made from the list itself (`python -m hybridinfer.budget.listed`) and carries the digest of the file
that it was made from. With any other version of genai-prices installed it says nothing, and the list is asked.
"""

from __future__ import annotations

import json
from functools import cache
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ..policy.model import zone_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..policy.model import TargetBlock

FILE = Path(__file__).with_name("listed.json")


def certainly_priced(block: TargetBlock) -> bool:
    """Whether the price is known for sure; False says nothing, so ask `tariffs.find`.

    Known is what is on the vendor's list, and what runs on this machine: it is free, or the policy says its price.
    """
    if block.base_url is not None or "extra_body" in block.options:
        return False
    return zone_of(block) == "device" or block.model in _index().get(block.kind, ())


def made() -> str:
    """The content of `listed.json`: the models of the vendors' own lists that the list can price, by kind."""
    from genai_prices.data import providers

    from ..policy.model import TargetBlock
    from .tariffs import VENDORS, find

    own = {provider.id: provider.models for provider in providers}
    index = {
        kind: [model.id for model in own[vendor] if find(TargetBlock.model_validate({"kind": kind, "model": model.id}))]
        for kind, vendor in VENDORS.items()
    }
    return json.dumps({"sha256": _digest(), "models": index}, indent=1) + "\n"


@cache
def _index() -> Mapping[str, frozenset[str]]:
    content = json.loads(FILE.read_text(encoding="utf-8"))
    if content["sha256"] != _digest():
        return {}
    return {kind: frozenset(models) for kind, models in content["models"].items()}


def _digest() -> str:
    """Of the price list's file, found without importing its package; empty where it is not there as a file."""
    spec = find_spec("genai_prices")
    file = Path(spec.origin).with_name("data.py") if spec is not None and spec.origin else None
    return sha256(file.read_bytes()).hexdigest() if file is not None and file.is_file() else ""


if __name__ == "__main__":
    FILE.write_text(made(), encoding="utf-8")
