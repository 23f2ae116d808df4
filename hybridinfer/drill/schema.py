"""The JSON Schema of scenarios, for editors: generated from `scenario`, committed as `schema.json`.

Draft-07, as that of policies. `python -m hybridinfer.drill.schema` writes the file.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..policy.schema import attribute_docs, draft_07
from . import failing, scenario

FILE = Path(__file__).with_name("schema.json")


def schema() -> dict[str, Any]:
    """The schema as a tree: blocks under `definitions`, descriptions from the docstrings of the blocks."""
    tree = scenario.Scenario.model_json_schema()
    definitions: dict[str, Any] = tree.pop("$defs")
    docs = attribute_docs(scenario, failing)
    for name, block in (*definitions.items(), ("Scenario", tree)):
        block.pop("title", None)
        for shape in (block, *block.get("anyOf", ())):
            for key, field in shape.get("properties", {}).items():
                field.pop("default", None)
                if (doc := docs.get((name, key))) is not None:
                    field["description"] = doc
    head = {"$schema": "http://json-schema.org/draft-07/schema#", "title": "hybridinfer drill"}
    plain: dict[str, Any] = draft_07({**head, **tree, "definitions": definitions})
    return plain


def text() -> str:
    """The schema as it stands in `schema.json`."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
