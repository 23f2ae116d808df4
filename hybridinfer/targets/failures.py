"""How a vendor says no -> how an attempt failed, in the policy's words.

By status first, as classes differ between SDKs and versions; then by the error's own `code` and `type`; by its
message only where vendors give nothing else. `because` holds the status and a code word, never a vendor's
message: those quote prompts and keys.
"""

from __future__ import annotations

import math
import re
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.utils import mktime_tz, parsedate_tz
from typing import Any

from ..receipt import Code
from ..types import Usage
from .base import TargetFailed


@dataclass(frozen=True, slots=True, kw_only=True)
class VendorError:
    """What an error body says. `words`: its codes and types, most telling first."""

    words: tuple[str, ...] = ()
    message: str = ""
    status: int | None = None


class Reported(Exception):
    """An error inside a stream or inside an answer of status 200."""

    def __init__(self, payload: Mapping[str, Any]) -> None:
        super().__init__("the vendor reported an error within its answer")
        self.payload = payload


# Sources: docs.claude.com "Errors", platform.openai.com "Error codes"; llama.cpp and vLLM name some of their own.
_STATUS_OF: Mapping[str, int] = {
    "invalid_request_error": 400,
    "context_length_exceeded": 400,
    "invalid_api_key": 401,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "model_not_found": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "insufficient_quota": 429,
    "tokens": 429,
    "requests": 429,
    "api_error": 500,
    "server_error": 500,
    "internal_server_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
_REFUSED = frozenset(
    {
        "content_filter",
        "content_policy_violation",
        "invalid_prompt",
        "moderation_blocked",
        "responsible_ai_policy_violation",
    }
)
_TOO_LONG = frozenset({"context_length_exceeded", "context_window_exceeded", "exceed_context_size_error"})
_UNPAID = frozenset({"insufficient_quota", "billing_error", "billing_hard_limit_reached"})
_TOO_LONG_MESSAGE = re.compile(
    r"prompt is too long|maximum context length|context (?:length|window|size) (?:is |was )?exceed|exceeds? the (?:available )?context|input is too long",
    re.IGNORECASE,
)
_UNPAID_MESSAGE = re.compile(r"credit balance is too low", re.IGNORECASE)
_BY_STATUS: Mapping[int, Code] = {
    401: Code.UNAUTHORIZED,
    402: Code.UNAUTHORIZED,
    403: Code.UNAUTHORIZED,
    408: Code.TIMEOUT,
    409: Code.UNAVAILABLE,  # a lock of the vendor's; its own SDK retries it
    425: Code.UNAVAILABLE,
    429: Code.RATE_LIMITED,
    499: Code.UNAVAILABLE,
}
_WORD = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_FIRST_ERROR, _FIRST_SERVER_ERROR = 400, 500


def from_status(status: int, payload: Any, headers: Mapping[str, str], *, usage: Usage | None = None) -> TargetFailed:
    """The failure for an error response.

    Args:
        status: HTTP status; 200 for an error inside a stream, whose own words then decide.
        payload: The decoded body, or None.
        headers: Of the response; keys in lower case or a case-insensitive mapping.
        usage: What the attempt used, where the vendor told.
    """
    error = _error(payload)
    if status < 300:
        status = error.status or next(
            (_STATUS_OF[word] for word in error.words if word in _STATUS_OF), _FIRST_SERVER_ERROR
        )
    code, retry = _code(status, error)
    word = next((word for word in error.words if _WORD.fullmatch(word)), "")
    asked = {"true": True, "false": False}.get(headers.get("x-should-retry", "").lower())
    return TargetFailed(
        code,
        f"HTTP {status} {word}".rstrip(),
        status=status,
        retry_after=retry_after(headers),
        retry=retry if asked is None else asked,
        usage=usage,
    )


def _code(status: int, error: VendorError) -> tuple[Code, bool | None]:
    """The code, and whether a retry can help at all (None: the code decides)."""
    words = set(error.words)
    if status < _FIRST_ERROR:
        return Code.UNAVAILABLE, False  # a redirect, which is never followed
    if status < _FIRST_SERVER_ERROR:
        if words & _REFUSED:
            return Code.REFUSED, False
        if words & _TOO_LONG or (status in (400, 413, 422) and _TOO_LONG_MESSAGE.search(error.message)):
            return Code.CONTEXT_TOO_LONG, False
        if status == 400 and _UNPAID_MESSAGE.search(error.message):
            return Code.UNAUTHORIZED, False
        if words & _UNPAID:
            return _BY_STATUS.get(status, Code.UNAUTHORIZED), False
        return _BY_STATUS.get(status, Code.INVALID), None
    return Code.UNAVAILABLE, False if status in (501, 505) else None


def _error(payload: Any) -> VendorError:
    """OpenAI `{"error": {"type", "code", "message"}}`, Anthropic the same in `{"type": "error"}`, Ollama `{"error": "..."}`."""
    if not isinstance(payload, Mapping):
        return VendorError()
    body = payload.get("error", payload)
    if not isinstance(body, Mapping):
        return VendorError(message=str(body))
    code = body.get("code")
    details = body.get("details")
    inner = details.get("error_code") if isinstance(details, Mapping) else None
    words = tuple(word for word in (inner, code, body.get("type")) if isinstance(word, str) and word)
    status = code if isinstance(code, int) and _FIRST_ERROR <= code < 600 else None  # OpenRouter, vLLM
    message = body.get("message")
    return VendorError(words=words, message=message if isinstance(message, str) else "", status=status)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the response asks to wait: `retry-after-ms`, `retry-after` in seconds or as HTTP date; None: nothing.

    Source: RFC 9110, 10.2.3; `retry-after-ms` is OpenAI's own, finer one.
    """
    for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            seconds = float(headers[name]) * scale
        except (KeyError, ValueError):
            continue
        return max(seconds, 0.0) if math.isfinite(seconds) else None
    until = parsedate_tz(headers.get("retry-after", ""))
    if until is None:
        return None
    # Both dates are the vendor's, so a clock that is wrong here does not matter.
    today = parsedate_tz(headers.get("date", ""))
    return max(mktime_tz(until) - (time.time() if today is None else mktime_tz(today)), 0.0)


def from_transport(error: BaseException | None, *, answering: bool) -> TargetFailed:
    """The failure for a connection that could not be had or broke.

    Args:
        error: What httpx2 raised.
        answering: The response had begun.
    """
    name = type(error).__name__
    match name:
        case "PoolTimeout":
            return TargetFailed(Code.SATURATED, "all connections of this process are in use")
        case "ReadTimeout" if answering:
            return TargetFailed(Code.STALLED, "the answer stopped coming")
        case "ReadTimeout" | "WriteTimeout":
            return TargetFailed(Code.TIMEOUT, "no answer in time")
        case "ConnectTimeout":
            return TargetFailed(Code.UNAVAILABLE, "no connection in time", sent=False)
        case "LocalProtocolError" | "UnsupportedProtocol" | "InvalidURL":
            return unwritable()
        case "DecodingError":
            return TargetFailed(Code.INTERRUPTED, "the answer's content-encoding is damaged")
        case _ if answering:
            return TargetFailed(Code.INTERRUPTED, "the connection broke within the answer")
    causes = list(_chain(error))
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        return TargetFailed(Code.UNAVAILABLE, "the host's name has no address", sent=False)
    if any(isinstance(cause, ssl.SSLError) for cause in causes):
        because = "no TLS connection: the certificate or protocol was not accepted"
        return TargetFailed(Code.UNAVAILABLE, because, sent=False)
    if name == "ConnectError":
        return TargetFailed(Code.UNAVAILABLE, "the connection was refused", sent=False)
    return TargetFailed(Code.UNAVAILABLE, "the connection broke before the answer")


def unwritable() -> TargetFailed:
    """The failure for a request that HTTP has no form for."""
    because = "the request cannot be written as HTTP; check base_url, key and extra_headers"
    return TargetFailed(Code.INVALID, because, retry=False)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
