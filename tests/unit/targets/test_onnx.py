"""`kind: onnx`: requests in, events out, every failure a code."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jsonschema import validate

from hybridinfer import AsyncRouter
from hybridinfer.edge.generate import Done, GenerationFailed, Piece, Prompt, Writer
from hybridinfer.edge.pool import POOL
from hybridinfer.edge.vocabulary import Vocabulary
from hybridinfer.errors import ConfigurationError, ModelNotFound
from hybridinfer.policy.model import TargetBlock
from hybridinfer.receipt import Code
from hybridinfer.targets import onnx
from hybridinfer.targets.base import Finish, TargetContext, TargetFailed
from hybridinfer.targets.onnx import OnnxTarget
from hybridinfer.types import (
    Image,
    Message,
    Opaque,
    Request,
    ResponseFormat,
    Text,
    TextDelta,
    Tool,
    ToolCallDelta,
    ToolChoice,
)
from tests import tiny

pytestmark = pytest.mark.anyio
TOOL = Tool(name="f", parameters={"type": "object"})


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A model with tools and one whose template knows none, in one cache."""
    root = tmp_path_factory.mktemp("onnx")
    plain = "{% for m in messages %}{{ m.content }}{% endfor %}"
    return {
        "tiny": tiny.write(root / "tiny.gguf", "qwen2"),
        "plain": tiny.write(root / "plain.gguf", template=plain, seed=2),
        "bare": tiny.write(root / "bare.gguf", template=None, seed=3),
        "cache": root / "cache",
    }


@pytest.fixture
async def make(files: dict[str, Path]) -> AsyncIterator[Any]:
    """Builds targets of the tiny models and closes them."""
    made: list[OnnxTarget] = []

    def build(model: str = "tiny", **changes: Any) -> OnnxTarget:
        options = {"threads": 1, **changes.pop("options", {})}
        path = str(files[model]) if model in files else model
        block = TargetBlock(kind="onnx", model=path, options=options, **{"max_tokens": 8, **changes})
        made.append(OnnxTarget(block, TargetContext(name="local", environ={"HYBRIDINFER_CACHE": str(files["cache"])})))
        return made[-1]

    yield build
    for target in made:
        await target.aclose()


def ask(text: str = "hello", **options: Any) -> Request:
    return Request(messages=(Message(role="user", parts=(Text(text=text),)),), **options)


async def collect(target: OnnxTarget, request: Request) -> list[Any]:
    return [event async for event in target.stream(request, stream=True)]


async def failure(target: OnnxTarget, request: Request) -> TargetFailed:
    with pytest.raises(TargetFailed) as caught:
        await collect(target, request)
    return caught.value


async def test_text_streams_and_ends_with_the_usage(make: Any) -> None:
    """Deltas, then one Finish with exact counts."""
    target = make()
    *deltas, finish = await collect(target, ask())
    assert all(isinstance(delta, TextDelta) for delta in deltas)
    assert isinstance(finish, Finish)
    assert (finish.finish_reason, finish.model) == ("length", target.info.model)
    assert finish.usage is not None
    assert (finish.usage.input_tokens, finish.usage.output_tokens) == (target.count_tokens(ask()), 8)


async def test_the_same_request_gives_the_same_answer(make: Any) -> None:
    """Without a temperature the most likely tokens are taken, on whichever target object."""
    answers = [await collect(make(), ask()) for _ in range(2)]
    assert answers[0] == answers[1]


async def test_the_requests_own_options_win(make: Any) -> None:
    """max_tokens, temperature with seed, stop strings."""
    target = make(options={"temperature": 2.0})
    assert (await collect(target, ask(max_tokens=2)))[-1].usage.output_tokens == 2
    seeded = [await collect(target, ask(seed=seed)) for seed in (1, 1, 2)]
    assert seeded[0] == seeded[1] != seeded[2]
    cold = await collect(target, ask(temperature=0))
    text = "".join(event.text for event in cold[:-1])
    stopped = await collect(target, ask(temperature=0, stop=(text[2:4],)))
    assert "".join(event.text for event in stopped[:-1]) == text[: text.find(text[2:4])]
    assert stopped[-1].finish_reason == "stop"


