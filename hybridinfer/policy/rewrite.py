"""Change the levels of a signal in a policy's text, and nothing else: comments, order and layout stay."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..errors import ConfigurationError
from .load import loads
from .shares import as_written

if TYPE_CHECKING:
    from yaml import Node


def with_levels(text: str, signal: str, levels: Mapping[str, float]) -> str:
    """The policy `text` with these levels (names as before). Raises PolicyError, ConfigurationError."""
    import yaml

    before = loads(text)
    top = yaml.compose(text, Loader=yaml.SafeLoader)
    written = {name: _scalar(level) for name, level in as_written(levels).items()}
    flow = "{" + ", ".join(f"{name}: {level}" for name, level in written.items()) + "}"
    signals = _value(top, "signals")
    block = _value(signals, signal)
    found = _value(block, "levels")
    if found is not None:
        after = _replaced(text, found, written)
    elif signals is not None and not getattr(signals, "flow_style", True):
        start, indent = _first_key(signals)
        after = f"{text[:start]}{signal}: {{levels: {flow}}}\n{' ' * indent}{text[start:]}"
    elif signals is None:
        start = _first_line(text, "rules")
        after = f"{text[:start]}signals:\n  {signal}: {{levels: {flow}}}\n{text[start:]}"
    else:
        raise ConfigurationError(f"write 'signals:' of the policy with one line for each signal, then {signal} fits in")
    same = {**before.signals, signal: before.signals[signal].model_copy(update={"levels": dict(levels)})}
    if loads(after) != before.model_copy(update={"signals": same}):
        raise ConfigurationError(
            f"the policy's text is too unusual to be changed safely; write {flow} into it yourself"
        )
    return after


def _replaced(text: str, levels: Node, written: Mapping[str, str]) -> str:
    """The text with other scalars in the mapping `levels`."""
    for key, value in reversed(getattr(levels, "value", [])):
        start, end = value.start_mark.index, value.end_mark.index
        text = text[:start] + written.get(key.value, text[start:end]) + text[end:]
    return text


def _value(node: Node | None, key: str) -> Node | None:
    pairs = node.value if node is not None and node.id == "mapping" else []  # type: ignore[attr-defined]
    return next((value for name, value in pairs if name.value == key), None)


def _first_key(mapping: Node) -> tuple[int, int]:
    mark = mapping.value[0][0].start_mark
    return mark.index, mark.column


def _first_line(text: str, key: str) -> int:
    found = re.search(rf"^{key}:", text, re.MULTILINE)
    if found is None:
        raise ConfigurationError(f"the policy has no line '{key}:' at its margin; write the levels into it yourself")
    return found.start()


def _scalar(level: object) -> str:
    return str(level)
