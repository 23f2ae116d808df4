"""The target blocks of the policy file: what answers, where it runs, how long it may take, what it costs."""

from __future__ import annotations

import re
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from ..receipt import Zone
from .block import Block
from .money import Price
from .scalars import Duration, Name, SecretName, Switch, Whole, fault

IN_PROCESS: frozenset[str] = frozenset({"onnx", "canned"})
"""The kinds that answer inside this process; their zone is `device`."""
REMOTE: frozenset[str] = frozenset({"openai", "anthropic"})
"""The kinds that always answer elsewhere."""

_LOOPBACK = re.compile(r"localhost|127(?:\.\d{1,3}){3}|::1")


class ReplicaBlock(Block):
    """One of several ways to the same target: what differs from the target's own block."""

    base_url: str | None = None
    api_key: SecretName | None = None


class TargetBlock(Block):
    """Something that answers."""

    kind: Name
    """onnx, openai, anthropic, canned, or a kind that an installed package registers."""
    model: str = ""
    text: str = ""
    """The reply of a canned target."""
    base_url: str | None = None
    """https, except on this machine (loopback) and in the zone `network`."""
    api_key: SecretName | None = None
    """`${env:NAME}`; without it, the vendor's usual environment variable."""
    zone: Zone | None = None
    """None: the kind's own zone. Nothing is guessed from an address."""
    region: str | None = None
    """Where its servers stand, in your own words; boundaries test it."""
    timeout: Duration = 30.0
    """One attempt, from the first byte sent to the last received."""
    first_token: Duration = 12.0
    """Silence allowed before the first token."""
    stall: Duration = 10.0
    """Silence allowed between two tokens."""
    context_window: Annotated[Whole, Field(gt=0)] | None = None
    """Tokens of prompt and answer together; None: the kind's own knowledge of the model, in this process 4,096."""
    continues: Switch | None = None
    """Whether it goes on with an answer that another target began: vLLM does, OpenAI does not, Anthropic's older models
    do. None: as the kind does; of the built-in ones only onnx."""
    max_tokens: Annotated[Whole, Field(gt=0)] = 1024
    """Sent when the request names none: without a limit no budget could hold."""
    price: Price | None = None
    """Overrides the price list; needed where the list does not know the model."""
    replicas: tuple[ReplicaBlock, ...] = ()
    """Several keys or URLs that share the load; all in the target's own zone and region."""
    max_concurrency: Annotated[Whole, Field(gt=0)] | None = None
    """Calls at a time; None: no limit of ours."""
    queue: Annotated[Whole, Field(ge=0)] = 0
    """Calls that may wait for a place; the next one fails at once with `saturated`."""
    requests_per_minute: Annotated[Whole, Field(gt=0)] | None = None
    tokens_per_minute: Annotated[Whole, Field(gt=0)] | None = None
    """Prompt and answer together; the worst case is taken beforehand, what was not used is given back."""
    options: dict[str, Any] = Field(default_factory=dict)
    """For kinds of your own, and kind-specific fine tuning."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.kind in IN_PROCESS and self.zone not in (None, "device"):
            raise fault(f"kind {self.kind} answers inside this process", "leave out 'zone'", at="zone")
        if self.kind in REMOTE and self.zone == "device":
            raise fault(
                f"kind {self.kind} does not answer inside this process",
                "say 'zone: network' for a server of your own, or leave it out",
                at="zone",
            )
        if self.kind == "canned" and not self.text:
            raise fault("a canned target needs its 'text'", "write the reply that users shall see")
        if self.kind in IN_PROCESS | REMOTE and self.kind != "canned":
            if not self.model:
                raise fault(f"a target of kind {self.kind} needs its 'model'", "add 'model: ...'")
            if self.text:
                raise fault("only canned targets have a 'text'", "remove it, or say 'kind: canned'", at="text")
        for url in (self.base_url, *(replica.base_url for replica in self.replicas)):
            if url is not None:
                self._check_base_url(url)
        if self.kind == "canned" and self.continues:
            raise fault("a canned target says only its 'text'", "leave out 'continues'", at="continues")
        if self.replicas and self.kind in IN_PROCESS:
            raise fault(f"kind {self.kind} answers inside this process", "leave out 'replicas'", at="replicas")
        return self

    def _check_base_url(self, url: str) -> None:
        no_url = fault("not a URL", "write it such as https://api.example.com/v1", at="base_url")
        try:
            parts = urlsplit(url)
            host = parts.hostname
        except ValueError:
            raise no_url from None
        if not host:
            raise no_url
        if parts.username or parts.password:
            raise fault("a secret is never written into a policy", "use 'api_key: ${env:NAME}'", at="base_url")
        if self.kind in IN_PROCESS:
            raise fault(f"kind {self.kind} answers inside this process", "leave out 'base_url'", at="base_url")
        plain = parts.scheme == "http" and (zone_of(self) == "network" or _LOOPBACK.fullmatch(host))
        if parts.scheme != "https" and not plain:
            raise fault(
                "base_url must be https",
                "plain http is for this machine (127.0.0.1) and for your own servers ('zone: network')",
                at="base_url",
            )


def zone_of(block: TargetBlock) -> Zone:
    """Where a target runs: what its block says, else `device` for in-process kinds, else `cloud`."""
    return block.zone or ("device" if block.kind in IN_PROCESS else "cloud")


def continues(block: TargetBlock) -> bool:
    """Whether a target goes on with the beginning of an answer: what its block says, else only the engine in here."""
    return block.kind == "onnx" if block.continues is None else block.continues
