"""The lock: whatever leads to a target passes here, and nothing passes without a clearance of its own."""

from __future__ import annotations

import ast
import json
import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import hybridinfer
from benchmarks.leak import CANARIES, Sink, leaks, requests, traces
from hybridinfer.policy.model import Policy
from hybridinfer.privacy.egress import Clearance, Guarded
from hybridinfer.receipt import Code, Zone
from hybridinfer.targets.base import Finish, TargetEvent, TargetFailed, TargetInfo
from hybridinfer.types import (
    Image,
    Message,
    Request,
    ResponseFormat,
    Text,
    TextDelta,
    TokenLogprob,
    Tool,
    ToolCallDelta,
)

pytestmark = pytest.mark.anyio

MAIL = "jo@corp.io"
CARD = "4111 1111 1111 1111"


class Echo:
    """A target that keeps what it was sent and answers with prepared events, or with what it was sent, in pieces."""

    def __init__(self, *events: TargetEvent, name: str = "cloud", zone: Zone = "cloud") -> None:
        self.info = TargetInfo(name=name, kind="openai", zone=zone)
        self.events = events
        self.requests: list[Request] = []
        self.calls: list[str] = []

    async def stream(self, request: Request, *, stream: bool) -> AsyncIterator[TargetEvent]:
        self.requests.append(request)
        try:
            for event in self.events or [TextDelta(text=char) for char in request.messages[-1].text]:
                yield event
            yield Finish(finish_reason="stop")
        finally:
            self.calls.append("closed")

    def count_tokens(self, request: Request) -> int:
        return 7

    async def warmup(self) -> None:
        self.calls.append("warmup")

    async def aclose(self) -> None:
        self.calls.append("aclose")


def policy(*boundaries: Mapping[str, Any], **more: Any) -> Policy:
    return Policy.model_validate(
        {
            "version": 1,
            "targets": {"cloud": {"kind": "openai", "model": "m"}, "local": {"kind": "canned", "text": "no"}},
            "boundaries": boundaries,
            "rules": [{"name": "all", "use": ["cloud", "local"]}],
            **more,
        }
    )


NEVER = policy({"name": "secrets-stay", "when": {"privacy": "secret"}, "cloud": "never"})
MASKED = policy({"name": "masked-only", "when": {"privacy": "personal"}, "cloud": "masked"})


def ask(text: str, **fields: Any) -> Request:
    return Request(messages=(Message(role="user", parts=(Text(text=text),)),), **fields)


async def send(
    target: Echo | Sink, rules: Policy, request: Request, level: str = "personal", *, cleared: Request | None = None
) -> list[TargetEvent]:
    clearance = Clearance(request=cleared or request, levels={"privacy": level}, tags={})
    return [event async for event in Guarded(target, rules).stream(request, stream=True, clearance=clearance)]


async def refusal(target: Echo, rules: Policy, request: Request, level: str = "personal", **more: Any) -> str:
    with pytest.raises(TargetFailed) as failure:
        await send(target, rules, request, level, **more)
    assert failure.value.code is Code.FORBIDDEN
    assert failure.value.retry is False
    assert target.requests == []
    return failure.value.because


