"""OpenAI's face over a router, so that existing code changes one line.

    client = Router.from_policy("policies/default.yaml")       # was: client = OpenAI()
    answer = client.chat.completions.create(model="auto", messages=[{"role": "user", "content": "hello"}])
    print(answer.choices[0].message.content, answer.hybridinfer.target)

Returns the openai package's own `ChatCompletion` and `ChatCompletionChunk`, plus `.hybridinfer`, the receipt.
`model` decides nothing: the policy does. Errors are this package's, with the receipt.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, Self, overload

from .dialects.openai_answers import openai_chunks, openai_chunks_async, openai_completion
from .dialects.tools import parse_tool_choice

if TYPE_CHECKING:
    from types import TracebackType

    from openai.types.chat import ChatCompletion, ChatCompletionChunk

    from .async_router import AsyncRouter, AsyncStream
    from .policy.model import Policy
    from .receipt import Receipt
    from .router import Router, Stream
    from .types import Response


class Chat:
    """`router.chat`."""

    def __init__(self, router: Router) -> None:
        self.completions = Completions(router)


class AsyncChat:
    """`async_router.chat`."""

    def __init__(self, router: AsyncRouter) -> None:
        self.completions = AsyncCompletions(router)


class Completions:
    """`router.chat.completions`."""

    def __init__(self, router: Router) -> None:
        self._router = router

    @overload
    def create(
        self, *, messages: Any, model: str = "auto", stream: Literal[False] = False, **options: Any
    ) -> ChatCompletion: ...

    @overload
    def create(
        self, *, messages: Any, model: str = "auto", stream: Literal[True], **options: Any
    ) -> CompletionStream: ...

    @overload
    def create(
        self, *, messages: Any, model: str = "auto", stream: bool, **options: Any
    ) -> ChatCompletion | CompletionStream: ...

    def create(
        self, *, messages: Any, model: str = "auto", stream: bool = False, **options: Any
    ) -> ChatCompletion | CompletionStream:
        """Answer in OpenAI's shape; with `stream=True` an iterator of chunks that is also a context manager.

        Takes OpenAI's options of the same meaning (max_tokens or max_completion_tokens, temperature, tools, ...) and
        ours (privacy, budget_usd, tags). An option that a router cannot honour is a TypeError.
        """
        del model
        ours, include_usage = _options(options)
        if stream:
            events = self._router.stream(messages, **_never_reset(ours, self._router.policy))
            return CompletionStream(events, include_usage=include_usage)
        return _completion(self._router.complete(messages, **ours))


class AsyncCompletions:
    """`async_router.chat.completions`."""

    def __init__(self, router: AsyncRouter) -> None:
        self._router = router

    @overload
    async def create(
        self, *, messages: Any, model: str = "auto", stream: Literal[False] = False, **options: Any
    ) -> ChatCompletion: ...

    @overload
    async def create(
        self, *, messages: Any, model: str = "auto", stream: Literal[True], **options: Any
    ) -> AsyncCompletionStream: ...

    @overload
    async def create(
        self, *, messages: Any, model: str = "auto", stream: bool, **options: Any
    ) -> ChatCompletion | AsyncCompletionStream: ...

    async def create(
        self, *, messages: Any, model: str = "auto", stream: bool = False, **options: Any
    ) -> ChatCompletion | AsyncCompletionStream:
        """As `Completions.create`, with await; `stream=True` gives an asynchronous iterator."""
        del model
        ours, include_usage = _options(options)
        if stream:
            events = self._router.stream(messages, **_never_reset(ours, self._router.policy))
            return AsyncCompletionStream(events, include_usage=include_usage)
        return _completion(await self._router.complete(messages, **ours))


class CompletionStream:
    """Chunks of a streamed answer. `hybridinfer` is the receipt, there at the end."""

    def __init__(self, stream: Stream, *, include_usage: bool) -> None:
        self._stream = stream
        self._include_usage = include_usage

    def __iter__(self) -> Iterator[ChatCompletionChunk]:
        for chunk in openai_chunks(self._stream, created=int(time.time()), include_usage=self._include_usage):
            yield _chunk(chunk)

    @property
    def hybridinfer(self) -> Receipt | None:
        """The receipt; None until the stream has ended."""
        return self._stream.receipt

    def close(self) -> None:
        """Stop the upstream call."""
        self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncCompletionStream:
    """Chunks of a streamed answer. `hybridinfer` is the receipt, there at the end."""

    def __init__(self, stream: AsyncStream, *, include_usage: bool) -> None:
        self._stream = stream
        self._include_usage = include_usage

    async def __aiter__(self) -> AsyncIterator[ChatCompletionChunk]:
        chunks = openai_chunks_async(self._stream, created=int(time.time()), include_usage=self._include_usage)
        async for chunk in chunks:
            yield _chunk(chunk)

    @property
    def hybridinfer(self) -> Receipt | None:
        """The receipt; None until the stream has ended."""
        return self._stream.receipt

    async def close(self) -> None:
        """Stop the upstream call."""
        await self._stream.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def _completion(response: Response) -> ChatCompletion:
    from openai.types.chat import ChatCompletion

    fields = openai_completion(response, created=int(time.time()))
    return ChatCompletion.construct(**fields, hybridinfer=response.receipt)


def _chunk(fields: Mapping[str, Any]) -> ChatCompletionChunk:
    from openai.types.chat import ChatCompletionChunk

    return ChatCompletionChunk.construct(**fields)


def _options(options: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    """Our options for OpenAI's, and whether a last chunk with the usage is wanted."""
    given = {name: value for name, value in options.items() if type(value).__name__ not in ("NotGiven", "Omit")}
    given = {name: value for name, value in given.items() if value is not None}
    usage = bool((given.pop("stream_options", None) or {}).get("include_usage"))
    if "max_completion_tokens" in given:
        given["max_tokens"] = given.pop("max_completion_tokens")
    if "parallel_tool_calls" in given:
        given["tool_choice"] = parse_tool_choice(
            given.get("tool_choice", "auto"), parallel=given.pop("parallel_tool_calls")
        )
    if given.pop("n", 1) != 1:
        raise TypeError("n: a router gives one answer; ask again for another")
    return given, usage


def _never_reset(options: dict[str, Any], policy: Policy) -> dict[str, Any]:
    """OpenAI's chunks cannot take back what they said: `restart`, the caller's or the policy's, becomes `buffer`."""
    wish = options.get("on_interrupt") or policy.resilience.on_interrupt
    return options | {"on_interrupt": "buffer"} if wish == "restart" else options
