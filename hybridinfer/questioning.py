"""Ask a local target questions with known answers, and note what its confidence would look at. No text is kept.

It is asked through the lock like anybody else, under a policy of one line: the questions stay on this machine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from .edge.calibrate import Labelled
from .edge.certainty import Gauge
from .edge.confidence import features
from .policy.load import load
from .privacy.egress import Clearance, Guarded
from .targets.base import Finish
from .types import Message, Request, Text, TextDelta

if TYPE_CHECKING:
    from .edge.calibrate import Question
    from .policy.model import Policy
    from .targets.base import Target

MAX_TOKENS = 32
"""Of one answer: the questions are short, and so are right answers."""


async def ask_all(
    target: Target, questions: Sequence[Question], *, told: Callable[[int], None] = lambda _: None, parallel: int = 4
) -> list[tuple[Labelled, str]]:
    """Every question, greedily, a few at a time; with each label the text, which is the caller's to forget.

    `told` gets the number of answers so far. Raises `TargetFailed` where one fails, and for a target that does not answer
    on this machine.
    """
    locked = Guarded(target, _policy(target.info.name))
    gate, done = asyncio.Semaphore(parallel), 0

    async def one(question: Question) -> tuple[Labelled, str]:
        nonlocal done
        async with gate:
            answer = await _ask(locked, question)
        done += 1
        told(done)
        return answer

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(question)) for question in questions]
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return [task.result() for task in tasks]


async def _ask(target: Guarded, question: Question) -> tuple[Labelled, str]:
    message = Message(role="user", parts=(Text(text=question.ask),))
    request = Request(messages=(message,), max_tokens=MAX_TOKENS, temperature=0.0, logprobs=True)
    gauge, texts, finish = Gauge(), list[str](), None
    clearance = Clearance(request=request, levels={}, tags={})
    stream: Any = target.stream(request, stream=False, clearance=clearance)
    async with aclosing(stream) as events:
        async for event in events:
            if isinstance(event, TextDelta):
                texts.append(event.text)
                for token in event.logprobs:
                    gauge.add(token.logprob, token.entropy or 0.0)
            elif isinstance(event, Finish):
                finish = event
    text, certainty = "".join(texts), gauge.done()
    if certainty is None or finish is None:  # nothing said: surely wrong, and nothing to look at
        gauge.add(0.0, 0.0)
        certainty = gauge.done()
    assert certainty is not None
    return Labelled(features=features(certainty, text), right=question.is_answered_by(text)), text


def _policy(name: str) -> Policy:
    return load(
        {
            "version": 1,
            "targets": {name: {"kind": "own", "zone": "device"}},
            "boundaries": [{"name": "questions-stay-here", "zones": ["device"]}],
            "rules": [{"name": "all", "use": [name]}],
        }
    )
