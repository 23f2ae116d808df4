"""`options:` of a target of `kind: onnx`, and what they make of one request."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from ..edge.providers import known
from ..edge.setting import Setting
from ..edge.signature import Signature
from ..policy.model import Block

if TYPE_CHECKING:
    from ..types import Request

_UNITS = {"MB": 1_000_000, "GB": 1_000_000_000, "MiB": 1 << 20, "GiB": 1 << 30}
_PRIORITIES = {"high": 1, "low": -1}


def _bytes(value: object) -> object:
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(MB|GB|MiB|GiB)", value, re.ASCII) if isinstance(value, str) else None
    if match is not None:
        return int(float(match[1]) * _UNITS[match[2]])
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    raise ValueError("not a size; write it with its unit, such as 512MB or 2GB")


class OnnxOptions(Block):
    """All of them are optional."""

    threads: int | None = Field(default=None, ge=1)
    """None: the physical cores this process may use, at most 4."""
    batch: int = Field(default=8, ge=1, le=64)
    """Answers that are written at once; they share the model's steps."""
    queue: int = Field(default=16, ge=1)
    """Requests that may wait; the next one is refused as saturated."""
    memory: Annotated[int | None, BeforeValidator(_bytes)] = Field(default=None, ge=1 << 20)
    """For keys and values, such as 512MB; None: a quarter of what is available, at most 2 GiB."""
    prefix_cache: Literal["tagged", "process", "off"] = "tagged"
    """Who shares the beginnings of prompts. tagged: requests with the same `share_by` tags and privacy level, and
    nobody without such a tag; process: all of one privacy level; off: nobody."""
    prefix_disk: Annotated[int | None, BeforeValidator(_bytes)] = Field(default=None, ge=1 << 20)
    """For beginnings of prompts that outlive the process, such as 1GB, sealed with the model key; None: none."""
    share_by: tuple[str, ...] = ("tenant", "team", "user")
    """The tags that tell who asks. They also take turns where requests wait."""
    loop: int = Field(default=128, ge=0)
    """After so many tokens that only repeat themselves an answer is given up as invalid_output; 0: never."""
    pull: Literal["auto", "never"] = "never"
    """auto: the first request fetches a missing model."""
    sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    """Pins a file given by its path; of a bundle its manifest."""
    signature: str | None = None
    """The file of a sigstore bundle that must vouch for the model, with the `public_key` (PEM) it must be of."""
    public_key: str | None = None
    providers: tuple[Annotated[str, AfterValidator(known)], ...] = ("cpu",)
    """What shall compute, such as [cuda, coreml, cpu]: the first that this machine's onnxruntime has, else the CPU."""
    variants: tuple[str, ...] = ()
    """With `model: auto` the catalogue ids to choose from; empty: all of them."""
    tools: bool | None = None
    """Whether the model calls tools; None: as the catalogue says."""
    temperature: float = Field(default=0.0, ge=0)
    """Where a request names none. 0 takes the most likely token."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    top_k: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if (self.signature is None) != (self.public_key is None):
            raise ValueError("signature and public_key go together")
        return self

    def setting(self, *, spinning: bool = True) -> Setting:
        """How the model is loaded."""
        vouched = None
        if self.signature is not None and self.public_key is not None:
            vouched = Signature(file=Path(self.signature).expanduser(), public_key=Path(self.public_key).expanduser())
        disk = self.prefix_disk if self.prefix_disk is not None and self.prefix_cache != "off" else 0
        return Setting(providers=self.providers, spinning=spinning, signature=vouched, prefix_disk=disk)


def tenant(request: Request, options: OnnxOptions) -> str:
    """Who asks, by the tags that tell it; empty where none does."""
    tags = {name: request.tags[name] for name in options.share_by if name in request.tags}
    if request.user is not None and "user" in options.share_by:
        tags.setdefault("user", request.user)
    return json.dumps(tags, sort_keys=True) if tags else ""


def scope(request: Request, options: OnnxOptions) -> str | None:
    """Who may share the beginning of this prompt; None: nobody. Unknown means nobody."""
    privacy = request.terms.privacy if request.terms is not None else None
    who = tenant(request, options)
    if options.prefix_cache == "off" or privacy is None or (options.prefix_cache == "tagged" and not who):
        return None
    return json.dumps([privacy, who if options.prefix_cache == "tagged" else ""])


def priority(request: Request) -> int:
    """By the tag `priority`: high, low, or anything between."""
    return _PRIORITIES.get(request.tags.get("priority", ""), 0)


def deadline(request: Request) -> float | None:
    """Of the first token, in monotonic seconds; None: unknown."""
    seconds = request.terms.first_token if request.terms is not None else None
    return None if seconds is None else time.monotonic() + seconds