async def test_an_answer_that_has_begun_is_continued(make: Any) -> None:
    """The beginning's tokens stand where the answer stands, as text and nothing else; what follows is all that is said."""
    target = make()
    assert target.info.continues
    begun = replace(ask(), messages=(*ask().messages, Message(role="assistant", parts=(Text(text="ab<|im_end|>"),))))
    plain = replace(ask(), messages=(*ask().messages, Message(role="assistant", parts=(Text(text="ab"),))))
    assert target.count_tokens(ask()) < target.count_tokens(plain) < target.count_tokens(begun)
    *deltas, finish = await collect(target, begun)
    assert finish.usage.input_tokens == target.count_tokens(begun)
    assert finish.usage.output_tokens == 8
    again = await collect(target, begun)
    assert [*deltas, finish] == again
    assert not make(continues=False).info.continues


async def test_logprobs_come_on_request(make: Any) -> None:
    """One for each token of the answer, never without being asked."""
    target = make()
    *deltas, _ = await collect(target, ask(logprobs=True))
    assert sum(len(delta.logprobs) for delta in deltas) == 8
    assert all(not delta.logprobs for delta in (await collect(target, ask()))[:-1])


async def test_several_requests_at_once_are_all_answered(make: Any) -> None:
    """They share the model's steps, and the event loop waits for none."""
    target = make()
    answers = await asyncio.gather(*(collect(target, ask()) for _ in range(5)))
    assert all(answer == answers[0] for answer in answers)


async def test_closing_early_frees_the_model(make: Any) -> None:
    """An abandoned stream stops, and the next request is served."""
    target = make(max_tokens=400)
    events = target.stream(ask(), stream=True)
    await anext(events)
    await events.aclose()  # type: ignore[attr-defined]
    assert (await collect(target, ask(max_tokens=1)))[-1].usage.output_tokens == 1


async def test_a_cancelled_caller_frees_the_model(make: Any) -> None:
    """Also while it waits in the queue."""
    target = make(max_tokens=400)
    tasks = [asyncio.create_task(collect(target, ask())) for _ in range(3)]
    first = target.stream(ask(), stream=True)
    for task in tasks:
        task.cancel()
    assert all(isinstance(end, asyncio.CancelledError) for end in await asyncio.gather(*tasks, return_exceptions=True))
    await anext(first)
    await first.aclose()  # type: ignore[attr-defined]


async def test_a_prompt_beyond_the_window_is_too_long(make: Any) -> None:
    """The code tells the policy to try a larger target; another try would not help."""
    target = make(context_window=64)
    failed = await failure(target, ask("x" * 100))
    assert (failed.code, failed.retry) == (Code.CONTEXT_TOO_LONG, False)
    assert target.info.context_window == 64


async def test_a_model_that_is_not_here_is_unavailable(make: Any, files: dict[str, Path]) -> None:
    """With the command that fetches it; nothing is downloaded."""
    target = make("qwen2.5-coder-1.5b")
    failed = await failure(target, ask())
    assert (failed.code, failed.retry) == (Code.UNAVAILABLE, False)
    assert failed.because.endswith("is not on this machine; run: hybridinfer models pull qwen2.5-coder-1.5b")
    with pytest.raises(TargetFailed):
        await target.warmup()


async def test_a_model_that_is_not_here_is_counted_safely(make: Any) -> None:
    """Without its tokenizer the count is an upper bound."""
    assert make("qwen2.5-coder-1.5b").count_tokens(ask("hello world " * 50)) >= 100


async def test_one_damaged_byte_makes_it_unavailable(make: Any, files: dict[str, Path], tmp_path: Path) -> None:
    """A pinned file that differs is never loaded; the reason, which the receipt repeats, names the file and no folder."""
    from hybridinfer.edge import checksum

    pin = checksum.sha256(files["tiny"])
    damaged = tmp_path / "damaged.gguf"
    data = bytearray(files["tiny"].read_bytes())
    data[-5] ^= 1
    damaged.write_bytes(data)
    failed = await failure(make(str(damaged), options={"sha256": pin}), ask())
    assert (failed.code, failed.retry) == (Code.UNAVAILABLE, False)
    assert "the file of damaged.gguf is damaged" in failed.because
    assert str(tmp_path) not in failed.because


