"""What vendors say when they say no, in the policy's words."""

from __future__ import annotations

import socket
import ssl

import httpx2
import pytest

from hybridinfer.receipt import Code
from hybridinfer.targets.failures import from_status, from_transport, retry_after, unwritable

SECRET = "sk-live-4242"


def _openai(word: object = None, kind: str = "", message: str = "") -> dict:
    return {"error": {"message": message, "type": kind, "code": word}}


def _anthropic(kind: str, message: str = "") -> dict:
    return {"type": "error", "error": {"type": kind, "message": message}}


STATUSES = {
    301: (Code.UNAVAILABLE, False),
    400: (Code.INVALID, None),
    401: (Code.UNAUTHORIZED, None),
    402: (Code.UNAUTHORIZED, None),
    403: (Code.UNAUTHORIZED, None),
    404: (Code.INVALID, None),
    405: (Code.INVALID, None),
    408: (Code.TIMEOUT, None),
    409: (Code.UNAVAILABLE, None),
    413: (Code.INVALID, None),
    422: (Code.INVALID, None),
    425: (Code.UNAVAILABLE, None),
    429: (Code.RATE_LIMITED, None),
    499: (Code.UNAVAILABLE, None),
    500: (Code.UNAVAILABLE, None),
    501: (Code.UNAVAILABLE, False),
    502: (Code.UNAVAILABLE, None),
    503: (Code.UNAVAILABLE, None),
    504: (Code.UNAVAILABLE, None),
    529: (Code.UNAVAILABLE, None),
}


@pytest.mark.parametrize(("status", "code", "retry"), [(status, *rest) for status, rest in STATUSES.items()])
def test_each_status_has_its_code(status, code, retry):
    """Without further words, the status decides."""
    failure = from_status(status, None, {})
    assert (failure.code, failure.retry, failure.status) == (code, retry, status)


BODIES = {
    "openai context": (400, _openai("context_length_exceeded"), Code.CONTEXT_TOO_LONG),
    "anthropic context": (400, _anthropic("invalid_request_error", "prompt is too long: 9 > 8"), Code.CONTEXT_TOO_LONG),
    "llama.cpp context": (400, _openai(400, "exceed_context_size_error"), Code.CONTEXT_TOO_LONG),
    "vllm context": (
        400,
        {
            "object": "error",
            "message": "This model's maximum context length is 8 tokens",
            "type": "BadRequestError",
            "code": 400,
        },
        Code.CONTEXT_TOO_LONG,
    ),
    "openai filter": (400, _openai("content_policy_violation"), Code.REFUSED),
    "azure filter": (400, _openai("content_filter"), Code.REFUSED),
    "openai prompt check": (400, _openai("invalid_prompt", "invalid_request_error"), Code.REFUSED),
    "openai quota": (429, _openai("insufficient_quota", "insufficient_quota"), Code.RATE_LIMITED),
    "anthropic credit": (400, _anthropic("invalid_request_error", "Your credit balance is too low"), Code.UNAUTHORIZED),
    "anthropic billing": (400, _anthropic("billing_error"), Code.UNAUTHORIZED),
    "ollama": (404, {"error": "model not found"}, Code.INVALID),
    "text": (503, "upstream connect error", Code.UNAVAILABLE),
    "anthropic detail": (
        400,
        {"error": {"type": "invalid_request_error", "details": {"error_code": "context_window_exceeded"}}},
        Code.CONTEXT_TOO_LONG,
    ),
    "in stream, overloaded": (200, _anthropic("overloaded_error"), Code.UNAVAILABLE),
    "in stream, limited": (200, _openai("rate_limit_exceeded", "tokens"), Code.RATE_LIMITED),
    "in stream, a status as code": (200, _openai(502), Code.UNAVAILABLE),
    "in stream, key": (200, _anthropic("authentication_error"), Code.UNAUTHORIZED),
    "in stream, unknown": (200, _openai("mystery"), Code.UNAVAILABLE),
    "in stream, a number as code": (200, _openai(7), Code.UNAVAILABLE),
}


@pytest.mark.parametrize(("status", "payload", "code"), BODIES.values(), ids=BODIES)
def test_the_bodys_words_refine_the_status(status, payload, code):
    """Context, content policy and billing are told in the body; in streams, everything is."""
    assert from_status(status, payload, {}).code is code


