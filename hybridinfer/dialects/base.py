"""What both dialects share: their names, the refusal to translate with loss, and the reading of untrusted shapes.

A reading error is a `ValueError` that names the place (`messages[2].content[0].text`) and says what to do.
It never quotes what stood there: prompts do not belong into exceptions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from ..types import Message, Text

if TYPE_CHECKING:
    from ..types import Request

Dialect = Literal["openai", "anthropic"]


class Untranslatable(Exception):
    """The dialect cannot express `what` without loss; another target may. Nothing was sent."""

    def __init__(self, dialect: Dialect, what: str) -> None:
        super().__init__(f"the {dialect} dialect cannot express {what}")
        self.dialect = dialect
        self.what = what


CHOOSE = "Answer with exactly one of these texts and nothing else:"


def with_instruction(request: Request, dialect: Dialect) -> tuple[Message, ...]:
    """The messages; a format that the vendors' APIs have no field for stands among them as an instruction.

    Raises `Untranslatable` for a regular expression: no instruction makes a model keep one.
    """
    wanted = request.response_format
    if wanted is None or wanted.type not in {"choice", "regex"}:
        return request.messages
    if wanted.type == "regex":
        raise Untranslatable(dialect, "an answer that matches a regular expression")
    lines = "\n".join([CHOOSE, *(f"- {choice}" for choice in wanted.choices)])
    at = next((i for i, message in enumerate(request.messages) if message.role != "system"), len(request.messages))
    instruction = Message(role="system", parts=(Text(text=lines),))
    return (*request.messages[:at], instruction, *request.messages[at:])


def wrong(where: str, what: str) -> ValueError:
    """The error for the place `where`: what is wrong and what to do."""
    return ValueError(f"{where}: {what}")


def a_mapping(value: Any, where: str) -> Mapping[str, Any]:
    """`value` as a mapping; a vendor's pydantic object (an answer put back into the list) is dumped first."""
    if hasattr(value, "model_dump"):
        value = value.model_dump(exclude_none=True)
    if not isinstance(value, Mapping):
        raise wrong(where, "is not an object; give a dict")
    return value


def a_list(value: Any, where: str) -> Sequence[Any]:
    """`value` as a list."""
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Sequence):
        raise wrong(where, "is not a list; give a list of dicts")
    return value


def a_text(value: Any, where: str) -> str:
    """`value` as text."""
    if not isinstance(value, str):
        raise wrong(where, "is missing or not text; give a str")
    return value


def a_name(value: Any, where: str) -> str:
    """`value` as text that is not empty."""
    if not a_text(value, where):
        raise wrong(where, "is empty; give a name or id")
    return str(value)


def optional_text(value: Any, where: str) -> str | None:
    """`value` as text, or None."""
    return None if value is None else a_text(value, where)


def optional_flag(value: Any, where: str) -> bool | None:
    """`value` as a bool, or None."""
    if value is not None and not isinstance(value, bool):
        raise wrong(where, "is not true or false; give a bool")
    return value


def only(raw: Mapping[str, Any], known: frozenset[str], where: str) -> None:
    """Refuse keys of `raw` that nobody here understands: they could change the meaning of what is sent."""
    for key, value in raw.items():
        if key not in known and value is not None:
            raise wrong(f"{where}.{key}", f"is not understood; known here: {', '.join(sorted(known))}")
