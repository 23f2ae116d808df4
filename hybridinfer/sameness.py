"""Do two answers say the same? `exact` compares what is left of them without layout; a model can be asked, too.

Pure. Where it is not certain the answer is no: two answers that only look alike must not vouch for each other.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal
from typing import TYPE_CHECKING, Any

from .types import Message, Text

if TYPE_CHECKING:
    from .commands import Answer
    from .types import Request

Key = tuple[str, str]
"""Equal for answers that say the same: a kind (tools, json, number, text) and what is compared."""

NOTHING: Key = ("text", "")
"""Of an answer that says nothing."""

JUDGE_TOKENS = 64
"""The most that a judging model may say; it needs one word."""

_FENCE = re.compile(r"^```[\w-]*\n(.*?)\n?```$", re.DOTALL)
_LEAD = re.compile(r"^(?:so[, ]+)?(?:the )?(?:final )?(?:answer|result)(?: is)?\s*:?\s+", re.IGNORECASE)
_NUMBER = re.compile(r"[-+]?(?:\d{1,3}(?:[ ,]\d{3})+|\d+)?(?:\.\d+)?(?:e[-+]?\d{1,3})?", re.IGNORECASE)
_EDGES = " \t\n.,;:!?\"'`*_()[]"
_UNITS = "$€£%"
_EXACT = Context(prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN)
_RAISED = ("<super>", "<sub>", "<fraction>")
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
        with suppress(RecursionError):  # what can be read cannot always be written
            return "tools", json.dumps(calls, sort_keys=True)
        return "tools", repr(answer.tool_calls)
    text = answer.text.strip()
    if fenced := _FENCE.match(text):
        text = fenced[1].strip()
    if text[:1] in {"{", "["} and (value := _parsed(text)) is not text:
        with suppress(RecursionError):
            return "json", json.dumps(value, sort_keys=True)
    plain = unicodedata.normalize("NFKC", "".join(map(_lowered, text)))
    words = _LEAD.sub("", plain.strip(_EDGES)).strip(_EDGES)
    bare = words.strip(_EDGES + _UNITS)
    if any(each.isdigit() for each in bare) and _NUMBER.fullmatch(bare):
        negative = "-" if words.lstrip(_EDGES + _UNITS).startswith("-") and not bare.startswith("-") else ""
        unit = "".join(each for each in words if each in _UNITS)
        try:
            return "number", unit + _exact(negative + re.sub(r"[ ,]", "", bare))
        except ArithmeticError:
            pass
    return "text", " ".join(words.casefold().split())


def same(answers: Sequence[Answer]) -> bool:
    """Whether all of them say the same, word for word or number for number; nothing said agrees with nothing."""
    keys = {key(answer) for answer in answers}
    return len(keys) == 1 and NOTHING not in keys


def majority(answers: Sequence[Answer]) -> tuple[Answer, int]:
    """The first answer of the largest group that says the same, and the size of that group."""
    groups: dict[Key | int, list[Answer]] = {}
    for at, answer in enumerate(answers):
        said = key(answer)
        groups.setdefault(at if said == NOTHING else said, []).append(answer)  # nothing agrees with nothing
    largest = max(groups.values(), key=len)
    return largest[0], len(largest)


def judged(request: Request, first: Answer, second: Answer) -> Request:
    """What a model is asked that judges two answers to `request`: yes or no."""
    text = _ASKED.format(question=last_question(request), first=_whole(first), second=_whole(second))
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


def last_question(request: Request) -> str:
    """The last thing that the user said."""
    return next((message.text for message in reversed(request.messages) if message.role == "user"), "")


def says_yes(answer: Answer) -> bool:
    """Whether a judge said yes. Whatever else it says is a no."""
    return re.match(r"\W*yes\b", answer.text, re.IGNORECASE) is not None


def _whole(answer: Answer) -> str:
    calls = "\n".join(f"{call.name}({call.arguments})" for call in answer.tool_calls)
    return "\n".join(part for part in (answer.text, calls) if part)


def _parsed(text: str) -> Any:
    """The JSON in `text`, numbers as they were written; the text itself where it is none."""
    try:
        return json.loads(text, parse_float=_exact)
    except (ValueError, RecursionError, ArithmeticError):
        return text


def _exact(number: str) -> str:
    """The same text for the same number, however many digits it has."""
    return str(Decimal(number).normalize(_EXACT))


def _lowered(letter: str) -> str:
    """A raised or lowered sign stays one: 10⁶ is not 106."""
    return f"^{letter}" if unicodedata.decomposition(letter).startswith(_RAISED) else letter