async def test_a_damaged_conversion_makes_it_unavailable(make: Any, files: dict[str, Path]) -> None:
    """And a repaired one serves again, in the same process."""
    target = make()
    await target.warmup()
    await target.aclose()
    weights = next((files["cache"] / "onnx").glob("*/weights.bin"))
    shutil.copyfile(weights, weights.with_suffix(".good"))
    data = bytearray(weights.read_bytes())
    data[len(data) // 3] ^= 4
    weights.write_bytes(data)
    failed = await failure(target, ask())
    assert failed.code is Code.UNAVAILABLE
    assert "damaged" in failed.because
    weights.with_suffix(".good").replace(weights)
    assert (await collect(target, ask()))[-1].model


async def test_a_model_without_a_chat_template_is_unavailable(make: Any) -> None:
    """It cannot converse."""
    failed = await failure(make("bare"), ask())
    assert "no chat template" in failed.because


@pytest.mark.parametrize(
    "request_",
    [
        Request(messages=(Message(role="user", parts=(Image(url="https://x/y.png"),)),)),
        Request(messages=(Message(role="user", parts=(Opaque(dialect="openai", data={}),)),)),
        ask(tools=(TOOL,)),
    ],
    ids=["vision", "opaque", "tools"],
)
async def test_what_it_cannot_do_is_said(make: Any, request_: Request) -> None:
    """Pictures, foreign blocks, and tools for a model that was not taught them."""
    failed = await failure(make(), request_)
    assert (failed.code, failed.retry) == (Code.UNSUPPORTED, False)


async def test_a_template_without_tools_is_unsupported(make: Any) -> None:
    """Even where the options claim otherwise."""
    failed = await failure(make("plain", options={"tools": True}), ask(tools=(TOOL,)))
    assert failed.code is Code.UNSUPPORTED
    assert "knows no tools" in failed.because


async def test_a_template_that_refuses_is_unsupported(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as one that takes no system message."""
    from hybridinfer.edge.template import ChatTemplate, TemplateRefused

    def refuse(*_: object) -> list[int]:
        raise TemplateRefused("the model's chat template refused (X)")

    monkeypatch.setattr(ChatTemplate, "encode", refuse)
    target = make()
    assert (await failure(target, ask())).code is Code.UNSUPPORTED
    assert target.count_tokens(ask()) > 0


def answering(monkeypatch: pytest.MonkeyPatch, *pieces: str) -> list[Prompt]:
    """Make the model write `pieces`; returns the prompts it gets."""
    prompts: list[Prompt] = []

    class Scripted(Writer):
        def take(self, logits: object) -> Any:
            prompts.append(self.prompt)
            yield from (Piece(text=piece) for piece in pieces)
            self.over = True
            yield Done(reason="stop", input_tokens=len(self.prompt.tokens), output_tokens=1)

    monkeypatch.setattr("hybridinfer.edge.generate.Writer", Scripted)
    return prompts


async def test_a_tool_call_is_parsed(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Text before it stays text; the call has an id of its own and ends the answer as tool_calls."""
    answering(monkeypatch, "Sure. <tool", '_call>{"name": "f", "arguments": {"a": 1}}', "</tool_call>")
    target = make(options={"tools": True})
    text, call, finish = await collect(target, ask(tools=(TOOL,)))
    assert text == TextDelta(text="Sure. ")
    assert isinstance(call, ToolCallDelta)
    assert (call.index, call.name, call.arguments) == (0, "f", '{"a": 1}')
    assert call.id
    assert finish.finish_reason == "tool_calls"


async def test_a_call_that_breaks_its_tool_s_schema_is_invalid_output(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The place is named, not what stood there; a tool whose parameters are no schema takes any object."""
    answering(monkeypatch, '<tool_call>{"name": "f", "arguments": {"mood": "private"}}</tool_call>')
    target = make(options={"tools": True})
    failed = await failure(target, ask(tools=(Tool(name="f", parameters=SHAPE),)))
    assert failed.code is Code.INVALID_OUTPUT
    assert "enum" in failed.because
    assert "private" not in failed.because
    call, _ = await collect(target, ask(tools=(Tool(name="f", parameters={"type": "dict"}),)))
    assert call.arguments == '{"mood": "private"}'


@pytest.mark.parametrize(("mode", "name", "rest"), [("tool", "f", ' {"a": 1}}'), ("required", None, 'f"}</tool_call>')])
async def test_a_demanded_call_is_begun_for_the_model(
    make: Any, monkeypatch: pytest.MonkeyPatch, mode: Any, name: str | None, rest: str
) -> None:
    """tool_choice puts the beginning of the call into the model's mouth."""
    prompts = answering(monkeypatch, rest)
    target = make(options={"tools": True})
    call, finish = await collect(target, ask(tools=(TOOL,), tool_choice=ToolChoice(mode=mode, name=name)))
    assert call.name == "f"
    assert finish.finish_reason == "tool_calls"
    vocabulary = Vocabulary.of(Path(target.info.model))
    assert (
        vocabulary.tokenizer.decode(prompts[0].tokens)
        .rpartition("assistant\n")[2]
        .startswith('<tool_call>\n{"name": "')
    )


async def test_a_demanded_call_that_does_not_come_is_invalid_output(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Text instead of a demanded call is no answer."""
    answering(monkeypatch, "I would rather not.")
    target = make(options={"tools": True})
    failed = await failure(target, ask(tools=(TOOL,), tool_choice=ToolChoice(mode="required")))
    assert failed.code is Code.INVALID_OUTPUT


SHAPE = {
    "type": "object",
    "properties": {"mood": {"enum": ["good", "bad"]}},
    "required": ["mood"],
    "additionalProperties": False,
}


async def text_of(target: Any, request: Request) -> str:
    return "".join(event.text for event in await collect(target, request) if isinstance(event, TextDelta))


@pytest.mark.parametrize("seed", range(3))
async def test_even_random_weights_keep_the_demanded_form(make: Any, seed: int) -> None:
    """A schema, a pattern, one of the choices, and the arguments of a demanded tool."""
    target = make(options={"tools": True, "temperature": 1.0})
    wanted = ResponseFormat(type="json_schema", schema=SHAPE)
    validate(json.loads(await text_of(target, ask(seed=seed, max_tokens=100, response_format=wanted))), SHAPE)
    wanted = ResponseFormat(type="regex", pattern="[a-f]{4}-[0-9]{2}")
    assert re.fullmatch(wanted.pattern, await text_of(target, ask(seed=seed, max_tokens=100, response_format=wanted)))
    wanted = ResponseFormat(type="choice", choices=("apples", "pears"))
    assert await text_of(target, ask(seed=seed, max_tokens=100, response_format=wanted)) in wanted.choices
    tools = (Tool(name="look", parameters=SHAPE), Tool(name="leap", parameters=SHAPE))
    for choice in (ToolChoice(mode="required"), ToolChoice(mode="tool", name="leap")):
        call, _ = await collect(target, ask(seed=seed, max_tokens=100, tools=tools, tool_choice=choice))
        assert call.name in ({"leap"} if choice.name else {"look", "leap"})
        validate(json.loads(call.arguments), SHAPE)


async def test_choices_are_scored(make: Any) -> None:
    """The answer has the probability of each, its own as the confidence, on the receipt without a word; also streamed."""
    policy = {
        "version": 1,
        "targets": {"local": {"kind": "onnx", "model": "tiny.gguf"}},
        "rules": [{"name": "all", "use": ["local"]}],
    }
    async with AsyncRouter(policy, targets={"local": make()}) as router:
        answer = await router.complete("hello", choices=["apples", "pears"])
        async with router.stream("hello", choices=["apples", "pears"]) as stream:
            assert [text async for text in stream.text_stream] == [answer.text]
    assert answer.probabilities is not None
    assert list(answer.probabilities) == ["apples", "pears"]
    assert sum(answer.probabilities.values()) == pytest.approx(1)
    assert answer.confidence == max(answer.probabilities.values()) == answer.probabilities[answer.text]
    assert stream.response.probabilities == answer.probabilities
    assert answer.receipt.attempts[0].confidence == answer.confidence
    assert not any(word in json.dumps(answer.receipt.to_dict()) for word in ("apples", "pears"))


@pytest.mark.parametrize(
    "options",
    [{"temperature": 1.0, "seed": 1}, {"tools": (TOOL,)}, {"response_format": None}],
    ids=["drawn", "tools", "free"],
)
async def test_what_is_not_scored_has_no_probabilities(make: Any, options: dict[str, Any]) -> None:
    """Chance, tools on offer, free text."""
    wanted = {"response_format": ResponseFormat(type="choice", choices=("apples", "pears"))} | options
    events = await collect(make(options={"tools": True}), ask(max_tokens=20, **wanted))
    assert (events[-1].probabilities, events[-1].confidence) == ((), None)


async def test_the_demanded_form_is_said(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that is told what to write need not be forced."""
    prompts = answering(monkeypatch, "{}")
    target = make()
    for wanted in (ResponseFormat(type="json_schema", schema=SHAPE), ResponseFormat(type="choice", choices=("pears",))):
        request = ask(response_format=wanted, temperature=1.0)  # drawn, so that it is written
        await collect(target, request)
        said = Vocabulary.of(Path(target.info.model)).tokenizer.decode(prompts[-1].tokens)
        assert ("mood" if wanted.schema else "- pears") in said
        assert len(prompts[-1].tokens) == target.count_tokens(request)


async def test_with_tools_on_offer_the_form_is_judged_afterwards(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer may be a call instead."""
    prompts = answering(monkeypatch, "{}")
    wanted = ResponseFormat(type="json_object")
    await collect(make(options={"tools": True}), ask(tools=(TOOL,), response_format=wanted))
    assert prompts[0].constraint is None


async def test_logprobs_survive_tool_parsing(make: Any) -> None:
    """Text is held back and released by the parser; each token is still told once."""
    target = make(options={"tools": True})
    *deltas, _ = await collect(target, ask(tools=(TOOL,), logprobs=True))
    assert sum(len(delta.logprobs) for delta in deltas) == 8


async def test_tool_choice_none_offers_no_tools(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """And reads no calls."""
    written = '<tool_call>{"name": "f"}</tool_call>'
    prompts = answering(monkeypatch, written)
    target = make(options={"tools": True})
    text, finish = await collect(target, ask(tools=(TOOL,), tool_choice=ToolChoice(mode="none")))
    assert (text, finish.finish_reason) == (TextDelta(text=written), "stop")
    assert len(prompts[0].tokens) == target.count_tokens(ask())


async def test_a_full_queue_is_saturated_and_may_be_tried_again(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The policy decides on retrying."""

    class Full:
        def submit(self, task: object) -> None:
            raise GenerationFailed(Code.SATURATED, "full")

    monkeypatch.setattr(OnnxTarget, "_engine", lambda self: Full())
    failed = await failure(make(), ask())
    assert (failed.code, failed.retry) == (Code.SATURATED, None)


async def test_the_last_target_to_close_frees_the_engine(make: Any) -> None:
    """Two targets of one file share one session."""
    first, second = make(), make()
    await first.warmup()
    engine = first._engine()
    assert second._engine() is engine
    await first.aclose()
    assert not engine.dead
    await second.aclose()
    assert engine.dead
    assert not [owners for _, owners in POOL._engines.values() if first in owners or second in owners]


@pytest.mark.parametrize(
    ("options", "says"),
    [({"thread": 2}, "options.thread"), ({"pull": "always"}, "options.pull"), ({"batch": 0}, "options.batch")],
)
async def test_a_wrong_option_is_an_error_before_the_first_request(
    make: Any, options: dict[str, Any], says: str
) -> None:
    """With the place."""
    with pytest.raises(ConfigurationError, match=says):
        make(options=options)


async def test_an_unknown_model_is_an_error_before_the_first_request(make: Any) -> None:
    """With the nearest name."""
    with pytest.raises(ModelNotFound, match="did you mean smollm2-135m"):
        make("smollm2-135")


async def test_what_is_known_without_a_call(make: Any) -> None:
    """Zone, window and abilities come from the block and the catalogue; nothing is loaded."""
    info = make("qwen2.5-coder-0.5b", region="here").info
    assert (info.kind, info.zone, info.region, info.context_window) == ("onnx", "device", "here", 4096)
    assert info.supports == {"json", "tools"}
    assert make("smollm2-135m").info.supports == {"json"}
    assert make("smollm2-135m", context_window=1000).info.context_window == 1000


async def test_pull_auto_may_fetch(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only with `pull: auto` does a request for a missing model reach the sources; here it is offline."""
    monkeypatch.setenv("HYBRIDINFER_OFFLINE", "1")
    failed = await failure(make("smollm2-135m", options={"pull": "auto"}), ask())
    assert "HYBRIDINFER_OFFLINE" in failed.because


async def test_items_for_a_closed_loop_are_dropped(make: Any) -> None:
    """A model that still writes when its caller's loop has gone does no harm."""
    target = make(max_tokens=400)

    def elsewhere() -> None:
        async def begin() -> None:
            await anext(target.stream(ask(), stream=True))

        loop = asyncio.new_event_loop()
        loop.run_until_complete(begin())
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()

    await asyncio.to_thread(elsewhere)
    assert (await collect(target, ask(max_tokens=1)))[-1].usage.output_tokens == 1
    assert onnx.POOL is POOL
