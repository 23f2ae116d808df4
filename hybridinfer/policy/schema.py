"""The JSON Schema of the policy file, for editors: generated from `model`, committed as `schema.json`.

Draft-07, as that is what editors' YAML servers speak. `python -m hybridinfer.policy.schema` writes the file.
"""

from __future__ import annotations

import ast
import inspect
import json
from itertools import chain, pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

from . import model, money, names, rung, shares, target

FILE = Path(__file__).with_name("schema.json")


def schema() -> dict[str, Any]:
    """The schema as a tree: blocks under `definitions`, descriptions from the docstrings of `model`."""
    tree = model.Policy.model_json_schema()
    definitions: dict[str, Any] = tree.pop("$defs")
    docs = attribute_docs(model, money, rung, shares, target)
    for name, block in (*definitions.items(), ("Policy", tree)):
        block.pop("title", None)
        for key, field in block.get("properties", {}).items():
            if "default" in field:  # as people write it: 8s, not 8.0
                written = getattr(model, name).model_construct().model_dump(mode="json")
                field["default"] = written.get(key, field["default"])
            if (doc := docs.get((name, _attribute(name, key)))) is not None:
                field["description"] = doc
    definitions["TargetBlock"]["properties"]["kind"] |= {"examples": list(names.TARGET_KINDS)}
    definitions["SignalBlock"]["properties"]["kind"] |= {"examples": list(names.SIGNAL_KINDS)}
    tree["properties"]["signals"]["properties"] = {
        name: {"$ref": "#/definitions/SignalBlock"} for name in names.SIGNAL_KINDS
    }
    head = {"$schema": "http://json-schema.org/draft-07/schema#", "title": "hybridinfer policy"}
    plain: dict[str, Any] = draft_07({**head, **tree, "definitions": definitions})
    return plain


def text() -> str:
    """The schema as it stands in `schema.json`."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def draft_07(node: Any) -> Any:
    """References into `definitions`; in draft-07 a `$ref` hides its neighbours, so it is wrapped."""
    if isinstance(node, list):
        return [draft_07(item) for item in node]
    if not isinstance(node, dict):
        return node
    tree = {key: draft_07(value) for key, value in node.items() if not _noise(key, value)}
    reference = tree.get("$ref")
    if isinstance(reference, str):
        tree["$ref"] = reference.replace("#/$defs/", "#/definitions/")
        if len(tree) > 1:
            tree["allOf"] = [{"$ref": tree.pop("$ref")}]
    if isinstance(tree.get("description"), str):
        tree["description"] = " ".join(tree["description"].split())
    return tree


def _attribute(block: str, key: str) -> str:
    """What the model calls a key of the file."""
    fields: dict[str, Any] = getattr(getattr(model, block), "model_fields", {})
    return next((name for name, field in fields.items() if field.alias == key), key)


def _noise(key: str, value: Any) -> bool:
    """Titles that only repeat the key, and defaults too long to show."""
    if key == "default":
        return value is None or isinstance(value, (list, dict))
    return key == "title" and isinstance(value, str) and value != "hybridinfer policy"


def attribute_docs(*modules: ModuleType) -> dict[tuple[str, str], str]:
    """The text under each attribute of the blocks of these modules, by block and attribute."""
    docs = {}
    nodes = chain.from_iterable(ast.parse(inspect.getsource(module)).body for module in modules)
    blocks = [node for node in nodes if isinstance(node, ast.ClassDef)]
    for block in blocks:
        for field, doc in pairwise(block.body):
            match field, doc:
                case ast.AnnAssign(target=ast.Name(id=key)), ast.Expr(value=ast.Constant(value=str(said))):
                    docs[block.name, key] = said
                case _:
                    pass
    return docs


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
