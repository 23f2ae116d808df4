"""Which parts of a prompt are marked to be kept by the vendor, and when."""

from __future__ import annotations

import json

from hybridinfer.targets.prompt_cache import KEPT_SECONDS, PromptCache

RULES = "Answer in the voice of a patient librarian. " * 120
MARK = {"type": "ephemeral"}


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def body(*turns, system=RULES, **more):
    roles = ("user", "assistant")
    messages = [{"role": roles[i % 2], "content": turn} for i, turn in enumerate(turns)]
    return {"model": "m", "messages": messages} | ({"system": system} if system else {}) | more


def marked(cache, made):
    """The body after marking, without its marks; and how many marks each field got."""
    before = json.dumps(made)
    cache.mark(made)
    counts = {key: json.dumps(made.get(key)).count("cache_control") for key in ("system", "tools", "messages")}
    assert json.dumps(_plain(made)) == json.dumps(_plain(json.loads(before)))
    return counts


def _plain(made):
    def blocks(content):
        listed = [{"type": "text", "text": content}] if isinstance(content, str) else content
        return [{key: value for key, value in block.items() if key != "cache_control"} for block in listed]

    plain = made | {"messages": [turn | {"content": blocks(turn["content"])} for turn in made["messages"]]}
    return plain | {key: blocks(made[key]) for key in ("system", "tools") if key in made}


def test_instructions_are_kept_from_the_second_time_on():
    """The first time nobody knows that they will come again."""
    cache = PromptCache(Clock())
    assert marked(cache, body("one")) == {"system": 0, "tools": 0, "messages": 0}
    made = body("two")
    assert marked(cache, made) == {"system": 1, "tools": 0, "messages": 0}
    assert made["system"] == [{"type": "text", "text": RULES, "cache_control": MARK}]


def test_a_conversation_that_goes_on_is_kept_to_its_end():
    """Its beginning was sent a moment ago, so the next turn will come as well."""
    cache = PromptCache(Clock())
    long = "tell me of the sea " * 300
    assert marked(cache, body(long, system=None))["messages"] == 0
    made = body(long, "It is wide.", "And deep?", system=None)
    assert marked(cache, made)["messages"] == 1
    assert made["messages"][-1]["content"][-1]["cache_control"] == MARK
    assert marked(cache, body(long, "It is blue.", "And?", "Yes.", "Why?", system=None))["messages"] == 1


def test_tools_carry_the_mark_without_a_system_prompt():
    """The last tool ends the instructions."""
    cache = PromptCache(Clock())
    tools = [{"name": "a"}, {"name": "b", "description": RULES}]
    marked(cache, body("one", system=None, tools=tools))
    made = body("two", system=None, tools=tools)
    assert marked(cache, made)["tools"] == 1
    assert made["tools"][-1]["cache_control"] == MARK


def test_what_is_short_other_or_old_is_not_marked():
    """No model keeps less than a thousand tokens, and nobody keeps it for ever."""
    clock = Clock()
    cache = PromptCache(clock)
    for _ in range(2):
        assert not any(marked(cache, body("hi", system="short")).values())
    marked(cache, body("one"))
    assert not any(marked(cache, body("two", system=RULES + "!")).values())
    assert not any(marked(cache, body("two") | {"model": "other"}).values())
    clock.now += KEPT_SECONDS
    assert not any(marked(cache, body("two")).values())


def test_only_so_much_is_remembered(monkeypatch):
    """The oldest beginning is forgotten first."""
    monkeypatch.setattr("hybridinfer.targets.prompt_cache._REMEMBERED", 2)
    cache = PromptCache(Clock())
    marked(cache, body("one"))
    marked(cache, body("one", system="other " + RULES))
    assert not any(marked(cache, body("two")).values())
