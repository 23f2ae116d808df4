"""Decoding server-sent events, however the bytes are split."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybridinfer.targets.sse import Overflow, SseDecoder


def _decode(*pieces: bytes) -> list[bytes]:
    decoder = SseDecoder(limit=1000)
    return [event for piece in pieces for event in decoder.feed(piece)] + decoder.flush()


CASES = {
    "one event": (b"data: a\n\n", [b"a"]),
    "without the space": (b"data:a\n\n", [b"a"]),
    "only one space is taken": (b"data:  a\n\n", [b" a"]),
    "two events": (b"data: a\n\ndata: b\n\n", [b"a", b"b"]),
    "several lines": (b"data: a\ndata: b\n\n", [b"a\nb"]),
    "carriage returns": (b"data: a\r\rdata: b\r\r", [b"a", b"b"]),
    "both": (b"data: a\r\n\r\ndata: b\r\n\r\n", [b"a", b"b"]),
    "comments": (b": ping\n\ndata: a\n\n", [b"a"]),
    "other fields": (b"event: delta\nid: 1\nretry: 5\ndata: a\n\n", [b"a"]),
    "a field without colon": (b"data\n\n", [b""]),
    "a name that only begins alike": (b"database: a\n\n", []),
    "an event without data": (b"event: ping\n\n", []),
    "a byte order mark": (b"\xef\xbb\xbfdata: a\n\n", [b"a"]),
    "half a byte order mark": (b"\xef\xbb", []),
    "no last blank line": (b"data: a\n\ndata: [DONE]", [b"a", b"[DONE]"]),
    "separators of text are not separators here": ("data: a\u2028b\x0cc\n\n".encode(), ["a\u2028b\x0cc".encode()]),
    "nothing": (b"", []),
}


@pytest.mark.parametrize(("raw", "events"), CASES.values(), ids=CASES)
def test_events_are_decoded(raw, events):
    """Each form that the standard allows is read."""
    assert _decode(raw) == events


@settings(deadline=None)
@given(st.data())
def test_the_split_of_the_bytes_does_not_matter(data):
    """Any split of a stream gives the same events as the whole."""
    texts = st.text(st.characters(exclude_characters="\r\n", codec="utf-8"), max_size=8)
    kinds = st.sampled_from(["data: ", "data:", "event: ", ": ", "data"])
    lines = data.draw(st.lists(st.tuples(kinds, texts, st.sampled_from(["\n", "\r\n", "\r"]))))
    raw = "".join(kind + text + end * data.draw(st.sampled_from([1, 2])) for kind, text, end in lines).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=10)))
    pieces = [raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
    assert _decode(*pieces) == _decode(raw)


def test_events_come_as_soon_as_they_are_complete():
    """Nothing waits for the next event."""
    decoder = SseDecoder(limit=1000)
    assert decoder.feed(b"data: a\n") == []
    assert decoder.feed(b"\nda") == [b"a"]


@pytest.mark.parametrize("raw", [b"data: aaaaaaaaaaaa", b"data: aaaaaa\ndata: aaaaaa\n"])
def test_an_endless_event_is_refused(raw):
    """Neither a line without end nor lines without end fill the memory."""
    decoder = SseDecoder(limit=10)
    with pytest.raises(Overflow):
        decoder.feed(raw)


def test_the_limit_is_for_one_event():
    """A long stream of short events passes."""
    decoder = SseDecoder(limit=10)
    assert decoder.feed(b"data: a\n\n" * 10) == [b"a"] * 10
