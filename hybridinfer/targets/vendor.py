"""What the two cloud adapters share: one call over the vendor's SDK and the shared HTTP client.

The SDK gives authentication, URL, headers and the types of errors. Requests are sent and answers decoded here: the
SDKs let broken answers pass (a stream that ends without its terminal event, an error inside status 200, a chunk that
is not JSON), and their own sending costs as much CPU as the whole POST (benchmarks/adapters.py). Redirects are
refused, answers are bounded in size.
"""

from __future__ import annotations

import asyncio
import json
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, cast

from ..dialects import Untranslatable
from ..errors import ConfigurationError
from ..policy.model import continues, zone_of
from ..receipt import Code, Need
from . import failures, http
from .base import Finish, Progress, TargetEvent, TargetFailed, TargetInfo
from .sse import SseDecoder

if TYPE_CHECKING:
    import httpx2

    from ..policy.model import TargetBlock
    from ..types import Request, Usage
    from .base import TargetContext

_SUPPORTS: frozenset[Need] = frozenset({"tools", "vision", "files", "json"})
_MOST_BYTES = 64 * 1024 * 1024
_MOST_EVENT_BYTES = 16 * 1024 * 1024
_DRAIN_SECONDS = 0.25
_PLACEHOLDER_KEY = "none"
# They name the key or frame the body; a caller's header goes to every target that is tried.
_OUR_HEADERS = frozenset(
    {
        "authorization",
        "x-api-key",
        "host",
        "content-length",
        "content-type",
        "content-encoding",
        "transfer-encoding",
        "cookie",
    }
)
_FRAMING = frozenset({"content-encoding", "content-length", "transfer-encoding"})
_FIRST_REFUSAL, _FIRST_SERVER_ERROR = 300, 500
# Classes that both SDKs have, and have had for years.
_ERRORS: Mapping[int, str] = {
    400: "BadRequestError",
    401: "AuthenticationError",
    403: "PermissionDeniedError",
    404: "NotFoundError",
    409: "ConflictError",
    422: "UnprocessableEntityError",
    429: "RateLimitError",
}
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_GARBLED = (ValueError, TypeError, KeyError, AttributeError, IndexError)
"""What reading a body of the wrong shape raises."""


class Reader(Protocol):
    """Turns one answer into events. A new one for each call."""

    done: bool
    """The terminal event was seen: nothing more will come."""

    def feed(self, data: bytes) -> Sequence[TargetEvent]:
        """The events of one chunk of a stream. Raises `failures.Reported`; any `ValueError` or the like: garbled."""
        ...

    def whole(self, payload: Any) -> Sequence[TargetEvent]:
        """The events of an answer in one piece."""
        ...

    def finish(self, *, begun: bool = False) -> Finish:
        """The last event. Raises `TargetFailed` where the answer is incomplete, empty or refused.

        `begun`: its beginning stood in the request, so there may have been nothing to add.
        """
        ...

    @property
    def usage(self) -> Usage | None:
        """What the vendor told so far."""
        ...


@dataclass(frozen=True, slots=True)
class Session:
    """What the vendor's SDK told once, for one key; calls then import and build nothing."""

    key: str
    sdk: Any
    """The vendor's module."""
    library: Any
    """httpx2 itself."""
    send: Callable[[httpx2.Request], Awaitable[httpx2.Response]]
    """See `http.Line`."""
    url: httpx2.URL
    headers: httpx2.Headers
    timeout: Mapping[str, float | None]
    transport_errors: tuple[type[Exception], ...]


