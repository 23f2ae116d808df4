"""The course of the demo: prepare, ask everything, break things, add up."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...budget.ledger import open_ledger
from ...budget.prices import PriceBook
from ...router import Router
from ...targets.base import TargetContext
from ...targets.registry import build
from ..ask import story
from ..terminal import usd
from .play import Played, Totals, play, total
from .prompt import Prompt
from .witness import Witness

if TYPE_CHECKING:
    from ...budget.ledger import Ledger
    from ...drill.emulator import Emulator
    from ...edge.catalogue import Model
    from ...edge.store import Store
    from .stage import Stage
    from .view import View

OUTAGE_PROMPTS = ("greeting", "proof", "card number")
"""Asked again in each outage; the first three of the file where it has none of these names."""


@dataclass(slots=True, kw_only=True)
class Show:
    """One run. `played` grows from act to act."""

    view: View
    emulator: Emulator
    prompts: Sequence[Prompt]
    max_tokens: int
    played: dict[str, list[Played]] = field(default_factory=dict[str, list[Played]])

    def prepare(self, stage: Stage, store: Store, *, everything: bool) -> Stage:
        """Have the models here, put the emulator in the place of clouds without a key, and tell the reader so."""
        self.view.say(f"hybridinfer demo, policy {stage.policy.name!r}", "bold")
        names = stage.clouds if everything else stage.without_key()
        urls = {"openai": self.emulator.base_url_openai, "anthropic": self.emulator.base_url_anthropic}
        stage = stage.emulate(names, urls).with_models(store, self._pull)
        real = [name for name in stage.clouds if name not in stage.emulated]
        rows = [(name, f"{stage.policy.targets[name].model}, in this process") for name in stage.locals]
        why = _WHY_EMULATED[everything]
        rows += [(name, f"{stage.policy.targets[name].model}: NOT the real cloud. {why}") for name in names]
        rows += [(name, f"{stage.policy.targets[name].model}, the real cloud: this costs real money") for name in real]
        self.view.facts(rows)
        if names:
            self.view.say(
                f"The emulator speaks the clouds' own APIs over HTTP on this machine ({urls['anthropic']}). Its answers "
                "are fixed texts, its times are not a network's; costs are worked out from its token counts at list "
                "prices, and nothing is paid. To see real clouds, set their keys.",
                "dim",
            )
        for note in stage.notes:
            self.view.say(note, "yellow")
        return stage

    def first_act(self, stage: Stage) -> Totals:
        """Ask every prompt and show each as it is answered."""
        self.view.heading(f"Act 1: {len(self.prompts)} prompts")
        self.view.table_head()
        witnesses = self._witnesses(stage)
        with Router(stage.policy, environ=stage.environ, targets=witnesses, ledger=_ledger(stage)) as router:
            with self.view.working("loading the model and the vendors' SDKs"):
                router.warmup()
            for prompt in self.prompts:
                with self.view.running(prompt) as on_text:
                    played = play(router, prompt, max_tokens=self.max_tokens, on_text=on_text)
                self._keep("prompts", played)
                self.view.row(played, stage)
        received = [json.dumps(seen.body, ensure_ascii=False) for seen in self.emulator.requests]
        received += [text for witness in witnesses.values() for text in witness.seen]
        return total(
            self.played["prompts"],
            received=received,
            prices=PriceBook(stage.policy),
            reference=next(iter(stage.clouds), ""),
        )

    def outage_act(self, stage: Stage) -> list[Played]:
        """Take the clouds away, then the local models too, and ask a few prompts again."""
        chosen = [prompt for prompt in self.prompts if prompt.name in OUTAGE_PROMPTS] or list(self.prompts[:3])
        with tempfile.TemporaryDirectory() as folder:
            scenes = {
                "Act 2: every cloud refuses connections": stage.clouds_down(),
                "Act 3: and the local model's file is damaged, too": stage.clouds_down().models_damaged(Path(folder)),
            }
            for title, broken in scenes.items():
                self.view.heading(title)
                with Router(broken.policy, environ=broken.environ, ledger=_ledger(broken)) as router:
                    for prompt in chosen:
                        with self.view.running(prompt) as on_text:
                            played = play(router, prompt, max_tokens=self.max_tokens, on_text=on_text)
                        self._keep("outage", played)
                        self.view.trail(played)
        return self.played["outage"]

    def sum_up(self, stage: Stage, totals: Totals, outage: Sequence[Played]) -> None:
        """The figures, each counted from what happened."""
        local = totals.answered - totals.cloud
        receiver = "the emulator" if stage.emulated else "the clouds"
        dearer = totals.all_cloud_cost or totals.cost
        saved = f" ({1 - totals.cost / dearer:.0%} less)" if dearer > totals.cost else ""
        model = stage.policy.targets[totals.reference].model if totals.reference else ""
        left = f": {', '.join(totals.left)}" if totals.left else ""
        self.view.heading("What it adds up to")
        cost = f"{usd(totals.cost)}, against {usd(totals.all_cloud_cost)} with everything on {model}{saved}"
        private = (
            f"prompts that hold something private: {totals.private}. Of them left this machine: {len(totals.left)}{left} "
            f"(looked for in all that {receiver} received: {totals.received} requests, {totals.received_bytes:,} bytes)"
        )
        answered, degraded = sum(item.answered for item in outage), sum(item.receipt.degraded for item in outage)
        rows = {
            "cloud share": f"{totals.cloud} of {totals.prompts} prompts ({totals.cloud_share:.0%}); {local} stayed here",
            "cost": cost + ("; list prices, nothing was paid" if stage.emulated else ""),
            "private": private,
            "outage": f"{answered} of {len(outage)} prompts answered, {degraded} of them marked as degraded",
        }
        self.view.facts(list(rows.items()))

    def record(self, totals: Totals) -> dict[str, Any]:
        """All of it as data, for `--json`."""
        return {
            **{
                act: [{"name": item.prompt.name, **story(item.receipt, item.text)} for item in items]
                for act, items in self.played.items()
            },
            "totals": {
                "prompts": totals.prompts,
                "answered": totals.answered,
                "cloud": totals.cloud,
                "cost_usd": totals.cost,
                "all_cloud_cost_usd": totals.all_cloud_cost,
                "private": totals.private,
                "private_that_left": list(totals.left),
                "requests_received": totals.received,
            },
        }

    def _keep(self, act: str, played: Played) -> None:
        self.played.setdefault(act, []).append(played)

    def _pull(self, store: Store, model: Model) -> None:
        with self.view.pulling(model) as report:
            store.pull(model, report=report)

    def _witnesses(self, stage: Stage) -> dict[str, Witness]:
        """Around every real cloud one; what the emulator received, it knows itself."""
        real = [name for name in stage.clouds if name not in stage.emulated]
        blocks = stage.policy.targets
        return {name: Witness(build(blocks[name], TargetContext(name=name, environ=stage.environ))) for name in real}


def _ledger(stage: Stage) -> Ledger:
    """The user's own where a real cloud is paid; otherwise one that forgets, for nothing is really spent."""
    return open_ledger(stage.policy, None if set(stage.clouds) - stage.emulated else "memory:")


_WHY_EMULATED = {
    False: "There is no key for it, so an emulator on this machine plays it.",
    True: "An emulator on this machine plays it, as --emulate says.",
}
