"""Record real traffic once, replay it for ever: an httpx2 transport and the file behind it.

```python
with Cassette("tests/cassettes/greeting.yaml").installed():     # replays; HYBRIDINFER_RECORD=1 records
    with Router("policy.yaml") as router:
        assert router.complete("hello").rung == 1
```
No key ever stands in a cassette, and no content unless `keep_content=True`, which is for prompts of your own. What is
left is the shape: statuses, events, usage, finish reasons. A file that would hold a secret is not written.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, cast

from pydantic import Field, ValidationError

from ..errors import HybridinferError
from ..learning.levels import write_whole
from ..policy.block import Block
from ..targets import http
from .scrub import Scrub

if TYPE_CHECKING:
    import httpx2

RECORD = "HYBRIDINFER_RECORD"
"""Set to 1, cassettes record; otherwise they replay."""
_HEAD = "# A cassette of hybridinfer: recorded traffic without keys. Delete it and record again rather than edit it.\n"
_REPLY_HEADERS = frozenset({"content-type", "retry-after", "retry-after-ms", "x-should-retry"})
_ASKED_HEADERS = frozenset(
    {"accept", "accept-encoding", "anthropic-version", "connection", "content-length", "content-type", "host"}
)
"""Headers of requests that are no secrets; every other value is looked for before anything is written."""
_SHORTEST = 6
"""Letters of a header's value that are worth looking for."""
_SECRETS = frozenset({"credentials", "passwords"})
"""Families of detectors that find what nobody may keep."""
_EVENTS = "text/event-stream"
_FAILURES = frozenset(
    {"ConnectError", "ConnectTimeout", "ReadError", "ReadTimeout", "RemoteProtocolError", "WriteError", "WriteTimeout"}
)


class CassetteError(HybridinferError):
    """A cassette that cannot be read, lacks what is asked, or would hold a secret."""


class Asked(Block):
    """A request: enough to find it again."""

    method: str
    url: str
    """Without query, user and fragment."""
    body: Any = None


class Replied(Block):
    """What came back."""

    status: int = 0
    headers: dict[str, str] = Field(default_factory=dict)
    body: Any = None
    """Decoded JSON."""
    events: list[Any] | None = None
    """The data of a stream's events: decoded JSON, or a text such as `[DONE]`."""
    garbled: bool = False
    """There was a body that is no JSON; it is not kept."""
    fails: str | None = None
    """The httpx2 error with which it ended, perhaps after some events."""


class Exchange(Block):
    """One request and its answer."""

    asked: Asked
    replied: Replied


class Tape(Block):
    """The whole file."""

    version: Literal[1] = 1
    content: Literal["scrubbed", "kept"] = "scrubbed"
    exchanges: tuple[Exchange, ...] = ()


