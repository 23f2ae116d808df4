"""`kind: onnx`: a small model inside this process. Nothing of a request leaves the machine."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING

from pydantic import ValidationError

from ..dialects.base import with_instruction
from ..edge import tuning
from ..edge.catalogue import AUTO, find
from ..edge.confidence import features, find_map
from ..edge.engine import Task
from ..edge.generate import Done, GenerationFailed, Piece, Prompt
from ..edge.guided import for_call, for_format
from ..edge.pool import POOL, Pool
from ..edge.sampling import Sampling
from ..edge.store import Store
from ..edge.template import TemplateRefused
from ..edge.threads import default_threads
from ..edge.toolcalls import Call, ToolCallParser, opening
from ..edge.tuning import Tuning
from ..edge.vocabulary import Vocabulary
from ..errors import ConfigurationError, ModelError
from ..form import call_fault
from ..policy.model import continues, zone_of
from ..receipt import Code
from ..types import Message, Opaque, Request, Text, TextDelta, ToolCallDelta, Usage
from .base import Finish, TargetEvent, TargetFailed, TargetInfo
from .onnx_options import OnnxOptions, deadline, priority, scope, tenant

if TYPE_CHECKING:
    from ..edge.confidence import ConfidenceMap
    from ..edge.constraint import Constraint
    from ..edge.engine import Engine, Item
    from ..edge.tokenizer import Tokenizer
    from ..policy.model import TargetBlock
    from ..types import Tool
    from .base import TargetContext

WINDOW = 4096
"""Tokens of prompt and answer together, where the target does not name its `context_window`: memory is asked by it."""


class OnnxTarget:
    """Answers with the block's `model`: a catalogue id, `auto`, `hf://org/repo/file@sha256`, or a path.

    A path leads to a GGUF file, a bundle (`models quantize`) or a sealed model (`models encrypt`).
    """

    def __init__(self, block: TargetBlock, context: TargetContext, *, pool: Pool = POOL) -> None:
        self._pool = pool
        try:
            self._options = OnnxOptions.model_validate(block.options)
        except ValidationError as error:
            fault = error.errors()[0]
            place = ".".join(map(str, fault["loc"]))
            raise ConfigurationError(f"target {context.name!r}: options.{place}: {fault['msg']}") from error
        self._block = block
        self._store = Store.default(context.environ)
        if block.model == AUTO:  # a look at a few files' names and at the free memory
            self._model = self._store.largest(self._options.variants)
        else:
            self._model = find(block.model, sha256=self._options.sha256)
        self._environ = context.environ
        windows = (block.context_window or WINDOW, self._model.context_window)
        tools = self._model.tools if self._options.tools is None else self._options.tools
        self.info = TargetInfo(
            name=context.name,
            kind="onnx",
            zone=zone_of(block),
            model=self._model.id,
            region=block.region,
            supports=frozenset({"json", "tools"}) if tools else frozenset({"json"}),
            context_window=min(window for window in windows if window),
            continues=continues(block),
        )

    async def stream(self, request: Request, *, stream: bool) -> AsyncIterator[TargetEvent]:  # noqa: ARG002 - pieces cost nothing here
        """Generate on the model's own thread; closing stops it within a token, a prefill within milliseconds."""
        self._refuse_unsupported(request)
        loop, items = asyncio.get_running_loop(), asyncio.Queue["Item"]()

        def emit(item: Item) -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(items.put_nowait, item)

        task = Task(
            prepare=lambda vocabulary: self._prompt(request, vocabulary),
            emit=emit,
            priority=priority(request),
            tenant=tenant(request, self._options),
            deadline=deadline(request),
        )
        answer = _Answer(request, self._map if _is_plain(request) else None)
        try:
            engine = self._engine()
            engine.submit(task)
            while True:
                item = await items.get()
                if isinstance(item, Exception):
                    raise item
                if isinstance(item, Done):
                    break
                for event in answer.take(item):
                    yield event
            for event in answer.end(item, self._model.id, engine.provider):
                yield event
        except (ModelError, GenerationFailed, TemplateRefused) as error:
            raise _failure(error) from error
        finally:
            task.cancel()

    def count_tokens(self, request: Request) -> int:
        """Exact where the model is here (its vocabulary is read once, 0.4 s); otherwise an upper bound."""
        try:
            vocabulary = self._store.vocabulary(self._model)
            return len(vocabulary.template.encode(_messages(request), _offered(request)))
        except (ModelError, ConfigurationError, OSError, TemplateRefused):
            from ..tokens import count_request

            return count_request(request)

    async def warmup(self) -> None:
        """Load the model and run one token. Raises `TargetFailed` where it is not here, or damaged."""
        greeting = Request(messages=(Message(role="user", parts=(Text(text="Hi"),)),), max_tokens=1)
        async for _ in self.stream(greeting, stream=True):
            pass

    async def aclose(self) -> None:
        """Give the model back; the last target to do so frees it."""
        await asyncio.to_thread(self._pool.leave, self)

    @cached_property
    def _map(self) -> ConfidenceMap | None:
        """How sure an answer is; read once, a file of a kilobyte."""
        return find_map(self._model.id, self._environ)

    @cached_property
    def _tuned(self) -> Tuning:
        """As the policy says, else as `models bench --tune` found, else the physical cores; a file of a kilobyte."""
        if self._options.threads is not None:
            return Tuning(threads=self._options.threads, spinning=True)
        found = tuning.known(self._store.root, self._model)
        return found or Tuning(threads=default_threads(), spinning=True)

    def _engine(self) -> Engine:
        options, tuned = self._options, self._tuned
        return self._pool.take(
            self._model,
            self._store,
            self,
            threads=tuned.threads,
            waiting=options.queue,
            rows=options.batch,
            memory=options.memory,
            pull=options.pull == "auto",
            setting=options.setting(spinning=tuned.spinning),
        )

    def _prompt(self, request: Request, vocabulary: Vocabulary) -> Prompt:
        """On the engine's thread: the chat template is rendered and tokenised there."""
        offered, options = _offered(request), self._options
        if offered and not vocabulary.template.knows_tools:
            raise GenerationFailed(Code.UNSUPPORTED, f"the chat template of {self._model.called} knows no tools")
        tokens = vocabulary.template.encode(_messages(request), offered)
        if start := _forced(request):
            tokens += vocabulary.tokenizer.encode_prompt(start)
        window = self.info.context_window or vocabulary.context_window
        return Prompt(
            tokens=tuple(tokens),
            max_tokens=request.max_tokens or self._block.max_tokens,
            context=min(window, vocabulary.context_window),
            stop=request.stop,
            sampling=Sampling(
                temperature=options.temperature if request.temperature is None else request.temperature,
                top_p=options.top_p if request.top_p is None else request.top_p,
                top_k=options.top_k if request.top_k is None else request.top_k,
                seed=request.seed,
            ),
            logprobs=request.logprobs,
            certainty=_is_plain(request) and self._map is not None,
            loop=options.loop,
            scope=scope(request, options),
            constraint=_constraint(request),
            choices=_choices(request),
        )

    def _refuse_unsupported(self, request: Request) -> None:
        missing = request.needs - self.info.supports
        foreign = any(isinstance(part, Opaque) for message in request.messages for part in message.parts)
        if missing or foreign:
            what = ", ".join(sorted(missing)) or "another dialect's blocks"
            raise TargetFailed(Code.UNSUPPORTED, f"{self._model.called} cannot take {what}", retry=False)


