"""The witness sees what goes to a real cloud, whatever part of a message it is in."""

from __future__ import annotations

import pytest

from hybridinfer.cli.demo.play import play
from hybridinfer.cli.demo.prompt import Prompt
from hybridinfer.cli.demo.witness import Witness
from hybridinfer.receipt import Code
from hybridinfer.router import Router
from hybridinfer.testing import FakeTarget, Outage
from hybridinfer.types import File, Image, Message, Request, Text, ToolCall, ToolResult

POLICY = {
    "version": 1,
    "targets": {
        "cloud": {"kind": "own", "price": {"input": 1, "output": 1}},
        "sorry": {"kind": "canned", "text": "Please try again."},
    },
    "boundaries": [{"name": "masked", "when": {"privacy": ["personal", "secret"]}, "cloud": "masked"}],
    "rules": [{"name": "all", "use": ["cloud", "sorry"]}],
}
PARTS = (
    Text(text="one"),
    ToolCall(id="1", name="n", arguments="two"),
    ToolResult(call_id="1", content=(Text(text="three"),)),
    File(data="four"),
    Image(url="five"),
)


@pytest.mark.anyio
async def test_every_part_is_seen():
    """Text, tool calls, tool results, files and pictures."""
    witness = Witness(FakeTarget("cloud"))
    request = Request(messages=(Message(role="user", parts=PARTS),))
    async for _ in witness.stream(request, stream=True):
        pass
    assert all(word in witness.seen[0] for word in ("one", "two", "three", "four", "five"))


@pytest.mark.anyio
async def test_everything_else_is_the_targets():
    """Counting, warming up and closing pass through."""
    target = FakeTarget("cloud")
    witness = Witness(target)
    request = Request(messages=(Message(role="user", parts=(Text(text="a b c"),)),))
    assert witness.info is target.info
    assert witness.count_tokens(request) == 3
    await witness.warmup()
    await witness.aclose()
    assert target.closed


def test_it_stands_behind_the_lock():
    """What it sees is what leaves: masked."""
    witness = Witness(FakeTarget("cloud"))
    with Router(POLICY, targets={"cloud": witness}) as router:
        router.complete("write to maria.keller@fastmail.com")
    assert len(witness.seen) == 1
    assert "maria" not in witness.seen[0]


def test_a_reset_forgets_what_was_shown():
    """When a stream dies midway and another begins anew, the demo shows the second answer only."""
    broken = FakeTarget("cloud", script=[Outage(Code.INTERRUPTED, after=("half an",), retry=False)])
    shown = []
    policy = {**POLICY, "resilience": {"on_interrupt": "restart"}}
    with Router(policy, targets={"cloud": broken}) as router:
        played = play(router, Prompt(name="p", prompt="hello"), max_tokens=5, on_text=shown.append)
    assert "half an" in shown
    assert shown[-1] == played.text == "Please try again."


def test_nobody_answered_is_played_too():
    """A typed error becomes a row without an answer."""
    policy = {**POLICY, "rules": [{"name": "all", "use": ["cloud"]}]}
    with Router(policy, targets={"cloud": FakeTarget("cloud", script=[Outage(Code.REFUSED)])}) as router:
        played = play(router, Prompt(name="p", prompt="hello"), max_tokens=5, on_text=lambda _: None)
    assert not played.answered
    assert played.first_token is None