class Cassette:
    """One file of recorded traffic.

    Args:
        path: Where it lies; its folder is made when it is written.
        record: Record instead of replaying; None: as HYBRIDINFER_RECORD says.
        keep_content: Keep prompts and answers as they are. Secrets are refused all the same.
    """

    def __init__(self, path: str | Path, *, record: bool | None = None, keep_content: bool = False) -> None:
        self.path = Path(path)
        self.record = os.environ.get(RECORD) == "1" if record is None else record
        self.keep_content = keep_content
        self.missed: list[Asked] = []
        """Requests that no recording answers."""
        self._recorded: list[Exchange] = []
        self._secrets: set[str] = set()
        self._left: dict[str, list[Exchange]] = {}
        if not self.record:
            tape = self._read()
            self.keep_content = tape.content == "kept"
            for exchange in tape.exchanges:
                self._left.setdefault(_key(exchange.asked), []).append(exchange)

    @contextmanager
    def installed(self) -> Iterator[Self]:
        """Every cloud target that makes its connection meanwhile goes through this cassette; it is written at the end.

        Raises `CassetteError` at the end where a request had no recording, or where the file would hold a secret.
        """
        with http.wrapped(self.transport):
            yield self
        if self.record:
            self.save()
        elif self.missed:
            one = self.missed[0]
            more = f" (and {len(self.missed) - 1} more)" if self.missed[1:] else ""
            raise CassetteError(f"{self.path} has no answer for {one.method} {one.url}{more}; record with {RECORD}=1")

    def transport(self, inner: httpx2.AsyncBaseTransport) -> httpx2.AsyncBaseTransport:
        """An httpx2 transport that records what passes through `inner`, or replays without it."""
        return _transport(self, inner)

    def find(self, request: httpx2.Request, raw: bytes) -> Exchange | None:
        """The next recording of this request; None, and it is noted, where there is none."""
        asked = self._asked(request, raw)
        found = self._left.get(_key(asked))
        if not found:
            self.missed.append(asked)
            return None
        return found.pop(0)

    def add(self, request: httpx2.Request, raw: bytes, replied: Replied) -> None:
        """Remember an exchange, and the secrets that must not be in the file."""
        for name, value in request.headers.items():
            if name.lower() not in _ASKED_HEADERS:
                self._secrets.update(word for word in value.split() if len(word) >= _SHORTEST)
        self._secrets.update(value for _, value in request.url.params.multi_items() if len(value) >= _SHORTEST)
        self._recorded.append(Exchange(asked=self._asked(request, raw), replied=replied))

    def save(self) -> None:
        """Write the file, whole or not at all. Raises `CassetteError` where it would hold a secret."""
        import yaml

        tape = Tape(content="kept" if self.keep_content else "scrubbed", exchanges=tuple(self._recorded))
        tree = tape.model_dump(mode="json", exclude_defaults=True) | {"version": 1, "content": tape.content}
        for secret in self._secrets:
            if _holds(tree, secret):
                raise CassetteError(f"{self.path} was not written: a header's value stands in a body")
        if found := _detected(tree):
            raise CassetteError(f"{self.path} was not written: it would hold a secret ({', '.join(sorted(found))})")
        ordered = {"version": 1, "content": tape.content, "exchanges": tree.get("exchanges", [])}
        self.path.parent.mkdir(parents=True, exist_ok=True)  # a folder of the project, not of one user alone
        write_whole(self.path, _HEAD + yaml.safe_dump(ordered, sort_keys=False, allow_unicode=True, width=110))

    def scrub(self, raw: bytes) -> Scrub | None:
        """What takes the content out of the answer to a request with this body; None: it may stay."""
        return None if self.keep_content else Scrub(as_json=_wants_json(_decoded(raw)))

    def _asked(self, request: httpx2.Request, raw: bytes) -> Asked:
        body = _decoded(raw)
        plain = request.url.copy_with(query=None, fragment=None, username=None, password=None)
        return Asked(method=request.method, url=str(plain), body=body if self.keep_content else Scrub().body(body))

    def _read(self) -> Tape:
        import yaml

        try:
            return Tape.model_validate(yaml.safe_load(self.path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            raise CassetteError(f"there is no cassette {self.path}; record it with {RECORD}=1") from None
        except (ValidationError, yaml.YAMLError, UnicodeDecodeError):
            raise CassetteError(f"{self.path} is no cassette; delete it, and record it with {RECORD}=1") from None


def _transport(cassette: Cassette, inner: httpx2.AsyncBaseTransport) -> httpx2.AsyncBaseTransport:
    import httpx2

    class Transport(httpx2.AsyncBaseTransport):
        """One connection pool's worth of traffic through the cassette."""

        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            raw = await request.aread()
            if cassette.record:
                return await self._record(request, raw)
            exchange = cassette.find(request, raw)
            if exchange is None:
                raise httpx2.ConnectError("the cassette has no such request", request=request)
            replied = exchange.replied
            if replied.fails is not None and not replied.status:
                raise _failure(replied.fails, request)
            return httpx2.Response(replied.status, headers=replied.headers, stream=_Replay(replied, request))

        async def aclose(self) -> None:
            await inner.aclose()

        async def _record(self, request: httpx2.Request, raw: bytes) -> httpx2.Response:
            request.headers["accept-encoding"] = "identity"  # what is recorded has to be readable
            try:
                response = await inner.handle_async_request(request)
            except httpx2.RequestError as error:
                cassette.add(request, raw, Replied(fails=type(error).__name__))
                raise
            headers = {name: value for name, value in response.headers.items() if name.lower() in _REPLY_HEADERS}
            tee = _Tee(cassette, request, raw, response, headers)
            return httpx2.Response(response.status_code, headers=response.headers, stream=tee)

    class _Tee(httpx2.AsyncByteStream):
        """Hands the body on, and keeps a copy until it ends, however it ends."""

        def __init__(
            self, _: Cassette, request: httpx2.Request, raw: bytes, response: httpx2.Response, headers: dict[str, str]
        ) -> None:
            self._request, self._raw, self._response, self._headers = request, raw, response, headers
            self._heard = bytearray()
            self._fails: str | None = None
            self._done = False

        async def __aiter__(self) -> AsyncIterator[bytes]:
            try:
                async for piece in cast("httpx2.AsyncByteStream", self._response.stream):
                    self._heard += piece
                    yield piece
            except httpx2.RequestError as error:
                self._fails = type(error).__name__
                raise
            finally:
                self._end()

        async def aclose(self) -> None:
            await self._response.aclose()
            self._end()

        def _end(self) -> None:
            if self._done:
                return
            self._done = True
            status, heard = self._response.status_code, bytes(self._heard)
            replied = _replied(status, self._headers, heard, self._fails, cassette.scrub(self._raw))
            cassette.add(self._request, self._raw, replied)

    class _Replay(httpx2.AsyncByteStream):
        """The body again: an event at a time, and at the end the failure, where there was one."""

        def __init__(self, replied: Replied, request: httpx2.Request) -> None:
            self._replied, self._request = replied, request

        async def __aiter__(self) -> AsyncIterator[bytes]:
            for piece in _pieces(self._replied):
                yield piece
                await asyncio.sleep(0)
            if self._replied.fails is not None:
                raise _failure(self._replied.fails, self._request)

    return Transport()


def _failure(name: str, request: httpx2.Request) -> Exception:
    import httpx2

    error: Exception = getattr(httpx2, name if name in _FAILURES else "ReadError")("replayed", request=request)
    return error


def _replied(status: int, headers: dict[str, str], heard: bytes, fails: str | None, scrub: Scrub | None) -> Replied:
    """A body as it may stand in the file."""
    common: dict[str, Any] = {"status": status, "headers": headers, "fails": fails}
    if _EVENTS in headers.get("content-type", ""):
        return Replied(events=[_event(data, scrub) for data in _events(heard)], **common)
    tree = _decoded(heard)
    if tree is None:
        return Replied(garbled=bool(heard), **common)
    return Replied(body=tree if scrub is None else scrub.body(tree), **common)


def _events(heard: bytes) -> Iterator[str]:
    for block in heard.decode("utf-8", "replace").replace("\r\n", "\n").split("\n\n"):
        lines = [line.removeprefix("data:").strip() for line in block.split("\n") if line.startswith("data:")]
        if lines:
            yield "\n".join(lines)


def _event(data: str, scrub: Scrub | None) -> Any:
    if data == "[DONE]":
        return data
    tree = _decoded(data.encode())
    if tree is None:
        return "garbled"
    return tree if scrub is None else scrub.body(tree)


def _pieces(replied: Replied) -> Iterator[bytes]:
    if replied.events is not None:
        for event in replied.events:
            kind = f"event: {event['type']}\n" if isinstance(event, Mapping) and "type" in event else ""
            data = event if isinstance(event, str) else json.dumps(event, ensure_ascii=False)
            yield f"{kind}data: {data}\n\n".encode()
    elif replied.garbled:
        yield b"this was no JSON"
    elif replied.body is not None:
        yield json.dumps(replied.body, ensure_ascii=False).encode()


def _decoded(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        return None


def _wants_json(body: Any) -> bool:
    """Whether a request demands JSON, in the words of either vendor."""
    if not isinstance(body, Mapping):
        return False
    places = (body.get("response_format"), (body.get("output_config") or {}).get("format"))
    text = body.get("text")
    formats = (*places, text.get("format") if isinstance(text, Mapping) else None)
    return any(isinstance(one, Mapping) and str(one.get("type", "")).startswith("json") for one in formats)


def _key(asked: Asked) -> str:
    return json.dumps([asked.method, asked.url, asked.body], sort_keys=True, ensure_ascii=False)


def _texts(tree: Any) -> Iterator[str]:
    """Every text of a tree, keys included."""
    if isinstance(tree, str):
        yield tree
    elif isinstance(tree, Mapping):
        for key, value in tree.items():
            yield str(key)
            yield from _texts(value)
    elif isinstance(tree, Sequence):
        for value in tree:
            yield from _texts(value)


def _holds(tree: Any, secret: str) -> bool:
    """In a text, or across the pieces of a stream, which stand under one key."""
    pieces: dict[str, list[str]] = {}
    _collect(tree, "", pieces)
    return any(secret in text for text in _texts(tree)) or any(secret in "".join(some) for some in pieces.values())


def _collect(tree: Any, key: str, pieces: dict[str, list[str]]) -> None:
    if isinstance(tree, str):
        pieces.setdefault(key, []).append(tree)
    elif isinstance(tree, Mapping):
        for name, value in tree.items():
            _collect(value, str(name), pieces)
    elif isinstance(tree, Sequence):
        for value in tree:
            _collect(value, key, pieces)


def _detected(tree: Any) -> set[str]:
    from ..privacy.detectors import scan

    return {finding.type for text in set(_texts(tree)) for finding in scan(text) if finding.detector in _SECRETS}