class _Answer:
    """Turns pieces of text into events, tool calls included. Of a forced answer only the calls count."""

    def __init__(self, request: Request, sure: ConfidenceMap | None) -> None:
        self._sure = sure
        self._texts: list[str] = []
        offered, self._forced = _offered(request), _forced(request)
        self._schemas = {tool.name: tool.parameters for tool in offered}
        self._parser = ToolCallParser((tool.name for tool in offered), begun=self._forced) if offered else None
        self._calls = 0

    def take(self, piece: Piece) -> Iterator[TargetEvent]:
        if self._parser is None:
            if self._sure is not None:
                self._texts.append(piece.text)
            yield TextDelta(text=piece.text, logprobs=piece.logprobs)
            return
        yield from self._events(self._parser.push(piece.text))
        if piece.logprobs:
            yield TextDelta(text="", logprobs=piece.logprobs)

    def end(self, done: Done, model: str, provider: str) -> Iterator[TargetEvent]:
        """What was held back, then `Finish`."""
        if self._parser:
            yield from self._events(self._parser.finish())
        if self._forced and not self._calls:
            raise GenerationFailed(Code.INVALID_OUTPUT, "the model did not write a valid call of the demanded tool")
        usage = Usage(
            input_tokens=done.input_tokens, output_tokens=done.output_tokens, cache_read_tokens=done.cached_tokens
        )
        reason = "tool_calls" if self._calls and done.reason == "stop" else done.reason
        yield Finish(
            finish_reason=reason,
            usage=usage,
            model=model,
            confidence=self._confidence(done),
            probabilities=done.shares,
            ran_on=provider,
        )

    def _confidence(self, done: Done) -> float | None:
        if done.shares:
            return max(done.shares)
        if self._sure is None or done.certainty is None:
            return None
        return self._sure.confidence(features(done.certainty, "".join(self._texts)))

    def _events(self, items: Iterator[str | Call]) -> Iterator[TargetEvent]:
        for item in items:
            if isinstance(item, str):
                if not self._forced:
                    yield TextDelta(text=item)
                continue
            if because := call_fault(item.arguments, self._schemas[item.name]):
                raise GenerationFailed(Code.INVALID_OUTPUT, f"a tool call's arguments: {because}")
            yield ToolCallDelta(
                index=self._calls, id=f"call_{uuid.uuid4().hex[:24]}", name=item.name, arguments=item.arguments
            )
            self._calls += 1


