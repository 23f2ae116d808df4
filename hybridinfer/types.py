"""The records that cross the public face: requests, messages and their parts, responses, stream events.

All are frozen; a fallback always starts from the very same `Request`. Shapes are neutral between the
vendors' dialects; `hybridinfer.dialects` translates both ways.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

from .quick import quick
from .receipt import Need, OnInterrupt, Receipt, Zone

Role = Literal["system", "user", "assistant", "tool"]
FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """Plain text."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A picture: either `url` or base64 `data` with its `media_type` (such as image/png)."""

    url: str | None = None
    data: str | None = None
    media_type: str | None = None
    detail: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A document: base64 `data` with its `media_type`, a `url`, or a vendor's `file_id`."""

    data: str | None = None
    media_type: str | None = None
    url: str | None = None
    file_id: str | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """The model asks for a tool. `arguments` is the JSON text as the model wrote it."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolResult:
    """What a tool gave back for the call `call_id`."""

    call_id: str
    content: tuple[Text | Image, ...]
    is_error: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Opaque:
    """A block that only one dialect knows (thinking, citations, audio): kept as it came, sent only there."""

    dialect: Literal["openai", "anthropic"]
    data: Mapping[str, Any]


Part = Text | Image | File | ToolCall | ToolResult | Opaque


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One turn of a conversation. Tool results come in messages of the role `tool`."""

    role: Role
    parts: tuple[Part, ...]
    name: str | None = None

    @property
    def text(self) -> str:
        """The text parts, joined."""
        return "".join([part.text for part in self.parts if isinstance(part, Text)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A function the model may call. `parameters` is a JSON Schema."""

    name: str
    parameters: Mapping[str, Any]
    description: str = ""
    strict: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolChoice:
    """auto, none, required (any tool), or one tool by `name`."""

    mode: Literal["auto", "none", "required", "tool"]
    name: str | None = None
    parallel: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseFormat:
    """Free text, any JSON object, JSON that keeps `schema`, one of `choices`, or a text that matches `pattern` whole."""

    type: Literal["text", "json_object", "json_schema", "choice", "regex"]
    schema: Mapping[str, Any] | None = None
    name: str = "answer"
    strict: bool | None = None
    choices: tuple[str, ...] = ()
    pattern: str = ""

    @property
    def is_json(self) -> bool:
        """Whether the answer is JSON."""
        return self.type in {"json_object", "json_schema"}


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a target may know of one call beside its content. The router sets them; a caller's own are replaced."""

    first_token: float | None = None
    """Seconds within which the first piece has to come; None: nobody waits for it."""
    privacy: tuple[str, ...] | None = None
    """The measured levels of the policy's privacy signals; None: unknown, so nothing is shared with other requests."""


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the caller asks. Built by `Router` from messages and options; never changed afterwards."""

    messages: tuple[Message, ...]
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    response_format: ResponseFormat | None = None
    logprobs: bool = False
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    user: str | None = None
    extra_headers: Mapping[str, str] = field(default_factory=dict[str, str])
    timeout: float | None = None
    """The whole deadline in seconds; None takes the policy's."""
    privacy: str | None = None
    """The caller's privacy label: raises the level, never lowers it."""
    budget_usd: Decimal | None = None
    tags: Mapping[str, str] = field(default_factory=dict[str, str])
    safe_to_retry: bool = True
    """False: the request acts (tools on the vendor's side, say), so it is never sent again once a target may have
    acted on it; a canned reply may still stand in."""
    on_interrupt: OnInterrupt | None = None
    """What a stream does when it dies after its first piece; None takes the policy's."""
    idempotency_key: str | None = None
    """Made by the router, one for each request and target; a caller's own stands in `extra_headers`."""
    terms: Terms | None = field(default=None, compare=False, repr=False)
    """Of the call under way; None: unknown."""

    @property
    def needs(self) -> frozenset[Need]:
        """The capabilities a target must have to serve this request."""
        needs: set[Need] = set()
        if self.tools:
            needs.add("tools")
        if self.response_format is not None and self.response_format.is_json:
            needs.add("json")
        for message in self.messages:
            for part in message.parts:
                match part:
                    case Text():
                        pass
                    case ToolCall():
                        needs.add("tools")
                    case ToolResult(content=content):
                        needs.add("tools")
                        if any(isinstance(inner, Image) for inner in content):
                            needs.add("vision")
                    case Image():
                        needs.add("vision")
                    case File():
                        needs.add("files")
                    case Opaque():
                        pass
        return frozenset(needs)


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of one attempt. `input_tokens` includes cached ones; `estimated` when the target told nothing."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    """Those of `cache_write_tokens` that are kept for an hour: they are dearer."""
    reasoning_tokens: int = 0
    tariff: tuple[tuple[str, str], ...] = ()
    """What the vendor says it charged by, in its own fields, such as (("service_tier", "flex"),); empty: not told."""
    cost_usd: Decimal = Decimal(0)
    estimated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What the ledger says before a request: how much of the tightest budget is used."""

    used: float = 0.0
    """Share of the tightest budget, 0..1."""
    budget: str = ""
    """Its name; empty when the policy has none."""
    known: bool = True
    """False when the ledger could not be reached: money is unknown, so it is denied."""
    asked: bool = True
    """False when the ledger was not asked, since nothing in the policy depends on what it says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenLogprob:
    """One generated token: natural-log probability, and the entropy (nats) of its distribution."""

    token: str
    logprob: float
    entropy: float | None = None


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """An answer and its receipt. `finish_reason == "length"` marks a truncated one."""

    text: str
    receipt: Receipt
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: FinishReason = "stop"
    usage: Usage = Usage()
    model: str = ""
    logprobs: tuple[TokenLogprob, ...] | None = None
    confidence: float | None = None
    """How likely the answer is right, 0..1, by a calibrated local model or the share of samples that agree; with
    `choices`, the probability of the one taken. None: nobody can say."""
    probabilities: Mapping[str, float] | None = None
    """With `choices`: what the model gives to each of them, 1 together; None: the target cannot say."""

    @property
    def target(self) -> str | None:
        """The name of the target that answered."""
        return self.receipt.target

    @property
    def zone(self) -> Zone | None:
        """Where it runs."""
        return self.receipt.zone

    @property
    def rung(self) -> int | None:
        """Its position on the ladder, from 1."""
        return self.receipt.rung

    @property
    def degraded(self) -> bool:
        """True when it was not the first choice."""
        return self.receipt.degraded

    @property
    def cost_usd(self) -> Decimal:
        """What the whole request cost."""
        return self.receipt.cost_usd


# Stream events. Grammar: Start (TextDelta | ToolCallDelta)* (Reset Start (TextDelta | ToolCallDelta)*)* End.


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """A target began to answer."""

    target: str
    type: Literal["start"] = "start"


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class TextDelta:
    """More text."""

    text: str
    logprobs: tuple[TokenLogprob, ...] = ()
    type: Literal["text"] = "text"


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCallDelta:
    """More of the tool call number `index`; `id` and `name` come with its first delta."""

    index: int
    arguments: str = ""
    id: str | None = None
    name: str | None = None
    type: Literal["tool_call"] = "tool_call"


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """The answer is complete; `response` holds all of it."""

    response: Response
    type: Literal["end"] = "end"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reset:
    """Forget what was delivered: the target failed midway and the next rung begins anew."""

    because: str
    type: Literal["reset"] = "reset"


StreamEvent = Start | TextDelta | ToolCallDelta | Reset | End
