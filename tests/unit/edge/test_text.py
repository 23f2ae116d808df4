"""Text is released in whole characters and never shows the beginning of a stop string."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hybridinfer.edge.text import TextStream, possible_start


def chunks(data: bytes, sizes: list[int]) -> list[bytes]:
    pieces, at = [], 0
    for size in sizes:
        pieces.append(data[at : at + size])
        at += size
    return [*pieces, data[at:]]


@given(
    text=st.text("ab\n é你🙂"),
    sizes=st.lists(st.integers(0, 5)),
    stops=st.lists(st.text("ab\n", min_size=1, max_size=3), max_size=3),
)
def test_any_cut_of_the_bytes_gives_the_same_text(text: str, sizes: list[int], stops: list[str]) -> None:
    """Streaming equals cutting the whole text at its first stop string, and nothing shown is taken back."""
    stream, shown = TextStream(stops), ""
    for piece in chunks(text.encode(), sizes):
        shown += stream.push(piece)
    shown += stream.finish()
    firsts = [at for at in (text.find(stop) for stop in stops) if at >= 0]
    if not stream.stopped:
        assert shown == text
        assert not firsts
    else:
        # a stop string is met as soon as it is complete, though a longer one may begin before it
        assert text.startswith(shown)
        assert any(text[len(shown) :].startswith(stop) for stop in stops)
        assert not any(stop in shown for stop in stops)
    assert stream.released == len(shown)


def test_text_that_may_become_a_stop_string_is_held_back() -> None:
    """`EN` waits for `D`, and comes when something else follows."""
    stream = TextStream(["END"])
    assert [stream.push(piece) for piece in (b"xE", b"N", b"x", b"END", b"y")] == ["x", "", "ENx", "", ""]
    assert stream.stopped
    assert stream.finish() == ""


def test_a_character_in_pieces_waits_for_its_last_byte() -> None:
    """Half a character is never shown; at the end it becomes U+FFFD."""
    stream = TextStream()
    first, last = "é".encode()[:1], "é".encode()[1:]
    assert [stream.push(first), stream.push(last), stream.push(first), stream.finish()] == ["", "é", "", "\ufffd"]


def test_possible_start_finds_the_longest() -> None:
    """Of several marks the longest begun one counts; a completed one is none."""
    assert possible_start("xab", ("abc", "bd")) == 2
    assert possible_start("x", ("abc",)) == 0
    assert possible_start("x", ()) == 0