def text_of(events: list[TargetEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


async def test_an_open_request_passes_as_it_is() -> None:
    """No boundary bites: the very same request leaves."""
    target, request = Echo(), ask("hi")
    events = await send(target, NEVER, request, "public")
    assert text_of(events) == "hi"
    assert target.requests[0] is request


async def test_a_forbidden_level_never_leaves() -> None:
    """The refusal names the boundary, and nothing else."""
    assert await refusal(Echo(), NEVER, ask("x"), "secret") == "secrets-stay"


async def test_a_device_target_takes_every_level() -> None:
    """What stays in the process crosses nothing."""
    target = Echo(name="local", zone="device")
    assert text_of(await send(target, NEVER, ask("hunter2"), "secret")) == "hunter2"


async def test_a_clearance_is_good_for_its_own_request_only() -> None:
    """Even an equal request, made again, is another one."""
    assert "another request" in await refusal(Echo(), NEVER, ask("hi"), "public", cleared=ask("hi"))


@pytest.mark.parametrize("levels", [{}, {"privacy": "no such level"}])
async def test_an_unknown_level_is_forbidden(levels: dict[str, str]) -> None:
    """What was not measured is not sent."""
    target, request = Echo(), ask("hi")
    with pytest.raises(TargetFailed):
        async for _ in Guarded(target, NEVER).stream(
            request, stream=True, clearance=Clearance(request=request, levels=levels, tags={})
        ):
            pass
    assert target.requests == []


async def test_a_target_the_policy_does_not_know_is_forbidden() -> None:
    """No block, no permission."""
    assert await refusal(Echo(name="stranger"), NEVER, ask("hi"), "public") == "unknown target"


async def test_a_target_that_reaches_further_than_its_policy_says_is_forbidden() -> None:
    """The policy calls it a device; the adapter talks to a cloud."""
    assert "the target says cloud" in await refusal(Echo(name="local", zone="cloud"), NEVER, ask("hi"), "public")


async def test_masked_requests_leave_masked_and_come_back_whole() -> None:
    """The target sees placeholders only; the caller sees what was written, split at every character."""
    target = Echo()
    text = f"Write to {MAIL}, bill {CARD}, again {MAIL}."
    assert text_of(await send(target, MASKED, ask(text))) == text
    seen = target.requests[0].messages[0].text
    assert MAIL not in seen
    assert "4111" not in seen
    assert seen.count("[EMAIL_1_") == 2


async def test_tool_arguments_come_back_as_json() -> None:
    """A value with quotes is escaped where a placeholder stands inside JSON, piece by piece."""
    target = Echo()
    key = '-----BEGIN RSA PRIVATE KEY-----\nMII"\\eowIBAAKCAQAA\n-----END RSA PRIVATE KEY-----'
    await send(target, MASKED, ask(key))

    class Caller(Echo):
        async def stream(self, request: Request, *, stream: bool) -> AsyncIterator[TargetEvent]:
            self.requests.append(request)
            yield ToolCallDelta(index=0, id="1", name="save")
            for char in json.dumps({"key": request.messages[0].text}):
                yield ToolCallDelta(index=0, arguments=char)
            yield Finish(finish_reason="tool_calls")

    events = await send(Caller(), MASKED, ask(key))
    arguments = "".join(event.arguments for event in events if isinstance(event, ToolCallDelta))
    assert json.loads(arguments) == {"key": key}
    assert events[0] == ToolCallDelta(index=0, id="1", name="save")


async def test_structured_answers_are_escaped_too() -> None:
    """With a response format the text itself is JSON."""
    quoted = 'the password is "pa\\ss\\word"'
    secret = policy({"name": "m", "when": {"privacy": "secret"}, "cloud": "masked"})

    class Structured(Echo):
        async def stream(self, request: Request, *, stream: bool) -> AsyncIterator[TargetEvent]:
            yield TextDelta(text=json.dumps({"said": request.messages[0].text}))
            yield Finish(finish_reason="stop")

    events = await send(Structured(), secret, ask(quoted, response_format=ResponseFormat(type="json_object")), "secret")
    assert json.loads(text_of(events)) == {"said": quoted}


async def test_a_stream_that_ends_inside_a_placeholder_loses_nothing() -> None:
    """What was held back is delivered before the end, in text and in tool calls."""
    events = await send(
        Echo(TextDelta(text="see [EMAIL_1_"), ToolCallDelta(index=0, arguments='{"a": "[EMAIL_1_')), MASKED, ask(MAIL)
    )
    assert text_of(events) == "see [EMAIL_1_"
    assert "".join(e.arguments for e in events if isinstance(e, ToolCallDelta)) == '{"a": "[EMAIL_1_'
    assert isinstance(events[-1], Finish)


async def test_logprobs_pass_even_while_text_is_held_back() -> None:
    """Nothing measured is lost."""
    logprob = TokenLogprob(token="[", logprob=-0.1)
    events = await send(Echo(TextDelta(text="[", logprobs=(logprob,))), MASKED, ask(MAIL))
    assert TextDelta(text="", logprobs=(logprob,)) in events


async def test_what_masking_leaves_behind_stays_here() -> None:
    """A picture, a caller's label and a value in a name cannot be masked."""
    picture = replace(ask("look"), messages=(Message(role="user", parts=(Image(data="AAAA"),)),))
    for request in (picture, ask("hi", privacy="personal"), ask("hi", tools=(Tool(name=MAIL, parameters={}),))):
        assert await refusal(Echo(), MASKED, request) == "masking left something behind"


async def test_what_could_not_be_scanned_is_not_masked_either() -> None:
    """Its mask would be one placeholder over everything, sent and paid for nothing."""
    rules = policy(
        {"name": "m", "when": {"privacy": "secret"}, "cloud": "masked"},
        signals={
            "privacy": {"levels": {"public": 0, "personal": 0.5, "secret": 0.9}, "options": {"seconds": 0.000001}}
        },
    )
    assert "ran out of time" in await refusal(Echo(), rules, ask(MAIL), "secret")


async def test_without_a_detector_nothing_is_masked_and_nothing_leaves() -> None:
    """A policy that replaced the privacy signal has nobody who could say that the mask holds."""
    rules = policy(
        {"name": "m", "when": {"privacy": "personal"}, "cloud": "masked"},
        signals={"privacy": {"kind": "own", "levels": {"public": 0, "personal": 0.5}}},
    )
    assert "nothing can mask" in await refusal(Echo(), rules, ask(MAIL))


async def test_unknown_placeholders_are_noted_without_content(caplog: pytest.LogCaptureFixture) -> None:
    """The log counts them and names the target."""

    class Inventive(Echo):
        async def stream(self, request: Request, *, stream: bool) -> AsyncIterator[TargetEvent]:
            yield TextDelta(text=request.messages[0].text.replace("_1_", "_9_"))
            yield Finish(finish_reason="stop")

    with caplog.at_level(logging.WARNING, "hybridinfer.privacy"):
        events = await send(Inventive(), MASKED, ask(MAIL))
    assert "_9_" in text_of(events)
    assert [record.getMessage() for record in caplog.records] == [
        "cloud returned 1 unknown placeholders; they were left as they are"
    ]


async def test_closing_the_stream_closes_the_target() -> None:
    """A caller that goes away stops the work, masked or not."""
    for rules, level in ((NEVER, "public"), (MASKED, "personal")):
        target, request = Echo(), ask(f"{MAIL} and more")
        clearance = Clearance(request=request, levels={"privacy": level}, tags={})
        stream = Guarded(target, rules).stream(request, stream=True, clearance=clearance)
        await anext(stream)
        await stream.aclose()  # type: ignore[attr-defined]
        assert target.calls == ["closed"]


async def test_a_plain_iterator_needs_no_closing() -> None:
    """An adapter may return any asynchronous iterator."""

    class Plain:
        def __init__(self) -> None:
            self.events = [Finish(finish_reason="stop")]

        def __aiter__(self) -> Plain:
            return self

        async def __anext__(self) -> TargetEvent:
            if not self.events:
                raise StopAsyncIteration
            return self.events.pop()

    target = Echo()
    target.stream = lambda request, *, stream: Plain()  # type: ignore[method-assign,assignment,return-value]
    assert await send(target, NEVER, ask("hi"), "public") == [Finish(finish_reason="stop")]


async def test_everything_else_is_the_targets_own() -> None:
    """Name, tokens, warm-up and end carry no request out, and pass through."""
    target = Echo()
    guarded = Guarded(target, NEVER)
    assert guarded.info is target.info
    assert guarded.count_tokens(ask("hi")) == 7
    await guarded.warmup()
    await guarded.aclose()
    assert target.calls == ["warmup", "aclose"]


@pytest.mark.parametrize("cloud", ["never", "masked"])
async def test_no_canary_reaches_a_cloud_from_any_field(cloud: str) -> None:
    """Every kind of value in every place of a request, in disguise too: no trace of it at the sink."""
    tried, sent, found = await leaks(cloud)
    assert tried == len(CANARIES) * len(list(requests("x")))
    assert found == []
    assert bool(sent) == (cloud == "masked")


def test_the_leak_bench_would_see_a_leak() -> None:
    """The proof is worth something: every plain form of a canary is recognised."""
    assert traces(CARD, "x 4111111111111111 y") == ["without signs"]
    for canary in CANARIES.values():
        places = [place for place, request in requests(canary) if not traces(canary, str(request))]
        assert set(places) <= {"two parts", "image address", "zero width", "tool arguments, escaped"}


def _calls_a_target(call: ast.Call, inside: ast.AST | None) -> bool:
    """Whether `call` sends a request on without a clearance, from code that is not itself a target behind the lock."""
    if not (isinstance(call.func, ast.Attribute) and call.func.attr == "stream"):
        return False
    names = {keyword.arg for keyword in call.keywords}
    if "stream" not in names or "clearance" in names:
        return False
    if isinstance(call.func.value, ast.Name) and call.func.value.id == "self":
        return False  # a target that calls itself
    if isinstance(inside, (ast.FunctionDef, ast.AsyncFunctionDef)) and inside.name == "stream":
        # a wrapper with a target's own face: it is reached through the lock, or not at all
        return "clearance" in {argument.arg for argument in inside.args.kwonlyargs}
    return True


def _functions(tree: ast.AST, inside: ast.AST | None = None) -> Iterator[tuple[ast.Call, ast.AST | None]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Call):
            yield node, inside
        is_function = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        yield from _functions(node, node if is_function else inside)


def test_only_the_lock_calls_a_target() -> None:
    """In the whole package, `.stream(..., stream=...)` without a clearance stands in the lock and in targets only."""
    root = Path(hybridinfer.__file__).parent
    callers = {
        path.relative_to(root).as_posix()
        for path in root.rglob("*.py")
        for call, inside in _functions(ast.parse(path.read_text("utf-8")))
        if _calls_a_target(call, inside)
    }
    assert callers == {"privacy/egress.py"}
