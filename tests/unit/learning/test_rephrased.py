"""Who asks the same again in other words was not helped: a weak label, and nothing of the words is kept."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hybridinfer import AsyncRouter
from hybridinfer.learning.journal import read
from hybridinfer.learning.memory import JOURNAL
from hybridinfer.learning.rephrased import SCORE, WITHIN, Recent, nearly_same
from hybridinfer.testing import FakeTarget
from hybridinfer.types import Message, Request, Text

PAIRS = Path(__file__).parents[3] / "benchmarks" / "data" / "rephrased.yaml"
FIRST, AGAIN, NEXT = "How do I reset my password?", "How can I reset the password?", "How do I change my name?"
POLICY = {
    "version": 1,
    "targets": {"local": {"kind": "onnx", "model": "m"}, "sorry": {"kind": "canned", "text": "no"}},
    "rules": [{"name": "all", "use": ["local", "sorry"]}],
    "learning": {"store": "features"},
}


def talk(*turns: str) -> list[dict[str, str]]:
    """A conversation that begins with a question; every second turn is an answer."""
    return [{"role": ("user", "assistant")[at % 2], "content": text} for at, text in enumerate(turns)]


def request(*turns: str) -> Request:
    """The same as the router's own."""
    return Request(
        messages=tuple(Message(role=one["role"], parts=(Text(text=one["content"]),)) for one in talk(*turns))
    )  # type: ignore[arg-type]


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the labels come to lie."""
    monkeypatch.setenv("HYBRIDINFER_STATE", str(tmp_path / "learned"))
    return tmp_path / "learned" / JOURNAL


async def asked(*conversations: list[dict[str, str]], policy: object = POLICY, **options: object) -> None:
    async with AsyncRouter(
        policy, targets={"local": FakeTarget("local", zone="device", script=["well"] * 9)}
    ) as router:
        for messages in conversations:
            await router.complete(messages, **options)


@pytest.mark.anyio
async def test_the_same_question_again_labels_the_answer_before(journal: Path) -> None:
    """Weakly, and by its own name; the second answer stays unjudged."""
    await asked(talk(FIRST), talk(FIRST, "well", AGAIN))
    (row,) = read(journal)
    assert (row.local, row.cloud, row.sources) == (SCORE, None, {"rephrased"})


@pytest.mark.anyio
@pytest.mark.parametrize(
    "second",
    [
        talk(FIRST, "well", NEXT),
        talk(FIRST, "well", FIRST),
        talk(AGAIN),
        talk("Something else.", "well", AGAIN),
        talk(FIRST, "well", FIRST + " " + AGAIN * 100),
    ],
    ids=["another question", "word for word", "another conversation", "another beginning", "a long text"],
)
async def test_anything_else_is_no_label(journal: Path, second: list[dict[str, str]]) -> None:
    """In doubt nothing is concluded."""
    await asked(talk(FIRST), second, user="one and the same")
    assert not list(read(journal))


@pytest.mark.anyio
async def test_what_somebody_says_counts_more(journal: Path) -> None:
    """Feedback on the same answer wins."""
    async with AsyncRouter(
        POLICY, targets={"local": FakeTarget("local", zone="device", script=["well"] * 9)}
    ) as router:
        first = await router.complete(talk(FIRST))
        await router.complete(talk(FIRST, "well", AGAIN))
        await router.feedback(first.receipt.id, accepted=True)
    (row,) = read(journal)
    assert (row.local, row.sources) == (1.0, {"feedback", "rephrased"})


@pytest.mark.anyio
async def test_private_conversations_leave_nothing(journal: Path) -> None:
    """Not even a label."""
    card = "My card is 4111 1111 1111 1111. "
    await asked(talk(card + FIRST), talk(card + FIRST, "well", card + AGAIN))
    assert not list(read(journal))


def test_it_is_forgotten_after_a_while() -> None:
    """Who comes back later may have another reason."""
    clock = Clock()
    recent = Recent(clock=clock)
    recent.remember("r", recent.hashed(request(FIRST).messages))
    again = request(FIRST, "well", AGAIN)
    clock.now += WITHIN
    assert recent.repeated(again) == "r"
    clock.now += 1
    assert recent.repeated(again) is None


def test_the_oldest_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many conversations there are, the memory stays bounded."""
    monkeypatch.setattr("hybridinfer.learning.rephrased._MOST", 2)
    recent = Recent()
    openings = ["Where is the red house?", "Where is the blue mouse?", "Where is the green spouse?"]
    for text in openings:
        recent.remember(text, recent.hashed(request(text).messages))
    found = [recent.repeated(request(text, "well", f"{text} Still?")) for text in openings]
    assert found == [None, *openings[1:]]


def test_no_two_routers_hash_alike() -> None:
    """Nobody who holds a text can look it up in another's memory; no word of it is in there."""
    messages = request(FIRST).messages
    one, other = Recent(), Recent()
    assert one.hashed(messages) == one.hashed(messages)
    assert one.hashed(messages) != other.hashed(messages)
    one.remember("r", one.hashed(messages))
    assert not any(word in repr(vars(one)) for word in FIRST.split() if len(word) > 3)


def test_what_it_finds_and_mistakes() -> None:
    """The figures of docs/learn.md: of twenty rephrasings and twenty other questions about the same."""
    rows = yaml.safe_load(PAIRS.read_text("utf-8"))["questions"]
    assert sum(nearly_same(row["ask"], row["again"]) for row in rows) == 17
    assert sum(nearly_same(row["ask"], row["next"]) for row in rows) == 1
    assert len(rows) == 20


@given(st.text(max_size=80), st.text(max_size=80))
def test_sameness_is_symmetric_and_never_of_itself(first: str, second: str) -> None:
    """Whatever people write."""
    assert nearly_same(first, second) is nearly_same(second, first)
    assert not nearly_same(first, first)
