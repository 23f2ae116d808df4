"""Do two answers say the same? `exact` compares what is left of them without layout; a model can be asked, too.

Pure. Where it is not certain the answer is no: two answers that only look alike must not vouch for each other.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from .types import Message, Text

if TYPE_CHECKING:
    from .commands import Answer
    from .types import Request

Key = tuple[str, str]
"""Equal for answers that say the same: a kind (tools, json, number, text) and what is compared."""

JUDGE_TOKENS = 64
"""The most that a judging model may say; it needs one word."""

_FENCE = re.compile(r"^```[\w-]*\n(.*?)\n?```$", re.DOTALL)
_LEAD = re.compile(r"^(?:so[, ]+)?(?:the )?(?:final )?(?:answer|result)(?: is)?\s*:?\s+", re.IGNORECASE)
_NUMBER = re.compile(r"[-+]?(?:\d{1,3}(?:[ ,]\d{3})+|\d+)?(?:\.\d+)?(?:e[-+]?\d{1,3})?", re.IGNORECASE)
_EDGES = " \t\n.,;:!?\"'`*_()[]$€£%"
_ASKED = """\
Do these two answers to the question say the same? Differences of wording do not count, differences of fact do.
Reply with one word: yes or no.

Question:
{question}

First answer:
{first}

Second answer:
{second}"""


def key(answer: Answer) -> Key:
    """What is compared of an answer: its tool calls, its JSON, its one number, or its words."""
    if answer.tool_calls:
        calls = [[call.name, _parsed(call.arguments or "{}")] for call in answer.tool_calls]
        return "tools", json.dumps(calls, sort_keys=True)
    text = answer.text.strip()
    if fenced := _FENCE.match(text):
        text = fenced[1].strip()
    if text[:1] in {"{", "["} and (value := _parsed(text)) is not text:
        return "json", json.dumps(value, sort_keys=True)
    plain = unicodedata.normalize("NFKC", text)
    bare = _LEAD.sub("", plain.strip(_EDGES)).strip(_EDGES)
    if any(each.isdigit() for each in bare) and _NUMBER.fullmatch(bare):
        negative = "-" if plain.lstrip("$€£ ").startswith("-") and not bare.startswith("-") else ""
        try:
            return "number", str(Decimal(negative + re.sub(r"[ ,]", "", bare)).normalize())
        except InvalidOperation:
            pass
    return "text", " ".join(bare.casefold().split())


def same(answers: Sequence[Answer]) -> bool:
    """Whether all of them say the same, word for word or number for number; nothing said agrees with nothing."""
    keys = {key(answer) for answer in answers}
    return len(keys) == 1 and keys != {("text", "")}


def majority(answers: Sequence[Answer]) -> tuple[Answer, int]:
    """The first answer of the largest group that says the same, and the size of that group."""
    groups: dict[Key, list[Answer]] = {}
    for answer in answers:
        groups.setdefault(key(answer), []).append(answer)
    largest = max(groups.values(), key=len)
    return largest[0], len(largest)


def judged(request: Request, first: Answer, second: Answer) -> Request:
    """What a model is asked that judges two answers to `request`: yes or no."""
    question = next((message.text for message in reversed(request.messages) if message.role == "user"), "")
    text = _ASKED.format(question=question, first=_whole(first), second=_whole(second))
    return replace(
        request,
        messages=(Message(role="user", parts=(Text(text=text),)),),
        max_tokens=JUDGE_TOKENS,
        temperature=None,
        tools=(),
        tool_choice=None,
        response_format=None,
        stop=(),
        logprobs=False,
    )


def says_yes(answer: Answer) -> bool:
    """Whether a judge said yes. Whatever else it says is a no."""
    return re.match(r"\W*yes\b", answer.text, re.IGNORECASE) is not None


def _whole(answer: Answer) -> str:
    calls = "\n".join(f"{call.name}({call.arguments})" for call in answer.tool_calls)
    return "\n".join(part for part in (answer.text, calls) if part)


def _parsed(text: str) -> Any:
    """The JSON in `text`, numbers as they were written; the text itself where it is none."""
    try:
        return json.loads(text, parse_float=lambda number: str(Decimal(number).normalize()))
    except (ValueError, RecursionError, InvalidOperation):
        return text
