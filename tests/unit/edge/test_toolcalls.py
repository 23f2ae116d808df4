"""Tool calls in streamed text."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridinfer.edge.toolcalls import Call, ToolCallParser, opening

CALL = '{"name": "f", "arguments": {"a": "ü"}}'
PARSED = Call(name="f", arguments='{"a": "ü"}')


def parse(text: str, sizes: list[int] = []) -> list[str | Call]:  # noqa: B006 - never changed
    parser, items, at = ToolCallParser(["f"]), [], 0
    for size in [*sizes, len(text)]:
        items += parser.push(text[at : at + size])
        at += size
    items += parser.finish()
    joined: list[str | Call] = []
    for item in items:
        if isinstance(item, str) and joined and isinstance(joined[-1], str):
            joined[-1] += item
        else:
            joined.append(item)
    return joined


CASES = {
    f"<tool_call>\n{CALL}\n</tool_call>": [PARSED],
    f"Sure. <tool_call>{CALL}</tool_call>\n<tool_call>{CALL}</tool_call>": ["Sure. ", PARSED, PARSED],
    f"<tool_call>{CALL}</tool_call> And more": [PARSED, "And more"],
    f"<tool_call>{CALL}": [PARSED],
    f"```json\n{CALL}\n```": [PARSED],
    f"```\n{CALL}\n```\n": [PARSED],
    CALL: [PARSED],
    '<tool_call>{"name": "f"}</tool_call>': [Call(name="f", arguments="{}")],
    '<tool_call>{"name": "g", "arguments": {}}</tool_call>': ['<tool_call>{"name": "g", "arguments": {}}</tool_call>'],
    '<tool_call>{"name": "f", "arguments": 5}</tool_call>': ['<tool_call>{"name": "f", "arguments": 5}</tool_call>'],
    "<tool_call>[1]</tool_call>": ["<tool_call>[1]</tool_call>"],
    '{"an": "object"}': ['{"an": "object"}'],
    "```python\nx = {}\n```": ["```python\nx = {}\n```"],
    "```json\n{]": ["```json\n{]"],
    "a < b <tool": ["a < b <tool"],
    "`x`": ["`x`"],
    "": [],
}


@pytest.mark.parametrize("text", CASES)
@given(sizes=st.lists(st.integers(0, 7)))
def test_any_cut_of_the_text_gives_the_same_items(text: str, sizes: list[int]) -> None:
    """Valid calls of offered tools come out as calls, all else as the text it was, however it is cut."""
    assert parse(text, sizes) == CASES[text]


def test_plain_text_is_not_held_back() -> None:
    """Only what may begin a call waits."""
    parser = ToolCallParser(["f"])
    assert list(parser.push("Hello <b")) == ["Hello <b"]
    assert list(parser.push(" and <tool")) == [" and "]


@pytest.mark.parametrize("tool", ["f", 'a"b'])
def test_an_opening_completes_to_a_call(tool: str) -> None:
    """What a forced answer begins with, and the rest that a model writes, are a valid call together."""
    parser = ToolCallParser([tool], begun=opening(tool))
    assert [*parser.push(" {}}"), *parser.finish()] == [Call(name=tool, arguments="{}")]
    items = [*ToolCallParser(["f"], begun=opening(None)).push('f", "arguments": {}}</tool_call>')]
    assert items == [Call(name="f", arguments=json.dumps({}))]
