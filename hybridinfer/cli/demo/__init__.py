"""`hybridinfer demo`: about twenty prompts, then a staged outage, then what it added up to."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


def demo(
    *,
    policy: Path | None = None,
    prompts: Path | None = None,
    max_tokens: int = 80,
    emulate: Annotated[bool, Parameter(negative="")] = False,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """See it work: about twenty prompts, then a staged outage, then what it added up to.

    The local model is real; it is fetched once. Clouds whose key is in the environment are real too, and cost
    real money; the others are played by an emulator on this machine. Exit code 1 when a prompt got no answer or
    something private left.

    Args:
        policy: The policy's file; the shipped default otherwise.
        prompts: Prompts of your own: a YAML list of {name, prompt, private}.
        max_tokens: The longest answer, in tokens.
        emulate: Let the emulator play every cloud, keys or not.
        json: Print every receipt and the sums as JSON on stdout, the talk on stderr.
    """
    from rich.console import Console

    from ...drill.emulator import Emulator
    from ...edge.store import Store
    from ...policy.load import load, shipped
    from ..terminal import print_json
    from .prompt import load_prompts, shipped_prompts
    from .show import Show
    from .stage import Stage
    from .view import View

    questions = load_prompts(prompts or shipped_prompts())
    stage = Stage(policy=load(policy or shipped("default")), environ=dict(os.environ))
    with Emulator() as emulator:
        show = Show(
            view=View(Console(stderr=json, highlight=False)),
            emulator=emulator,
            prompts=questions,
            max_tokens=max_tokens,
        )
        stage = show.prepare(stage, Store.default(), everything=emulate)
        totals = show.first_act(stage)
        outage = show.outage_act(stage)
        show.sum_up(stage, totals, outage)
    if json:
        print_json(show.record(totals))
    return 0 if not totals.left and totals.answered == totals.prompts and all(item.answered for item in outage) else 1
