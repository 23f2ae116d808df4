"""The ways a vendor fails, one record each. `Emulator.outage` switches them on.

`after` counts the pieces of content that a stream delivers before the fault; an answer in one piece fails midway.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One way to fail."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refuse(Fault):
    """Nobody listens: the socket is closed, connections are dropped. For the whole emulator only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResetConnection(Fault):
    """The connection is reset (TCP RST) when the request was read; with `after`, within the stream."""

    after: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hang(Fault):
    """The request is read and nothing ever comes back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slow(Fault):
    """Everything waits `seconds`, then all is well."""

    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowFirstToken(Fault):
    """The headers come at once, the first content after `seconds`."""

    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowTokens(Fault):
    """So many seconds between two pieces of a stream; an answer in one piece waits once."""

    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Stall(Fault):
    """The stream falls silent: for `seconds`, or for good."""

    after: int = 1
    seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut(Fault):
    """The connection is closed in the middle of the answer."""

    after: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Malformed(Fault):
    """A piece that is not JSON."""

    after: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingEnd(Fault):
    """The stream ends in good order, but without its terminal event; `after` None: with all of its content."""

    after: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamError(Fault):
    """Status 200, then an error event within the stream."""

    after: int = 1
    status: int = 529


@dataclass(frozen=True, slots=True, kw_only=True)
class Empty(Fault):
    """A well-formed answer with nothing in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Status(Fault):
    """An HTTP error, shaped as the vendor shapes it. `word` overrides the error's code."""

    status: int
    retry_after: float | str | None = None
    """Seconds, or an HTTP date."""
    retry_after_ms: int | None = None
    should_retry: bool | None = None
    word: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockSkew(Fault):
    """Too many requests, from a vendor whose clock is `seconds` ahead: its Date and its Retry-After are both wrong."""

    seconds: float = 3600.0
    retry_after: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NotJson(Fault):
    """A good answer in plain words, whatever format was demanded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsure(Fault):
    """A good answer, in words or as a JSON object, that says what no other answer says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextTooLong(Fault):
    """The vendor's error for a prompt beyond the window."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentFilter(Fault):
    """The model's answer is withheld (status 200)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WrongUsage(Fault):
    """A good answer with these token counts on it."""

    input_tokens: int = 0
    output_tokens: int = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class HugeBody(Fault):
    """One piece of content of this size."""

    size: int = 100 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class WrongContentType(Fault):
    """A good answer under another name; with `page`, a proxy's web page instead of an answer."""

    content_type: str = "text/html"
    page: bool = False