class VendorTarget(ABC):
    """A target behind HTTP, spoken to through its vendor's SDK. One object per event loop; calls may overlap."""

    dialect: ClassVar[Literal["openai", "anthropic"]]
    """Also the name of the SDK's module."""
    key_variable: ClassVar[str]
    default_url: ClassVar[str]
    path: ClassVar[str]
    idempotent: ClassVar[bool] = False
    """The API takes an Idempotency-Key."""
    known_options: ClassVar[frozenset[str]] = frozenset({"supports", "drop", "extra_body"})

    def __init__(self, block: TargetBlock, context: TargetContext) -> None:
        self._block = block
        self._context = context
        self._session: Session | None = None
        self._options(context.name)
        self._url = http.checked_url(block.base_url or self.default_url, target=context.name, zone=zone_of(block))
        self.info = TargetInfo(
            name=context.name,
            kind=block.kind,
            zone=zone_of(block),
            model=block.model,
            region=block.region,
            supports=self._supports,
            context_window=block.context_window,
            continues=continues(block),
            idempotent=self.idempotent,
        )

    @abstractmethod
    def _body(self, request: Request, *, stream: bool, session: Session) -> dict[str, Any]:
        """The JSON body. Raises `Untranslatable`."""

    @abstractmethod
    def _reader(self) -> Reader:
        """What decodes the answer."""

    @abstractmethod
    def _client(self, module: Any, key: str, client: httpx2.AsyncClient) -> Any:
        """The SDK's asynchronous client: asked for its address and headers, never closed (it would close `client`)."""

    def _options(self, name: str) -> None:
        options = self._block.options
        for key in options:
            if key not in self.known_options:
                near = get_close_matches(key, self.known_options, 1)
                hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(self.known_options))}"
                raise ConfigurationError(f"target {name!r}: option {key!r} is unknown; {hint}")
        supports = options.get("supports", sorted(_SUPPORTS))
        if not isinstance(supports, (list, tuple)) or not set(supports) <= _SUPPORTS:
            raise ConfigurationError(
                f"target {name!r}: options.supports is a list out of {', '.join(sorted(_SUPPORTS))}"
            )
        self._supports = frozenset(cast("Sequence[Need]", supports))
        drop = options.get("drop", [])
        if not isinstance(drop, (list, tuple)):
            raise ConfigurationError(f"target {name!r}: options.drop is a list of body fields")
        self._drop = frozenset(drop)
        self._extra_body: Mapping[str, Any] = options.get("extra_body", {})
        if not isinstance(self._extra_body, Mapping) or {"messages", "model", "stream"} & self._extra_body.keys():
            raise ConfigurationError(
                f"target {name!r}: options.extra_body is a mapping without messages, model and stream"
            )

    def count_tokens(self, request: Request) -> int:
        """Prompt tokens, exact or an upper bound."""
        from ..tokens import count_request

        return count_request(request, self._block.model, dialect=self.dialect)

    async def warmup(self) -> None:
        """Import the SDK and make the client, so that the first request need not. Raises `TargetFailed` without a key."""
        await self._open()

    async def aclose(self) -> None:
        """Let go of the shared client."""
        self._session = None
        await http.release(self)

    async def stream(self, request: Request, *, stream: bool) -> AsyncIterator[TargetEvent]:
        """Answer `request`; see `Target.stream`. Closing the iterator closes the upstream response."""
        session = await self._open()
        response = await self._post(session, request, stream=stream)
        reader = self._reader()
        pieces = _pieces(response)
        try:
            if response.status_code >= _FIRST_REFUSAL:
                raise await self._refused(session, response, pieces)
            # A server may answer otherwise than it was asked: what it says it sends counts.
            kind = response.headers.get("content-type", "")
            if "event-stream" in kind or (stream and "json" not in kind):
                decoder = SseDecoder(limit=_MOST_EVENT_BYTES)
                async for piece in pieces:
                    silent = True
                    for data in decoder.feed(piece):
                        for event in reader.feed(data):
                            silent = False
                            yield event
                    if reader.done:
                        break
                    if silent:  # it thinks, or a comment keeps the connection alive
                        yield Progress()
                for data in decoder.flush():
                    for event in reader.feed(data):
                        yield event
                finish = reader.finish(begun=begins_answer(request))
                if reader.done:
                    await _drain(pieces, session.transport_errors)
            else:
                for event in reader.whole(json.loads(await _all(pieces))):
                    yield event
                finish = reader.finish(begun=begins_answer(request))
        except failures.Reported as reported:
            failure = failures.from_status(response.status_code, reported.payload, response.headers, usage=reader.usage)
            raise failure from session.sdk.APIError(str(reported), response.request, body=reported.payload)
        except _GARBLED as error:
            raise TargetFailed(Code.INTERRUPTED, "the answer is garbled", usage=reader.usage) from error
        except session.transport_errors as error:
            failure = failures.from_transport(error, answering=True)
            failure.usage = reader.usage
            raise failure from error
        finally:
            await pieces.aclose()
            await response.aclose()
        yield finish

    async def _open(self) -> Session:
        key = self._key()
        session = self._session
        if session is None or session.key != key:
            line = await http.lease(self)
            # The SDKs take 1-2 s to import: in a thread, so that the loop goes on.
            session = self._session = await asyncio.to_thread(self._connect, key, line)
        return session

    def _key(self) -> str:
        """Read at every call: keys are rotated."""
        name = self._block.api_key or self.key_variable
        key = self._context.environ.get(name, "").strip()
        if not key and self.info.zone == "cloud":
            raise TargetFailed(Code.UNAUTHORIZED, f"{name} is not set", retry=False)
        return key or _PLACEHOLDER_KEY

    def _connect(self, key: str, line: http.Line) -> Session:
        sdk = import_module(self.dialect)
        import anyio
        import httpx2

        vendor = self._client(sdk, key, line.client)
        url = httpx2.URL(str(vendor.base_url).rstrip("/") + self.path)
        headers = {"Host": url.netloc.decode("ascii"), **vendor.default_headers, **vendor.auth_headers}
        return Session(
            key=key,
            sdk=sdk,
            library=httpx2,
            send=line.send,
            url=url,
            headers=httpx2.Headers({name: value for name, value in headers.items() if isinstance(value, str)}),
            timeout=http.timeouts(self._block.timeout).as_dict(),
            transport_errors=(
                httpx2.RequestError,
                httpx2.StreamError,
                anyio.BrokenResourceError,
                anyio.ClosedResourceError,
                anyio.EndOfStream,
                OSError,
            ),
        )

    async def _post(self, session: Session, request: Request, *, stream: bool) -> httpx2.Response:
        """The response, of whatever status, its body unread."""
        try:
            content = self._content(self._body(request, stream=stream, session=session))
        except Untranslatable as error:
            raise TargetFailed(Code.UNSUPPORTED, str(error), retry=False) from error
        except (ValueError, TypeError) as error:
            raise TargetFailed(Code.INVALID, "the request holds values that are not JSON", retry=False) from error
        for name in request.extra_headers:
            if name.lower() in _OUR_HEADERS:
                raise TargetFailed(Code.INVALID, f"extra_headers may not set {name.lower()}", retry=False)
        headers = session.headers
        try:
            if request.extra_headers or request.idempotency_key is not None:
                headers = headers.copy()
                if request.idempotency_key is not None:
                    headers["Idempotency-Key"] = request.idempotency_key
                headers.update(request.extra_headers)
        except ValueError as error:  # a header that is not ASCII
            raise failures.unwritable() from error
        # All headers by name, as a request that has to find them out for itself costs three times as much.
        message: httpx2.Request = session.library.Request(
            "POST",
            session.url,
            headers=[*headers.raw, (b"Content-Length", b"%d" % len(content))],
            stream=session.library.ByteStream(content),
            extensions={"timeout": session.timeout},
        )
        message.read()  # in memory already; an error's `request` shows it
        try:
            return await session.send(message)
        except session.transport_errors as error:
            kind = "APITimeoutError" if isinstance(error, session.library.TimeoutException) else "APIConnectionError"
            typed = getattr(session.sdk, kind)(request=message)
            typed.__cause__ = error
            raise failures.from_transport(error, answering=False) from typed

    async def _refused(self, session: Session, response: httpx2.Response, pieces: AsyncIterator[bytes]) -> TargetFailed:
        """The failure for an HTTP error, with the SDK's own error, which holds a readable response, as its cause."""
        body = await _all(pieces)
        try:
            payload = json.loads(body)
        except ValueError:
            payload = None
        status = response.status_code
        headers = {name: value for name, value in response.headers.items() if name not in _FRAMING}
        readable = session.library.Response(status, headers=headers, content=body, request=response.request)
        kind = _ERRORS.get(status, "APIStatusError" if status < _FIRST_SERVER_ERROR else "InternalServerError")
        failure = failures.from_status(status, payload, response.headers)
        failure.__cause__ = getattr(session.sdk, kind)(f"Error code: {status}", response=readable, body=payload)
        return failure

    def _content(self, body: dict[str, Any]) -> bytes:
        body = {key: value for key, value in body.items() if key not in self._drop} | dict(self._extra_body)
        try:
            return _ENCODER.encode(body).encode()
        except UnicodeEncodeError:  # half a surrogate pair, as JavaScript front ends cut text
            return json.dumps(body, allow_nan=False, separators=(",", ":")).encode()


def begins_answer(request: Request) -> bool:
    """Whether the answer's beginning stands in the request."""
    return request.messages[-1].role == "assistant"


def _pieces(response: httpx2.Response) -> AsyncGenerator[bytes, None]:
    """The body as it comes. Without a content-encoding, one layer less for every chunk of a stream."""
    return response.aiter_bytes() if "content-encoding" in response.headers else response.aiter_raw()


async def _all(pieces: AsyncIterator[bytes]) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for piece in pieces:
        size += len(piece)
        if size > _MOST_BYTES:
            raise ValueError(f"the answer is larger than {_MOST_BYTES} bytes")
        parts.append(piece)
    return b"".join(parts)


async def _drain(pieces: AsyncIterator[bytes], errors: tuple[type[Exception], ...]) -> None:
    """Read the end of a finished body, so that its connection can serve again; it is not worth waiting for."""
    with suppress(TimeoutError, *errors):
        async with asyncio.timeout(_DRAIN_SECONDS):
            async for _ in pieces:
                pass