def _is_plain(request: Request) -> bool:
    """Free text: the maps are fitted on nothing else."""
    return not _offered(request) and (request.response_format is None or request.response_format.type == "text")


def _offered(request: Request) -> tuple[Tool, ...]:
    """The tools the model may call now."""
    return () if request.tool_choice is not None and request.tool_choice.mode == "none" else request.tools


def _messages(request: Request) -> tuple[Message, ...]:
    """The conversation; what form the answer must have is said as well, so that the model need not be forced."""
    wanted = request.response_format
    if wanted is None or wanted.type in {"text", "regex"}:
        return request.messages
    if wanted.type == "choice":
        return with_instruction(request, "openai")
    schema = json.dumps(wanted.schema or {"type": "object"}, ensure_ascii=False)
    said = f"Answer with one line of JSON that keeps this JSON schema, and nothing else: {schema}"
    return (Message(role="system", parts=(Text(text=said),)), *request.messages)


def _constraint(request: Request) -> Callable[[Tokenizer], Constraint] | None:
    """What the answer is held to. With tools on offer it may be a call instead, so its form is only judged afterwards."""
    offered, choice = _offered(request), request.tool_choice
    if _forced(request):
        return for_call(offered, choice.name if choice is not None and choice.mode == "tool" else None)
    return None if offered else for_format(request.response_format)


def _choices(request: Request) -> tuple[str, ...]:
    """The texts of which one is wanted. With tools on offer the answer may be a call instead."""
    wanted = request.response_format
    return () if wanted is None or _offered(request) else wanted.choices


def _forced(request: Request) -> str:
    """The text that an answer must begin with, so that it calls a tool; empty where it need not."""
    choice = request.tool_choice
    if choice is None or choice.mode not in {"required", "tool"} or not request.tools:
        return ""
    return opening(choice.name if choice.mode == "tool" else None)


def _failure(error: ModelError | GenerationFailed | TemplateRefused) -> TargetFailed:
    if isinstance(error, GenerationFailed):
        return TargetFailed(error.code, error.because, retry=None if error.code is Code.SATURATED else False)
    if isinstance(error, TemplateRefused):
        return TargetFailed(Code.UNSUPPORTED, str(error), retry=False)
    return TargetFailed(Code.UNAVAILABLE, str(error), retry=False)
