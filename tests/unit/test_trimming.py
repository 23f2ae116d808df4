"""What a rule's `prompt:` block takes out of a conversation, and what it never touches."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridinfer import Router
from hybridinfer.policy.model import PromptBlock
from hybridinfer.testing import FakeTarget
from hybridinfer.trimming import REPEATED, collapse, trim
from hybridinfer.types import Image, Message, Request, Text, ToolCall, ToolResult

LONG = "The contract was signed in spring and nobody has read it since. " * 5


def says(role, *texts):
    return Message(role=role, parts=tuple(Text(text=text) for text in texts))


def request(*messages):
    return Request(messages=messages)


def words(messages):
    return sum(len(message.text.split()) for message in messages)


def texts(trimmed):
    return [message.text for message in trimmed.messages]


def test_the_latest_exchanges_stay_whole():
    """History is cut from its beginning, never in the middle of an exchange."""
    talk = request(
        says("system", "be brief"),
        says("user", "one two three"),
        says("assistant", "four five"),
        says("user", "six"),
        says("assistant", "seven"),
        says("user", "eight nine ten eleven"),
    )
    cut = trim(talk, PromptBlock(trim_history=3), words)
    assert texts(cut) == ["be brief", "six", "seven", "eight nine ten eleven"]
    assert trim(talk, PromptBlock(trim_history=7), words) is talk
    assert texts(trim(talk, PromptBlock(trim_history=0), words)) == ["be brief", "eight nine ten eleven"]


def test_a_tool_s_result_stays_with_its_call():
    """The exchange under way is never cut, however long it is."""
    call = Message(role="assistant", parts=(ToolCall(id="1", name="look", arguments="{}"),))
    result = Message(role="tool", parts=(ToolResult(call_id="1", content=(Text(text=LONG),)),))
    talk = request(says("user", "hello there"), says("assistant", "hi"), says("user", "look"), call, result)
    assert trim(talk, PromptBlock(trim_history=0), words).messages == talk.messages[2:]


def test_a_greeting_before_the_first_question_goes_first():
    """What an assistant opened with is history as well."""
    talk = request(says("assistant", "welcome"), says("user", "hello"), says("assistant", "hi"), says("user", "now"))
    assert texts(trim(talk, PromptBlock(trim_history=2), words)) == ["hello", "hi", "now"]


def test_the_last_copy_of_a_long_text_stays():
    """Earlier copies say where to look, in tool results, too."""
    result = Message(role="tool", parts=(ToolResult(call_id="1", content=(Text(text=LONG), Image(url="https://a/b"))),))
    talk = request(says("user", LONG), result, says("user", "again:", LONG, LONG))
    cut = trim(talk, PromptBlock(dedupe=True), words)
    assert texts(cut) == [REPEATED, "", "again:" + REPEATED + LONG]
    (part,) = cut.messages[1].parts
    assert part.content == (Text(text=REPEATED), Image(url="https://a/b"))


def test_short_texts_and_system_prompts_may_repeat():
    """People say yes twice; and instructions are never cut."""
    talk = request(says("system", LONG), says("user", "yes"), says("assistant", LONG), says("user", "yes"))
    assert trim(talk, PromptBlock(dedupe=True), words) is talk


def test_whitespace_collapses_outside_of_code():
    """Fences and indents keep their shape."""
    text = "a   b \t c  \n\n\n\n    indented  x\n```py\nif  x:\n\n\n\n    y   = 1\n```\nend\n\n\n"
    assert collapse(text) == "a b c\n\n    indented x\n```py\nif  x:\n\n\n\n    y   = 1\n```\nend\n\n"


def test_system_prompts_keep_their_whitespace():
    """Only what users and tools say is rewritten."""
    talk = request(says("system", "a  b"), says("user", "a  b"))
    assert texts(trim(talk, PromptBlock(collapse_whitespace=True), words)) == ["a  b", "a b"]


@given(st.text(alphabet="ab \t\n`", max_size=80))
def test_collapsing_twice_changes_nothing_more(text):
    """No word is lost, and the second pass finds nothing."""
    once = collapse(text)
    assert collapse(once) == once
    assert once.split() == text.split()


@given(
    st.lists(st.tuples(st.sampled_from(["system", "user", "assistant"]), st.text("xy ", max_size=9)), min_size=1),
    st.integers(0, 12),
)
def test_the_question_and_the_instructions_always_stay(turns, tokens):
    """Whatever the budget: system messages and everything from the last question on, in order."""
    talk = request(*(says(role, text) for role, text in turns))
    cut = trim(talk, PromptBlock(trim_history=tokens), words).messages
    last = max((i for i, message in enumerate(talk.messages) if message.role == "user"), default=0)
    kept = [m for i, m in enumerate(talk.messages) if i >= last or m.role == "system"]
    assert [m for m in cut if m in kept][-1:] == kept[-1:]
    assert len(cut) >= len(kept)
    history = [m for m in cut[: len(cut) - len(talk.messages[last:])] if m.role != "system"]
    assert words(history) <= tokens


@pytest.fixture
def router():
    policy = {
        "version": 1,
        "targets": {"local": {"kind": "onnx", "model": "m"}},
        "rules": [
            {"name": "all", "prompt": {"trim_history": "1k", "dedupe": True}, "use": ["local"]},
        ],
    }
    target = FakeTarget("local", zone="device", context_window=2_000)
    with Router.from_policy(policy, targets={"local": target}) as router:
        yield router, target


def test_a_trimmed_request_fits_a_small_window(router):
    """Trimming comes before the window is checked; the receipt says what it saved."""
    router, target = router
    old = "some old words " * 2_000
    talk = [
        {"role": "user", "content": old},
        {"role": "assistant", "content": "I see."},
        {"role": "user", "content": "And now?"},
    ]
    response = router.complete(talk)
    assert response.target == "local"
    assert [message.text for message in target.requests[-1].messages] == ["And now?"]
    assert response.receipt.decision.saved_tokens > 5_000
    assert router.decide(talk).saved_tokens == response.receipt.decision.saved_tokens


def test_nothing_cut_is_nothing_saved(router):
    """A short conversation goes as it is."""
    router, target = router
    assert router.complete("And now?").receipt.decision.saved_tokens == 0
    assert [message.text for message in target.requests[-1].messages] == ["And now?"]