@pytest.mark.parametrize("word", ["insufficient_quota", "billing_hard_limit_reached"])
def test_what_only_money_can_help_is_not_retried(word):
    """An empty account stays empty."""
    assert from_status(429, _openai(word), {}).retry is False


@pytest.mark.parametrize(("said", "retry"), [("true", True), ("false", False), ("maybe", None), ("", None)])
def test_the_vendors_word_on_retrying_counts(said, retry):
    """x-should-retry overrules the code."""
    assert from_status(500, None, {"x-should-retry": said}).retry is retry


def test_a_vendors_message_stays_out_of_the_receipt():
    """Messages quote keys and prompts; only the code word is told, and only if it looks like one."""
    failure = from_status(401, _openai(f"key {SECRET}", "invalid_api_key", f"wrong key {SECRET}"), {})
    assert failure.because == "HTTP 401 invalid_api_key"
    assert SECRET not in str(failure)


WAITS = {
    "nothing": ({}, None),
    "seconds": ({"retry-after": "7"}, 7.0),
    "a fraction": ({"retry-after": "1.5"}, 1.5),
    "milliseconds first": ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
    "bad milliseconds": ({"retry-after-ms": "soon", "retry-after": "7"}, 7.0),
    "negative": ({"retry-after": "-3"}, 0.0),
    "endless": ({"retry-after": "inf"}, None),
    "no number": ({"retry-after": "nan"}, None),
    "a date": ({"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT", "date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 30.0),
    "a past date": ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
    "words": ({"retry-after": "soon"}, None),
}


@pytest.mark.parametrize(("headers", "seconds"), WAITS.values(), ids=WAITS)
def test_every_form_of_retry_after_is_read(headers, seconds):
    """Milliseconds, seconds and HTTP dates; nonsense asks for nothing."""
    assert retry_after(headers) == seconds
    assert from_status(429, None, headers).retry_after == seconds


def _caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


TRANSPORT = {
    "pool": (httpx2.PoolTimeout(""), Code.SATURATED, Code.SATURATED),
    "read timeout": (httpx2.ReadTimeout(""), Code.TIMEOUT, Code.STALLED),
    "write timeout": (httpx2.WriteTimeout(""), Code.TIMEOUT, Code.TIMEOUT),
    "connect timeout": (httpx2.ConnectTimeout(""), Code.UNAVAILABLE, Code.UNAVAILABLE),
    "refused": (httpx2.ConnectError(""), Code.UNAVAILABLE, Code.INTERRUPTED),
    "no such host": (_caused(httpx2.ConnectError(""), socket.gaierror()), Code.UNAVAILABLE, Code.INTERRUPTED),
    "certificate": (_caused(httpx2.ConnectError(""), ssl.SSLError()), Code.UNAVAILABLE, Code.INTERRUPTED),
    "reset": (httpx2.ReadError(""), Code.UNAVAILABLE, Code.INTERRUPTED),
    "closed": (httpx2.RemoteProtocolError(""), Code.UNAVAILABLE, Code.INTERRUPTED),
    "unwritable": (httpx2.LocalProtocolError(""), Code.INVALID, Code.INVALID),
    "damaged encoding": (httpx2.DecodingError(""), Code.INTERRUPTED, Code.INTERRUPTED),
    "unknown": (None, Code.UNAVAILABLE, Code.INTERRUPTED),
}


@pytest.mark.parametrize(("error", "before", "within"), TRANSPORT.values(), ids=TRANSPORT)
def test_each_way_of_breaking_has_its_code(error, before, within):
    """The same error means less before an answer than within one."""
    assert from_transport(error, answering=False).code is before
    assert from_transport(error, answering=True).code is within


def test_why_there_is_no_connection_is_told_apart():
    """Name, certificate and refusal need different help."""
    because = {
        name: from_transport(TRANSPORT[name][0], answering=False).because
        for name in ("refused", "no such host", "certificate")
    }
    assert len(set(because.values())) == 3


def test_what_cannot_be_written_is_never_retried():
    """A header with a line break will not get better."""
    assert unwritable().retry is False
