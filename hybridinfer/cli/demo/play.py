"""One prompt of the demo, asked and answered; and what a whole act adds up to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from ...errors import RequestError
from ...receipt import Receipt
from ...types import Reset, TextDelta, Usage
from .prompt import Prompt

if TYPE_CHECKING:
    from ...budget.prices import PriceBook
    from ...router import Router


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """A prompt and how it went. `text` is empty when nobody answered."""

    prompt: Prompt
    text: str
    receipt: Receipt

    @property
    def answered(self) -> bool:
        """Whether an answer came, a canned one included."""
        return self.receipt.target is not None

    @property
    def first_token(self) -> float | None:
        """Seconds from the last attempt's start to its first piece."""
        return self.receipt.attempts[-1].first_token_seconds if self.receipt.attempts else None


def play(router: Router, prompt: Prompt, *, max_tokens: int, on_text: Callable[[str], object]) -> Played:
    """Ask `prompt`; `on_text` gets the answer as far as it has come, again and again."""
    text = ""
    try:
        with router.stream(prompt.prompt, max_tokens=max_tokens) as stream:
            for event in stream:
                if isinstance(event, TextDelta):
                    text += event.text
                elif isinstance(event, Reset):
                    text = ""
                on_text(text)
            return Played(prompt=prompt, text=stream.response.text, receipt=stream.response.receipt)
    except RequestError as error:
        return Played(prompt=prompt, text="", receipt=error.receipt)


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """What the first act adds up to. Money in USD."""

    prompts: int
    answered: int
    cloud: int
    """Prompts that a cloud answered."""
    cost: Decimal
    all_cloud_cost: Decimal | None
    """The same tokens, all of them at the price of the target `reference`; None where nobody can price it."""
    reference: str
    private: int
    """Prompts that hold something private, by their author's word."""
    left: tuple[str, ...]
    """The names of those of them that were found in what the clouds received."""
    received: int
    """Requests that the clouds received."""
    received_bytes: int

    @property
    def cloud_share(self) -> float:
        """The part of all prompts that a cloud answered, 0..1."""
        return self.cloud / self.prompts if self.prompts else 0.0


def total(played: Sequence[Played], *, received: Sequence[str], prices: PriceBook, reference: str) -> Totals:
    """Add up `played`. `received` is the text of every request that reached a cloud, as the cloud saw it."""
    everything = "\n".join(received)
    private = [item.prompt for item in played if item.prompt.private]
    return Totals(
        prompts=len(played),
        answered=sum(item.answered for item in played),
        cloud=sum(item.receipt.zone == "cloud" for item in played),
        cost=sum((item.receipt.cost_usd for item in played), Decimal(0)),
        all_cloud_cost=_all_cloud(played, prices, reference),
        reference=reference,
        private=len(private),
        left=tuple(prompt.name for prompt in private if any(text in everything for text in prompt.private)),
        received=len(received),
        received_bytes=len(everything.encode()),
    )


def _all_cloud(played: Sequence[Played], prices: PriceBook, reference: str) -> Decimal | None:
    now = datetime.now(UTC)
    try:
        return sum((prices.cost(reference, _usage(item), at=now) for item in played), Decimal(0))
    except LookupError:
        return None


def _usage(item: Played) -> Usage:
    last = item.receipt.attempts[-1] if item.receipt.attempts else None
    return Usage(input_tokens=last.input_tokens, output_tokens=last.output_tokens) if last else Usage()
