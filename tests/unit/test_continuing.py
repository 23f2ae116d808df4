"""Where the second half of an answer joins the first."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridinfer.commands import Answer, Outcome
from hybridinfer.continuing import Join, Seam, continuable, continuation, stricter
from hybridinfer.policy.load import load
from hybridinfer.receipt import Code
from hybridinfer.types import Message, Request, ResponseFormat, Text, TextDelta, TokenLogprob, ToolCall, ToolCallDelta

REQUEST = Request(messages=(Message(role="user", parts=(Text(text="hello"),)),))


def shown(join, *texts):
    seam = Seam(join)
    pieces = [piece for text in texts for piece in seam.take(TextDelta(text=text))]
    pieces += seam.end()
    return [piece.text for piece in pieces], seam.torn


@pytest.mark.parametrize(
    ("held", "texts", "new"),
    [
        ("The cat", (" sat", "."), [" sat", "."]),
        ("The cat ", (" sat",), ["sat"]),
        ("The cat ", ("sat",), ["sat"]),
        ("The cat\n\n", ("\n", "\n", "sat"), ["sat"]),
        ("The cat\n\n", ("\n", "sat"), ["\nsat"]),
        ("The cat\n\n", ("\n",), ["\n"]),
        ("The cat ", (), []),
    ],
)
def test_blanks_that_the_beginning_was_sent_without_are_not_shown_twice(held, texts, new):
    """Only where all of them come again; otherwise they are the second half's own."""
    assert shown(Join(held=held, anew=False), *texts) == (new, False)


@pytest.mark.parametrize(
    ("texts", "new", "torn"),
    [
        (("The cat sat",), [" sat"], False),
        (("The", " cat", " sat"), [" sat"], False),
        (("The cat",), [], False),
        (("The ",), [], True),
        (("The dog", " sat"), [], True),
        ((), [], True),
    ],
)
def test_an_answer_from_the_beginning_shows_only_what_is_new(texts, new, torn):
    """And nothing at all where it is another answer, or a shorter one."""
    assert shown(Join(held="The cat", anew=True), *texts) == (new, torn)


def test_a_tool_call_before_the_text_was_repeated_is_another_answer():
    """Behind it, it is a part of the answer."""
    call = ToolCallDelta(index=0, id="1", name="t", arguments="{}")
    seam = Seam(Join(held="The cat", anew=True))
    assert (seam.take(call), seam.torn) == ((), True)
    seam = Seam(Join(held="The cat ", anew=False))
    seam.take(TextDelta(text=""))
    assert seam.take(call) == (call,)
    seam = Seam(Join(held="The cat  ", anew=False))
    seam.take(TextDelta(text=" "))
    assert seam.take(call) == (TextDelta(text=" "), call)


PIECES = st.lists(st.text(alphabet="a \n", max_size=3), max_size=6)


@given(held=st.text(alphabet="a \n", min_size=1, max_size=5), texts=PIECES)
def test_pieces_add_up_to_the_whole(held, texts):
    """However the second half is cut: what is shown behind the first is `Join.whole`."""
    join = Join(held=held, anew=False)
    pieces, torn = shown(join, *texts)
    assert not torn
    assert held + "".join(pieces) == join.whole(Answer(text=held), Answer(text="".join(texts))).text


@given(held=st.text(alphabet="ab", min_size=1, max_size=5), texts=PIECES)
def test_pieces_from_the_beginning_add_up_to_the_whole_or_are_torn(held, texts):
    """Torn exactly where the answer does not begin with what was delivered; then nothing of it was shown."""
    join, text = Join(held=held, anew=True), "".join(texts)
    pieces, torn = shown(join, *texts)
    assert torn == (not text.startswith(held))
    if torn:
        assert pieces == []
    else:
        assert held + "".join(pieces) == join.whole(Answer(text=held), Answer(text=text)).text == text


def test_log_probabilities_of_both_halves_are_joined():
    """Each token has its own."""
    first, second = TokenLogprob(token="a", logprob=-1.0), TokenLogprob(token="b", logprob=-2.0)
    join = Join(held="a", anew=False)
    whole = join.whole(Answer(text="a", logprobs=(first,)), Answer(text="b", logprobs=(second,)))
    assert whole.logprobs == (first, second)
    assert join.whole(Answer(text="a"), Answer(text="b")).logprobs is None


def test_a_continuation_ends_with_the_beginning_of_the_answer():
    """Without blanks at its end; the limit is that of the whole answer, and never nothing."""
    request = continuation(REQUEST, "The cat \n", tokens=3)
    assert request.messages == (*REQUEST.messages, Message(role="assistant", parts=(Text(text="The cat"),)))
    assert request.max_tokens is None
    limited = Request(messages=REQUEST.messages, max_tokens=5)
    assert [continuation(limited, "x", tokens=tokens).max_tokens for tokens in (3, 5, 9)] == [2, 1, 1]


@pytest.mark.parametrize(
    ("request_", "outcome", "can"),
    [
        (REQUEST, Outcome(code=Code.INTERRUPTED, answer=Answer(text="a")), True),
        (REQUEST, Outcome(code=Code.INVALID_OUTPUT, answer=Answer(text="a")), False),
        (REQUEST, Outcome(code=Code.TRUNCATED, answer=Answer(text="a")), False),
        (REQUEST, Outcome(code=Code.STALLED, answer=Answer()), False),
        (
            REQUEST,
            Outcome(code=Code.STALLED, answer=Answer(text="a", tool_calls=(ToolCall(id="1", name="t", arguments=""),))),
            False,
        ),
        (
            Request(messages=REQUEST.messages, response_format=ResponseFormat(type="text")),
            Outcome(code=Code.STALLED, answer=Answer(text="a")),
            True,
        ),
        (
            Request(messages=REQUEST.messages, response_format=ResponseFormat(type="json_object")),
            Outcome(code=Code.STALLED, answer=Answer(text="{")),
            False,
        ),
    ],
)
def test_what_can_be_continued(request_, outcome, can):
    """Text that broke off; nothing that was whole, and nothing that is guided or half a tool call."""
    assert continuable(request_, outcome) is can


def test_the_stricter_level_counts():
    """Signal by signal."""
    policy = load(
        {
            "version": 1,
            "targets": {"sorry": {"kind": "canned", "text": "later"}},
            "rules": [{"name": "all", "use": ["sorry"]}],
        }
    )
    levels = {"privacy": "personal", "complexity": "low", "size": "short"}
    assert stricter(policy, levels, {"privacy": "public", "complexity": "high"}) == {
        "privacy": "personal",
        "complexity": "high",
        "size": "short",
    }
